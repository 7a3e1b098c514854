/* SPDX-License-Identifier: BSD-2-Clause */
/* names_conf: nsswitch.conf(5), gai.conf(5), resolv.conf(5), as far as c-ares can honour them. */
#include "sys/names_conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONF_BLANK " \t\r\n"

/* The next line up to the first of @marks. Return: false: there is none. */
static bool names_conf_line(FILE *f, const char *marks, char **line, size_t *cap)
{
	if (!f || getline(line, cap, f) < 0)
		return false;
	(*line)[strcspn(*line, marks)] = '\0';
	return true;
}

/* ------------------------------------------------------------------ nsswitch.conf */

/* Return: the rest behind "hosts:", or NULL for another line. */
static char *names_conf_hosts(char *line)
{
	line += strspn(line, CONF_BLANK);
	if (strncmp(line, "hosts", 5))
		return NULL;
	line += 5;
	line += strspn(line, CONF_BLANK);
	return *line == ':' ? line + 1 : NULL;
}

/* Both: with one alone c-ares 1.18 says "connection refused" of a name that it does not find. */
static bool names_conf_services(char *words, struct names_conf *c)
{
	char *rest, *w = strtok_r(words, CONF_BLANK, &rest);
	size_t n = 0;

	for (; w; w = strtok_r(NULL, CONF_BLANK, &rest)) {
		char id = !strcmp(w, "files") ? 'f' : !strcmp(w, "dns") ? 'b' : '\0';

		if (!id || n == 2 || (n == 1 && c->lookups[0] == id))
			return false;
		c->lookups[n++] = id;
	}
	return n == 2;
}

bool names_conf_nsswitch(FILE *f, struct names_conf *c)
{
	char *line = NULL, *words;
	int lines = 0;
	size_t cap = 0;
	bool ok = true;

	memset(c->lookups, 0, sizeof c->lookups);
	while (ok && names_conf_line(f, "#", &line, &cap)) {
		words = names_conf_hosts(line);
		if (words)
			ok = lines++ == 0 && names_conf_services(words, c);
	}
	free(line);
	return ok && lines == 1;
}

/* ------------------------------------------------------------------ gai.conf */

bool names_conf_gai(FILE *f)
{
	char *line = NULL;
	size_t cap = 0;
	bool ok = true;

	while (ok && names_conf_line(f, "#", &line, &cap))
		ok = !line[strspn(line, CONF_BLANK)];
	free(line);
	return ok;
}

/* ------------------------------------------------------------------ resolv.conf */

static int names_conf_number(const char *text, int max)
{
	long n = strtol(text, NULL, 10);

	return n < 1 ? 1 : n > max ? max : (int)n; /* the bounds of glibc, which c-ares has not */
}

/* Return: false: an option that a lookup over sockets would not heed. */
static bool names_conf_option(const char *w, struct names_conf *c)
{
	if (!strncmp(w, "timeout:", 8))
		c->timeout_ms = names_conf_number(w + 8, 30) * 1000;
	else if (!strncmp(w, "attempts:", 9))
		c->attempts = names_conf_number(w + 9, 5);
	else if (strncmp(w, "ndots:", 6) && strcmp(w, "rotate")) /* those two c-ares reads itself */
		return !strcmp(w, "edns0") || !strcmp(w, "trust-ad") || !strcmp(w, "debug");
	return true;
}

bool names_conf_options(const char *words, struct names_conf *c)
{
	char w[32];
	size_t n;

	for (; words && *words; words += n) {
		words += strspn(words, CONF_BLANK);
		n = strcspn(words, CONF_BLANK);
		if (n >= sizeof w)
			return false;
		memcpy(w, words, n);
		w[n] = '\0';
		if (n && !names_conf_option(w, c))
			return false;
	}
	return true;
}

/* A link-local server has a zone, fe80::1%eth0: c-ares 1.18 passes over it. */
static bool names_conf_word(char *line, struct names_conf *c)
{
	char *rest, *w = strtok_r(line, CONF_BLANK, &rest);

	if (w && !strcmp(w, "nameserver"))
		return !strchr(rest, '%');
	return !w || strcmp(w, "options") || names_conf_options(rest, c);
}

bool names_conf_resolv(FILE *f, struct names_conf *c)
{
	char *line = NULL;
	size_t cap = 0;
	bool ok = true;

	c->timeout_ms = 5000; /* RES_TIMEOUT, RES_DFLRETRY; those of c-ares are others */
	c->attempts = 2;
	while (ok && names_conf_line(f, "#;", &line, &cap))
		ok = names_conf_word(line, c);
	free(line);
	return ok;
}

/* ------------------------------------------------------------------ all of them */

/* Return: 1; 0: it cannot be read; -EMFILE, -ENFILE, -ENOMEM. A file that is not there is NULL. */
static int names_conf_open(const char *path, FILE **ret)
{
	*ret = fopen(path, "re");
	if (*ret || errno == ENOENT)
		return 1;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

int names_conf_read(struct names_conf *ret)
{
	static const char *const paths[3] = { "/etc/nsswitch.conf", "/etc/gai.conf",
					      "/etc/resolv.conf" };
	FILE *f[3] = { NULL, NULL, NULL };
	int r = 1;

	for (int i = 0; i < 3 && r > 0; i++)
		r = names_conf_open(paths[i], &f[i]);
	if (r > 0)
		r = names_conf_nsswitch(f[0], ret) && names_conf_gai(f[1]) &&
		    names_conf_resolv(f[2], ret) && names_conf_options(getenv("RES_OPTIONS"), ret);
	for (int i = 0; i < 3; i++)
		if (f[i])
			fclose(f[i]);
	return r;
}

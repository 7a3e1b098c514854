/* SPDX-License-Identifier: BSD-2-Clause */
/* json: a recursive-descent checker; each function returns what follows its value, or NULL. */
#include "support/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

static const char *value(const char *s);

static const char *blank(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* What follows one character of UTF-8 that is no ASCII. */
static const char *wide(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	int more = u[0] >= 0xf0 ? 3 : u[0] >= 0xe0 ? 2 : 1;

	if (u[0] < 0xc2 || u[0] > 0xf4 || (u[0] == 0xe0 && u[1] < 0xa0) ||
	    (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
	    (u[0] == 0xf4 && u[1] > 0x8f))
		return NULL;
	for (int i = 1; i <= more; i++)
		if ((u[i] & 0xc0) != 0x80)
			return NULL;
	return s + 1 + more;
}

static const char *string(const char *s)
{
	if (*s++ != '"')
		return NULL;
	while (*s != '"') {
		if ((unsigned char)*s < 0x20)
			return NULL; /* the end of the text, too */
		if ((unsigned char)*s >= 0x80) {
			s = wide(s);
			if (!s)
				return NULL;
			continue;
		}
		if (*s++ != '\\')
			continue;
		if (*s == 'u' && strspn(s + 1, "0123456789abcdefABCDEF") >= 4)
			s += 5;
		else if (*s && strchr("\"\\/bfnrt", *s))
			s++;
		else
			return NULL;
	}
	return s + 1;
}

static const char *digits(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n ? s + n : NULL;
}

static const char *number(const char *s)
{
	if (*s == '-')
		s++;
	if (*s == '0' && isdigit((unsigned char)s[1]))
		return NULL;
	s = digits(s);
	if (s && *s == '.')
		s = digits(s + 1);
	if (s && (*s == 'e' || *s == 'E'))
		s = digits(s + 1 + (s[1] == '+' || s[1] == '-'));
	return s;
}

/* The members of an object or array, behind its bracket. */
static const char *members(const char *s, char end, bool keys)
{
	s = blank(s);
	if (*s == end)
		return s + 1;
	for (;; s++) {
		if (keys) {
			s = string(blank(s));
			if (!s || *(s = blank(s)) != ':')
				return NULL;
			s++;
		}
		s = value(blank(s));
		if (!s)
			return NULL;
		s = blank(s);
		if (*s == end)
			return s + 1;
		if (*s != ',')
			return NULL;
	}
}

static const char *value(const char *s)
{
	switch (*s) {
	case '{':
		return members(s + 1, '}', true);
	case '[':
		return members(s + 1, ']', false);
	case '"':
		return string(s);
	case 't':
		return strncmp(s, "true", 4) ? NULL : s + 4;
	case 'f':
		return strncmp(s, "false", 5) ? NULL : s + 5;
	case 'n':
		return strncmp(s, "null", 4) ? NULL : s + 4;
	default:
		return number(s);
	}
}

bool json_valid(const char *text)
{
	const char *end = value(blank(text));

	return end && *blank(end) == '\0';
}

long long json_number(const char *text, const char *path)
{
	const char *at = text, *dot;
	char key[64];

	for (;; path = dot + 1) {
		dot = path + strcspn(path, ".");
		snprintf(key, sizeof key, "\"%.*s\":", (int)(dot - path), path);
		at = strstr(at, key);
		ck_assert_msg(at != NULL, "no %s in %s", key, text);
		at += strlen(key);
		if (!*dot)
			return atoll(at);
	}
}

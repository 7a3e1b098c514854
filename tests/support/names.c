/* SPDX-License-Identifier: BSD-2-Clause */
/* names: bind mounts over /etc, and a thread that answers questions about names. */
#include "support/names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "support/run.h"
#include "support/test.h"

/* ------------------------------------------------------------------ /etc */

static bool each_in(const char *dir, bool (*fn)(const char *ours, const char *theirs))
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool ok = true;

	ck_assert_ptr_nonnull(d);
	while (ok && (e = readdir(d))) {
		char ours[512], theirs[300];

		snprintf(ours, sizeof ours, "%s/%s", dir, e->d_name);
		snprintf(theirs, sizeof theirs, "/etc/%s", e->d_name);
		if (e->d_name[0] != '.' && access(theirs, F_OK) == 0)
			ok = fn(ours, theirs);
	}
	closedir(d);
	return ok;
}

static bool bind_over(const char *ours, const char *theirs)
{
	return mount(ours, theirs, NULL, MS_BIND, NULL) == 0;
}

static bool unbind(const char *ours, const char *theirs)
{
	umount(theirs);
	return true;
}

bool own_etc(const char *dir)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	return each_in(dir, bind_over);
}

void drop_etc(const char *dir)
{
	each_in(dir, unbind);
}

/* ------------------------------------------------------------------ the server */

enum { TYPE_A = 1, TYPE_AAAA = 28, SERVFAIL = 2, NXDOMAIN = 3, SILENT = -1, CUT = -2 };

struct packet {
	uint8_t bytes[512];
	size_t n;
};

#define OWED_MAX 256

static int sock, listener, order[2]; /* a pipe: 's' speak, 'e' end */
static pthread_t server;
static char *dir;

/* Questions that are met with silence, until names_speak(). */
static struct {
	struct packet answer;
	struct sockaddr_in from;
} owed[OWED_MAX];
static unsigned n_owed;
static _Atomic(unsigned) silences;
static bool speaks;

static void put16(struct packet *p, unsigned v)
{
	p->bytes[p->n++] = (uint8_t)(v >> 8);
	p->bytes[p->n++] = (uint8_t)v;
}

/* The name in the question, in lower case (some ask in rAnDoM case), and the type. Return: where
 * the question ends. */
static size_t read_question(const struct packet *q, char *name, size_t cap, unsigned *ret_type)
{
	size_t at = 12, n = 0;

	while (at < q->n && q->bytes[at]) {
		size_t len = q->bytes[at++];

		while (len-- && at < q->n && n + 2 < cap)
			name[n++] = (char)tolower(q->bytes[at++]);
		name[n++] = '.';
	}
	name[n ? n - 1 : 0] = '\0';
	*ret_type = at + 2 < q->n ? (unsigned)(q->bytes[at + 1] << 8 | q->bytes[at + 2]) : 0;
	return at + 5;
}

static void add_record(struct packet *a, unsigned type, const void *data, unsigned len)
{
	put16(a, 0xc00c); /* the name of the question */
	put16(a, type);
	put16(a, 1);
	put16(a, 0);
	put16(a, 60);
	put16(a, len);
	memcpy(a->bytes + a->n, data, len);
	a->n += len;
	a->bytes[7]++;
}

/* Return: the code of the answer, or SILENT, or CUT. */
static int answer(struct packet *a, const char *name, unsigned type, bool tcp)
{
	static const char *const known[] = { "good.test", "six.test", "many.test", "wide.test",
					     "half.test" };
	uint8_t v4[4] = { 127, 0, 0, 1 }, v6[16] = { [15] = 1 };

	if (!strncmp(name, "silent", 6))
		return SILENT;
	if (!strcmp(name, "broken.test") || (!strcmp(name, "half.test") && type == TYPE_A))
		return SERVFAIL;
	if (!strcmp(name, "wide.test") && !tcp)
		return CUT;
	if ((!strcmp(name, "good.test") || !strcmp(name, "wide.test")) && type == TYPE_A)
		add_record(a, type, v4, 4);
	if (!strcmp(name, "six.test") && type == TYPE_AAAA)
		add_record(a, type, v6, 16);
	for (v4[2] = 1; !strcmp(name, "many.test") && type == TYPE_A && v4[3] <= 24; v4[3]++)
		add_record(a, type, v4, 4);
	for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
		if (!strcmp(name, known[i]))
			return 0;
	return NXDOMAIN;
}

/* Return: the code of the answer in *a, or SILENT, or CUT, or -3: that was no question. */
static int answer_to(const struct packet *q, struct packet *a, bool tcp)
{
	char name[256] = "";
	unsigned type;
	size_t end = q->n < 17 ? q->n + 1 : read_question(q, name, sizeof name, &type);
	int code;

	if (end > q->n)
		return -3;
	memcpy(a->bytes, q->bytes, end); /* without what may follow it: EDNS */
	a->n = end;
	a->bytes[2] = 0x85; /* an answer, authoritative */
	memset(a->bytes + 6, 0, 6);
	code = answer(a, name, type, tcp);
	a->bytes[2] |= code == CUT ? 0x02 : 0;
	a->bytes[3] = (uint8_t)(0x80 | (code == SILENT ? SERVFAIL : code == CUT ? 0 : code));
	return code;
}

static void answer_datagram(void)
{
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	struct packet q, a = { .n = 0 };
	ssize_t n = recvfrom(sock, q.bytes, sizeof q.bytes, 0, (struct sockaddr *)&from, &len);
	int code;

	q.n = n > 0 ? (size_t)n : 0;
	code = answer_to(&q, &a, false);
	if (code == -3)
		return;
	if (code != SILENT || speaks) {
		sendto(sock, a.bytes, a.n, 0, (struct sockaddr *)&from, len);
		return;
	}
	if (n_owed < OWED_MAX) {
		owed[n_owed].answer = a;
		owed[n_owed++].from = from;
	}
	silences++;
}

/* Questions until the client closes. It is a test's own: it keeps nobody waiting. */
static void answer_stream(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct packet q, a;
	uint8_t size[2];

	while (fd >= 0 && recv(fd, size, 2, MSG_WAITALL) == 2) {
		q.n = (size_t)(size[0] << 8 | size[1]);
		if (q.n > sizeof q.bytes || recv(fd, q.bytes, q.n, MSG_WAITALL) != (ssize_t)q.n ||
		    answer_to(&q, &a, true) < 0)
			break;
		size[0] = (uint8_t)(a.n >> 8);
		size[1] = (uint8_t)a.n;
		if (send(fd, size, 2, MSG_MORE | MSG_NOSIGNAL) != 2 ||
		    send(fd, a.bytes, a.n, MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
}

static void speak(void)
{
	speaks = true;
	while (n_owed--)
		sendto(sock, owed[n_owed].answer.bytes, owed[n_owed].answer.n, 0,
		       (struct sockaddr *)&owed[n_owed].from, sizeof owed[n_owed].from);
	n_owed = 0;
}

static void *serve_names(void *arg)
{
	struct pollfd f[3] = { { .fd = sock, .events = POLLIN },
			       { .fd = order[0], .events = POLLIN },
			       { .fd = listener, .events = POLLIN } };
	char c = 0;

	while (c != 'e' && poll(f, 3, -1) > 0) {
		if (f[1].revents && read(order[0], &c, 1) == 1 && c == 's')
			speak();
		if (f[0].revents)
			answer_datagram();
		if (f[2].revents)
			answer_stream();
	}
	return NULL;
}

bool names_begin(const char *hosts, const char *options)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(53),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (!can_root() || own_netns() < 0)
		return false;
	dir = temp_dir();
	must_sh("set -e; cd %s; printf '127.0.0.1 localhost filed\\n' >hosts; printf 'hosts: %s\\n' >nsswitch.conf; : >gai.conf; "
		"printf 'nameserver 127.0.0.1\\n%s\\n' >resolv.conf",
		dir, hosts, options);
	if (!own_etc(dir)) {
		remove_tree(&dir);
		return false;
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(pipe2(order, O_CLOEXEC), 0);
	/* A thousand questions at once fit. */
	ck_assert_int_eq(
		setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ 16 << 20 }, sizeof(int)), 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	ck_assert_int_eq(pthread_create(&server, NULL, serve_names, NULL), 0);
	return true;
}

void names_speak(void)
{
	ck_assert_int_eq(write(order[1], "s", 1), 1);
}

unsigned names_silences(void)
{
	return silences;
}

void names_end(void)
{
	ck_assert_int_eq(write(order[1], "e", 1), 1);
	ck_assert_int_eq(pthread_join(server, NULL), 0);
	close(sock);
	close(listener);
	close(order[0]);
	close(order[1]);
	drop_etc(dir);
	remove_tree(&dir);
}

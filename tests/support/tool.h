/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tool: npsteer as a test runs it, in mount and network namespaces of the test's own
 *
 * /run and /sys/fs/bpf start empty and without a BPF file system; everything npsteer mounts or pins
 * ends with the test's process.
 */
#ifndef SUPPORT_TOOL_H
#define SUPPORT_TOOL_H

#include <netinet/in.h>
#include <stdbool.h>

#include "netpoll/steer_admin.h"
#include "support/run.h"

/* Exit codes as npsteer(8) has them: the numbers are the promise. */
enum { DONE, FAILED, MISUSED, DENIED, ABSENT, BUSY, FOREIGN, UNSUPPORTED };

extern char *tool_dir;     /* holds a copy of the tool that any user may run */
extern bool tool_isolated; /* in those namespaces */

#define NEEDS_RIGHTS()                                                                      \
	do {                                                                                \
		if (!tool_isolated)                                                         \
			SKIP("needs root, CAP_BPF and mount namespaces on a mounted root"); \
	} while (0)

/* The fixture of each test. */
void tool_setup(void);
void tool_teardown(void);

/* npsteer with these words, as the shell splits them; as uid 1234, in @gid only, without
 * capabilities. */
void npsteer(struct ran *r, const char *words);
void npsteer_as(struct ran *r, int gid, const char *words);
/* It succeeds. */
void must(const char *words);
/* The answer of npsteer -j with these words; malloc'ed. */
char *answer(const char *words);
void must_have(const char *text, const char *part);
/* It fails with that code and one sentence that has this part, in text and in JSON. */
void fails_with(int code, const char *part, const char *words);

/* A server of the service in this process: one worker, one listener. */
struct server {
	struct np_steer *steer;
	struct np_steer_worker *worker;
	int fd;
	struct sockaddr_in at;
};

void given_server(struct server *s, const char *service);
/* The same with a name, at @address, and nobody rescues. */
void given_worker(struct server *s, const char *service, const char *name, const char *address);
void server_end(struct server *s);
/* @n connections, one after another, accepted and closed by the server. */
void connect_times(const struct server *s, int n);

#endif

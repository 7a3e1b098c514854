/* SPDX-License-Identifier: BSD-2-Clause */
/* adopted: a service whose workers are a foreign server's, asked and looked at from outside */
#ifndef SUPPORT_ADOPTED_H
#define SUPPORT_ADOPTED_H

#include "netpoll/steer_admin.h"
#include "support/foreign.h"

/* The shapes whose listeners can be steered. */
#define STEERABLE 3
extern const enum foreign_shape steerable[STEERABLE];

extern char why[NP_STEER_TEXT_MAX]; /* the sentence of what has failed last */

struct seen {
	unsigned n, steerable, alone; /* listeners; those with one acceptor */
	struct np_steer_task acceptor[FOREIGN_MAX];
	unsigned acceptors, holders; /* of the last one */
	int reuseport, program;
	char address[80], verdict[NP_STEER_TEXT_MAX];
};

/* For np_steer_listeners(): @arg is a struct seen. */
int see(void *arg, const struct np_steer_listener *l);
struct seen look(const char *address);

struct np_steer *given_service(const char *name, const char *policy);
void end_service(struct np_steer *s, const char *name);
/* The service "web" has adopted @n listeners of @shape at FOREIGN_AT; and the end of both. */
struct np_steer *given_adopted(struct foreign *f, const char *policy, enum foreign_shape shape,
			       unsigned n);
void end_adopted(struct np_steer *s, struct foreign *f);

int adopt(struct np_steer *s, const char *address);
int release(struct np_steer *s);
void must_adopt(struct np_steer *s, const char *address, int n);
void must_release(struct np_steer *s, int n);
/* @r is @err, and the sentence of @s has @part. */
void fails(int r, int err, const char *part, const struct np_steer *s);

struct np_steer_worker_info worker(struct np_steer *s, unsigned w);
unsigned workers(struct np_steer *s);
struct np_steer_stats stats(struct np_steer *s);
/* Nothing of the service is at the listeners, and it knows none. */
void expect_nothing_left(struct np_steer *s, const char *address, unsigned listeners);

/* Shapes that cannot be steered: how many accept, and part of the sentence that says why not. */
#define REFUSED 4
extern const struct refused {
	enum foreign_shape shape;
	unsigned n, acceptors;
	const char *why;
} refused[REFUSED];

/* @deed fails for who may do all of it but look into other processes, and says so. */
void fails_without_ptrace(int (*deed)(struct np_steer *s));

/* np_steer_keep() of FOREIGN_AT for the service "web" in a child, until end_keeper(). */
struct keeping {
	const char *address; /* NULL: FOREIGN_AT */
	int hold_ms;
	enum np_steer_rescue_of rescue;
};
void given_keeper(struct child *c, const struct keeping *k);
void end_keeper(struct child *c);
/* The same in the child itself. */
void keep(int sock, void *arg);
/* A keeper fills slot and roster under the lock, which gc takes too. */
void await_workers(struct np_steer *s, unsigned n);

/* @n connections that nobody has accepted yet. 0 or -errno. */
int queue_up(const char *address, int fds[], int n);
/* Each of them gets its letter, and is closed. */
void expect_letters(int fds[], int n);

/* A cgroup of the test's own with @pid in it. False: there is none to be had. */
bool given_cgroup(pid_t pid, char *dst, size_t cap);
/* Until all of its threads are: one that has not come to it would still leave accept(2) with a
 * connection. */
void stop_process(pid_t pid);
/*
 * In a child: a server in namespaces of its own, of which @arg, a bool, says whether the user's is
 * one, and its client, which nobody outside could be.
 */
void run_apart(int sock, void *arg);

#endif

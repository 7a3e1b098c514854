/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: a steered service in a network namespace and with a bpffs of its own, and its clients
 *
 * The clients connect over loopback, where the handshake has ended when connect() returns: what was
 * connected can be accepted without waiting.
 */
#ifndef SUPPORT_STEER_H
#define SUPPORT_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "netpoll/steer_admin.h"
#include "support/test.h"

#define RIG_MAX     256
/* Of a rig that is told nothing else: it accepts when the test says so, and till then it does not
 * hang. */
#define RIG_HANG_MS 60000

struct rig {
	struct np_steer *s;
	struct np_steer_worker *w[RIG_MAX];
	int fd[RIG_MAX]; /* listeners, -1: closed */
	unsigned accepted[RIG_MAX];
	unsigned n;
	int backlog;      /* of the listeners to come; 0: the longest there is */
	char address[64]; /* where they listen, port included */
};

/*
 * own_steering() - a network namespace, and a mount namespace with a bpffs at $NP_BPFFS
 *
 * Return: NULL, or why the test has to be skipped.
 */
const char *own_steering(void);
/* First line of such a START_TEST. */
#define OWN_STEERING()                             \
	do {                                       \
		const char *why_ = own_steering(); \
		if (why_)                          \
			SKIP("%s", why_);          \
	} while (0)
/* The bpffs that own_steering() has mounted. */
const char *own_bpffs(void);

/*
 * Set by suites that are not about rescues: on a busy machine a rig accepts later than hang_ms,
 * which looks like a worker that hangs, and what it has queued goes to others.
 */
extern bool rig_no_rescue;

/* Private service, or of a pinned one; @n workers listening on "127.0.0.1:0". */
void rig_start(struct rig *r, unsigned n, const struct np_steer_opts *o);
void rig_open(struct rig *r, const char *service, const struct np_steer_opts *o);
/* One more worker, listening on @address; its index in the rig. */
unsigned rig_worker(struct rig *r, const char *address);
/* Closes the listener of worker @i only. */
void rig_close_listener(struct rig *r, unsigned i);
void rig_stop(struct rig *r);

/* A connected blocking socket, or -errno. */
int client_connect(const char *address);
/* RST at once: nothing in TIME_WAIT. */
void client_close(int *fd);
/* @n of them; fails the test if one cannot connect. */
void clients_connect(const char *address, int *fds, unsigned n);
void clients_close(int *fds, unsigned n);
/* @n clients in waves: connected, accepted, closed; accepted[] grows. Fails the test if one is
 * lost. */
void rig_drive(struct rig *r, unsigned n);
/* Accepts what is queued and closes it; adds to accepted[]. Returns how many. */
unsigned rig_accept(struct rig *r);
unsigned rig_accepted(const struct rig *r);

/* enum np_steer_level */
int rig_level(const struct rig *r);
struct np_steer_stats rig_stats(const struct rig *r);
struct np_steer_worker_info rig_worker_info(const struct rig *r, unsigned i);

#endif

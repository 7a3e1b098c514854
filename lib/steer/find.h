/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * find: listeners of any process: where they are, which processes hold them, which tasks accept
 *
 * The kernel's list (sock_diag) has the listeners of a network namespace; an iterator (holders.h)
 * the holders of each, the epoll instances that watch it, and the program of its group; and
 * /proc/PID/task/TID/syscall the thread that sleeps in such an instance, or in accept(2). A server
 * that sleeps in select(2) or poll(2) is not seen to accept.
 *
 * Without the rights of the iterator, CAP_BPF and CAP_PERFMON, /proc/PID/fd and fdinfo tell the
 * same of the processes that may be looked into, a link for each descriptor, but for the program.
 *
 * A reader would get wrong: any of this may have changed before the next line is run. What is acted
 * upon is a duplicate that has been asked for its cookie: find_take().
 */
#ifndef STEER_FIND_H
#define STEER_FIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "netpoll/steer_admin.h"
#include "steer_abi.h"
#include "sys/addr.h"
#include "sys/diag.h"

#define FIND_HOLDERS   64u /* of one listener that are remembered: the first, and the last */
#define FIND_ACCEPTORS 16u

struct find_holder {
	pid_t pid;
	int number; /* of the descriptor */
};

struct find_acceptor {
	pid_t pid;
	pid_t tid;         /* 0: not seen to sleep; -1: several take turns */
	int epoll;         /* number of the instance; -1: blocked in accept(2) */
	uint64_t instance; /* np_holding.epoll; 0: not known */
};

struct find_listener {
	struct sys_listener d;
	uint64_t netns; /* find_netns.id */
	struct find_holder holder[FIND_HOLDERS];
	struct find_acceptor acceptor[FIND_ACCEPTORS];
	unsigned holders, acceptors;
	bool chosen; /* one of its holders was asked for */
	int err;     /* 0: the rest was asked of a duplicate; else why there is none */
	bool reuseport, mptcp;
	struct np_group key;
	unsigned siblings; /* listeners of the same address, itself included */
	int program;       /* 1: one chooses in its group; 0: none; -1: not known */
	uint32_t program_id;
};

/* A network namespace, for as long as it is visited. */
struct find_netns {
	int fd;
	bool own; /* the caller's */
	uint64_t id;
};

struct find {
	struct find_listener *all;
	unsigned n;
	bool whole; /* all was looked at */
	int denied; /* processes that could not be looked into */
	char why[NP_STEER_TEXT_MAX];
};

/* What is looked for. */
struct find_query {
	struct tracer *tracer; /* loaded at need, and the caller's; NULL: one of its own */
	struct addr at;
	unsigned port; /* 0: any */
	bool any_host; /* at is not asked for */
	pid_t pid;     /* held by that process or a descendant of it; 0: any */
	const char *cgroup;
	bool everywhere; /* in every network namespace that a process is in */
	bool in_netns;   /* in this one alone */
	int netns_fd;
};

/* "[ADDR:]PORT", NULL for any. -EINVAL. */
int find_parse(struct find_query *q, const char *address);
/* find_fini() in any case. -errno, f->why has a sentence. */
int find_run(struct find *f, const struct find_query *q);
void find_fini(struct find *f);
/*
 * find_namespaces() - fn(arg) for each network namespace that is meant, which is open meanwhile
 *
 * One after the other, and the caller's own first, if it is one of them. Return: 0; what fn
 * returned, where that was below 0, which ends it; -EMFILE and others: not all were visited.
 */
int find_namespaces(const struct find_query *q,
		    int (*fn)(void *arg, const struct find_netns *netns), void *arg);
/* A process of the cgroup that is asked for; 0: none, or no cgroup is. */
pid_t find_process(const struct find_query *q);
/*
 * find_take() - a duplicate of the listener, from whichever holder gives it
 *
 * Return: 0; -ESTALE: what is there is another socket by now; -ESRCH: no holder is seen; -EPERM,
 * -EACCES, -ENOSYS.
 */
int find_take(const struct find_listener *l, int *ret_fd);
/* In the words of the public header; @own as find_judge(). */
struct find_told {
	struct np_steer_listener l;
	struct np_steer_task holders[FIND_HOLDERS], acceptors[FIND_ACCEPTORS];
	char address[80], verdict[NP_STEER_TEXT_MAX];
};
void find_describe(const struct find *f, const struct find_listener *l, uint32_t own,
		   struct find_told *ret);
/* Whether it has been looked at, and is in the group of @key. */
bool find_lies_at(const struct find_listener *l, const struct np_group *key);
bool find_same_address(const struct find_listener *a, const struct find_listener *b);
/* The only task that accepts, NULL where none or several are seen. */
const struct find_acceptor *find_worker(const struct find_listener *l);
void find_address(const struct find_listener *l, char *dst, size_t cap);
/*
 * find_judge() - whether it can be steered, in words
 *
 * @own: number of the program that may be there; 0: none. Return: 0; -NP_EUNSUPPORTED, -EBUSY: a
 * foreign program; -EPERM and others: it cannot be looked at.
 */
int find_judge(const struct find *f, const struct find_listener *l, uint32_t own, char *dst,
	       size_t cap);

#endif

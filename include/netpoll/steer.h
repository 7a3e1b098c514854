/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: which worker gets a new TCP connection, decided by an eBPF program at its SYN
 *
 * Usable without the rest of this library, with an event loop of your own:
 *
 *	np_steer_open("web", NULL, &s);         once per process
 *	np_steer_worker(s, "worker-0", &w);     once per thread that accepts
 *	np_steer_listen(w, "tcp", "0.0.0.0:80", 0, &fd);
 *	...                                     accept4(fd), epoll, whatever you do
 *	close(fd);                              its queue migrates to the siblings
 *	np_steer_worker_close(&w);
 *	np_steer_close(&s);
 *
 * A service is one set of maps and programs. Pinned by `npsteer load web` it is shared by every
 * process that opens it, and they need no capability; otherwise it is private to this process,
 * which needs CAP_BPF. Where neither can be had, everything here still works, and the kernel's own
 * hash spreads the connections: np_steer_info() tells the level and why it is no higher.
 *
 * Steering happens once, at the SYN. It cannot move a connection that exists, except out of the
 * accept queue of a listener that closes.
 *
 * libbpf prints through one callback of the whole process. While a call here uses libbpf, that
 * callback is taken: what libbpf says to this library is never printed, what it says to other
 * threads goes to the callback that was there, and that is put back at the end, unless the program
 * has set another one meanwhile.
 *
 * netpoll/steer_admin.h has the rest: services loaded and pinned, policies, counters, traces.
 *
 * Threads. "setup" below: any thread, but one at a time for one np_steer. "owner": the one thread
 * that serves as this worker. No call here parks a fiber.
 */
#ifndef NETPOLL_STEER_H
#define NETPOLL_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "netpoll/opts.h"
#include "netpoll/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct np_steer;
struct np_steer_worker;

enum np_steer_mode {
	/* join the pinned service that was named, else load privately, else the kernel's hash */
	NP_STEER_AUTO = 0,
	NP_STEER_REQUIRED = 1, /* the same, but the kernel's hash is an error */
	NP_STEER_OFF = 2,      /* the kernel's hash */
	NP_STEER_JOIN = 3,     /* the pinned service or an error; never loads anything */
};

/* What can be had; each level has what those below it have. */
enum np_steer_level {
	NP_STEER_L0 = 0, /* the kernel's hash over the sockets of a port */
	/* without BPF, where the policy "cpu" was asked for: SO_INCOMING_CPU (Linux 6.2) */
	NP_STEER_L1 = 1,
	NP_STEER_L2 = 2, /* policies on what workers publish */
	NP_STEER_L3 = 3, /* Linux 5.14: a listener that closes loses nothing */
	/* Linux 6.2, BTF, CAP_PERFMON to load: and on what waits in each listener's own queues */
	NP_STEER_L4 = 4,
	/* and the kernel counts the connections of workers that publish nothing: adopted servers */
	NP_STEER_L5 = 5,
};

#define NP_STEER_NAME_MAX 31 /* bytes in the name of a service or worker */
#define NP_STEER_TEXT_MAX 320

struct np_steer_opts {
	size_t sz;
	enum np_steer_mode mode;
	const char *bpffs; /* NULL: $NP_BPFFS, else /sys/fs/bpf and /run/netpoll/bpf */
	/* NULL: auto. Of a private program, and of level 1 */
	const char *policy;
	/*
	 * a worker busy for longer, or at level 4 one that takes nothing, is passed over; 0: 100;
	 * -1: never
	 */
	int hang_ms;
	/* NP_STEER_L2 .. L4: no program of a higher level is loaded; 0: the highest there is */
	int max_level;
	/* NP_ON by default: what a hanging worker has queued is handed to its siblings */
	enum np_switch rescue;
	char *error; /* what went wrong and what to do, in one sentence; may be NULL */
	size_t error_cap;
	/* Rescues, and what they could not do; enum np_log_level. Thread: any. The library prints
	 * nothing itself. */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
};
NP_OPTS_INIT(np_steer_opts)

struct np_steer_info {
	size_t sz;
	int level;   /* enum np_steer_level */
	bool pinned; /* shared with other processes */
	unsigned abi;
	unsigned workers; /* every worker's number is below */
	unsigned groups;  /* likewise */
	int hang_ms;      /* 0: no worker is ever passed over */
	char service[NP_STEER_NAME_MAX + 1];
	char policy[16];
	char path[256];                 /* of the pins; empty: private */
	char reason[NP_STEER_TEXT_MAX]; /* why the level is what it is, in one sentence */
};
NP_OPTS_INIT(np_steer_info)

/* ------------------------------------------------------------------ a service */

/*
 * np_steer_open() - join or make a service
 *
 * @service: letters, digits, '-' and '_'. A pinned service is joined only if it was asked for by
 * name: NULL is a private program, and "default" under NP_STEER_JOIN. Loading "default" moves
 * no program but those that say so.
 *
 * Thread: setup. Lifetime: until np_steer_close().
 * Return: 0; -EINVAL for a bad name, policy or mode, -E2BIG for options from a newer header,
 *         -EPROTO where the pins are of another ABI or incomplete, -ENOMEM, -EMFILE; NP_STEER_JOIN
 *         also -ENOENT (no such service), -EACCES (its pins are closed to this user), -EPERM;
 *         NP_STEER_REQUIRED also -EPERM (no capability, no pins) and -NP_EUNSUPPORTED (a kernel
 *         before 5.8). opts->error has the sentence.
 */
NP_API int np_steer_open(const char *service, const struct np_steer_opts *opts,
			 struct np_steer **ret);

/*
 * np_steer_close() - leave the service; a private one is gone with its last listener
 *
 * Thread: setup. Return: 0, *s is NULL then; -EBUSY while workers of this np_steer are open.
 */
NP_API int np_steer_close(struct np_steer **s);

/*
 * np_steer_error() - what the last failed call on @s had to say, and what to do about it
 *
 * Thread: setup. Lifetime: until the next call on @s. Return: one sentence, "" if none failed.
 */
NP_API const char *np_steer_error(const struct np_steer *s);

/*
 * np_steer_info() - level, policy, place
 *
 * Thread: setup. Return: 0, -EINVAL if ret->sz is not set.
 */
NP_API int np_steer_info(struct np_steer *s, struct np_steer_info *ret);

/* ------------------------------------------------------------------ a worker */

/*
 * np_steer_worker() - claim a worker of the service
 *
 * A worker is one accepting thread, whatever it listens on. Its claim is a socket that the kernel
 * closes however the process ends. @name is for people; NULL is "".
 *
 * Thread: setup. Lifetime: until np_steer_worker_close().
 * Return: 0; -ENOSPC when every worker of the service is taken; -EINVAL for a long name, -ENOMEM,
 *         -EMFILE, -EPERM (the pins may be read but not written).
 */
NP_API int np_steer_worker(struct np_steer *s, const char *name, struct np_steer_worker **ret);

/*
 * np_steer_leave() - take no more connections, and keep the claim
 *
 * Its slots are given up; what is in its accept queues stays there until the listeners are closed,
 * which hands it to the siblings. Call np_steer_worker_close() when the last connection has ended.
 * Another process that holds the service's lock and does not go on keeps no call here for more than
 * a moment.
 *
 * Thread: setup. Return: 0, also when repeated.
 */
NP_API int np_steer_leave(struct np_steer_worker *w);

/*
 * np_steer_worker_close() - give up the claim, and the slots if they are still held
 *
 * The caller's listeners stay open, and get no more connections from this service.
 *
 * Thread: setup. Return: 0, *w is NULL then; -EBUSY while np_steer_conn_inc() outnumbers _dec():
 *         the line would pass to another worker while this one still writes to it.
 */
NP_API int np_steer_worker_close(struct np_steer_worker **w);

/*
 * np_steer_worker_index() - the worker's number in the service
 *
 * Thread: any. Return: 0 and up.
 */
NP_API int np_steer_worker_index(const struct np_steer_worker *w);

/*
 * np_steer_listen() - make a listener and its slot, in the one order that works
 *
 * socket, SO_REUSEPORT, bind, listen, slot, attach. The port must be free or held by workers of
 * this service. @network "tcp", "tcp4", "tcp6"; @address as "127.0.0.1:80", "[::1]:80", ":80" (both
 * families on one socket). Port 0 is chosen once: siblings of this np_steer that ask for the same
 * address with port 0 get the same port. @backlog 0, -1: net.core.somaxconn. The fd is
 * non-blocking, close-on-exec and the caller's to close; closing empties its slot. Addresses of one
 * service may overlap, in either order: "[::]:80", "0.0.0.0:80", "127.0.0.1:80"; the more special
 * one gets what it has a name for.
 *
 * Thread: setup.
 * Return: 0; -EADDRINUSE when another user holds the port, -EADDRNOTAVAIL, -EACCES (a port below
 *         1024), -EINVAL for a malformed address or a @backlog below -1, -NP_ERESOLVE for a host
 *         name, -NP_EUNSUPPORTED for another network, -EAFNOSUPPORT, -ENODEV for a zone that is no
 *         interface, -ENOSPC when every group of the service is taken, -EEXIST when this worker
 *         listens there already, -ESHUTDOWN after np_steer_leave(), -EMFILE, -ENOMEM, -EBUSY when
 *         another process holds the service's lock for seconds. np_steer_error() has the sentence.
 */
NP_API int np_steer_listen(struct np_steer_worker *w, const char *network, const char *address,
			   int backlog, int *ret_fd);

/*
 * np_steer_add() - give a slot to a listener that the caller made
 *
 * It must be bound and listening, with SO_REUSEPORT set before bind. Repeating is harmless, and due
 * after shutdown() and listen() on it, which lose the slot. The caller has to know that no other
 * user holds the port. Does not take @fd. On failure nothing has changed, for this
 * service or another one.
 *
 * Thread: setup.
 * Return: 0; -EINVAL if it is not such a socket, -EBUSY if another worker or another service has
 *         it, -EBADF, -NP_EUNSUPPORTED for a unix socket; -ENOSPC, -EEXIST, -ESHUTDOWN, -EBUSY as
 *         np_steer_listen().
 */
NP_API int np_steer_add(struct np_steer_worker *w, int fd);

/*
 * np_steer_relisten() - listen again, on a listener that was shut because this worker hung
 *
 * While a worker hangs, a thread of this library, or another process of the service, shuts its
 * listeners: the kernel hands their queues to the siblings (level 3; np_steer_opts.rescue). The
 * worker sees that once it is back: EPOLLHUP, and accept4() says EINVAL. It calls this, with the
 * same descriptor, whose registration in an epoll lives on. Address, port and backlog are as they
 * were: a listener that was bound to port 0 gets its port once more, and never another one. Can be
 * tried again.
 *
 * Never waits. Thread: any.
 * Return: 0, also if it listens already; -EBUSY while another process or thread has the service's
 *         lock: try again, a little later; -EINVAL for a descriptor that is no listener of this
 *         worker, -ESHUTDOWN after np_steer_leave(), -EADDRINUSE where another has taken the port
 *         meanwhile, -EBADF.
 */
NP_API int np_steer_relisten(struct np_steer_worker *w, int fd);

/*
 * np_steer_set_cpu() - serve the connections whose SYN @cpu received, under the policy cpu
 *
 * The last worker that asks for a CPU has it, and a worker has one, the last it asked for. -1:
 * none. At level 1 it is the worker's listeners that prefer a CPU; before Linux 6.2 the kernel asks
 * them in vain, and its hash decides.
 *
 * Thread: setup. Return: 0; -EINVAL for a CPU this cannot count, -EPERM.
 */
NP_API int np_steer_set_cpu(struct np_steer_worker *w, int cpu);

/*
 * np_steer_busy(), np_steer_idle() - around the handling of events
 *
 * busy: after epoll_wait() returned, and again before each event of a long batch; it costs 6 ns.
 * idle: before epoll_wait(). A worker that stays busy for hang_ms gets no new connections.
 *
 * Thread: owner.
 */
NP_API void np_steer_busy(struct np_steer_worker *w);
NP_API void np_steer_idle(struct np_steer_worker *w);

/*
 * np_steer_conn_inc(), np_steer_conn_dec() - a connection was accepted, has ended
 *
 * Thread: owner.
 */
NP_API void np_steer_conn_inc(struct np_steer_worker *w);
NP_API void np_steer_conn_dec(struct np_steer_worker *w);

/*
 * np_steer_publish() - the workers that the policy "bitmap" chooses from
 *
 * @set: bit w % 64 of word w / 64 is worker w; @words of them, and none beyond. One store for each
 * 64 workers: for a control plane, or each worker's own loop, to call as often as it likes. A
 * member that cannot take a connection is passed over as always; a set of none leaves the choice to
 * the hash.
 *
 * Thread: any. Return: 0; -EINVAL for more words than there are workers, -NP_EUNSUPPORTED at level
 * 0.
 */
NP_API int np_steer_publish(struct np_steer *s, const uint64_t *set, unsigned words);

#ifdef __cplusplus
}
#endif
#endif

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
 * A reader would get wrong: steering happens once, at the SYN. It cannot move a connection that
 * exists, except out of the accept queue of a listener that closes.
 *
 * libbpf prints through one callback of the whole process. While a call here uses libbpf, that
 * callback is taken: what libbpf says to this library is never printed, what it says to other
 * threads goes to the callback that was there, and that is put back at the end, unless the program
 * has set another one meanwhile.
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
};

#define NP_STEER_NAME_MAX 31 /* bytes in the name of a service or worker */
#define NP_STEER_TEXT_MAX 320

struct np_steer_opts {
	size_t sz;
	enum np_steer_mode mode;
	const char *bpffs; /* NULL: $NP_BPFFS, else /sys/fs/bpf and /run/netpoll/bpf */
	/* NULL: auto. Of a private program, of level 1, and of np_steer_load() */
	const char *policy;
	int hang_ms;  /* a worker busy for longer is passed over; 0: 100; -1: never */
	int64_t gid1; /* np_steer_load(): the group that may join, plus one; 0: root only */
	bool force;   /* np_steer_unload(), np_steer_load(): even while workers are there */
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
	int hang_ms;
	char service[NP_STEER_NAME_MAX + 1];
	char policy[16];
	char path[256];                 /* of the pins; empty: private */
	char reason[NP_STEER_TEXT_MAX]; /* why the level is what it is, in one sentence */
};
NP_OPTS_INIT(np_steer_info)

/*
 * What the program has counted.
 *   runs      = syn_total + nonsyn_total + migrated_child + migrated_request
 *   syn_total = steered + fallback_hash + rejected_rst + shed_full
 * A SYN that is sent again counts again; with SYN cookies the ACK chooses, in nonsyn_total.
 */
struct np_steer_stats {
	size_t sz;
	uint64_t syn_total, nonsyn_total, migrated_child, migrated_request;
	uint64_t steered, fallback_hash, rejected_rst, shed_full;
	uint64_t fallback_none; /* of fallback_hash: decided by the kernel's hash */
	uint64_t migrated_none; /* of migrated_*: likewise */
	uint64_t retried, skipped_empty, skipped_away, skipped_hung;
	uint64_t skipped_full; /* level 4 */
	uint64_t spilled;      /* cpu, maglev: the flow's own worker was fit, and too loaded */
};
NP_OPTS_INIT(np_steer_stats)

enum np_steer_state {
	NP_STEER_READY = 0,
	NP_STEER_DRAINING = 1, /* gets connections only when nobody else can */
	NP_STEER_OUT = 2,      /* gets none */
};

struct np_steer_worker_info {
	size_t sz;
	bool claimed; /* false: the rest is zero */
	int state;    /* enum np_steer_state */
	/* as its own PID namespace numbers it; for people to read. See pid_ns */
	int pid;
	int cpu;         /* the one it asked to serve, -1: none */
	unsigned weight; /* 100 where nothing was said */
	char name[NP_STEER_NAME_MAX + 1];
	uint64_t busy_ms; /* busy for so long; 0: idle */
	/* published by the worker */
	uint64_t conns, accepted_total, closed_total;
	/* counted by the program, all groups: accepted = steered + fallback + migrated_in -
	 * migrated_out */
	uint64_t steered, fallback, nonsyn, migrated_in, migrated_out;
	/* how often its listener was shut because it hung, with how many queued */
	uint64_t rescued, moved;
	uint64_t rescue_failed; /* and how often somebody who found it hanging could not do that */
	/* 0: pid is of the caller's PID namespace, else of that one: /proc/PID/ns/pid */
	uint64_t pid_ns;
};
NP_OPTS_INIT(np_steer_worker_info)

struct np_steer_group_info {
	size_t sz;
	char address[80]; /* "127.0.0.1:80" */
	unsigned workers; /* that listen there now */
	uint64_t netns;   /* cookie of the network namespace, 0: unknown */
};
NP_OPTS_INIT(np_steer_group_info)

/* ------------------------------------------------------------------ a service */

/*
 * np_steer_open() - join or make a service
 *
 * @service: letters, digits, '-' and '_'. A pinned service is joined only if it was asked for by
 * name: NULL is a private program, and "default" under NP_STEER_JOIN. Somebody who loads "default"
 * moves no program but those that say so.
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
 * Another process that holds the service's lock and does not go on keeps nobody here for more than
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
 * address with port 0 get the same port. @backlog 0: net.core.somaxconn. The fd is non-blocking,
 * close-on-exec and the caller's to close; closing empties its slot. Addresses of one service may
 * overlap, in either order: "[::]:80", "0.0.0.0:80", "127.0.0.1:80"; the more special one gets what
 * it has a name for.
 *
 * Thread: setup.
 * Return: 0; -EADDRINUSE when somebody else holds the port, -EADDRNOTAVAIL, -EACCES (a port below
 *         1024), -EINVAL for a malformed address, -NP_ERESOLVE for a host name, -NP_EUNSUPPORTED
 *         for another network, -EAFNOSUPPORT, -ENODEV for a zone that is no interface, -ENOSPC when
 *         every group of the service is taken, -EEXIST when this worker listens there already,
 *         -ESHUTDOWN after np_steer_leave(), -EMFILE, -ENOMEM, -EBUSY when another process holds
 *         the service's lock for seconds. np_steer_error() has the sentence.
 */
NP_API int np_steer_listen(struct np_steer_worker *w, const char *network, const char *address,
			   int backlog, int *ret_fd);

/*
 * np_steer_add() - give a slot to a listener that the caller made
 *
 * It must be bound and listening, with SO_REUSEPORT set before bind. Repeating is harmless, and is
 * what to do after shutdown() and listen() on it, which lose the slot. That nobody else holds the
 * port is for the caller to know. Does not take @fd. On failure nothing has changed, for this
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
 * listeners: the kernel hands what they have queued to the siblings (level 3; np_steer_opts.rescue). The
 * worker sees that once it is back: EPOLLHUP, and accept4() says EINVAL. It calls this, with the
 * same descriptor, whose registration in an epoll lives on. Address, port and backlog are as they
 * were: a listener that was bound to port 0 gets its port once more, and never another one. Can be
 * tried again.
 *
 * Never waits. Thread: any.
 * Return: 0, also if it listens already; -EBUSY while another process or thread has the service's
 *         lock: try again, a little later; -EINVAL for a descriptor that is no listener of this
 *         worker, -ESHUTDOWN after np_steer_leave(), -EADDRINUSE where somebody has taken the port
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

/* ------------------------------------------------------------------ control and counters */

/*
 * np_steer_set_policy() - switch the policy; no connection is lost by it
 *
 * "hash": each flow to one of the workers, evenly. "rr": in turn. "random": evenly, whatever the
 * flow. "p2c": the less loaded one of two by the hash. "least": the least loaded one. "cpu": to the
 * worker of the CPU that got the SYN, until it has more than "spill" % of another's load. "maglev":
 * a client's connections to the same worker, until that has more than "bound" % of the mean load.
 * "weighted": each by its share of the weights, whatever its load. "bitmap": evenly to those that
 * np_steer_publish() has named, and by hash where it has named none. Loaded: by published
 * connections, for each unit of weight. "p2c-exact", "least-exact": those that wait in the
 * listener's own queues included (level 4; below it they are "p2c" and "least"); so do "cpu" and
 * "maglev" there. "auto", what a new service has: least-exact up to 16 workers, p2c-exact above,
 * and p2c below level 4.
 *
 * Thread: setup.
 * Return: 0; -EINVAL for an unknown name, -EPERM without write access to the service's
 *         configuration, -NP_EUNSUPPORTED at level 0.
 */
NP_API int np_steer_set_policy(struct np_steer *s, const char *policy);
/* np_steer_policies() - the @i-th policy's name, NULL past the last. Thread: any. */
NP_API const char *np_steer_policies(unsigned i);

/*
 * np_steer_set_hang_ms() - from when on a busy worker is passed over; 0: never
 *
 * Thread: setup. Return: as np_steer_set_policy(); -EINVAL below zero, and under three ticks of the
 *         kernel's clock (12 ms where HZ is 250).
 */
NP_API int np_steer_set_hang_ms(struct np_steer *s, int ms);

/*
 * np_steer_drain(), np_steer_undrain(), np_steer_kick() - whether worker @w gets new connections
 *
 * drain: only when nobody else can take them. kick: none at all. undrain ends both. A worker that
 * has its share of max_conns is drained by its server as well, until it has room: neither ends the
 * other.
 *
 * Thread: setup. Return: 0; -ENOENT where nobody has claimed @w, -EPERM, -NP_EUNSUPPORTED at level
 * 0.
 */
NP_API int np_steer_drain(struct np_steer *s, unsigned w);
NP_API int np_steer_undrain(struct np_steer *s, unsigned w);
NP_API int np_steer_kick(struct np_steer *s, unsigned w);

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

/*
 * np_steer_find_worker() - the worker that is meant by @text: its number, its name, or NAME@PID
 *
 * Of several workers with one name the only one that is ready, neither draining nor out, is meant:
 * a server's successor has the same names. A number is passed on as it is.
 *
 * Thread: setup. Return: 0; -ENOENT, -ENOTUNIQ where several are ready, or none of several:
 *         np_steer_error() lists them; -NP_EUNSUPPORTED at level 0, -ENOMEM.
 */
NP_API int np_steer_find_worker(struct np_steer *s, const char *text, unsigned *ret_w);

#define NP_STEER_WEIGHT_MAX 10000
/*
 * np_steer_set_weight() - worker @w's share under the policies that weigh, 100 where nothing was
 * said
 *
 * Thread: setup. Return: 0; -EINVAL out of 1..NP_STEER_WEIGHT_MAX; else as np_steer_drain().
 */
NP_API int np_steer_set_weight(struct np_steer *s, unsigned w, unsigned weight);

/*
 * np_steer_set_param() - one of the policies' parameters, by its name
 *
 * "hang_ms": from when on a busy worker is passed over, in milliseconds; 0: never. "on_exhausted":
 * what happens to a SYN for which no worker is fit: "serve": the least bad one gets it; "rst":
 * refused, unless half-open connections are all that is in the way (a SYN flood), which SYN cookies
 * get around; "full_queue": where a full listener was met it goes there, and the kernel drops it
 * without a word (level 4). "spill", "bound": per cent, 100 to 10000, 0: never; eight connections a
 * worker may have in any case. "slow_start_ms": for so long after it was claimed or undrained a
 * worker's weight grows up to its own, under every policy that weighs but maglev; up to an hour, 0:
 * it has it at once. "set": np_steer_publish()'s, as "0-3,8", "none".
 *
 * Thread: setup. Return: 0; -EINVAL for an unknown name or a value out of range; else as
 *         np_steer_set_policy(). np_steer_error() has the sentence.
 */
NP_API int np_steer_set_param(struct np_steer *s, const char *name, const char *value);
/*
 * np_steer_param() - its value, as np_steer_set_param() takes it. Thread: setup. Return: likewise.
 */
NP_API int np_steer_param(struct np_steer *s, const char *name, char *dst, size_t cap);
/* np_steer_params() - the @i-th parameter's name, NULL past the last. Thread: any. */
NP_API const char *np_steer_params(unsigned i);

/*
 * np_steer_stats() - what the program has counted since it was loaded
 *
 * Thread: setup. Return: 0; -EINVAL if ret->sz is not set, -NP_EUNSUPPORTED at level 0.
 */
NP_API int np_steer_stats(struct np_steer *s, struct np_steer_stats *ret);

/*
 * np_steer_worker_info() - worker @w's line, and its counters over all groups np_steer_group_info()
 * - the address of group @g np_steer_slot_stats()  - worker @w's counters in group @g: steered to
 * migrated_out of *ret, no others
 *
 * Thread: setup. Return: 0; -ERANGE past the last one (NP_STEER's limits, see np_steer_info()),
 *         -ENOENT for a group that is free, -EINVAL, -NP_EUNSUPPORTED at level 0.
 */
NP_API int np_steer_worker_info(struct np_steer *s, unsigned w, struct np_steer_worker_info *ret);
NP_API int np_steer_group_info(struct np_steer *s, unsigned g, struct np_steer_group_info *ret);
NP_API int np_steer_slot_stats(struct np_steer *s, unsigned g, unsigned w,
			       struct np_steer_worker_info *ret);

/*
 * np_steer_rescue() - watch over every worker of the service for @ms milliseconds, -1: for ever
 *
 * What each process of the service does for itself and its siblings; for one that is in no
 * process's power to move, such as one of another user: `npsteer rescue --watch`. Two see to the
 * same worker one at a time. Costs nothing while no connections come.
 *
 * Thread: setup; the others may be called meanwhile.
 * Return: how many listeners were shut; -NP_EUNSUPPORTED below level 3, -ENOMEM, -EMFILE, -EPERM.
 */
NP_API int np_steer_rescue(struct np_steer *s, int ms);

/* What waits at one listener of the service, whichever process has it. */
struct np_steer_queue {
	size_t sz;
	unsigned group, worker;
	unsigned queued;  /* connections that wait for accept(2) */
	unsigned backlog; /* so many may */
	/* whose ACK is to come, as the last SYN that was given to it saw them (level 4) */
	unsigned half_open;
	/* when that was, in the kernel's ticks; 0: never, and below level 4 */
	uint64_t half_open_at;
};

/*
 * np_steer_queues() - call fn(arg, q) for each listener in a slot; nonzero from it ends the walk
 *
 * Of the caller's network namespace, as the kernel tells it (sock_diag(7)).
 *
 * Thread: setup. Lifetime: *q lives during the call.
 * Return: 0, what fn returned, -NP_EUNSUPPORTED at level 0, -EMFILE, -ENOENT without
 * CONFIG_INET_DIAG.
 */
NP_API int np_steer_queues(struct np_steer *s, int (*fn)(void *arg, const struct np_steer_queue *q),
			   void *arg);

/* What np_steer_gc() took away. */
struct np_steer_garbage {
	size_t sz;
	unsigned groups;  /* addresses without a listener */
	unsigned roster;  /* listeners that are gone, on the rosters of others */
	unsigned owners;  /* cookies of listeners that are gone */
	unsigned cpus;    /* CPUs of workers that are gone */
	unsigned workers; /* lines that nobody has claimed and that were not empty */
	unsigned pins;    /* folders of a load or an unload of this service that was killed */
};
NP_OPTS_INIT(np_steer_garbage)

/*
 * np_steer_gc() - take away what processes left behind that did not end of their own accord
 *
 * None of it does harm: claims and slots go with their sockets, and what else is left costs a retry
 * and some room. Claims decide, never process numbers.
 *
 * Thread: setup. Return: 0; -NP_EUNSUPPORTED at level 0, -EBUSY as np_steer_listen(), -EPERM.
 */
NP_API int np_steer_gc(struct np_steer *s, struct np_steer_garbage *ret);

/* How one connection was given to a worker. */
struct np_steer_decision {
	size_t sz;
	uint64_t at_ns; /* the kernel's CLOCK_MONOTONIC, of the last tick */
	unsigned group;
	/* -1: none could be selected; then the kernel's hash decided, or a RST was sent */
	int worker;
	uint32_t hash;       /* of its flow */
	unsigned candidates; /* workers that were looked at, */
	unsigned tried;      /* and that were good enough to be tried */
	const char *policy;  /* in force for it: static text */
	const char *verdict; /* "steered", "fallback", "rst", "shed", "nonsyn", "migrated" */
	/*
	 * 0: the same choice made from the same inputs in userspace has the same end; -ENODATA:
	 * there were more inputs than are noted; else a bug of the kernel or of ours
	 */
	int replay;
	/*
	 * decisions before this one that came too fast to be read, since the last one that was told
	 */
	uint64_t lost;
};

/*
 * np_steer_trace() - call fn(arg, d) for the decisions about @of_65536 of all flows, for @ms, -1:
 * for ever
 *
 * Nonzero from fn ends it. Decisions that come too fast to be read are lost, delay nothing, and are
 * counted. Several may trace a service: each is told of every decision about its share of the
 * flows. Tracing costs the program something for as long as somebody traces, and for a second more
 * after a process that was killed.
 *
 * Thread: setup. Lifetime: *d lives during the call.
 * Return: 0, what fn returned; -EINTR after a signal handler ran on this thread, for the caller to
 *         decide; -EINVAL, -EPERM without write access to the service's configuration,
 *         -NP_EUNSUPPORTED below level 3, -ENOMEM, -EMFILE.
 */
NP_API int np_steer_trace(struct np_steer *s, unsigned of_65536, int ms,
			  int (*fn)(void *arg, const struct np_steer_decision *d), void *arg);

/* ------------------------------------------------------------------ pinned services */

/* What np_steer_load() returns when there is nothing to do. */
#define NP_STEER_ALREADY 1

/*
 * np_steer_load() - load and pin a service, all of it or nothing
 *
 * Thread: setup.
 * Return: 0; NP_STEER_ALREADY when it is there with the same ABI (its settings are left alone);
 *         -EEXIST when pins of another ABI are there, -EBUSY under opts->force while workers hold
 *         claims, -ENODEV without a bpffs, -EPERM without CAP_BPF, -EACCES, -EINVAL,
 *         -NP_EUNSUPPORTED on a kernel before 5.8. opts->error has the sentence.
 */
NP_API int np_steer_load(const char *service, const struct np_steer_opts *opts);

/*
 * np_steer_unload() - remove a service's pins
 *
 * With opts->force also while workers hold claims: they go on, and nobody can join them any more.
 *
 * Thread: setup. Return: 0; -ENOENT, -EBUSY while workers hold claims, -EACCES, -EPERM, -ENODEV,
 * -EINVAL.
 */
NP_API int np_steer_unload(const char *service, const struct np_steer_opts *opts);

/*
 * np_steer_list() - call fn(arg, name, path) for each pinned service; nonzero from it ends the list
 *
 * Thread: any. Lifetime: the strings live during the call.
 * Return: 0, what fn returned, -EACCES, -ENODEV without a bpffs, -EINVAL.
 */
NP_API int np_steer_list(const struct np_steer_opts *opts,
			 int (*fn)(void *arg, const char *name, const char *path), void *arg);

#ifdef __cplusplus
}
#endif
#endif

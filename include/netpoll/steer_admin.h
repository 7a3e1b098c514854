/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_admin: a steering service from outside: loaded, looked at, set, rescued, taken away
 *
 * What npsteer(8) does, for programs that do it themselves; a server needs none of it
 * (netpoll/steer.h). The program opens the service as a server does, with NP_STEER_JOIN, and claims
 * no worker.
 *
 * Threads: as in netpoll/steer.h.
 */
#ifndef NETPOLL_STEER_ADMIN_H
#define NETPOLL_STEER_ADMIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "netpoll/opts.h"
#include "netpoll/status.h"
#include "netpoll/steer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ pinned services */

/* As np_steer_opts, where the names are the same. */
struct np_steer_load_opts {
	size_t sz;
	const char *bpffs;
	const char *policy;
	int hang_ms;
	int max_level;
	bool for_group; /* @gid may join; else root alone */
	gid_t gid;
	bool force; /* load: replace a service that is there; unload: also while it has workers */
	char *error;
	size_t error_cap;
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
};
NP_OPTS_INIT(np_steer_load_opts)

/* What np_steer_load() returns when there is nothing to do. */
#define NP_STEER_ALREADY 1

/*
 * np_steer_load() - load and pin a service, all of it or nothing
 *
 * Thread: setup.
 * Return: 0; NP_STEER_ALREADY when it is there with the same ABI (its settings are left alone);
 *         -EEXIST when pins of another ABI are there, -EBUSY under opts->force while workers hold
 *         claims, -ENODEV without a bpffs, -EPERM without CAP_BPF, -EACCES, -EINVAL, -EMFILE,
 *         -ENFILE, -ENOMEM, -NP_EUNSUPPORTED on a kernel before 5.8. opts->error has the sentence.
 */
NP_API int np_steer_load(const char *service, const struct np_steer_load_opts *opts);

/*
 * np_steer_unload() - remove a service's pins
 *
 * With opts->force also while workers hold claims: they go on, and none can join them any more.
 * What is adopted is released first, as far as the caller may (np_steer_release()); where it lacks
 * the descriptors or the memory for that, nothing is removed.
 *
 * Thread: setup. Return: 0; -ENOENT, -EBUSY while workers hold claims, -EACCES, -EPERM, -ENODEV,
 * -EINVAL, -EMFILE, -ENFILE, -ENOMEM.
 */
NP_API int np_steer_unload(const char *service, const struct np_steer_load_opts *opts);

/*
 * np_steer_list() - call fn(arg, name, path) for each pinned service; nonzero from it ends the list
 *
 * Thread: any. Lifetime: the strings live during the call.
 * Return: 0, what fn returned, -EACCES, -ENODEV without a bpffs, -EINVAL.
 */
NP_API int np_steer_list(const struct np_steer_opts *opts,
			 int (*fn)(void *arg, const char *name, const char *path), void *arg);

/* ------------------------------------------------------------------ policy and workers */

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
 * "maglev" there. "auto", what a new service has: least-exact up to 32 workers, p2c-exact above,
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
 * np_steer_set_hang_ms() - from when on a worker that hangs is passed over; 0: 100; -1: never
 *
 * Thread: setup. Return: as np_steer_set_policy(); -EINVAL below -1, and under three ticks of the
 *         kernel's clock (12 ms where HZ is 250).
 */
NP_API int np_steer_set_hang_ms(struct np_steer *s, int ms);

/*
 * np_steer_drain(), np_steer_undrain(), np_steer_kick() - whether worker @w gets new connections
 *
 * drain: only when no other can take them. kick: none at all. undrain ends both. A worker that
 * has its share of max_conns is drained by its server as well, until it has room: neither ends the
 * other.
 *
 * Thread: setup. Return: 0; -ENOENT where @w is not claimed, -EPERM, -NP_EUNSUPPORTED at level
 * 0.
 */
NP_API int np_steer_drain(struct np_steer *s, unsigned w);
NP_API int np_steer_undrain(struct np_steer *s, unsigned w);
NP_API int np_steer_kick(struct np_steer *s, unsigned w);

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
 * np_steer_set_weight() - worker @w's share under the policies that weigh; 100 is the default
 *
 * Thread: setup. Return: 0; -EINVAL out of 1..NP_STEER_WEIGHT_MAX; else as np_steer_drain().
 */
NP_API int np_steer_set_weight(struct np_steer *s, unsigned w, unsigned weight);

/*
 * np_steer_set_param() - one of the policies' parameters, by its name
 *
 * "hang_ms": from when on a worker that hangs is passed over, in milliseconds; 0: never.
 * "on_exhausted": what happens to a SYN for which no worker is fit: "serve": the least bad one gets
 * it; "rst": refused, unless half-open connections are all that is in the way (a SYN flood), which
 * SYN cookies get around; "full_queue": where a full listener was met it goes there, and the kernel
 * drops it without a word (level 4). "spill", "bound": per cent, 100 to 10000, 0: never; eight
 * connections a worker may have in any case. "slow_start_ms": for so long after it was claimed or
 * undrained a worker's weight grows up to its own, under every policy that weighs but maglev; up to
 * an hour, 0: it has it at once. "set": np_steer_publish()'s, as "0-3,8", "none".
 *
 * Thread: setup. Return: 0; -EINVAL for an unknown name or a value out of range; else as
 *         np_steer_set_policy(). np_steer_error() has the sentence.
 */
NP_API int np_steer_set_param(struct np_steer *s, const char *name, const char *value);
/* np_steer_param() - its value, as np_steer_set_param() takes it. Thread, Return: likewise. */
NP_API int np_steer_param(struct np_steer *s, const char *name, char *dst, size_t cap);
/* np_steer_params() - the @i-th parameter's name, NULL past the last. Thread: any. */
NP_API const char *np_steer_params(unsigned i);

/* ------------------------------------------------------------------ counters */

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
	NP_STEER_DRAINING = 1, /* gets connections only when no other can */
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
	uint64_t rescue_failed; /* and how often a process found it hanging and could not do that */
	/* 0: pid is of the caller's PID namespace, else of that one: /proc/PID/ns/pid */
	uint64_t pid_ns;
	/* np_steer_adopt(): of a server that knows nothing of the service; pid and tid accept for
	 * it, 0: none alone was seen to */
	bool adopted;
	bool held;    /* its server is away, and the listener is kept open */
	bool counted; /* conns and the totals are the kernel's word, not the worker's */
	int tid;
	/* published by the worker: its poller went on with another thread (NP_MAY_BLOCK) */
	uint64_t handoffs;
	/* likewise: connections that came from, and went to, another worker or process; they begin
	 * again at 0 after 2^32. conns = accepted_total - closed_total + moved_in - moved_out */
	uint64_t moved_in, moved_out;
};
NP_OPTS_INIT(np_steer_worker_info)

struct np_steer_group_info {
	size_t sz;
	char address[80]; /* "127.0.0.1:80" */
	unsigned workers; /* that listen there now */
	uint64_t netns;   /* cookie of the network namespace, 0: unknown */
};
NP_OPTS_INIT(np_steer_group_info)

/*
 * np_steer_stats() - what the program has counted since it was loaded
 *
 * Thread: setup. Return: 0; -EINVAL if ret->sz is not set, -NP_EUNSUPPORTED at level 0.
 */
NP_API int np_steer_stats(struct np_steer *s, struct np_steer_stats *ret);

/*
 * np_steer_worker_info() - worker @w's line, and its counters over all groups
 * np_steer_group_info()  - the address of group @g
 * np_steer_slot_stats()  - worker @w's counters in group @g: steered to migrated_out, no others
 *
 * Thread: setup. Return: 0; -ERANGE past the last one (np_steer_info() has how many there are),
 *         -ENOENT for a group that is free, -EINVAL, -NP_EUNSUPPORTED at level 0.
 */
NP_API int np_steer_worker_info(struct np_steer *s, unsigned w, struct np_steer_worker_info *ret);
NP_API int np_steer_group_info(struct np_steer *s, unsigned g, struct np_steer_group_info *ret);
NP_API int np_steer_slot_stats(struct np_steer *s, unsigned g, unsigned w,
			       struct np_steer_worker_info *ret);

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
 * As the kernel tells it (sock_diag(7)): of the caller's network namespace, and with CAP_SYS_ADMIN
 * of those that workers are in whose processes can be seen from here.
 *
 * Thread: setup. Lifetime: *q lives during the call.
 * Return: 0, what fn returned, -NP_EUNSUPPORTED at level 0, -EMFILE, -ENOENT without
 * CONFIG_INET_DIAG.
 */
NP_API int np_steer_queues(struct np_steer *s, int (*fn)(void *arg, const struct np_steer_queue *q),
			   void *arg);

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
	/* decisions that came too fast to be read, since the last one that was told */
	uint64_t lost;
	/* of those tried, that had taken nothing out of their queue for hang_ms; level 4 */
	unsigned stuck;
};

/*
 * np_steer_trace() - call fn(arg, d) for the decisions about @of_65536 of all flows
 *
 * For @ms milliseconds; 0, -1: no limit. Nonzero from fn ends it. Decisions that come too fast to
 * be read are lost, delay nothing, and are counted. Several may trace a service: each is told of
 * every decision about its share of the flows. Tracing costs the program something for as long as
 * it is traced, and for a second more after a process that was killed.
 *
 * Thread: setup. Lifetime: *d lives during the call.
 * Return: 0, what fn returned; -EINTR after a signal handler ran on this thread, for the caller to
 *         decide; -EINVAL, -EPERM without write access to the service's configuration,
 *         -NP_EUNSUPPORTED below level 3, -ENOMEM, -EMFILE.
 */
NP_API int np_steer_trace(struct np_steer *s, unsigned of_65536, int ms,
			  int (*fn)(void *arg, const struct np_steer_decision *d), void *arg);

/* One worker that a choice looked at. */
struct np_steer_look {
	size_t sz;
	unsigned worker;
	char name[NP_STEER_NAME_MAX + 1];
	bool chosen;
	const char *text; /* why it was, or was not: "it drains" */
	/* what was read of it; the rest is zero */
	bool read_state, read_load, read_queue;
	int state; /* enum np_steer_state */
	uint64_t busy_ms;
	uint64_t conns;
	unsigned weight;
	unsigned queued, half_open, backlog;
	uint64_t waited_ms;  /* the first of its queue */
	bool tried, listens; /* whether it was to be selected, and could be */
};
NP_OPTS_INIT(np_steer_look)

struct np_steer_explain_opts {
	size_t sz;
	/* "10.0.0.7:41234>10.0.0.1:80"; "next": some client's; "next>10.0.0.1:80" */
	const char *flow;
	bool on_cpu; /* @cpu gets the SYN, else the one that the caller is on */
	unsigned cpu;
};
NP_OPTS_INIT(np_steer_explain_opts)

/* How a SYN that came now would be given to a worker. */
struct np_steer_explanation {
	size_t sz;
	const char *flow, *address; /* the service's */
	unsigned group, cpu;
	uint32_t hash;
	bool hash_drawn;    /* by chance: "next"; and of a wildcard of IPv4 it cannot be known */
	const char *policy; /* the rule that is in force: "auto" is never there */
	const char *verdict;
	int worker;       /* -1: none */
	const char *name; /* of it, "" */
	const char *text; /* why, in sentences */
	const struct np_steer_look *looks;
	unsigned n_looks;
};
NP_OPTS_INIT(np_steer_explanation)

/*
 * np_steer_explain() - which worker would get this connection now, and why
 *
 * The choice is made in userspace from what the program would read at this moment, and changes
 * nothing: no turn of "rr" is taken. A flow that is not connected yet has its hash from a socket
 * that is made for it and closed at once, which sends nothing. "random" is another draw each time.
 *
 * Thread: setup. Lifetime: *e lives during fn(arg, e), which is called once.
 * Return: 0, what fn returned; -EINVAL, -ENOENT: the service does not listen there, in this network
 *         namespace; -NP_EUNSUPPORTED below level 3; -EPERM without CAP_BPF, CAP_PERFMON, and for a
 *         flow that is not connected, CAP_NET_ADMIN; -errno. np_steer_error() has the sentence.
 */
NP_API int np_steer_explain(struct np_steer *s, const struct np_steer_explain_opts *opts,
			    int (*fn)(void *arg, const struct np_steer_explanation *e), void *arg);

/* ------------------------------------------------------------------ health */

/*
 * np_steer_rescue() - watch over every worker of the service for @ms milliseconds; 0, -1: no
 * limit
 *
 * What each process of the service does for itself and its siblings in its own network namespace;
 * this looks into every one that the service listens in, and says to the log which it cannot enter,
 * and why. For one that is in no process's power to move, such as one of another user: `npsteer
 * rescue --watch`. Two see to the same worker one at a time. Costs nothing while no connections
 * come. Where the caller is held up itself, by a quota or a busy machine, it cannot tell who hangs:
 * it goes on until it can, for ten times @ms at most.
 *
 * Adopted workers are rescued while they stand still, as by np_steer_keep() with
 * NP_STEER_RESCUE_STOPPED; as long as this watches they get connections only where no other can.
 *
 * Thread: setup; the others may be called meanwhile.
 * Return: how many listeners were shut; -ETIMEDOUT: none, and it was held up all that time;
 *         -EINVAL: @ms below -1; -NP_EUNSUPPORTED below level 3, -ENOMEM, -EMFILE, -EPERM.
 */
NP_API int np_steer_rescue(struct np_steer *s, int ms);

/* What np_steer_gc() took away, or would. */
struct np_steer_garbage {
	size_t sz;
	unsigned groups;  /* addresses without a listener */
	unsigned roster;  /* listeners that are gone, on the rosters of others */
	unsigned owners;  /* cookies of listeners that are gone */
	unsigned cpus;    /* CPUs of workers that are gone */
	unsigned workers; /* lines that are not claimed and that were not empty */
	unsigned pins;    /* folders of a load or an unload of this service that was killed */
};
NP_OPTS_INIT(np_steer_garbage)

/*
 * np_steer_gc()      - take away what processes left behind that did not end of their own accord
 * np_steer_gc_look() - what that would take away; nothing is changed
 *
 * None of it does harm: claims and slots go with their sockets, and what else is left costs a retry
 * and some room. Claims decide, never process numbers.
 *
 * Thread: setup. Return: 0; -NP_EUNSUPPORTED at level 0, -EBUSY as np_steer_listen(), -EPERM.
 */
NP_API int np_steer_gc(struct np_steer *s, struct np_steer_garbage *ret);
NP_API int np_steer_gc_look(struct np_steer *s, struct np_steer_garbage *ret);

/* -------------------------------------------------------------- servers that know nothing of it */

/* Which listeners are meant. */
struct np_steer_find_opts {
	size_t sz;
	const char *address; /* "[ADDR:]PORT"; NULL: any */
	/*
	 * held by this process or a descendant of it, or by one of that cgroup ("/system.slice/x");
	 * in their network namespaces instead of the caller's
	 */
	int pid;
	const char *cgroup;
	char *error; /* gets a sentence where the call fails */
	size_t error_cap;
};
NP_OPTS_INIT(np_steer_find_opts)

struct np_steer_task {
	int pid;
	int tid; /* 0: which thread is not known, or not asked */
};

/* A listening TCP socket of whatever process. */
struct np_steer_listener {
	size_t sz;
	const char *address; /* "127.0.0.1:80" */
	uint64_t inode;      /* as in /proc/PID/fd */
	uint64_t cookie;     /* SO_COOKIE */
	unsigned queued, backlog;
	int reuseport; /* 1, 0; -1: not known */
	int program;   /* 1: a program chooses in its group; 0: none; -1: not known */
	uint32_t program_id;
	const struct np_steer_task *holders, *acceptors;
	unsigned n_holders, n_acceptors;
	bool can_be_steered;
	/* "yes", "yes: the service web steers it", or why not, in a sentence */
	const char *verdict;
};
NP_OPTS_INIT(np_steer_listener)

/*
 * np_steer_listeners() - call fn(arg, l) for each listener; nonzero from it ends the walk
 *
 * Needs no service and no BPF. What it takes to look into the processes of others is
 * CAP_SYS_PTRACE; which program is there is known with CAP_BPF and CAP_PERFMON.
 *
 * Thread: any. Lifetime: *l lives during the call.
 * Return: 0, what fn returned; -EINVAL, -EPERM for another network namespace, -ENOENT for a process
 *         that is not there, -EMFILE, -ENOMEM.
 */
NP_API int np_steer_listeners(const struct np_steer_find_opts *opts,
			      int (*fn)(void *arg, const struct np_steer_listener *l), void *arg);

/* What is queued at an adopted worker that takes nothing for hang_ms goes to its siblings: */
enum np_steer_rescue_of {
	NP_STEER_RESCUE_NEVER = 0,
	/* where all who accept for it stand still: stopped by a signal, or in a frozen cgroup */
	NP_STEER_RESCUE_STOPPED = 1,
	/*
	 * and where one of them runs: the process is interrupted for it, as by SIGSTOP and SIGCONT.
	 * Not one whose threads are several workers.
	 */
	NP_STEER_RESCUE_FREEZE = 2,
};

/* What is adopted, or released. */
struct np_steer_adopt_opts {
	size_t sz;
	const char *address; /* "[ADDR:]PORT"; adopt needs one, release takes NULL for all */
	int pid;             /* as in np_steer_find_opts */
	const char *cgroup;
	bool force;   /* also where a program of another is in the group: it is replaced */
	bool dry_run; /* nothing is changed */
	/* their connections are not counted, also where that can be had (np_steer_level 5) */
	bool no_count;
	int hold_ms;                    /* np_steer_keep() */
	enum np_steer_rescue_of rescue; /* np_steer_keep() */
};
NP_OPTS_INIT(np_steer_adopt_opts)

/* What became of one listener. */
struct np_steer_adoption {
	size_t sz;
	const struct np_steer_listener *listener;
	/* 1: adopted, or would be; 0: it was the service's already; else -errno: left as it was */
	int result;
	int worker;       /* -1: none */
	const char *name; /* of the worker, "" */
	const char *text; /* why it was left, "" */
	bool counted;     /* the kernel counts its connections */
};
NP_OPTS_INIT(np_steer_adoption)

/*
 * np_steer_adopt() - make the listeners of a server that knows nothing of it workers of the service
 *
 * Each listener of the address is a worker, named after the task that accepts from it; listeners of
 * one task at several addresses are one. Nothing of the server is changed but the program in its
 * reuseport group; nothing is kept open. An adopted worker holds no claim: it is one while its
 * listener is there. All listeners of an address that were asked for, or none; fn, which may be
 * NULL, is called for each, and nonzero from it means nothing.
 *
 * The service should be pinned: the maps of a private one end with this process.
 *
 * Thread: setup. Lifetime: *a lives during the call.
 * Return: how many of the address's listeners are workers now (under dry_run: would be); -ENOENT:
 *         nobody listens there; -NP_EUNSUPPORTED: one listener that all share, or of MPTCP, or at
 *         level 0; -EBUSY: another's program is there, or another service has them; -EPERM: rights
 *         are missing; -ESTALE: they changed too fast; -EINVAL. np_steer_error() has the sentence.
 */
NP_API int np_steer_adopt(struct np_steer *s, const struct np_steer_adopt_opts *opts,
			  void (*fn)(void *arg, const struct np_steer_adoption *a), void *arg);

/*
 * np_steer_keep() - adopt, and go on adopting, for @ms milliseconds, -1: for ever
 *
 * Listeners that the server makes later, when it reloads or is started again, become workers within
 * some 10 ms. With hold_ms the listeners are kept open beside the server: those that it closes hand
 * over what they have queued, and while it is away clients wait in them, for as long at most, and
 * get their answers from its successor. A health check that only connects believes for so long that
 * the server lives. A server without SO_REUSEPORT cannot start beside what is kept.
 *
 * With opts->rescue what is queued at a worker that stands still goes to its siblings, and the
 * worker gets connections only where no other can until it moves. Its listener is shut and listened
 * on again meanwhile, which its server does not see: its threads are kept from running by ptrace(2)
 * for less than a millisecond. A thread and a forked process of this one do that, at level 3 and
 * above.
 *
 * With opts->pid the network namespace is the process's, and its holders are not asked for.
 * opts.log of the service is told of what is kept and of what became of it.
 *
 * Thread: setup.
 * Return: 0; -EINTR after a signal handler ran on this thread; -EBUSY also while another process
 *         keeps that port for the service; -ENOENT: the service has been unloaded; else as
 *         np_steer_adopt(), but that a server that is not there is waited for.
 */
NP_API int np_steer_keep(struct np_steer *s, const struct np_steer_adopt_opts *opts, int ms);

/*
 * np_steer_release() - take adopted listeners out of the service, and its program off their groups
 *
 * Workers that are the service's own stay, and where one is in the group, so does the program.
 *
 * Thread: setup.
 * Return: how many listeners were taken out; -EPERM: they were, and the program could not be taken
 *         off, since its listeners cannot be looked at; -EBUSY; -EINVAL, also with dry_run;
 *         -NP_EUNSUPPORTED.
 *         np_steer_error() has the sentence.
 */
NP_API int np_steer_release(struct np_steer *s, const struct np_steer_adopt_opts *opts);

#ifdef __cplusplus
}
#endif
#endif

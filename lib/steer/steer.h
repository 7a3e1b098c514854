/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: what the files of this folder share
 *
 *   steer      a service as this process has it: opened, closed, described
 *   level      which level can be had, and the sentence that says why
 *   pins       services in a bpffs: found, joined, listed;  load: loaded and unloaded
 *   bpffs      where services are pinned;  folder: the only way there, and whose it is
 *   maps       of a service;  map: one of them;  object: the embedded program;  words: libbpf's
 *   cause      why bpf(2) was refused, in a sentence
 *   worker     a claim and its line
 *   group      an address and its roster;  table: for "maglev", made of the roster
 *   listen     the one legal order;  slot: its end, for listeners of the caller's too;  overlap:
 *              addresses that have connections in common
 *   listeners  those of this process;  queues: what waits at each listener of the service
 *   judge      which workers hang;  rescue: their queues moved;  watchdog, bell: when it looks
 *   find       listeners of any process;  attached: the programs of their groups
 *   adopt      what becomes of them as workers;  count: their connections, counted by the kernel
 *   hold       adopted servers watched, and their listeners kept open while they are away
 *   gc         what dead processes left behind
 *   name       the worker that is meant
 *   policy     by name, and set;  params: the policies' numbers, by name
 *   control    drain, weights, the published set;  stats: the counters
 *   trace      how single connections were steered, read from a ring;  decision: in public words;
 *              replay: whether that was right
 *   explain    the choice that a flow would have now;  present: what it would be made of
 *
 * At level 0 the same code runs over plain memory. There are workers and groups, but no program and
 * no slots.
 */
#ifndef STEER_STEER_H
#define STEER_STEER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "netpoll/steer_admin.h"
#include "steer/folder.h"
#include "steer/listeners.h"
#include "steer/map.h"
#include "steer/maps.h"
#include "sys/addr.h"
#include "sys/clock.h"

#define STEER_DEFAULT_SERVICE "default"
/* Ten ticks of the slowest clock (HZ=100): what is shorter can be one missed time slice. */
#define STEER_DEFAULT_HANG_MS 100
/* A CPU's connection goes elsewhere where its worker has twice the load of another one. */
#define STEER_DEFAULT_SPILL   200
/* A client's worker may have half as much again as the mean. */
#define STEER_DEFAULT_BOUND   150
/* Others hold the lock for a listen() and some map calls. */
#define STEER_LOCK_MS         5000

struct np_steer {
	pthread_mutex_t lock; /* with the lock on dir, and for the same: steer_lock() */
	struct listeners listeners;
	struct watchdog *watchdog;   /* NULL: none is needed, or wanted */
	struct count *count;         /* NULL: not needed yet */
	struct present_bpf *present; /* likewise; present_read() opens it */
	bool rescue;
	bool named; /* the service was asked for by its name */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
	char name[NP_NAME];
	char dir[256];  /* of the pins; "" is private or level 0 */
	int lock_fd;    /* the open folder dir, -1 without one */
	bool lock_late; /* the last wait for it was in vain */
	enum np_steer_level level;
	struct maps maps;
	int progs[NP_GROUPS]; /* -1: not loaded or opened yet */
	int64_t clock_offset_ns;
	unsigned open_workers;
	uint32_t port0[NP_GROUPS / 32 + 1]; /* groups whose port was chosen by a bind to port 0 */
	struct np_steer_worker *first;
	char reason[NP_STEER_TEXT_MAX];
	char error[NP_STEER_TEXT_MAX];
};

/*
 * A worker.
 *   state    leaves it by
 *   claimed  np_steer_leave() -> left
 *   left     np_steer_worker_close()
 */
struct np_steer_worker {
	struct np_steer *s;
	struct np_steer_worker *next;
	struct np_worker_line *line;
	unsigned index;
	int claim_fd;     /* -1 at level 0 */
	uint32_t members; /* bit g: this worker has listened in group g */
	bool left;
	bool adopted; /* its listeners are another process's: worker_let_go() */
	int cpu;      /* -1: none */
};

_Static_assert(NP_GROUPS <= 32, "members and port0 are words of 32 bits");

/* ------------------------------------------------------------------ steer.c */
/* Nothing open yet: what steer_fini() takes. */
void steer_init(struct np_steer *s);
void steer_fini(struct np_steer *s);
/* Name and options; s->name. -EINVAL and a sentence. */
int steer_check(struct np_steer *s, const char *service, const struct np_steer_opts *o);
/* The sentence for @err, into the caller's buffer. */
void steer_tell(const struct np_steer *s, int err, const struct np_steer_opts *o);
/* Keeps the sentence for np_steer_error() and returns @err. */
int steer_fail(struct np_steer *s, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* -NP_EUNSUPPORTED and the sentence: the service has no program. */
int steer_no_program(struct np_steer *s);
/* 0; at a level below 3 -NP_EUNSUPPORTED, and the sentence: "@what from level 3 on". */
int steer_needs_l3(struct np_steer *s, const char *what);
/* To np_steer_opts.log. Thread: any. */
void steer_log(const struct np_steer *s, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * steer_check_hang_ms() - stamps are as coarse as the kernel's tick: what is under three of them is
 * noise
 *
 * Return: 0; -EINVAL and a sentence.
 */
int steer_check_hang_ms(struct np_steer *s, int ms);
/* From when on a busy worker hangs; 0: never. */
unsigned steer_hang_ms(const struct np_steer *s);
/* Every worker ever claimed is below. */
unsigned steer_high_water(const struct np_steer *s);
static inline bool steer_has_program(const struct np_steer *s)
{
	return s->level >= NP_STEER_L2;
}
/* Now, by the kernel's CLOCK_MONOTONIC, which a time namespace shifts; coarse: its last tick. */
static inline uint64_t steer_kernel_ns(const struct np_steer *s)
{
	return sys_clock_ns() - (uint64_t)s->clock_offset_ns;
}
static inline uint64_t steer_kernel_coarse_ns(const struct np_steer *s)
{
	return sys_clock_coarse_ns() - (uint64_t)s->clock_offset_ns;
}
/*
 * steer_lock() - the service's lock; nothing to do where it is not shared
 *
 * Waits up to STEER_LOCK_MS for another process. Once that was in vain, and until the lock was had
 * again, the next one tries once: a stopped process costs a start or a stop of many workers one
 * wait, not one for each. Return: 0; -EBUSY and a sentence that names the process.
 */
int steer_lock(struct np_steer *s);
/* The same, for @ms at most. */
int steer_lock_ms(struct np_steer *s, int ms);
/*
 * steer_try_lock() - the same for a poller: one try, of which no other thread and no other process
 * makes a wait
 *
 * Return: 0; -EBUSY, without a sentence: s->error belongs to the thread that holds the lock.
 */
int steer_try_lock(struct np_steer *s);
void steer_unlock(struct np_steer *s);
/* "a" is a valid name of a service or worker. */
bool steer_name_ok(const char *name);

/* ------------------------------------------------------------------ policy.c */
/* " hash rr cpu ...", a literal. */
#define POLICY_NAME(name, value, text) " " text
#define POLICY_NAMES                   NP_STEER_POLICIES(POLICY_NAME)
/* -1: there is no such policy. */
int policy_find(const char *name);
const char *policy_name(uint32_t policy);

/* ------------------------------------------------------------------ level.c */
/* Loads a private program, or says in s->reason why it cannot. 0 or -errno. */
int level_load_private(struct np_steer *s, const struct np_steer_opts *o);
/* The program of group @g: loaded, or opened among the pins, when it is first asked for. */
int level_program(struct np_steer *s, unsigned g, int *ret_fd);
/*
 * A new service: its maps, configured, and the programs of its first @n groups; @why as
 * object_open().
 */
int level_make(struct maps *m, const struct np_steer_opts *o, enum np_steer_level *ret, unsigned n,
	       int *ret_fds, char *why, size_t cap);
/* The programs of @n groups from @first on, over the maps @m. */
int level_load_programs(const struct maps *m, enum np_steer_level level, unsigned first, unsigned n,
			int *ret_fds, char *why, size_t cap);
/* The sentence for a failed load. */
void level_explain(char *dst, size_t cap, int err, const char *service, const char *why);

/* ------------------------------------------------------------------ pins.c */
/*
 * pins_join() - take part in the pinned service of that name
 *
 * Return: 0; -ENOENT: there is none; -EACCES, -EPERM: it is not for us; -EPROTO; others. s->error
 *         has the sentence.
 */
int pins_join(struct np_steer *s, const char *bpffs);
/* Whether every program is there, and can be opened: 0, -ENOENT, what else open says. */
int pins_complete(int folder);
/* The sentence for pins that are there and cannot be opened, @what of them: @r. */
int pins_say_closed(struct np_steer *s, int r, const char *what);
/* The pinned program of group @g. */
int pins_program(const struct np_steer *s, unsigned g, int *ret_fd);

/* ------------------------------------------------------------------ group.c, under the lock */
/* The group of that address, -ENOENT. */
int group_find(const struct np_steer *s, const struct np_group *key);
/* The same, made if need be; -ENOSPC and a sentence. */
int group_take(struct np_steer *s, const struct np_group *key);
/* Whether a worker of this service listens there. */
bool group_live(const struct np_steer *s, unsigned g);
/* Rebuilds the roster of @g from what is in np_socks. */
void group_roster(struct np_steer *s, unsigned g);
/* No worker listens there any more. */
void group_free(struct np_steer *s, unsigned g);
/* The address of a socket, or of @a with @fd's device and namespace. */
void group_key(struct np_group *ret, const struct sockaddr_storage *ss, int fd);
void group_format(const struct np_group *key, char *dst, size_t cap);
bool group_same(const struct np_group *a, const struct np_group *b);

/* ------------------------------------------------------------------ slot.c, under the lock */
/* slot -> program -> roster, for @fd, which listens at the address of group @g. */
int slot_fill(struct np_steer_worker *w, unsigned g, int fd);
/* -ESHUTDOWN and a sentence. */
int slot_refuse_left(struct np_steer_worker *w);

/* ------------------------------------------------------------------ overlap.c, under the lock */
/* Whether the service listens on an address already that @k's overlaps with. */
bool overlap_has_beside(const struct np_steer *s, const struct np_group *k);
/*
 * overlap_only_ours() - whether every listener on the port is of this service
 *
 * Return: 0, -EADDRINUSE; -errno where the kernel does not list them, with a sentence.
 */
int overlap_only_ours(struct np_steer *s, unsigned port);
/* Whether the wildcard of IPv6 leaves IPv4 to another address of the service. */
bool overlap_yields_to_v4(const struct np_steer *s, const struct np_group *k);

/* ------------------------------------------------------------------ table.c, under the lock */
/* Maglev's table of group @g for the @n workers of @roster. Where that fails the old one stays, and
 * the log says so. */
void table_build(struct np_steer *s, unsigned g, const struct roster_entry *roster, unsigned n);

/* ------------------------------------------------------------------ control.c */
/* 0; -NP_EUNSUPPORTED, -EPERM and a sentence. */
int control_may_configure(struct np_steer *s);
/* A word of np_config: the next SYN goes by it. */
void control_set_word(struct np_steer *s, uint32_t *word, uint32_t value);

/*
 * The worker has as much as it can carry: as if drained; or can carry more again. An operator's
 * word, before or meanwhile, stands. Thread: any.
 */
void control_worker_full(struct np_steer_worker *w, bool full);
/* An adopted worker that stands still, likewise; whoever sees it move takes the word back. */
void control_worker_stands(struct np_steer *s, unsigned w, bool stands);
bool control_worker_is_standing(const struct np_steer *s, unsigned w);

/* ------------------------------------------------------------------ load.c */
/* Takes away what loads and unloads of this service left that were killed, or only looks; how many
 * folders. Where it may not: none. */
unsigned load_sweep(struct np_steer *s, bool look);

/* ------------------------------------------------------------------ trace.c */
/* Ends the tracing of readers that were killed. */
void trace_sweep(struct np_steer *s);

/* ------------------------------------------------------------------ stats.c */
/* How many connections worker @w was ever given, retransmitted SYNs and stray ACKs included. 0 or
 * -errno. */
int stats_given(struct np_steer *s, unsigned w, uint64_t *ret);
/* ret->half_open and half_open_at, of the CPU that saw it last. */
void stats_half_open(struct np_steer *s, unsigned g, unsigned w, struct np_steer_queue *ret);

/* ------------------------------------------------------------------ worker.c */
/*
 * steer_worker_line() - the line that the worker publishes on
 *
 * For a loop that stores busy_since_ns and conns itself. Subtract sys_clock_timens_offset_ns().
 * Lifetime: until np_steer_worker_close().
 */
struct np_worker_line *steer_worker_line(struct np_steer_worker *w);
/* Every claimed worker is below: also where a member has spoilt the high-water mark. */
unsigned worker_count(const struct np_steer *s);
/* Claims worker @w, until *ret_fd is closed. -EEXIST: another process has. */
int worker_claim(struct np_steer *s, unsigned w, int *ret_fd);
/*
 * worker_is_claimed() - whether somebody is worker @w: a process holds the claim, or it was adopted
 *			 and its listener is there
 * worker_is_adopted() - whether the last one that was worker @w was adopted
 * worker_info()       - its line of np_info; false: it cannot be read
 */
bool worker_is_claimed(const struct np_steer *s, unsigned w);
bool worker_is_adopted(const struct np_steer *s, unsigned w);
bool worker_info(const struct np_steer *s, unsigned w, struct np_worker_info *ret);
/*
 * worker_open() - a claim; for one that is adopted, as long as listeners are put into its slots
 *
 * @index: a number that is adopted already; -1: one that is free, whose line begins anew. @who has
 * NP_INFO_ADOPTED where it is adopted: worker_let_go() gives that claim back and leaves the slots.
 */
int worker_open(struct np_steer *s, int index, const struct np_worker_info *who,
		struct np_steer_worker **ret);
void worker_let_go(struct np_steer_worker **p);
/* After np_steer_leave(): it may listen again. */
void worker_comes_back(struct np_steer_worker *w);
/* Slow start begins. */
void worker_warms_up(struct np_steer *s, unsigned w);
/* Its line, its control words, its health. Only with the claim. */
void worker_clear(struct np_steer *s, unsigned w);
/* Zeroes the counters of one slot: they count from its worker's claim on. */
void worker_clear_slot_stats(struct np_steer *s, unsigned g, unsigned w);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescue_adopted: what is queued at an adopted worker that stands still goes to its siblings
 *
 *   a worker   when
 *   serves     a thread of those who accept for it may run
 *   stands     all of them are stopped by a signal, or frozen: it takes nothing for hang_ms
 *              -> hand_over(), and it is marked
 *   marked     gets connections only where no other can; rescue_see_marked() -> serves
 *
 * Where that is asked for (NP_STEER_RESCUE_FREEZE), one that may run and takes nothing for hang_ms
 * is made to stand for the moment that hand_over() takes, and marked until it is in its loop again.
 *
 * The mark lies in the service's maps: that of a rescuer which was killed is taken back by the next
 * one that sees the worker move, by a release, and by npsteer gc and undrain.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "steer/count.h"
#include "steer/hand.h"
#include "steer/rescue_private.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sock.h"

#define KNOWN_NS   10000000000ull /* a reload leaves the listener to another process */
#define FOUND_NS   10000000ull    /* so long a search holds for other workers */
#define LOCK_TRIES 20u            /* of a millisecond: an adoption holds it for as long */

/* ------------------------------------------------------------------ who accepts for it */

static bool adopted_is_known(const struct rescuer *r, const struct queue *q)
{
	const struct stand *st = &r->stand[q->worker];

	return st->cookie == q->listener.cookie && sys_clock_ns() - st->seen_ns < KNOWN_NS;
}

/* A search takes milliseconds: it is made where what is known of the worker lets it stand. */
static bool adopted_may_stand(const struct rescuer *r, const struct queue *q,
			      const struct np_worker_info *info)
{
	if (adopted_is_known(r, q))
		return stand_look(&r->stand[q->worker]) != SYS_HALT_NONE;
	if (info->pid && info->pidns == r->pidns)
		return sys_halt_of((pid_t)info->pid) != SYS_HALT_NONE;
	return true;
}

static bool adopted_may_freeze(const struct rescuer *r)
{
	return r->scope.adopted == NP_STEER_RESCUE_FREEZE;
}

/* Whether others would stand with it: it is a thread of a process with several workers. */
static bool adopted_is_several(const struct rescuer *r, unsigned self,
			       const struct np_worker_info *info)
{
	struct np_worker_info other;

	if (!info->pid)
		return true; /* several processes accept: who of them hangs is not known */
	for (unsigned w = 0; w < NP_WORKERS; w++)
		if (w != self && worker_is_adopted(r->s, w) && worker_is_claimed(r->s, w) &&
		    worker_info(r->s, w, &other) && other.pid == info->pid &&
		    other.starttime == info->starttime)
			return true;
	return false;
}

void rescue_forget_search(struct rescuer *r)
{
	find_fini(&r->found);
	r->found_ns = 0;
}

/* One search tells of all workers at a port. It is not old when the last of them has its turn. */
static int adopted_search(struct rescuer *r, unsigned port)
{
	struct find_query where = { .everywhere = true };
	int e;

	if (r->found_ns && r->found_port == port && sys_clock_ns() - r->found_ns < FOUND_NS)
		return 0;
	rescue_forget_search(r);
	if (r->scope.where)
		where = *r->scope.where;
	where.tracer = &r->tracer;
	where.any_host = true;
	where.port = port;
	e = find_run(&r->found, &where);
	if (e < 0) {
		rescue_forget_search(r);
		return e;
	}
	r->found_port = port;
	r->found_ns = sys_clock_ns();
	return 0;
}

static int adopted_find(struct rescuer *r, const struct queue *q, int *ret_fd)
{
	int e = adopted_search(r, q->listener.port);

	return e < 0 ? e : stand_find(&r->found, q->listener.cookie, &r->stand[q->worker], ret_fd);
}

/* ------------------------------------------------------------------ said */

static const char *adopted_stands_how(enum sys_halt halt)
{
	return halt == SYS_HALT_STOPPED ? "is stopped" :
	       halt == SYS_HALT_FROZEN  ? "is frozen" :
	       halt == SYS_HALT_TRACED  ? "is traced by another process" :
					  "takes nothing";
}

static void adopted_report(struct rescuer *r, const struct queue *q,
			   const struct np_worker_info *info, enum sys_halt halt)
{
	steer_log(r->s, 1, "worker %u (%.31s) %s: %u connections that waited there moved to others",
		  q->worker, info->name, adopted_stands_how(halt), q->listener.queued);
}

static void adopted_fail(struct rescuer *r, const struct queue *q,
			 const struct np_worker_info *info, enum sys_halt halt, int err,
			 uint64_t hang_ns)
{
	const char *why =
		err == -E2BIG  ? "too many processes may accept there" :
		err == -EACCES ? "there are processes that may not be looked into: run it as root" :
		err == -ECHILD ? "the process that was to do it was killed" :
				 strerror(-err);

	rescue_wait(r, q->worker, hang_ns);
	rescue_count_failure(r->s, q->worker);
	steer_log(r->s, 2, "worker %u (%.31s) %s, and the %u connections that wait there stay: %s",
		  q->worker, info->name, adopted_stands_how(halt), q->listener.queued, why);
}

/* ------------------------------------------------------------------ done */

static void adopted_mark(struct rescuer *r, unsigned w, bool stands)
{
	control_worker_stands(r->s, w, stands);
	r->marked[w] = stands;
}

/* The thread that adopts holds it now and then; its sentence is not ours. */
static int adopted_lock(struct np_steer *s)
{
	int r = steer_try_lock(s);

	for (unsigned i = 0; i < LOCK_TRIES && r < 0; i++) {
		usleep(1000);
		r = steer_try_lock(s);
	}
	return r;
}

/*
 * With a claim: an adopted worker's number is free while its slot is empty. The roster is built
 * once more: another process may have missed the worker meanwhile.
 */
static int adopted_hand_over(struct rescuer *r, const struct queue *q, int fd, enum sys_halt halt)
{
	struct hand h = { .s = r->s,
			  .slot = NP_SLOT(q->group, q->worker),
			  .fd = fd,
			  .who = &r->stand[q->worker],
			  .interrupt = halt != SYS_HALT_STOPPED };
	int claim = -1, e = 0;

	if (listeners_describe(fd, &h.l) < 0 || adopted_lock(r->s) < 0)
		return 0;
	if (worker_claim(r->s, q->worker, &claim) == 0) {
		e = hand_over(&h);
		group_roster(r->s, q->group);
	}
	sys_close(&claim);
	steer_unlock(r->s);
	return e;
}

/* Since the judge saw it: the search took its time. */
static bool adopted_took_nothing(const struct rescuer *r, const struct queue *q, int fd)
{
	const struct np_worker_line *l = &r->s->maps.workers[q->worker];
	const struct sight *was = &r->judge.sight[q->worker];
	uint64_t total = __atomic_load_n(&l->accepted_total, __ATOMIC_RELAXED), given;
	unsigned queued;

	if (stats_given(r->s, q->worker, &given) < 0 || sys_accept_queue(fd, &queued) < 0)
		return false;
	queued += r->waiting[q->worker] - q->listener.queued; /* at its other addresses */
	return count_has(r->s, q->worker) ? total - queued == was->accepted :
					    given - queued == was->gone;
}

/* Back-off where it cost the worker something. Where it stood, the mark keeps others away. */
static void adopted_note(struct rescuer *r, const struct queue *q, enum sys_halt halt,
			 uint64_t hang_ns)
{
	struct stand *st = &r->stand[q->worker];
	struct np_worker_info info;

	r->failed_ms[q->worker] = 0;
	rescue_count(r->s, q);
	if (halt != SYS_HALT_NONE)
		return;
	rescue_back_off(r->s, q->worker, steer_kernel_ns(r->s), hang_ns);
	st->interrupted = true;
	if (worker_info(r->s, q->worker, &info))
		st->sleeps = sys_process_sleeps((pid_t)(info.tid ? info.tid : info.pid));
}

static int adopted_act(struct rescuer *r, const struct queue *q, int fd, enum sys_halt halt,
		       uint64_t hang_ns)
{
	uint32_t mine = rescue_lock_word(steer_kernel_ns(r->s));
	bool was = control_worker_is_standing(r->s, q->worker);
	int e;

	if (halt == SYS_HALT_NONE && !adopted_took_nothing(r, q, fd))
		return 0;
	if (!rescue_lock(r->s, mine))
		return 0;
	adopted_mark(r, q->worker, true); /* first: nothing comes to it while its slot is empty */
	e = adopted_hand_over(r, q, fd, halt);
	if (e <= 0 && !was)
		adopted_mark(r, q->worker, false);
	if (e > 0)
		adopted_note(r, q, halt, hang_ns);
	rescue_unlock(r->s, mine);
	return e;
}

int rescue_adopted(struct rescuer *r, const struct queue *q, uint64_t now_ns, uint64_t hang_ns)
{
	struct np_worker_info info;
	enum sys_halt halt = SYS_HALT_NONE;
	int fd = -1, e;

	if (r->scope.adopted == NP_STEER_RESCUE_NEVER ||
	    (r->scope.port && r->scope.port != q->listener.port) ||
	    !worker_info(r->s, q->worker, &info) || (info.flags & NP_INFO_HELD) ||
	    (!adopted_may_freeze(r) && !adopted_may_stand(r, q, &info)))
		return 0;
	e = adopted_find(r, q, &fd);
	if (e == 0)
		halt = stand_look(&r->stand[q->worker]);
	if (e == 0 && halt == SYS_HALT_NONE && !adopted_may_freeze(r))
		e = -EAGAIN;
	else if (e == 0 && halt == SYS_HALT_NONE && adopted_is_several(r, q->worker, &info))
		e = -EMULTIHOP;
	else if (e == 0)
		e = halt == SYS_HALT_TRACED ? -EPERM : adopted_act(r, q, fd, halt, hang_ns);
	if (e > 0)
		adopted_report(r, q, &info, halt);
	else if (e == -ENOENT || e == -ESTALE)
		rescue_wait(r, q->worker, hang_ns); /* it has just been closed */
	else if (e < 0 && e != -EAGAIN)             /* it runs: that is known for a while */
		adopted_fail(r, q, &info, halt, e, hang_ns);
	sys_close(&fd);
	return e > 0;
}

/* ------------------------------------------------------------------ it moves again */

/* Another one may have its number by now. */
static bool adopted_is_his(const struct rescuer *r, unsigned w, const struct stand *st)
{
	for (unsigned g = 0; st->cookie && g < NP_GROUPS; g++)
		if (map_listener(&r->s->maps, NP_SLOT(g, w)) == st->cookie)
			return true;
	return false;
}

#define MOVED_SLEEPS 2 /* the first may be what it was interrupted in */

/* It was interrupted: it waits for events again, or where that cannot be seen, has slept. */
static bool adopted_is_back(const struct stand *st, const struct np_worker_info *info)
{
	pid_t pid = (pid_t)info->pid, tid = (pid_t)info->tid;
	int number;

	if (tid && sys_process_waits(pid, tid, &number) != SYS_WAIT_NONE)
		return true;
	if (!sys_process_state(tid ? tid : pid))
		return true;
	return !tid && sys_process_sleeps(pid) - st->sleeps >= MOVED_SLEEPS;
}

static bool adopted_has_moved(const struct rescuer *r, unsigned w)
{
	const struct stand *st = &r->stand[w];
	struct np_worker_info info;

	if (st->interrupted && adopted_is_his(r, w, st) && worker_info(r->s, w, &info))
		return adopted_is_back(st, &info);
	if (adopted_is_his(r, w, st))
		return stand_look(st) == SYS_HALT_NONE;
	return !worker_info(r->s, w, &info) || !info.pid ||
	       sys_halt_of((pid_t)info.pid) == SYS_HALT_NONE;
}

void rescue_see_marked(struct rescuer *r)
{
	r->standing = 0;
	if (r->scope.adopted == NP_STEER_RESCUE_NEVER)
		return;
	for (unsigned w = 0; w < NP_WORKERS; w++) {
		if (!control_worker_is_standing(r->s, w))
			continue;
		if (!adopted_has_moved(r, w)) {
			r->standing++;
			continue;
		}
		worker_warms_up(r->s, w);
		adopted_mark(r, w, false);
		steer_log(r->s, 0, "worker %u goes on, and is given connections again", w);
	}
}

void rescue_unmark_all(struct rescuer *r)
{
	for (unsigned w = 0; w < NP_WORKERS; w++)
		if (r->marked[w])
			adopted_mark(r, w, false);
}

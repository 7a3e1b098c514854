/* SPDX-License-Identifier: BSD-2-Clause */
/* rescue: read the queues, ask the judge, and act under the lock of the service. */
#include "steer/rescue_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/count.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/process.h"

#define LOCK_MS     1000u         /* a process that holds the lock for longer has died with it */
#define SEARCH_NS   1000000000ull /* so often for network namespaces that are not open yet */
#define BACK_OFF_MS 10000u /* the longest; and after so long without a rescue it starts again */

int rescuer_new(struct np_steer *s, const struct rescue_scope *scope, struct rescuer **ret)
{
	struct rescuer *r = calloc(1, sizeof *r);
	int e;

	if (!r)
		return -ENOMEM;
	r->s = s;
	r->scope = *scope;
	tracer_init(&r->tracer, s);
	r->pidns = sys_process_pidns();
	e = places_open(&r->places);
	if (e < 0) {
		free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void rescuer_free(struct rescuer *r)
{
	rescue_unmark_all(r);
	rescue_forget_search(r);
	tracer_fini(&r->tracer);
	places_close(&r->places);
	free(r->queues);
	free(r);
}

void rescuer_rest(struct rescuer *r)
{
	places_rest(&r->places);
	r->searched_ns = 0;
}

/* ------------------------------------------------------------------ what there is */

/* One that finds no memory is not judged this time. */
static void rescue_note(void *arg, const struct queue *q)
{
	struct rescuer *r = arg;
	struct queue *grown;

	if (r->n == r->cap) {
		grown = realloc(r->queues, (2 * r->cap + 16) * sizeof *grown);
		if (!grown)
			return;
		r->queues = grown;
		r->cap = 2 * r->cap + 16;
	}
	r->queues[r->n++] = *q;
	r->evidence[q->worker].queued = true;
	r->waiting[q->worker] += q->listener.queued;
}

/* A connection that comes in between is counted as gone, once: that starts the count of its worker
 * again. */
static void rescue_add_gone(struct rescuer *r)
{
	for (unsigned w = 0; w < NP_WORKERS; w++) {
		struct evidence *e = &r->evidence[w];

		if (e->queued && judge_needs_gone(&r->s->maps.workers[w]) &&
		    stats_given(r->s, w, &e->gone) == 0)
			e->gone -= r->waiting[w];
	}
}

/* The kernel counts from the handshake on. */
static void rescue_add_waiting(struct rescuer *r)
{
	for (unsigned w = 0; w < NP_WORKERS; w++)
		if (count_has(r->s, w))
			r->evidence[w].waiting = r->waiting[w];
}

static void rescue_tell_missing(struct rescuer *r)
{
	struct np_steer *s = r->s;
	struct np_group key;
	char text[80];

	if (!r->places.err || r->told_missing) {
		r->told_missing = r->told_missing && r->places.err;
		return;
	}
	r->told_missing = true;
	pthread_mutex_lock(&s->listeners.lock); /* as group_assign() writes it */
	key = s->maps.groups[r->places.missing];
	pthread_mutex_unlock(&s->listeners.lock);
	group_format(&key, text, sizeof text);
	steer_log(
		s, 2,
		"the workers at %s are in another network namespace and are not watched, because %s: run `npsteer rescue --watch` as root, in the namespaces around them all",
		text,
		r->places.err == -EPERM ? "entering it takes CAP_SYS_ADMIN" :
					  "no process that is seen from here is in it");
}

/* Containers come and go. */
void rescuer_search(struct rescuer *r)
{
	uint64_t now_ns = sys_clock_ns();

	if (!r->scope.everywhere || (r->searched_ns && now_ns - r->searched_ns < SEARCH_NS))
		return;
	places_search(&r->places, r->s);
	r->searched_ns = now_ns;
	rescue_tell_missing(r);
}

static int rescue_look(struct rescuer *r)
{
	int e;

	r->n = 0;
	memset(r->evidence, 0, sizeof r->evidence);
	memset(r->waiting, 0, sizeof r->waiting);
	memset(r->acted, 0, sizeof r->acted);
	rescuer_search(r);
	e = queues_each_place(r->s, &r->places, 1, rescue_note, r);
	if (e == 0) {
		rescue_add_gone(r);
		rescue_add_waiting(r);
	}
	return e;
}

/* ------------------------------------------------------------------ may it be done? */

static bool rescue_is_ready(const struct np_steer *s, unsigned w)
{
	return __atomic_load_n((uint32_t *)&s->maps.ctl[w].state, __ATOMIC_RELAXED) ==
	       NP_WORKER_READY;
}

static bool rescue_has_sibling(const struct rescuer *r, unsigned g, unsigned self, unsigned n)
{
	for (unsigned w = 0; w < n; w++)
		if (w != self && rescue_is_ready(r->s, w) && judge_trusts(&r->judge, w) &&
		    map_listener(&r->s->maps, NP_SLOT(g, w)))
			return true;
	return false;
}

/* As the judge saw it, and in the same slot. */
static bool rescue_is_still_so(const struct rescuer *r, const struct queue *q)
{
	const struct np_worker_line *l = &r->s->maps.workers[q->worker];
	const struct sight *was = &r->judge.sight[q->worker];

	return __atomic_load_n(&l->busy_since_ns, __ATOMIC_RELAXED) == was->busy_since_ns &&
	       __atomic_load_n(&l->accepted_total, __ATOMIC_RELAXED) ==
		       was->accepted + r->evidence[q->worker].waiting &&
	       map_listener(&r->s->maps, NP_SLOT(q->group, q->worker)) == q->listener.cookie;
}

/* ------------------------------------------------------------------ the lock */

uint32_t rescue_lock_word(uint64_t now_ns)
{
	return (uint32_t)(now_ns / 1000000u) | 1u;
}

bool rescue_lock(struct np_steer *s, uint32_t mine)
{
	uint32_t *word = &s->maps.service->rescue, held = __atomic_load_n(word, __ATOMIC_RELAXED);

	if (held && mine - held < LOCK_MS)
		return false;
	return __atomic_compare_exchange_n(word, &held, mine, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* Unless it was taken from us, because we were too slow. */
void rescue_unlock(struct np_steer *s, uint32_t mine)
{
	__atomic_compare_exchange_n(&s->maps.service->rescue, &mine, 0, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------ the listener, in whatever process */

/* Closes *fd where it is another socket: the number may have been used again just then. */
static int rescue_check_fd(const struct queue *q, int *fd)
{
	if (listeners_is(*fd, q->listener.cookie))
		return 0;
	sys_close(fd);
	return -ENOENT;
}

static int rescue_take_from(pid_t pid, const struct queue *q, int *ret_fd)
{
	int r = sys_process_socket(pid, q->listener.inode, ret_fd);

	return r < 0 ? r : rescue_check_fd(q, ret_fd);
}

/* Where the worker says that it is, where it was last, and where the kernel has it. */
static int rescue_take_foreign(struct rescuer *r, const struct queue *q, int *ret_fd)
{
	pid_t *holder = &r->holder[q->worker];
	struct np_worker_info info;
	uint32_t key = q->worker;
	bool ours;
	int e;

	e = map_lookup(&r->s->maps, MAP_np_info, &key, &info);
	ours = e == 0 && (!info.pidns || info.pidns == r->pidns);
	if (ours)
		e = rescue_take_from((pid_t)info.pid, q, ret_fd);
	if (ours && (e == 0 || (info.pidns && (e == -EACCES || e == -EPERM))))
		return e; /* it is where it says: nothing to search for */
	if (*holder && rescue_take_from(*holder, q, ret_fd) == 0)
		return 0;
	e = sys_process_find_socket(q->listener.inode, holder, ret_fd);
	return e < 0 ? e : rescue_check_fd(q, ret_fd);
}

static int rescue_take(struct rescuer *r, const struct queue *q, int *ret_fd)
{
	int e = listeners_dup(&r->s->listeners, q->listener.cookie, ret_fd);

	return e == -ENOENT ? rescue_take_foreign(r, q, ret_fd) : e;
}

/* ------------------------------------------------------------------ the deed */

/* A worker that goes on hanging is rescued less and less often: each time costs its owner a
 * listen(2). */
void rescue_back_off(struct np_steer *s, unsigned w, uint64_t now_ns, uint64_t hang_ns)
{
	struct np_health *h = &s->maps.health[w];
	uint64_t ms = __atomic_load_n(&h->back_off_ms, __ATOMIC_RELAXED);
	uint64_t was = __atomic_load_n(&h->again_after_ns, __ATOMIC_RELAXED);

	ms = !ms || now_ns > was + BACK_OFF_MS * 1000000ull ? hang_ns / 1000000u : 2 * ms;
	ms = ms < BACK_OFF_MS ? ms : BACK_OFF_MS;
	__atomic_store_n(&h->back_off_ms, ms, __ATOMIC_RELAXED);
	__atomic_store_n(&h->again_after_ns, now_ns + ms * 1000000u, __ATOMIC_RELAXED);
}

void rescue_count(struct np_steer *s, const struct queue *q)
{
	struct np_health *h = &s->maps.health[q->worker];

	__atomic_add_fetch(&h->rescued_total, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&h->moved_total, q->listener.queued, __ATOMIC_RELAXED);
}

static const char *rescue_advice(int err)
{
	if (err == -EPERM || err == -EACCES)
		return ": run `npsteer rescue --watch` as root";
	if (err == -ENOENT)
		return ": no process of this PID namespace has its listener: run `npsteer rescue --watch` as root, in"
		       " the namespace around them all";
	return "";
}

/* 0: done. */
static void rescue_report(const struct rescuer *r, const struct queue *q, int err, uint64_t now_ns)
{
	const struct sight *was = &r->judge.sight[q->worker];
	bool hung = was->verdict == VERDICT_HUNG;
	uint64_t ms = (now_ns - (hung ? was->busy_since_ns : was->stuck_since_ns)) / 1000000u;
	char what[96];

	snprintf(what, sizeof what,
		 hung ? "worker %u has been busy for %llu ms" :
			"worker %u has taken nothing for %llu ms",
		 q->worker, (unsigned long long)ms);
	if (err == 0)
		steer_log(r->s, 1, "%s: the %u connections that it had queued went to its siblings",
			  what, q->listener.queued);
	else
		steer_log(
			r->s, 2,
			"%s, and the %u connections that it has queued cannot be taken from it%s%s%s",
			what, q->listener.queued, err == -ENOENT ? "" : ": ",
			err == -ENOENT ? "" : strerror(-err), rescue_advice(err));
}

/*
 * Of this rescuer alone: another one may have the rights, or the view. A listener that cannot be
 * found costs a look at every process.
 */
void rescue_wait(struct rescuer *r, unsigned w, uint64_t hang_ns)
{
	uint64_t *ms = &r->failed_ms[w];

	*ms = !*ms ? hang_ns / 1000000u : 2 * *ms < BACK_OFF_MS ? 2 * *ms : BACK_OFF_MS;
	r->failed_until_ns[w] = steer_kernel_ns(r->s) + *ms * 1000000u;
}

void rescue_count_failure(struct np_steer *s, unsigned w)
{
	__atomic_add_fetch(&s->maps.health[w].failed_total, 1, __ATOMIC_RELAXED);
}

static void rescue_fail(struct rescuer *r, const struct queue *q, int err, uint64_t hang_ns)
{
	if (!rescue_is_still_so(r, q))
		return; /* it has just been closed, or shut by another */
	rescue_wait(r, q->worker, hang_ns);
	rescue_count_failure(r->s, q->worker);
	rescue_report(r, q, err, steer_kernel_ns(r->s));
}

/*
 * Under the lock. 1: the listener was shut. The clock is read again: this thread may have been
 * stopped since the tick, and its siblings with it.
 */
static int rescue_act(struct rescuer *r, const struct queue *q, int fd, uint64_t hang_ns)
{
	uint64_t now_ns = steer_kernel_ns(r->s);

	if (!judge_is_fresh(&r->judge, now_ns, hang_ns) || !rescue_is_still_so(r, q))
		return 0;
	if (listeners_shut(fd, q->listener.cookie) < 0)
		return 0; /* -ENOTCONN: by another */
	if (!r->acted[q->worker])
		rescue_back_off(r->s, q->worker, now_ns, hang_ns);
	r->acted[q->worker] = true;
	r->failed_ms[q->worker] = 0;
	rescue_count(r->s, q);
	rescue_report(r, q, 0, now_ns);
	return 1;
}

/*
 * By another rescuer's deed, which keeps no rescuer for longer than the longest back-off; and by
 * this one's own failure.
 */
static bool rescue_is_too_soon(const struct rescuer *r, unsigned w, uint64_t now_ns)
{
	uint64_t after = __atomic_load_n(&r->s->maps.health[w].again_after_ns, __ATOMIC_RELAXED);

	if (now_ns < r->failed_until_ns[w])
		return true;
	return !r->acted[w] && now_ns < after && after - now_ns <= BACK_OFF_MS * 1000000ull;
}

static int rescue_native(struct rescuer *r, const struct queue *q, uint64_t now_ns,
			 uint64_t hang_ns)
{
	uint32_t mine = rescue_lock_word(now_ns);
	int e, fd = -1, done = 0;

	e = rescue_take(r, q, &fd);
	if (e < 0) {
		rescue_fail(r, q, e, hang_ns);
		return 0;
	}
	if (rescue_lock(r->s, mine)) {
		done = rescue_act(r, q, fd, hang_ns);
		rescue_unlock(r->s, mine);
	}
	sys_close(&fd);
	return done;
}

static int rescue_worker(struct rescuer *r, const struct queue *q, uint64_t now_ns,
			 uint64_t hang_ns, unsigned n)
{
	if (q->worker >= n || r->judge.sight[q->worker].verdict == VERDICT_FIT ||
	    rescue_is_too_soon(r, q->worker, now_ns) ||
	    !rescue_has_sibling(r, q->group, q->worker, n))
		return 0;
	if (worker_is_adopted(r->s, q->worker))
		return rescue_adopted(r, q, now_ns, hang_ns);
	return r->scope.native ? rescue_native(r, q, now_ns, hang_ns) : 0;
}

/* The next tick sees those that are left: a member may have made each of them hard to find. */
static bool rescue_has_time(const struct rescuer *r, uint64_t hang_ns)
{
	return judge_is_fresh(&r->judge, steer_kernel_ns(r->s), hang_ns);
}

int rescuer_tick(struct rescuer *r, uint64_t period_ns)
{
	uint64_t now_ns, hang_ns;
	int e, done = 0;
	unsigned n;

	r->late = false;
	e = rescue_look(r);
	if (e < 0)
		return e;
	n = NP_WORKERS; /* not the high-water mark, which is one word for all of them */
	hang_ns = steer_hang_ms(r->s) * 1000000ull;
	now_ns = steer_kernel_ns(r->s);
	if (!hang_ns)
		return 0;
	r->late = !judge_tick(&r->judge, now_ns, period_ns, hang_ns, n, r->s->maps.workers,
			      r->evidence);
	rescue_see_marked(r);
	for (unsigned i = 0; i < r->n && (!i || rescue_has_time(r, hang_ns)); i++)
		done += rescue_worker(r, &r->queues[i], now_ns, hang_ns, n);
	rescue_forget_search(r);
	return done;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker: a claim on one line of the service, and the line
 *
 * Order of joining: claim, zero the line and the control words, write its name, raise the
 * high-water mark; then listeners. A process that dies in between leaves nothing but a line that no
 * worker has, since the claim is a socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "steer/count.h"
#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/sock.h"

/*
 * A socket that can lie in a sockarray and means nothing else: bound, where no peer looks for it.
 */
static int worker_token(int *ret_fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = -1, r;

	r = sys_socket(AF_INET, SOCK_DGRAM, &fd);
	if (r == 0)
		r = sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0)
		r = sys_bind(fd, (const struct sockaddr *)&in, sizeof in);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int worker_claim(struct np_steer *s, unsigned w, int *ret_fd)
{
	uint32_t key = w;
	uint64_t token;
	int fd = -1, r;

	r = worker_token(&fd);
	if (r < 0)
		return r;
	token = (uint64_t)fd;
	r = map_update(&s->maps, MAP_np_claims, &key, &token, BPF_NOEXIST);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* ------------------------------------------------------------------ adopted workers */

bool worker_info(const struct np_steer *s, unsigned w, struct np_worker_info *ret)
{
	uint32_t key = w;

	return steer_has_program(s) && map_lookup(&s->maps, MAP_np_info, &key, ret) == 0;
}

bool worker_is_adopted(const struct np_steer *s, unsigned w)
{
	struct np_worker_info info;

	return worker_info(s, w, &info) && (info.flags & NP_INFO_ADOPTED);
}

static bool worker_has_listener(const struct np_steer *s, unsigned w)
{
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (map_listener(&s->maps, NP_SLOT(g, w)))
			return true;
	return false;
}

bool worker_is_claimed(const struct np_steer *s, unsigned w)
{
	return map_claim(&s->maps, w) || (worker_is_adopted(s, w) && worker_has_listener(s, w));
}

/* ------------------------------------------------------------------ claims */

/*
 * The number of an adopted worker has no claim on it, and is taken while one of its listeners is
 * there: with the claim in hand it is looked at once more.
 */
static int worker_try_number(struct np_steer *s, uint32_t w, uint64_t token)
{
	int r = map_update(&s->maps, MAP_np_claims, &w, &token, BPF_NOEXIST);

	if (r < 0 || !worker_is_adopted(s, w) || !worker_has_listener(s, w))
		return r;
	map_delete(&s->maps, MAP_np_claims, &w);
	return -EEXIST;
}

static int worker_claim_any(struct np_steer_worker *w)
{
	struct np_steer *s = w->s;
	uint64_t token;
	int r;

	r = worker_token(&w->claim_fd);
	if (r < 0)
		return steer_fail(s, r,
				  "a claim on the service %s needs a UDP socket on 127.0.0.1: %s",
				  s->name, strerror(-r));
	token = (uint64_t)w->claim_fd;
	for (uint32_t i = 0; i < NP_WORKERS; i++) {
		r = worker_try_number(s, i, token);
		if (r == 0) {
			w->index = i;
			return 0;
		}
		if (r != -EEXIST)
			break;
	}
	sys_close(&w->claim_fd);
	if (r == -EEXIST)
		return steer_fail(
			s, -ENOSPC,
			"all %u workers of the service %s are taken: stop some, or start another service",
			NP_WORKERS, s->name);
	return steer_fail(s, r, "the service %s does not take a claim: %s", s->name, strerror(-r));
}

/* The lowest number that no worker of this process has. */
static int worker_number(struct np_steer_worker *w)
{
	const struct np_steer_worker *o;
	unsigned i;

	for (i = 0; i < NP_WORKERS; i++) {
		for (o = w->s->first; o && o->index != i; o = o->next)
			;
		if (!o)
			break;
	}
	if (i == NP_WORKERS)
		return steer_fail(w->s, -ENOSPC, "no more than %u workers in one service",
				  NP_WORKERS);
	w->index = i;
	return 0;
}

void worker_clear_slot_stats(struct np_steer *s, unsigned g, unsigned w)
{
	uint32_t slot = NP_SLOT(g, w);
	struct np_slot_stats *zero;
	int cpus;

	if (!steer_has_program(s))
		return;
	cpus = map_cpus(&s->maps);
	zero = cpus > 0 ? calloc((size_t)cpus, sizeof *zero) : NULL;
	if (zero)
		map_update(&s->maps, MAP_np_worker_stats, &slot, zero, BPF_ANY);
	free(zero);
}

static bool worker_owned(const struct maps *m, uint64_t cookie, uint32_t slot, unsigned w)
{
	return slot % NP_WORKERS == w;
}

/* Listeners that a predecessor left behind, which np_owners cannot know to be gone. */
static void worker_forget_owned(struct np_steer *s, unsigned w)
{
	map_sweep_owners(&s->maps, worker_owned, w);
}

unsigned worker_count(const struct np_steer *s)
{
	unsigned high = steer_high_water(s);

	for (unsigned n = NP_WORKERS; steer_has_program(s) && n > high; n--)
		if (worker_is_claimed(s, n - 1))
			return n;
	return high;
}

static void worker_raise_high_water(struct np_steer *s, unsigned n)
{
	uint32_t *high = &s->maps.service->workers, old = __atomic_load_n(high, __ATOMIC_RELAXED);

	while (old < n && !__atomic_compare_exchange_n(high, &old, n, false, __ATOMIC_RELEASE,
						       __ATOMIC_RELAXED))
		;
}

static void worker_introduce(struct np_steer_worker *w, const struct np_worker_info *who)
{
	struct np_worker_info info = *who;
	uint32_t key = w->index;

	info.since_ns = steer_kernel_ns(w->s);
	if (!(info.flags & NP_INFO_ADOPTED))
		info.claim_cookie = map_claim(&w->s->maps, key);
	map_update(&w->s->maps, MAP_np_info, &key, &info, BPF_ANY);
}

/* Word by word: the watchdog reads them meanwhile. */
static void worker_clear_words(void *p, size_t n)
{
	for (uint64_t *word = p; n >= sizeof *word; word++, n -= sizeof *word)
		__atomic_store_n(word, 0, __ATOMIC_RELAXED);
}

void worker_clear(struct np_steer *s, unsigned w)
{
	count_stop(s, &w, 1); /* first: what is left of a predecessor would count on it */
	worker_clear_words(&s->maps.workers[w], sizeof s->maps.workers[0]);
	worker_clear_words(&s->maps.ctl[w], sizeof s->maps.ctl[0]);
	worker_clear_words(&s->maps.health[w], sizeof s->maps.health[0]);
}

void worker_warms_up(struct np_steer *s, unsigned w)
{
	__atomic_store_n(&s->maps.ctl[w].ready_since_ns, steer_kernel_coarse_ns(s),
			 __ATOMIC_RELEASE);
}

static void worker_start(struct np_steer_worker *w, const struct np_worker_info *who)
{
	struct np_steer *s = w->s;

	worker_clear(s, w->index);
	worker_warms_up(s, w->index);
	if (steer_has_program(s)) {
		worker_forget_owned(s, w->index);
		for (unsigned g = 0; g < NP_GROUPS; g++)
			worker_clear_slot_stats(s, g, w->index);
		worker_introduce(w, who);
	}
	worker_raise_high_water(s, w->index + 1);
}

int worker_open(struct np_steer *s, int index, const struct np_worker_info *who,
		struct np_steer_worker **ret)
{
	struct np_steer_worker *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	w->s = s;
	w->claim_fd = -1;
	w->cpu = -1;
	w->adopted = who->flags & NP_INFO_ADOPTED;
	w->index = (unsigned)index;
	if (index >= 0)
		r = worker_claim(s, w->index, &w->claim_fd);
	else
		r = steer_has_program(s) ? worker_claim_any(w) : worker_number(w);
	if (r < 0) {
		free(w);
		return r;
	}
	w->line = &s->maps.workers[w->index];
	if (index < 0)
		worker_start(w, who);
	w->next = s->first;
	s->first = w;
	s->open_workers++;
	*ret = w;
	return 0;
}

int np_steer_worker(struct np_steer *s, const char *name, struct np_steer_worker **ret)
{
	struct np_worker_info who = { .pid = (uint32_t)getpid(), .pidns = sys_process_pidns() };

	if (!name)
		name = "";
	if (strlen(name) > NP_STEER_NAME_MAX)
		return steer_fail(s, -EINVAL, "a worker's name has at most %d bytes",
				  NP_STEER_NAME_MAX);
	memcpy(who.name, name, strlen(name));
	return worker_open(s, -1, &who, ret);
}

#define LEAVE_MS 200 /* a lock is held for a listen() and some map calls */

/*
 * A process that ends must not depend on another one: the slots are given up without the lock too,
 * and what the rosters say of them then is what they say of a worker that was killed.
 */
static bool worker_lock_to_leave(struct np_steer_worker *w)
{
	struct np_steer *s = w->s;

	if (steer_lock_ms(s, LEAVE_MS) == 0)
		return true;
	steer_log(s, 0, "worker %u leaves without the lock: %s", w->index, s->error);
	pthread_mutex_lock(&s->lock);
	return false;
}

int np_steer_leave(struct np_steer_worker *w)
{
	struct np_steer *s = w->s;
	bool locked;

	if (w->left)
		return 0;
	locked = worker_lock_to_leave(w);
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		uint32_t slot = NP_SLOT(g, w->index);

		if (!(w->members & (1u << g)))
			continue;
		listeners_forget(&s->listeners, slot);
		if (!steer_has_program(s))
			continue;
		map_delete(&s->maps, MAP_np_socks, &slot);
		if (locked)
			group_roster(s, g);
	}
	w->left = true;
	if (locked)
		steer_unlock(s);
	else
		pthread_mutex_unlock(&s->lock);
	np_steer_set_cpu(w, -1);
	return 0;
}

void worker_comes_back(struct np_steer_worker *w)
{
	w->left = false;
}

static void worker_unlink(struct np_steer_worker *w)
{
	struct np_steer_worker **p = &w->s->first;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	w->s->open_workers--;
}

void worker_let_go(struct np_steer_worker **p)
{
	struct np_steer_worker *w = *p;

	sys_close(&w->claim_fd);
	worker_unlink(w);
	free(w);
	*p = NULL;
}

int np_steer_worker_close(struct np_steer_worker **p)
{
	struct np_steer_worker *w = *p;
	int r;

	if (!w)
		return 0;
	if (count_has(w->s, w->index))
		count_stop(w->s, &w->index, 1); /* its connections are another process's */
	else if (__atomic_load_n(&w->line->conns, __ATOMIC_RELAXED))
		return steer_fail(w->s, -EBUSY, "worker %u still has %llu connections", w->index,
				  (unsigned long long)w->line->conns);
	r = np_steer_leave(w);
	if (r < 0)
		return r;
	worker_forget_owned(w->s, w->index);
	worker_clear_words(w->line, sizeof *w->line);
	worker_let_go(p); /* from here on the line is another's */
	return 0;
}

int np_steer_worker_index(const struct np_steer_worker *w)
{
	return (int)w->index;
}

struct np_worker_line *steer_worker_line(struct np_steer_worker *w)
{
	return w->line;
}

/* Only what is still ours: another worker may have taken the CPU. */
static int worker_give_back_cpu(struct np_steer_worker *w)
{
	uint32_t key = (uint32_t)w->cpu, w1;
	int r = map_lookup(&w->s->maps, MAP_np_cpu2worker, &key, &w1);

	if (r == 0 && w1 == w->index + 1) {
		w1 = 0;
		r = map_update(&w->s->maps, MAP_np_cpu2worker, &key, &w1, BPF_ANY);
	}
	return r;
}

static int worker_take_cpu(struct np_steer_worker *w, int cpu)
{
	uint32_t key = (uint32_t)cpu, w1 = w->index + 1;

	return map_update(&w->s->maps, MAP_np_cpu2worker, &key, &w1, BPF_ANY);
}

int np_steer_set_cpu(struct np_steer_worker *w, int cpu)
{
	struct np_steer *s = w->s;
	int r = 0;

	if (cpu < -1 || cpu >= (int)NP_CPUS)
		return steer_fail(s, -EINVAL, "CPU %d is not one of 0..%u", cpu, NP_CPUS - 1);
	if (steer_has_program(s) && w->cpu >= 0 && w->cpu != cpu)
		r = worker_give_back_cpu(w);
	if (r == 0 && steer_has_program(s) && cpu >= 0)
		r = worker_take_cpu(w, cpu);
	if (s->level == NP_STEER_L1)
		r = listeners_prefer_cpu(&s->listeners, w->index, cpu);
	if (r < 0)
		return steer_fail(s, r, "CPU %d cannot be given to worker %u: %s", cpu, w->index,
				  strerror(-r));
	w->cpu = cpu;
	return 0;
}

void np_steer_busy(struct np_steer_worker *w)
{
	__atomic_store_n(&w->line->busy_since_ns, steer_kernel_coarse_ns(w->s), __ATOMIC_RELAXED);
}

void np_steer_idle(struct np_steer_worker *w)
{
	__atomic_store_n(&w->line->busy_since_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&w->line->says_idle, 1, __ATOMIC_RELAXED);
}

void np_steer_conn_inc(struct np_steer_worker *w)
{
	struct np_worker_line *l = w->line;

	/* One writer: a plain addition; atomic stores, since others read. */
	__atomic_store_n(&l->conns, l->conns + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&l->accepted_total, l->accepted_total + 1, __ATOMIC_RELAXED);
}

void np_steer_conn_dec(struct np_steer_worker *w)
{
	struct np_worker_line *l = w->line;

	__atomic_store_n(&l->conns, l->conns - 1, __ATOMIC_RELAXED);
	__atomic_store_n(&l->closed_total, l->closed_total + 1, __ATOMIC_RELAXED);
}

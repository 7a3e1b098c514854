/* SPDX-License-Identifier: BSD-2-Clause */
/* server_steer: the workers of a server in its steering service, one for each poller */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "netpoll/server_private.h"
#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/lock.h"

#define STEER_AGAIN_MS 100

_Static_assert(sizeof(struct np_worker_line) == sizeof(struct poller_load), "one line, two names");
_Static_assert(offsetof(struct np_worker_line, busy_since_ns) ==
			       offsetof(struct poller_load, busy_since_ns) &&
		       offsetof(struct np_worker_line, conns) ==
			       offsetof(struct poller_load, conns) &&
		       offsetof(struct np_worker_line, accepted_total) ==
			       offsetof(struct poller_load, accepted_total) &&
		       offsetof(struct np_worker_line, closed_total) ==
			       offsetof(struct poller_load, closed_total) &&
		       offsetof(struct np_worker_line, handoffs) ==
			       offsetof(struct poller_load, handoffs) &&
		       offsetof(struct np_worker_line, moved_in) ==
			       offsetof(struct poller_load, moved_in) &&
		       offsetof(struct np_worker_line, moved_out) ==
			       offsetof(struct poller_load, moved_out),
	       "one line, two names");

_Static_assert(POLLERS_UNASKED <= NP_WORKERS, "a worker for each poller");

static int server_open_workers(struct np_server *s)
{
	struct np_worker_line *line;
	char name[NP_STEER_NAME_MAX + 1];
	int r;

	s->workers = calloc(s->n_parts, sizeof *s->workers);
	if (!s->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_parts; i++) {
		snprintf(name, sizeof name, "%s/poller-%u", s->name, i % 10000u);
		r = np_steer_worker(s->steer, name, &s->workers[i]);
		if (r < 0)
			return server_say(s, r, "%s", np_steer_error(s->steer));
		np_steer_set_cpu(s->workers[i], poller_cpu(s->parts[i]->group.poller));
		line = steer_worker_line(s->workers[i]);
		__atomic_store_n(&line->says_idle, 1, __ATOMIC_RELAXED); /* as pollers do */
		server_facts_publish_to(s, i, (struct poller_load *)(void *)line);
	}
	return 0;
}

/* Before there is any: a server that has some of its workers could serve with none of them. */
static int server_has_room(struct np_server *s)
{
	if (s->n_parts <= NP_WORKERS)
		return 0;
	return server_say(
		s, -ENOSPC,
		"TCP is listened on by a worker for each poller, and a service has %u workers: this server has %u pollers (np_pollers_opts.count)",
		NP_WORKERS, s->n_parts);
}

/* A service that can only be joined is not loaded privately behind the user's back. */
int server_enter_service(struct np_server *s)
{
	struct np_steer_opts o = {
		.sz = sizeof o,
		.mode = (enum np_steer_mode)s->opts.steer,
		.policy = s->policy,
		.hang_ms = s->opts.hang_ms,
		.rescue = s->opts.rescue,
		.log = s->pollers->log,
		.log_arg = s->pollers->log_arg,
		.error = s->error,
		.error_cap = sizeof s->error,
	};
	struct np_steer *steer;
	int r;

	if (s->steer)
		return 0;
	r = server_has_room(s);
	if (r < 0)
		return r;
	if (s->service && o.mode == NP_STEER_REQUIRED)
		o.mode = NP_STEER_JOIN;
	r = np_steer_open(s->service, &o, &steer);
	if (r < 0)
		return r;
	server_facts_enter_service(s, steer);
	r = server_open_workers(s);
	if (r < 0)
		server_leave_service(s); /* it may be asked to listen once more */
	return r;
}

/*
 * A worker whose claim cannot be given up, because another process holds the service's lock, keeps
 * the service open: np_server_free() tries once more.
 */
void server_leave_service(struct np_server *s)
{
	struct np_steer *steer;
	int r = 0;

	for (unsigned i = 0; s->workers && i < s->n_parts; i++) {
		if (!s->workers[i])
			continue;
		server_facts_keep(s, i);
		r = np_steer_worker_close(&s->workers[i]);
		if (r < 0)
			break;
	}
	if (r < 0 || !s->steer)
		return;
	free(s->workers);
	s->workers = NULL;
	steer = server_facts_leave_service(s);
	np_steer_close(&steer);
}

void server_release_listeners(struct np_server *s)
{
	for (unsigned i = 0; s->workers && i < s->n_parts; i++)
		np_steer_leave(s->workers[i]);
}

/* A listener whose owner lets go of it, or has just died, is in that one's slot for a moment. */
static int server_steer_listener(struct np_steer_worker *w, int fd)
{
	uint64_t until = sys_clock_ns() + STEER_AGAIN_MS * 1000000ull;
	int r;

	while ((r = np_steer_add(w, fd)) == -EBUSY && sys_clock_ns() < until)
		sys_wait_readable(-1, 1);
	return r;
}

int server_steer_listeners(struct np_server *s)
{
	int r = 0, one;

	for (unsigned i = 0; s->workers && i < s->n_parts; i++) {
		worker_comes_back(s->workers[i]);
		for (unsigned a = 0; a < s->n_addresses; a++) {
			if (!s->addresses[a].steered || s->addresses[a].fds[i] < 0)
				continue;
			one = server_steer_listener(s->workers[i], s->addresses[a].fds[i]);
			r = r < 0 ? r : one;
		}
	}
	return r;
}

int server_relisten(struct np_server *s, unsigned index, int fd)
{
	return np_steer_relisten(s->workers[index], fd);
}

const char *server_lock_holder(struct np_server *s, char *dst, size_t cap)
{
	struct sys_holder h;

	if (s->steer->lock_fd < 0) {
		snprintf(dst, cap, "another thread"); /* no other process has this service */
		return dst;
	}
	sys_lock_holder(s->steer->lock_fd, &h);
	sys_holder_format(&h, dst, cap);
	return dst;
}

void server_stop_being_chosen(struct np_server *s)
{
	for (unsigned i = 0; s->workers && i < s->n_parts; i++)
		np_steer_drain(s->steer, (unsigned)np_steer_worker_index(s->workers[i]));
}

void server_say_full(struct np_server *s, unsigned index, bool full)
{
	if (s->workers && s->workers[index])
		control_worker_full(s->workers[index], full);
}

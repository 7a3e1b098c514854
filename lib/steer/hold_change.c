/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold_change: a look at the kernel's list each 10 ms, and one at who holds what only when that has
 * changed, or a task that accepts has ended, or a listener has lost its holder
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "steer/hold_private.h"
#include "sys/clock.h"
#include "sys/diag.h"
#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/process.h"

#define LOOK_MS 10000 /* a look all the same: the old worker may live on beside the new one */
#define AWAY_MS 50    /* and so often while something is on its way */

static void change_mix(void *arg, const struct sys_listener *l)
{
	uint64_t *sum = arg;

	*sum += (l->cookie + 1) * 0x9e3779b97f4a7c15ull;
}

uint64_t hold_list(struct hold *h)
{
	uint64_t sum = 0;

	sys_diag_listeners(h->diag_fd, AF_INET, h->a.q.port, change_mix, &sum);
	sys_diag_listeners(h->diag_fd, AF_INET6, h->a.q.port, change_mix, &sum);
	return sum;
}

/* One that is kept stays in the list when its server closes it. */
bool hold_has_lost_holders(const struct kept *k)
{
	for (unsigned i = 0; i < k->holders; i++)
		if (sys_process_has_socket(k->holder[i].pid, k->holder[i].number, k->inode))
			return false;
	return true;
}

bool hold_has_changed(struct hold *h)
{
	struct pollfd tasks = { .fd = h->tasks, .events = POLLIN };
	uint64_t list = hold_list(h), now_ns = sys_clock_ns();
	uint64_t rest_ms = h->pending ? AWAY_MS : LOOK_MS;
	bool changed = list != h->list;

	if (changed)
		h->changed_ns = now_ns;
	h->list = list;
	if (changed || now_ns - h->looked_ns > rest_ms * 1000000u || sys_poll_now(&tasks, 1) > 0)
		return true;
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].fd >= 0 && h->all[i].theirs && hold_has_lost_holders(&h->all[i]))
			return true;
	return false;
}

void hold_forget_tasks(struct hold *h)
{
	for (unsigned i = 0; i < h->n_pidfds; i++)
		sys_close(&h->pidfds[i]);
	free(h->pidfds);
	h->pidfds = NULL;
	h->n_pidfds = 0;
	sys_close(&h->tasks);
}

static bool change_watches(const struct hold *h, unsigned n, pid_t pid)
{
	for (unsigned i = 0; i < n; i++)
		if (h->all[i].acceptor == pid)
			return true;
	return false;
}

int hold_watch_tasks(struct hold *h)
{
	int r;

	hold_forget_tasks(h);
	r = sys_epoll_create(&h->tasks);
	h->pidfds = calloc(h->n + 1, sizeof *h->pidfds);
	for (unsigned i = 0; r == 0 && h->pidfds && i < h->n; i++) {
		int fd = -1;

		if (h->all[i].acceptor <= 0 || change_watches(h, i, h->all[i].acceptor) ||
		    sys_process_open(h->all[i].acceptor, &fd) < 0)
			continue;
		h->pidfds[h->n_pidfds++] = fd;
		sys_epoll_add(h->tasks, fd, EPOLLIN, 0);
	}
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hand: what the deputy does, and what its parent does when that was killed. */
#include "steer/hand.h"

#include <errno.h>
#include <sys/socket.h>

#include <linux/bpf.h>

#include "sys/clock.h"
#include "sys/deputy.h"
#include "sys/sock.h"

#define HALT_MS \
	20 /* a system call that takes longer to be interrupted has its process left alone */

static int hand_halt(const struct hand *h)
{
	uint64_t until_ns = sys_clock_ns() + HALT_MS * 1000000ull;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < h->who->n; i++)
		r = sys_halt(h->who->pid[i], h->interrupt, until_ns);
	return r;
}

static bool hand_is_still_so(const struct hand *h)
{
	unsigned queued = 0;

	return map_listener(&h->s->maps, h->slot) == h->l.cookie &&
	       sys_accept_queue(h->fd, &queued) == 0 && queued;
}

/* The slot was emptied by the shutdown. Nobody else may empty it: the service is locked. */
static int hand_bring_back(const struct hand *h)
{
	uint64_t value = (uint64_t)h->fd;
	int listening = 0, r = 0;

	sys_getsockopt_int(h->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);
	if (!listening)
		r = listeners_listen(h->fd, &h->l);
	if (r == 0 && !map_listener(&h->s->maps, h->slot))
		r = map_update(&h->s->maps, MAP_np_socks, &h->slot, &value, BPF_ANY);
	return r;
}

/* In the deputy, with whose end those that it has halted go on. */
static int hand_do(void *arg)
{
	const struct hand *h = arg;
	int r = hand_halt(h);

	if (r == -EAGAIN || r == -ESRCH)
		return 0;
	if (r < 0)
		return r;
	if (!hand_is_still_so(h) || listeners_shut(h->fd, h->l.cookie) < 0)
		return 0;
	r = hand_bring_back(h);
	return r < 0 ? r : 1;
}

int hand_over(struct hand *h)
{
	int done = 0, r;

	r = sys_deputy(hand_do, h, &done);
	r = r < 0 ? r : done;
	if (r < 0 && !map_listener(&h->s->maps, h->slot)) {
		r = hand_bring_back(h); /* it was shut */
		r = r < 0 ? r : 1;
	}
	return r;
}

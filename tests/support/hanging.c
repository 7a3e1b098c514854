/* SPDX-License-Identifier: BSD-2-Clause */
/* hanging: one poller at a time, since each test is a process of its own. */
#include "support/hanging.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/test.h"

static _Atomic(int) hanging; /* pollers that are in a handler which does not return */
static _Atomic(bool) may_return;

static int echo_or_hang(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);
	const char *in;
	char buf[64];

	if (n > sizeof buf || np_conn_peek(c, n, (const void **)&in) < 0)
		return -EPROTO;
	memcpy(buf, in, n);
	np_conn_skip(c, n);
	if (memchr(buf, 'h', n)) {
		hanging++;
		while (!may_return)
			poll(NULL, 0, 1);
		hanging--;
	}
	np_conn_write(c, buf, n);
	return np_conn_flush(c);
}

const struct np_handlers hanging_handlers = { .sz = sizeof hanging_handlers,
					      .on_request = echo_or_hang };

int hang_begin(struct np_server *s)
{
	int fd = peer_of(s, 0);

	peer_send(fd, "h", 1);
	AWAIT(hanging == 1);
	return fd;
}

bool hang_goes_on(void)
{
	return hanging == 1;
}

void hang_end(int fd)
{
	char back;

	may_return = true;
	peer_recv(fd, &back, 1);
}

void given_rescued_clients(struct np_server *s, int *fds, int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = peer_of(s, 0);
	for (int i = 0; i < n; i++)
		peer_echo(fds[i], 'x');
	/* It is said when they have gone, and some are served by then. */
	AWAIT(in_log("went to its siblings") > 0);
}

static uint64_t accepted_by(struct np_server *s, int poller)
{
	uint64_t accepted, conns;

	ck_assert_int_eq(np_server_poller_stats(s, poller, &accepted, &conns), 0);
	return accepted;
}

/* One connection more; whether this poller has taken it, or one since @before. */
static bool takes_one(struct np_server *s, int poller, uint64_t before)
{
	int fd = peer_of(s, 0);

	peer_echo(fd, 'y');
	peer_close(&fd);
	return accepted_by(s, poller) > before;
}

void expect_both_to_accept(struct np_server *s)
{
	uint64_t before[2] = { accepted_by(s, 0), accepted_by(s, 1) };

	for (int i = 0; i < 2; i++)
		AWAIT(takes_one(s, i, before[i]));
}

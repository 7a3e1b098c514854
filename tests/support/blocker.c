/* SPDX-License-Identifier: BSD-2-Clause */
/* blocker: given a server whose handlers keep their thread at a gate. */
#include "support/blocker.h"
#include "support/serve.h"

#include <errno.h>
#include <netpoll/conn.h>
#include <poll.h>
#include <semaphore.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

struct np_server *blocker;
_Atomic(int) blocker_begun, blocker_closed, blocker_error;

static sem_t gate;

static void on_close(struct np_conn *c, void *arg)
{
	blocker_error = np_conn_error(c);
	blocker_closed++;
}

const struct np_handlers *blocker_handlers(int (*on_request)(struct np_conn *c, void *arg))
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h,
				  .on_request = on_request,
				  .on_close = on_close,
				  .flags = NP_MAY_BLOCK };
	return &h;
}

void given_blocker(const struct np_handlers *h, int threads, const struct np_server_opts *o)
{
	static const struct np_server_opts soon = { .sz = sizeof soon,
						    .drain_ms = 1,
						    .fresh_ms = 1,
						    .linger_ms = 1,
						    .steer = NP_STEER_OFF };

	blocker_begun = blocker_closed = blocker_error = 0;
	sem_init(&gate, 0, 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .handoff_ms = 2,
			      .handoff_threads = threads, .log = keep_log));
	serve_at(&blocker, h, NULL, o ? o : &soon, "tcp", "127.0.0.1:0");
}

void given_blocker_threads(const struct np_handlers *h, int threads)
{
	end_blocker();
	given_blocker(h, threads, NULL);
}

void end_blocker(void)
{
	serve_over(&blocker);
	end_pollers();
	sem_destroy(&gate);
}

void blocker_wait(void)
{
	blocker_begun++;
	while (sem_wait(&gate) < 0)
		;
}

void blocker_spin(void)
{
	blocker_begun++;
	while (sem_trywait(&gate) < 0)
		;
}

void blocker_stall(void)
{
	poll(NULL, 0, 4);
}

void blocker_let(void)
{
	sem_post(&gate);
}

int blocker_peer(void)
{
	return peer_of(blocker, 0);
}

int given_at_gate(char op)
{
	int fd = blocker_peer(), was = blocker_begun;

	peer_send(fd, &op, 1);
	AWAIT(blocker_begun == was + 1);
	return fd;
}

int given_left_alone(char op)
{
	unsigned away = pollers_stats().away;
	int fd = given_at_gate(op);

	AWAIT(pollers_stats().away > away);
	return fd;
}

void must_answer(int fd, char op)
{
	char got;

	peer_recv(fd, &got, 1);
	ck_assert_int_eq(got, op);
}

void must_serve(void)
{
	int fd = blocker_peer();

	peer_send(fd, "x", 1);
	must_answer(fd, 'x');
	peer_close(&fd);
}

void must_go_on(int *fd, char op)
{
	blocker_let();
	must_answer(*fd, op);
	peer_close(fd);
}

int blocker_take(struct np_conn *c, char *ret_op)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	if (r == 0)
		*ret_op = *(const char *)p;
	return r;
}

int blocker_answer(struct np_conn *c, char op)
{
	int r = np_conn_write(c, &op, 1);

	return r < 0 ? r : np_conn_flush(c);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* blocker: given a server whose handlers keep their thread at a gate. */
#include "support/blocker.h"

#include <errno.h>
#include <netpoll/conn.h>
#include <poll.h>
#include <semaphore.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

struct np_server *blocker;
_Atomic(int) blocker_begun;

static sem_t gate;

void given_blocker(const struct np_handlers *h, int threads, const struct np_server_opts *o)
{
	static const struct np_server_opts soon = { .sz = sizeof soon,
						    .drain_ms = 1,
						    .fresh_ms = 1,
						    .linger_ms = 1,
						    .steer = NP_STEER_OFF };

	blocker_begun = 0;
	sem_init(&gate, 0, 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .handoff_ms = 2,
			      .handoff_threads = threads, .log = keep_log));
	ck_assert_int_eq(np_server_new(pollers, h, NULL, o ? o : &soon, &blocker), 0);
	ck_assert_int_eq(np_server_listen(blocker, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(blocker), 0);
}

void given_blocker_threads(const struct np_handlers *h, int threads)
{
	end_blocker();
	given_blocker(h, threads, NULL);
}

void end_blocker(void)
{
	ck_assert_int_eq(np_server_stop(blocker, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&blocker), 0);
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

struct np_pollers_stats blocker_stats(void)
{
	struct np_pollers_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_pollers_stats(pollers, &st), 0);
	return st;
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
	unsigned away = blocker_stats().away;
	int fd = given_at_gate(op);

	AWAIT(blocker_stats().away > away);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* observe: what a process says of itself: np_dump(), in each state that it may be in. */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/call.h>
#include <netpoll/client.h>
#include <netpoll/observe.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/json.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static _Atomic(int) begun, may_go;

/* What np_dump() writes; malloc'ed. */
static char *dumped(int format, unsigned parts)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	off_t n;
	char *text;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(np_dump(fd, NP_OPTS(np_dump_opts, .format = format, .parts = parts)), 0);
	n = lseek(fd, 0, SEEK_END);
	text = calloc(1, (size_t)n + 1);
	ck_assert_int_eq(pread(fd, text, (size_t)n, 0), n);
	close(fd);
	ck_assert_msg(format != NP_DUMP_JSON || json_valid(text), "%s", text);
	return text;
}

/* Whether the JSON of these parts has it. */
static bool shows(unsigned parts, const char *what)
{
	char *text = dumped(NP_DUMP_JSON, parts);
	bool there = strstr(text, what);

	free(text);
	return there;
}

static unsigned count_of(const char *text, const char *what)
{
	unsigned n = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		n++;
	return n;
}

/* ------------------------------------------------------------------ connections */

static int want_ten(struct np_conn *c, void *arg)
{
	const void *p;
	int r;

	np_conn_set_tag(c, "GET /\"x\"");
	r = np_conn_next(c, 10, &p);
	if (r == 0)
		r = np_conn_write(c, p, 10);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers waiting = { .sz = sizeof waiting, .on_request = want_ten };

START_TEST(a_connection_says_where_its_handler_waits_and_for_what)
{
	int fd;

	serve(2, &waiting, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "abc", 3);

	AWAIT(shows(NP_DUMP_CONNS, "\"waits\":\"read\""));
	ck_assert(shows(NP_DUMP_CONNS, "\"tag\":\"GET /\\\"x\\\"\""));
	ck_assert(shows(NP_DUMP_CONNS, "\"peer\":\"127.0.0.1:"));
	ck_assert(shows(NP_DUMP_CONNS, "\"unread\":3"));
	ck_assert(shows(NP_DUMP_CONNS, "\"bytes_in\":3"));
	ck_assert(shows(NP_DUMP_FIBERS, "\"waits\":\"read\""));
	ck_assert(shows(NP_DUMP_SERVERS, "\"conns\":1"));
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(an_idle_connection_is_shown_with_the_bytes_that_it_moved)
{
	char ten[10];
	int fd;

	serve(1, &waiting, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "0123456789", 10);
	peer_recv(fd, ten, 10);

	AWAIT(shows(NP_DUMP_CONNS, "\"waits\":\"idle\""));
	ck_assert(shows(NP_DUMP_CONNS, "\"bytes_in\":10,\"bytes_out\":10"));
	ck_assert(shows(NP_DUMP_CONNS, "\"tag\":null"));
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Every other request is the answer. */
static int hold_on(struct np_conn *c, void *arg)
{
	np_conn_set_tag(c, "owed");
	if (begun++ % 2)
		np_conn_unhold(c);
	else
		np_conn_hold(c);
	return np_conn_skip(c, np_conn_len(c));
}

START_TEST(an_answer_that_is_owed_keeps_the_last_tag)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = hold_on };
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);

	AWAIT(shows(NP_DUMP_CONNS, "\"waits\":\"held\",\"waits_ms\":null,\"tag\":\"owed\""));
	peer_send(fd, "!", 1);
	AWAIT(shows(NP_DUMP_CONNS, "\"waits\":\"idle\",\"waits_ms\":null,\"tag\":null"));
	peer_close(&fd);
	serve_end();
}
END_TEST

#define MANY 300 /* more than are looked at in one turn */

START_TEST(each_of_many_connections_is_met_once)
{
	int fds[MANY];
	char *text;

	serve(1, &waiting, NULL, NULL);
	for (int i = 0; i < MANY; i++)
		fds[i] = serve_connect(0);
	AWAIT(serve_conns() == MANY);

	text = dumped(NP_DUMP_TSV, NP_DUMP_CONNS);
	ck_assert_uint_eq(count_of(text, "\ttcp\topen\t"), MANY);
	free(text);
	for (int i = 0; i < MANY; i++)
		peer_close(&fds[i]);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ pollers */

static int keep_the_thread(void *arg)
{
	begun = 1;
	while (!may_go)
		test_pause();
	return 0;
}

START_TEST(a_poller_that_does_not_answer_is_said_to_be_stuck_and_by_what)
{
	struct np_task *t;
	char *text;

	given_pollers(NULL);
	t = given_task(1, keep_the_thread, NULL);
	AWAIT(begun);

	text = dumped(NP_DUMP_JSON, 0);
	ck_assert_uint_eq(count_of(text, "\"state\":\"stuck\""), 1);
	ck_assert_uint_eq(count_of(text, "\"state\":\"answers\""), 1);
	ck_assert_ptr_nonnull(strstr(text, "\"poller\":1,\"cpu\":null,\"state\":\"stuck\""));
	free(text);
	may_go = 1;
	joined(t);
	AWAIT(shows(NP_DUMP_POLLERS, "\"poller\":1,\"cpu\":null,\"state\":\"answers\""));
	end_pollers();
}
END_TEST

static int dump_here(void *arg)
{
	return shows(0, "\"state\":\"runs\"");
}

START_TEST(a_handler_may_ask_for_it_itself)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(np_run(pollers, dump_here, NULL), 1);
	end_pollers();
}
END_TEST

static void *dump_on(void *arg)
{
	int r = 0;

	while (!may_go && r == 0)
		r = np_dump(*(int *)arg, NULL);
	return (void *)(intptr_t)r;
}

START_TEST(sets_that_come_and_go_meanwhile_are_in_nobodys_way)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pthread_t asker;
	void *r;

	pthread_create(&asker, NULL, dump_on, &fd);
	for (int i = 0; i < 20; i++) {
		serve(2, &waiting, NULL, NULL);
		serve_end();
	}
	may_go = 1;
	pthread_join(asker, &r);
	ck_assert_int_eq((int)(intptr_t)r, 0);
	close(fd);
}
END_TEST

/* ------------------------------------------------------------------ what else waits */

static int sleep_long(void *arg)
{
	begun++;
	return np_sleep(60000);
}

static void block_long(void *arg)
{
	begun++;
	while (!may_go)
		test_pause();
}

static int offload_long(void *arg)
{
	return np_offload(block_long, NULL);
}

START_TEST(fibers_say_what_they_wait_for)
{
	struct np_task *a, *b;

	given_pollers(NULL);
	a = given_task(0, sleep_long, NULL);
	b = given_task(1, offload_long, NULL);

	AWAIT(begun == 2);
	AWAIT(shows(NP_DUMP_FIBERS, "\"waits\":\"sleep\""));
	AWAIT(shows(NP_DUMP_FIBERS, "\"waits\":\"offload\""));
	ck_assert(shows(NP_DUMP_OFFLOAD, "\"queued\":0,\"running\":1"));
	may_go = 1;
	np_task_cancel(a);
	ck_assert_int_eq(joined(a), -ECANCELED);
	joined(b);
	end_pollers();
}
END_TEST

static char target[64];

static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	const void *p;
	int r = np_conn_peek(c, 1, &p);

	*ret_id = 1;
	*ret_len = 1;
	return r;
}

static int use_pool_and_channel(void *arg)
{
	struct np_channel_opts o = { .sz = sizeof o, .frame = frame };
	struct np_conn *c = NULL;
	struct np_channel *ch = NULL;
	struct np_pool *pool = arg;
	int r = np_pool_get(pool, &c);

	if (r == 0)
		r = np_channel_dial("tcp", target, &o, &ch);
	if (r == 0 && (!shows(NP_DUMP_POOLS, target) || !shows(NP_DUMP_POOLS, "\"open\":1")))
		r = -EBADMSG;
	if (r == 0 && !shows(NP_DUMP_CHANNELS, "\"waiting\":0"))
		r = -EBADMSG;
	np_channel_free(&ch);
	np_pool_drop(pool, &c);
	return r;
}

START_TEST(pools_and_channels_are_shown_as_long_as_they_live)
{
	struct np_pool *pool;
	int listener = peer_listen(target, sizeof target);

	given_pollers(NULL);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", target, NULL, &pool), 0);
	ck_assert_int_eq(joined(given_task(0, use_pool_and_channel, pool)), 0);
	ck_assert_int_eq(np_pool_free(&pool), 0);
	AWAIT(!shows(NP_DUMP_POOLS, target));
	AWAIT(!shows(NP_DUMP_CHANNELS, "waiting"));
	end_pollers();
	peer_close(&listener);
}
END_TEST

/* ------------------------------------------------------------------ refusals */

START_TEST(what_it_does_not_know_is_refused)
{
	ck_assert_int_eq(np_dump(2, NP_OPTS(np_dump_opts, .format = 3)), -EINVAL);
	ck_assert_int_eq(np_dump(2, NP_OPTS(np_dump_opts, .format = -1)), -EINVAL);
	ck_assert_int_eq(np_dump(2, NP_OPTS(np_dump_opts, .parts = 1u << 31)), -EINVAL);
	ck_assert_int_eq(np_dump(-1, NULL), -EBADF);
}
END_TEST

START_TEST(a_pipe_without_a_reader_is_an_error_and_no_signal)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	close(fds[0]);
	ck_assert_int_eq(np_dump(fds[1], NULL), -EPIPE);
	close(fds[1]);
}
END_TEST

START_TEST(without_pollers_there_is_nothing_to_tell)
{
	char *text = dumped(NP_DUMP_TEXT, 0);

	ck_assert_ptr_nonnull(strstr(text, "pollers:\n"));
	ck_assert_uint_eq(count_of(text, "  none\n"), 7);
	free(text);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "dump");

	tcase_add_test(t, a_connection_says_where_its_handler_waits_and_for_what);
	tcase_add_test(t, an_idle_connection_is_shown_with_the_bytes_that_it_moved);
	tcase_add_test(t, an_answer_that_is_owed_keeps_the_last_tag);
	tcase_add_test(t, each_of_many_connections_is_met_once);
	tcase_add_test(t, a_poller_that_does_not_answer_is_said_to_be_stuck_and_by_what);
	tcase_add_test(t, a_handler_may_ask_for_it_itself);
	tcase_add_test(t, sets_that_come_and_go_meanwhile_are_in_nobodys_way);
	tcase_add_test(t, fibers_say_what_they_wait_for);
	tcase_add_test(t, pools_and_channels_are_shown_as_long_as_they_live);
	tcase_add_test(t, what_it_does_not_know_is_refused);
	tcase_add_test(t, a_pipe_without_a_reader_is_an_error_and_no_signal);
	tcase_add_test(t, without_pollers_there_is_nothing_to_tell);
}

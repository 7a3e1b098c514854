/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limits: doc/limits.md, walked: 0 is the default, -1 no limit, and what is below is refused
 *
 * Each row of the tables below is named as the document names it, and the document has to have it.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <netpoll/call.h>
#include <netpoll/client.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pool.h>
#include <netpoll/steer_admin.h>
#include <netpoll/sync.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING  12345
#define SHORT_MS 40
#define MIB      ((size_t)1 << 20)

static char doc[32768];

static void must_be_in_the_document(const char *name)
{
	char quoted[80];

	if (!*doc) {
		FILE *f = fopen("doc/limits.md", "r");

		ck_assert_ptr_nonnull(f);
		doc[fread(doc, 1, sizeof doc - 1, f)] = '\0';
		fclose(f);
	}
	snprintf(quoted, sizeof quoted, "`%s`", name);
	ck_assert_msg(strstr(doc, quoted), "doc/limits.md does not have %s", quoted);
}

/* ------------------------------------------------------------------ fields */

struct field {
	const char *name;
	size_t at;
	int least; /* below it is -EINVAL */
};

#define FIELD(type, field, least)                                     \
	{                                                             \
#type "." #field, offsetof(struct type, field), least \
	}

/* Tries @make with each field at its least, at 0, and below its least. */
static void walk(const struct field *fields, size_t n, void *opts, int (*make)(const void *opts))
{
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &fields[i];

		for (int v = f->least - 1; v <= 0; v++) {
			int want = v < f->least ? -EINVAL : 0, r;

			memcpy((char *)opts + f->at, &v, sizeof v);
			r = make(opts);
			ck_assert_msg(r == want, "%s %d: %d, not %d", f->name, v, r, want);
		}
		must_be_in_the_document(f->name);
	}
}

#define WALK(fields, opts, make) walk(fields, sizeof(fields) / sizeof *(fields), opts, make)

static int make_server(const void *opts)
{
	static const struct np_handlers h = { .sz = sizeof h };
	struct np_server *s = NULL;
	int r = np_server_new(pollers, &h, NULL, opts, &s);

	ck_assert_int_eq(np_server_free(&s), 0);
	return r;
}

START_TEST(a_server_takes_what_the_document_says)
{
	static const struct field fields[] = {
		FIELD(np_server_opts, backlog, -1),
		FIELD(np_server_opts, read_timeout_ms, -1),
		FIELD(np_server_opts, write_timeout_ms, -1),
		FIELD(np_server_opts, idle_timeout_ms, -1),
		FIELD(np_server_opts, request_timeout_ms, -1),
		FIELD(np_server_opts, linger_ms, NP_NOW),
		FIELD(np_server_opts, min_rate, -1),
		FIELD(np_server_opts, fresh_ms, -1),
		FIELD(np_server_opts, drain_ms, -1),
		FIELD(np_server_opts, max_conns, -1),
		FIELD(np_server_opts, hang_ms, -1),
		FIELD(np_server_opts, proxy_header_ms, -1),
	};
	struct np_server_opts o = { .sz = sizeof o };

	given_pollers(NULL);
	WALK(fields, &o, make_server);
	o.rescue = NP_OFF + 1;
	ck_assert_int_eq(make_server(&o), -EINVAL);
	o.rescue = NP_OFF;
	o.memory_max = SIZE_MAX;
	ck_assert_int_eq(make_server(&o), 0);
	o.memory_max = MIB; /* of two pollers */
	ck_assert_int_eq(make_server(&o), -EINVAL);
	must_be_in_the_document("np_server_opts.memory_max");
	end_pollers();
}
END_TEST

static int make_pollers(const void *opts)
{
	struct np_pollers *p = NULL;
	int r = np_pollers_start(opts, &p);

	if (p)
		ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
	return r;
}

START_TEST(pollers_take_what_the_document_says)
{
	static const struct field fields[] = {
		FIELD(np_pollers_opts, max_fibers, -1),
		FIELD(np_pollers_opts, hog_ms, -1),
		FIELD(np_pollers_opts, offload_queue_max, -1),
		FIELD(np_pollers_opts, offload_threads, 0),
		FIELD(np_pollers_opts, handoff_ms, -1),
		FIELD(np_pollers_opts, handoff_threads, 0),
	};
	struct np_pollers_opts o = { .sz = sizeof o, .count = 1 };

	WALK(fields, &o, make_pollers);
	o.count = -1;
	ck_assert_int_eq(make_pollers(&o), -EINVAL);
	o.count = 0;
	o.n_cpus = -1;
	ck_assert_int_eq(make_pollers(&o), -EINVAL);
	o.n_cpus = 0;
	o.pin = NP_OFF + 1;
	ck_assert_int_eq(make_pollers(&o), -EINVAL);
	ck_assert_int_eq(np_threads(), 0);
}
END_TEST

START_TEST(a_stack_has_room_for_a_handler_and_an_end)
{
	static const struct {
		size_t size;
		int want;
	} sizes[] = { { 1, -EINVAL }, { (16 << 10) - 1, -EINVAL }, { 16 << 10, 0 },      { 0, 0 },
		      { 1 << 30, 0 }, { (1u << 30) + 1, -EINVAL }, { SIZE_MAX, -EINVAL } };
	struct np_pollers_opts o = { .sz = sizeof o, .count = 1 };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		o.stack_size = sizes[i].size;
		ck_assert_int_eq(make_pollers(&o), sizes[i].want);
	}
	must_be_in_the_document("np_pollers_opts.stack_size");
}
END_TEST

static char address[32];

static void given_server(const struct np_handlers *h, const struct np_server_opts *o)
{
	serve(1, h, NULL, o);
	snprintf(address, sizeof address, "%s", serve_address(serve_server));
}

/* They are taken where the place to wait at is what is not. */
static int make_hand_over(const void *opts)
{
	int r = np_server_hand_over(serve_server, "/no/such/folder/s", opts, NULL);

	return r == -ENOENT ? 0 : r;
}

START_TEST(a_hand_over_takes_what_the_document_says)
{
	static const struct np_handlers h = { .sz = sizeof h };
	static const struct field fields[] = {
		FIELD(np_hand_over_opts, come_ms, -1),
		FIELD(np_hand_over_opts, work_ms, -1),
		FIELD(np_hand_over_opts, answer_ms, -1),
	};
	struct np_hand_over_opts o = { .sz = sizeof o };

	serve(1, &h, NULL, NULL);
	WALK(fields, &o, make_hand_over);
	ck_assert_int_eq(np_server_take_over(serve_server, "x", -2), -EINVAL);
	must_be_in_the_document("np_server_take_over()");
	serve_end();
}
END_TEST

static int make_pool(const void *opts)
{
	struct np_pool *pool = NULL;
	int r = np_pool_new(pollers, "tcp", address, opts, &pool);

	ck_assert_int_eq(np_pool_free(&pool), 0);
	return r;
}

static int make_dial(const void *opts)
{
	struct np_conn *c = NULL;
	int r = np_dial(NULL, NP_HERE, "tcp", address, opts, &c);

	if (c) {
		np_conn_close(c);
		np_conn_unref(c);
	}
	return r;
}

static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	return -EBADMSG;
}

static int make_channel(const void *opts)
{
	struct np_channel *ch = NULL;
	int r = np_channel_dial("tcp", address, opts, &ch);

	ck_assert_int_eq(np_channel_free(&ch), 0);
	return r;
}

/* The number of the request is 1; it is not sent where the limit is refused. */
static int make_call(struct np_channel *ch, int ms)
{
	struct np_linkbuf *b = NULL, *answer = NULL;
	int r = np_linkbuf_new(0, &b);

	if (r == 0)
		r = np_linkbuf_write(b, "?", 1);
	if (r == 0)
		r = np_call(ch, np_channel_id(ch), &b, ms, &answer);
	ck_assert_int_eq(b != NULL, r == -EINVAL);
	np_linkbuf_free(&b);
	return r;
}

/* It ends by the first answer, which frame() refuses. */
static void walk_call(void)
{
	for (int ms = -2; ms <= 0; ms++) {
		struct np_channel *ch = NULL;

		ck_assert_int_eq(np_channel_dial("tcp", address,
						 NP_OPTS(np_channel_opts, .frame = frame), &ch),
				 0);
		ck_assert_int_eq(make_call(ch, ms), ms < -1 ? -EINVAL : -EBADMSG);
		ck_assert_int_eq(np_channel_free(&ch), 0);
	}
	must_be_in_the_document("np_call()");
}

static void limits_of_a_dial_hold(void)
{
	struct np_conn *c = NULL;

	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address,
				 NP_OPTS(np_dial_opts, .limits.in_max = 10), &c),
			 0);
	ck_assert_int_eq(np_conn_wait(c, 11), -NP_ETOOLONG);
	ck_assert_int_eq(np_conn_set_limits(c, &(struct np_limits){ .in_max = 1000 }), 0);
	ck_assert_int_eq(np_conn_set_limits(c, &(struct np_limits){ 0 }), 0); /* the dial's again */
	ck_assert_int_eq(np_conn_wait(c, 11), -NP_ETOOLONG);
	np_conn_close(c);
	np_conn_unref(c);
}

static int walk_clients(void *arg)
{
	static const struct field dials[] = {
		FIELD(np_dial_opts, timeout_ms, -1),      FIELD(np_dial_opts, keepalive_intvl_s, 0),
		FIELD(np_dial_opts, keepalive_cnt, 0),    FIELD(np_dial_opts, keepalive_idle_s, -1),
		FIELD(np_dial_opts, user_timeout_ms, -1),
	};
	static const struct field channels[] = {
		{ "np_channel_opts.dial_ms", offsetof(struct np_channel_opts, dial_ms), -1 },
	};
	struct np_dial_opts d = { .sz = sizeof d };
	struct np_channel_opts c = { .sz = sizeof c, .frame = frame };

	WALK(dials, &d, make_dial);
	d.limits.in_high = 2;
	d.limits.in_max = 1;
	ck_assert_int_eq(make_dial(&d), -EINVAL);
	WALK(channels, &c, make_channel);
	walk_call();
	limits_of_a_dial_hold();
	return 0;
}

static int echo(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	return r < 0 || (r = np_conn_write(c, "b", 1)) < 0 ? r : np_conn_flush(c);
}

START_TEST(clients_take_what_the_document_says)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = echo };
	static const struct field pools[] = {
		FIELD(np_pool_opts, max_open, -1), FIELD(np_pool_opts, max_idle, -1),
		FIELD(np_pool_opts, idle_ms, -1),  FIELD(np_pool_opts, wait_ms, -1),
		FIELD(np_pool_opts, dial_ms, -1),
	};
	struct np_pool_opts o = { .sz = sizeof o };

	given_server(&h, NULL);
	WALK(pools, &o, make_pool);
	ck_assert_int_eq(np_run(pollers, walk_clients, NULL), 0);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ waits of a call */

static struct np_event *event;
static struct np_mutex *mutex;
static struct np_sem *sem;
static struct np_cond *cond;
static int readable;

static int nothing(void *arg)
{
	return 0;
}

static int wait_event(int ms)
{
	np_event_set(event);
	return np_event_wait(event, ms);
}

static int wait_join(int ms)
{
	struct np_task *t = NULL;
	int r = np_go(NULL, NP_HERE, nothing, NULL, &t);

	if (r == 0)
		r = np_join_for(&t, ms, NULL);
	if (t)
		np_join(&t, NULL);
	return r;
}

static int wait_fd(int ms)
{
	int r = np_wait_fd(readable, POLLIN, ms);

	return r > 0 ? 0 : r;
}

static int wait_mutex(int ms)
{
	int r = np_mutex_lock(mutex, ms);

	return r == 0 ? np_mutex_unlock(mutex) : r;
}

static int wait_sem(int ms)
{
	int r = np_sem_wait(sem, ms);

	return r == 0 ? np_sem_post(sem) : r;
}

static int signal_it(void *arg)
{
	return np_cond_signal(cond);
}

static int wait_cond(int ms)
{
	struct np_task *t = NULL;
	int r = np_mutex_lock(mutex, 0);

	if (r == 0)
		r = np_go(NULL, NP_HERE, signal_it, NULL, &t); /* runs when this fiber waits */
	if (r == 0)
		r = np_cond_wait(cond, mutex, ms);
	np_mutex_unlock(mutex);
	if (t)
		np_join(&t, NULL);
	return r;
}

/* What the fiber has left once it is set. */
static int set_deadline(int ms)
{
	uint64_t outer;
	int r = np_deadline(ms, &outer);

	ck_assert_int_eq(np_deadline_left(), r == 0 && ms == NP_NOW ? 0 : -1);
	if (r == 0)
		ck_assert_int_eq(np_deadline_restore(outer), 0);
	return r;
}

static void fire(void *arg)
{
}

static int start_timer(int ms)
{
	return np_timer_start(ms, fire, NULL, NULL);
}

static const struct {
	const char *name;
	int (*wait)(int ms);
	int least;
} waits[] = {
	{ "np_event_wait()", wait_event, -1 },
	{ "np_join_for()", wait_join, -1 },
	{ "np_wait_fd()", wait_fd, -1 },
	{ "np_mutex_lock()", wait_mutex, -1 },
	{ "np_sem_wait()", wait_sem, -1 },
	{ "np_cond_wait()", wait_cond, -1 },
	{ "np_sleep()", np_sleep, 0 },
	{ "np_timer_start()", start_timer, 0 },
	{ "np_deadline()", set_deadline, NP_NOW },
};

static int walk_waits(void *arg)
{
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		for (int ms = waits[i].least - 1; ms <= 0; ms++) {
			int want = ms < waits[i].least ? -EINVAL : 0, r = waits[i].wait(ms);

			ck_assert_msg(r == want, "%s %d: %d, not %d", waits[i].name, ms, r, want);
		}
	return 0;
}

START_TEST(waits_of_a_call_have_no_limit_at_0_and_at_minus_1)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	peer_send(fds[1], "r", 1);
	readable = fds[0];
	ck_assert_int_eq(np_event_new(&event), 0);
	ck_assert_int_eq(np_mutex_new(&mutex), 0);
	ck_assert_int_eq(np_sem_new(1, &sem), 0);
	ck_assert_int_eq(np_cond_new(&cond), 0);
	given_pollers(NULL);
	ck_assert_int_eq(np_run(pollers, walk_waits, NULL), 0);
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		must_be_in_the_document(waits[i].name);
	ck_assert_int_eq(np_pollers_stop(pollers, -2), -EINVAL);
	ck_assert_int_eq(np_pollers_stop(pollers, -1), 0);
	end_pollers();
	ck_assert_int_eq(np_event_free(&event), 0);
	ck_assert_int_eq(np_mutex_free(&mutex), 0);
	ck_assert_int_eq(np_sem_free(&sem), 0);
	ck_assert_int_eq(np_cond_free(&cond), 0);
	peer_close(&fds[0]);
	peer_close(&fds[1]);
}
END_TEST

START_TEST(a_stop_has_no_limit_at_minus_1)
{
	static const struct np_handlers h = { .sz = sizeof h };

	given_server(&h, NULL);
	ck_assert_int_eq(np_server_stop(serve_server, -2, NULL), -EINVAL);
	ck_assert_int_eq(np_server_stop(serve_server, -1, NULL), 0);
	must_be_in_the_document("np_server_stop()");
	must_be_in_the_document("np_pollers_stop()");
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ steering */

static int open_steer(const void *opts)
{
	struct np_steer *s = NULL;
	int r = np_steer_open(NULL, opts, &s);

	ck_assert_int_eq(np_steer_close(&s), 0);
	return r;
}

static int no_decision(void *arg, const struct np_steer_decision *d)
{
	return 0;
}

/* Without a program: what is refused is refused before that is missed. */
START_TEST(steering_takes_what_the_document_says)
{
	static const struct field fields[] = { FIELD(np_steer_opts, hang_ms, -1) };
	struct np_steer_opts o = { .sz = sizeof o, .mode = NP_STEER_OFF };
	struct np_steer_worker *w;
	struct np_steer *s;

	must_be_in_the_document("np_steer_listen()");
	must_be_in_the_document("np_steer_trace()");
	must_be_in_the_document("np_steer_rescue()");
	WALK(fields, &o, open_steer);
	o.hang_ms = 1; /* under three ticks */
	ck_assert_int_eq(open_steer(&o), -EINVAL);
	o.hang_ms = 0;
	ck_assert_int_eq(np_steer_open(NULL, &o, &s), 0);
	for (int ms = -2; ms <= 0; ms++) {
		int want = ms < -1 ? -EINVAL : -NP_EUNSUPPORTED;

		ck_assert_int_eq(np_steer_trace(s, 65536, ms, no_decision, NULL), want);
		ck_assert_int_eq(np_steer_rescue(s, ms), want);
	}
	ck_assert_int_eq(np_steer_worker(s, "w", &w), 0);
	for (int backlog = -2; backlog <= 0; backlog++) {
		int fd = -1, r = np_steer_listen(w, "tcp", "127.0.0.1:0", backlog, &fd);

		ck_assert_int_eq(r, backlog < -1 ? -EINVAL : 0);
		if (r == 0)
			peer_close(&fd);
	}
	ck_assert_int_eq(np_steer_worker_close(&w), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

/* ------------------------------------------------------------------ of a connection */

/* One connection without a limit, one that is set back to the server's, one that is left alone. */
enum { UNBOUND, BACK, ALONE, CONNS };

static struct {
	_Atomic(int) made, result[CONNS], closes;
} saw;

static const struct timeout {
	const char *name;
	int (*set)(struct np_conn *, int);
	struct np_server_opts o;
} timeouts[] = {
	{ "np_conn_set_idle_timeout()", np_conn_set_idle_timeout, { .idle_timeout_ms = SHORT_MS } },
	{ "np_conn_set_read_timeout()", np_conn_set_read_timeout, { .read_timeout_ms = SHORT_MS } },
	{ "np_conn_set_request_timeout()",
	  np_conn_set_request_timeout,
	  { .request_timeout_ms = SHORT_MS } },
	{ "np_conn_set_write_timeout()",
	  np_conn_set_write_timeout,
	  { .write_timeout_ms = SHORT_MS, .min_rate = INT_MAX, .limits.out_high = 1 } },
};

static const struct timeout *timeout;

static int set_one(struct np_conn *c, void *arg)
{
	int i = saw.made++;
	int r = timeout->set(c, 60000);

	np_conn_set_data(c, (void *)(intptr_t)i);
	if (r == 0)
		r = timeout->set(c, -2) == -EINVAL ? 0 : -EBADMSG;
	if (i != ALONE && r == 0)
		r = timeout->set(c, i == UNBOUND ? -1 : 0);
	else if (r == 0) /* by the option itself */
		r = timeout->set(c, SHORT_MS);
	return r;
}

/* The read timeout ends the verb, the idle timeout a connection that waits, the request timeout a
 * request that has begun; the write timeout a flush to a peer that reads nothing. */
static int wait_for_its_end(struct np_conn *c, void *arg)
{
	static const char much[1 << 20];
	const void *p;
	int r = 0;

	if (timeout->o.write_timeout_ms)
		for (int i = 0; i < 64 && r == 0; i++) {
			r = np_conn_write_ref(c, much, sizeof much, NULL, NULL);
			if (r == 0)
				r = np_conn_flush(c);
		}
	else
		r = np_conn_next(c, 2, &p);
	saw.result[(intptr_t)np_conn_data(c)] = r;
	return r < 0 ? r : -1;
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

/* An idle timeout may be over before the request has come. */
static void its_end_or_the_connections(struct np_conn *c, void *arg)
{
	_Atomic(int) *result = &saw.result[(intptr_t)np_conn_data(c)];

	if (*result == NOTHING)
		*result = np_conn_error(c);
	saw.closes++;
}

START_TEST(a_timeout_of_a_connection_is_the_servers_at_0_and_none_at_minus_1)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_prepare = set_one,
					      .on_request = wait_for_its_end,
					      .on_close = its_end_or_the_connections };
	struct np_server_opts o = timeouts[_i].o;
	int fd[CONNS];

	timeout = &timeouts[_i];
	must_be_in_the_document(timeout->name);
	o.sz = sizeof o;
	given_server(&h, &o);
	for (int i = 0; i < CONNS; i++) {
		saw.result[i] = NOTHING;
		fd[i] = serve_connect(0);
		AWAIT(saw.made == i + 1);
		peer_send(fd[i], "x", 1);
	}
	AWAIT(saw.result[BACK] != NOTHING && saw.result[ALONE] != NOTHING);
	ck_assert(np_err_is_timeout(saw.result[BACK]));
	ck_assert(np_err_is_timeout(saw.result[ALONE]));
	ck_assert_int_eq(saw.result[UNBOUND], NOTHING);
	for (int i = 0; i < CONNS; i++)
		peer_close(&fd[i]);
	AWAIT(saw.closes == CONNS);
	ck_assert(!np_err_is_timeout(saw.result[UNBOUND]));
	serve_end();
}
END_TEST

static int set_keepalive(struct np_conn *c, int idle_s)
{
	return np_conn_set_keepalive(c, idle_s, 0, 0);
}

static const struct {
	const char *name;
	int (*set)(struct np_conn *c, int v);
	int least;
} settings[] = {
	{ "np_conn_set_read_timeout()", np_conn_set_read_timeout, -1 },
	{ "np_conn_set_write_timeout()", np_conn_set_write_timeout, -1 },
	{ "np_conn_set_idle_timeout()", np_conn_set_idle_timeout, -1 },
	{ "np_conn_set_request_timeout()", np_conn_set_request_timeout, -1 },
	{ "np_conn_set_linger()", np_conn_set_linger, NP_NOW },
	{ "np_conn_set_min_rate()", np_conn_set_min_rate, -1 },
	{ "np_conn_set_keepalive()", set_keepalive, -1 },
	{ "np_conn_set_user_timeout()", np_conn_set_user_timeout, -1 },
};

static int walk_settings(struct np_conn *c, void *arg)
{
	int bad = 0;

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		for (int v = settings[i].least - 1; v <= 0; v++)
			bad += settings[i].set(c, v) != (v < settings[i].least ? -EINVAL : 0);
	saw.result[0] = bad;
	return -1;
}

START_TEST(settings_of_a_connection_take_what_the_document_says)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = walk_settings,
					      .on_close = on_close };
	int fd;

	saw.result[0] = NOTHING;
	given_server(&h, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.result[0] != NOTHING);
	ck_assert_int_eq(saw.result[0], 0);
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		must_be_in_the_document(settings[i].name);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static struct np_linkbuf *message(size_t n)
{
	struct np_linkbuf *b = NULL;
	void *p;

	if (np_linkbuf_new(0, &b) < 0 || np_linkbuf_reserve(b, n, &p) < 0)
		ck_abort_msg("no memory for a message");
	memset(p, 0, n);
	return b;
}

/* Whether two messages of 12 MiB are taken, one behind the other. */
static int send_two(struct np_conn *c)
{
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		struct np_linkbuf *b = message(12 * MIB);

		r = np_conn_send(c, &b);
		np_linkbuf_free(&b); /* NULL where it was taken */
	}
	return r;
}

/* Whether a flush of 12 MiB to a peer that reads nothing parks: then it is late. */
static int flush_much(struct np_conn *c)
{
	struct np_linkbuf *b = message(12 * MIB);
	uint64_t outer;
	int r = np_conn_append(c, &b);

	np_linkbuf_free(&b);
	if (r == 0)
		r = np_deadline(NP_NOW, &outer);
	if (r == 0)
		r = np_conn_flush(c);
	np_deadline_restore(outer);
	return r;
}

static int wait_for_much(struct np_conn *c)
{
	uint64_t outer;
	int r = np_deadline(NP_NOW, &outer);

	if (r == 0)
		r = np_conn_wait(c, 65 * MIB);
	np_deadline_restore(outer);
	return r;
}

static const struct {
	const char *name;
	int (*try)(struct np_conn *c);
	struct np_limits none;
	int bound, unbound; /* what it says by default, and without a limit */
} sizes[] = {
	{ "np_limits.send_high", send_two, { .send_high = SIZE_MAX }, -EAGAIN, 0 },
	{ "np_limits.out_high", flush_much, { .out_high = SIZE_MAX }, -ETIMEDOUT, 0 },
	{ "np_limits.in_max", wait_for_much, { .in_max = SIZE_MAX }, -NP_ETOOLONG, -ETIMEDOUT },
};

static int try_sizes(struct np_conn *c, void *arg)
{
	const struct np_limits wrong = { .in_high = 2, .in_max = 1 }, none = { 0 };
	int i = *(int *)arg, r = np_conn_skip(c, 1);

	if (r == 0)
		r = np_conn_set_limits(c, &wrong) == -EINVAL ? 0 : -EBADMSG;
	if (r == 0)
		r = np_conn_set_limits(c, &sizes[i].none);
	if (r == 0 && saw.made) /* and back */
		r = np_conn_set_limits(c, &none);
	saw.result[0] = r < 0 ? r : sizes[i].try(c);
	return -1;
}

START_TEST(a_size_of_a_connection_is_its_default_at_0_and_none_at_size_max)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = try_sizes,
					      .on_close = on_close };
	int size = _i / 2, fd;

	must_be_in_the_document(sizes[size].name);
	saw.made = _i % 2;
	saw.result[0] = NOTHING;
	serve(1, &h, &size, NP_OPTS(np_server_opts, .linger_ms = NP_NOW));
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.result[0] != NOTHING);
	ck_assert_int_eq(saw.result[0], _i % 2 ? sizes[size].bound : sizes[size].unbound);
	AWAIT(saw.closes == 1);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ of a pool */

/* 70 connections, of which as many as there may be lie idle. */
static int fill_pool(void *arg)
{
	struct np_conn *c[70] = { NULL };
	struct np_pool *pool = arg;
	char byte;
	int r = 0;

	for (int i = 0; i < 70 && r == 0; i++) {
		r = np_pool_get(pool, &c[i]);
		if (r == 0)
			r = np_conn_write(c[i], "a", 1);
		if (r == 0)
			r = np_conn_flush(c[i]);
		if (r == 0)
			r = np_conn_read(c[i], &byte, 1) == 1 ? 0 : -EBADMSG;
	}
	for (int i = 0; i < 70; i++)
		if (c[i])
			np_pool_put(pool, &c[i]);
	return r;
}

START_TEST(a_pool_without_limits_keeps_all)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = echo };
	struct np_pool_stats st = { .sz = sizeof st };
	struct np_pool *pool;

	given_server(&h, NULL);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", address,
				     _i ? NP_OPTS(np_pool_opts, .max_idle = -1, .max_open = -1,
						  .wait_ms = -1, .idle_ms = -1) :
					  NULL,
				     &pool),
			 0);
	ck_assert_int_eq(np_run(pollers, fill_pool, pool), 0);
	ck_assert_int_eq(np_pool_stats(pool, &st), 0);
	ck_assert_uint_eq(st.idle, _i ? 70 : 64);
	ck_assert_int_eq(np_pool_free(&pool), 0);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "limits");

	tcase_add_test(t, a_server_takes_what_the_document_says);
	tcase_add_test(t, pollers_take_what_the_document_says);
	tcase_add_test(t, a_stack_has_room_for_a_handler_and_an_end);
	tcase_add_test(t, a_hand_over_takes_what_the_document_says);
	tcase_add_test(t, clients_take_what_the_document_says);
	tcase_add_test(t, waits_of_a_call_have_no_limit_at_0_and_at_minus_1);
	tcase_add_test(t, a_stop_has_no_limit_at_minus_1);
	tcase_add_test(t, steering_takes_what_the_document_says);
	tcase_add_loop_test(t, a_timeout_of_a_connection_is_the_servers_at_0_and_none_at_minus_1, 0,
			    sizeof timeouts / sizeof *timeouts);
	tcase_add_test(t, settings_of_a_connection_take_what_the_document_says);
	tcase_add_loop_test(t, a_size_of_a_connection_is_its_default_at_0_and_none_at_size_max, 0,
			    2 * (int)(sizeof sizes / sizeof *sizes));
	tcase_add_loop_test(t, a_pool_without_limits_keeps_all, 0, 2);
}

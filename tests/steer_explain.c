/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_explain: what is said of a flow before it connects is what the kernel then does
 *
 * Held to the program's own record of the decision (np_steer_trace()), hash and all.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "given_hung.h"
#include "steer/steer.h"
#include "support/privilege.h"
#include "support/restrict.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"
#include "sys/clock.h"

#define WORKERS 6
#define FLOWS   12
#define HANG_MS 100

/* ------------------------------------------------------------------ said and done */

struct said {
	uint32_t hash;
	int worker;
	unsigned looks, chosen;
	bool hash_drawn;
	char policy[16], verdict[16], text[NP_STEER_TEXT_MAX], all[4096];
};

static int hear(void *arg, const struct np_steer_explanation *e)
{
	struct said *s = arg;

	*s = (struct said){ .hash = e->hash,
			    .worker = e->worker,
			    .looks = e->n_looks,
			    .hash_drawn = e->hash_drawn };
	snprintf(s->policy, sizeof s->policy, "%s", e->policy);
	snprintf(s->verdict, sizeof s->verdict, "%s", e->verdict);
	snprintf(s->text, sizeof s->text, "%s", e->text);
	for (unsigned i = 0; i < e->n_looks; i++) {
		size_t n = strlen(s->all);

		s->chosen += e->looks[i].chosen;
		snprintf(s->all + n, sizeof s->all - n, "%u: %s\n", e->looks[i].worker,
			 e->looks[i].text);
	}
	return 0;
}

static struct said explain(struct rig *r, const char *flow)
{
	struct said s = { 0 };
	int e = np_steer_explain(r->s, NP_OPTS(np_steer_explain_opts, .flow = flow), hear, &s);

	ck_assert_msg(e == 0, "%s: %d %s", flow, e, np_steer_error(r->s));
	return s;
}

/* Decisions as they come; the last one is in d when n has moved. */
struct watcher {
	struct np_steer *s;
	_Atomic(unsigned) n;
	_Atomic(bool) end;
	struct np_steer_decision d;
	pthread_t thread;
};

static int note(void *arg, const struct np_steer_decision *d)
{
	struct watcher *w = arg;

	if (!strcmp(d->verdict, "nonsyn"))
		return 0;
	w->d = *d;
	w->n++;
	return w->end;
}

static void *listen_to(void *arg)
{
	struct watcher *w = arg;

	return (void *)(intptr_t)np_steer_trace(w->s, 65536, -1, note, w);
}

static void watch(struct watcher *w, struct np_steer *s)
{
	*w = (struct watcher){ .s = s };
	ck_assert_int_eq(pthread_create(&w->thread, NULL, listen_to, w), 0);
	AWAIT(__atomic_load_n(&s->maps.config->trace, __ATOMIC_RELAXED) == 65536);
}

/* A client that has its port, and no connection yet; the flow as npsteer takes it. */
static int given_client(const char *server, const char *host, char *flow, size_t cap)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char text[80], at[80];
	struct addr a;
	int fd;

	snprintf(at, sizeof at, "%s:0", host);
	ck_assert_int_eq(addr_parse("tcp", at, &a), 0);
	fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a.ss, a.len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	addr_format(&ss, len, text, sizeof text);
	snprintf(flow, cap, "%s>%s", text, server);
	return fd;
}

/* One flow: explained, then connected. What was said. */
static struct said hold_to_it(struct rig *r, struct watcher *w, const char *server,
			      const char *host)
{
	char flow[160];
	int fd = given_client(server, host, flow, sizeof flow);
	unsigned before = w->n;
	struct said s = explain(r, flow);
	struct addr to;

	ck_assert_int_eq(addr_parse("tcp", server, &to), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to.ss, to.len), 0);
	AWAIT(w->n > before);
	/* Time goes on between the two: a worker may be stuck by now. Then that is said now. */
	if (w->d.worker != s.worker)
		s = explain(r, flow);
	ck_assert_msg(w->d.worker == s.worker && !strcmp(w->d.verdict, s.verdict),
		      "%s: %s\n%sthe program: worker %d, %s", flow, s.text, s.all, w->d.worker,
		      w->d.verdict);
	ck_assert_str_eq(w->d.policy, s.policy);
	ck_assert_uint_eq(w->d.hash, s.hash);
	ck_assert_uint_eq(s.chosen, s.worker >= 0);
	/* of a connection that is there its own hash is read, and it is the same */
	if (w->n % 8 == 1)
		ck_assert_uint_eq(explain(r, flow).hash, s.hash);
	close(fd);
	return s;
}

static void end(struct rig *r, struct watcher *w)
{
	int fd;

	w->end = true;
	fd = client_connect(r->address);
	pthread_join(w->thread, NULL);
	close(fd);
	rig_stop(r);
}

/* ------------------------------------------------------------------ the policies */

enum situation {
	ALL_WELL,
	ONE_DRAINS,
	ONE_IS_OUT,
	ONE_HANGS,
	ONE_IS_GONE,
	NOBODY_IS_FIT,
	SITUATIONS
};

static const char *const policies[] = { "hash",     "rr",     "cpu",         "p2c",
					"least",    "maglev", "least-exact", "p2c-exact",
					"weighted", "bitmap", "auto" };
#define POLICIES (int)(sizeof policies / sizeof policies[0])

static void put_into(struct rig *r, enum situation what)
{
	switch (what) {
	case ONE_DRAINS:
		np_steer_drain(r->s, 3);
		break;
	case ONE_IS_OUT:
		np_steer_kick(r->s, 1);
		break;
	case ONE_HANGS:
		given_hung(r, 5);
		break;
	case ONE_IS_GONE:
		rig_close_listener(r, 1);
		break;
	case NOBODY_IS_FIT:
		for (unsigned i = 0; i < WORKERS; i++)
			np_steer_drain(r->s, i);
		break;
	default:
		break;
	}
}

/* The words for the one that was passed over, where the policy met it. */
static const char *words_for(enum situation what)
{
	return what == ONE_DRAINS || what == NOBODY_IS_FIT ? "it drains" :
	       what == ONE_IS_OUT                          ? "it is out" :
	       what == ONE_HANGS                           ? "it has been busy for" :
	       what == ONE_IS_GONE                         ? "it has no listener" :
							     "";
}

/*
 * One waits at each worker, and none for so much longer than another that its queue counts as late:
 * nor will it, since they age alike. What is said then stays true however busy the machine is.
 */
static void given_queues(struct rig *r, int fds[WORKERS])
{
	uint64_t from_ns = sys_clock_ns(), to_ns;

	clients_connect(r->address, fds, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		await_fd(r->fd[i], POLLIN);
	to_ns = sys_clock_ns();
	AWAIT(sys_clock_ns() - to_ns >
	      to_ns - from_ns); /* the first at most twice as old as the last */
}

START_TEST(what_is_said_of_a_flow_is_what_the_kernel_does)
{
	const char *policy = policies[_i / SITUATIONS];
	enum situation what = (enum situation)(_i % SITUATIONS);
	unsigned met = 0, open[WORKERS] = { 0 };
	int fds[WORKERS];
	struct watcher w;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, WORKERS,
		  NP_OPTS(np_steer_opts, .policy = "rr", .rescue = NP_OFF, .hang_ms = 10000));
	given_queues(&r, fds);
	ck_assert_int_eq(np_steer_set_policy(r.s, policy), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		np_steer_set_weight(r.s, i, 100 + 50 * i);
		np_steer_set_cpu(r.w[i], (int)i % 3);
	}
	ck_assert_int_eq(np_steer_set_param(r.s, "set", "1-4"), 0);
	put_into(&r, what);
	run_on(0);
	watch(&w, r.s);
	for (unsigned i = 0; i < FLOWS; i++) {
		char host[32];
		struct said s;

		snprintf(host, sizeof host, "127.0.1.%u", 1 + i % 20);
		s = hold_to_it(&r, &w, r.address, host);
		met += *words_for(what) && strstr(s.all, words_for(what));
		/* One more each: the next choice has other words to go by. */
		if (s.worker >= 0 && i % 3)
			np_steer_conn_inc(r.w[s.worker]), open[s.worker]++;
	}
	for (unsigned i = 0; i < WORKERS; i++)
		while (open[i]--)
			np_steer_conn_dec(r.w[i]);
	if (what == NOBODY_IS_FIT)
		ck_assert_uint_eq(met, FLOWS);
	else if (what != ALL_WELL && !strcmp(policy, "rr"))
		ck_assert_uint_gt(met, 0);
	clients_close(fds, WORKERS);
	end(&r, &w);
}
END_TEST

/* ------------------------------------------------------------------ queues; level 4 */

START_TEST(a_full_queue_is_said_to_have_no_room)
{
	const char *policy = policies[_i];
	int fds[64];
	struct watcher w;
	unsigned met = 0;
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = policy, .rescue = NP_OFF));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	r.backlog = 4;
	rig_worker(&r, "127.0.0.1:0");
	r.backlog = 0;
	rig_worker(&r, r.address);
	np_steer_kick(r.s, 1);
	clients_connect(r.address, fds, 5);
	np_steer_undrain(r.s, 1);
	ck_assert_int_eq(np_steer_set_param(r.s, "set", "0-1"), 0);
	np_steer_set_cpu(r.w[0], 0);
	run_on(0);
	watch(&w, r.s);
	for (unsigned i = 0; i < 20; i++) {
		struct said s = hold_to_it(&r, &w, r.address, "127.0.0.9");

		ck_assert_int_eq(s.worker, 1);
		met += strstr(s.all, "its queue has no room: 5 wait in it and 0 are half open, of "
				     "4") != NULL;
	}
	if (!strcmp(policy, "hash") || !strcmp(policy, "rr") || !strcmp(policy, "cpu"))
		ck_assert_uint_gt(met, 0);
	end(&r, &w);
}
END_TEST

START_TEST(a_worker_that_takes_nothing_is_said_to_be_stuck)
{
	uint64_t until;
	struct watcher w;
	unsigned met = 0;
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL,
		 NP_OPTS(np_steer_opts, .policy = policies[_i], .rescue = NP_OFF,
			 .hang_ms = HANG_MS));
	if (rig_level(&r) < NP_STEER_L4)
		SKIP("needs level 4");
	rig_worker(&r, "127.0.0.1:0");
	rig_worker(&r, r.address);
	np_steer_kick(r.s, 1);
	ck_assert_int_ge(client_connect(r.address), 0);
	np_steer_undrain(r.s, 1);
	ck_assert_int_eq(np_steer_set_param(r.s, "set", "0-1"), 0);
	np_steer_set_cpu(r.w[0], 0);
	run_on(0);
	watch(&w, r.s);
	/* Told apart from an old queue only once a SYN has found it old, and half of hang_ms on. */
	until = sys_clock_ns() + 3 * HANG_MS * 1000000ull;
	while (sys_clock_ns() < until) {
		int fd = client_connect(r.address), taken;

		while ((taken = accept4(r.fd[1], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(taken);
		close(fd);
		test_pause();
	}
	for (unsigned i = 0; i < 20; i++) {
		struct said s = hold_to_it(&r, &w, r.address, "127.0.0.9");
		int taken;

		met += strstr(s.all, "in its queue has waited for") != NULL;
		while ((taken = accept4(r.fd[1], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(taken);
	}
	fprintf(stderr, "%s: %u of 20 met it\n", policies[_i], met);
	if (!strcmp(policies[_i], "hash") || !strcmp(policies[_i], "rr"))
		ck_assert_uint_gt(met, 0);
	end(&r, &w);
}
END_TEST

/* ------------------------------------------------------------------ addresses */

START_TEST(ipv6_and_its_wildcard_are_found_and_hashed_alike)
{
	static const char *const at[] = { "[::1]:7436", "[::]:7436", ":7436" };
	struct watcher w;
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = "hash", .rescue = NP_OFF));
	for (unsigned i = 0; i < WORKERS; i++)
		rig_worker(&r, at[_i]);
	snprintf(r.address, sizeof r.address, "[::1]:7436");
	watch(&w, r.s);
	for (unsigned i = 0; i < FLOWS; i++)
		hold_to_it(&r, &w, r.address, "[::1]");
	end(&r, &w);
}
END_TEST

/* What does not go by the hash is told all the same. */
START_TEST(of_a_wildcard_of_ipv4_the_hash_is_said_not_to_be_known)
{
	char flow[160];
	struct said s;
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_open(&r, NULL, NP_OPTS(np_steer_opts, .policy = "rr", .rescue = NP_OFF));
	rig_worker(&r, _i ? ":7436" : "0.0.0.0:7436");
	rig_worker(&r, _i ? ":7436" : "0.0.0.0:7436");
	snprintf(r.address, sizeof r.address, "127.0.0.1:7436");
	rig_drive(&r, 1);
	fd = given_client(r.address, "127.0.0.3", flow, sizeof flow);
	s = explain(&r, flow);
	ck_assert_int_eq(s.worker, 1);
	ck_assert(s.hash_drawn);
	ck_assert_msg(strstr(s.text, "cannot be known beforehand") != NULL, "%s", s.text);
	close(fd);
	rig_stop(&r);
}
END_TEST

START_TEST(next_is_some_flow_and_changes_nothing)
{
	char with_address[80];
	struct np_steer_stats before, after;
	int fds = 0;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, WORKERS, NP_OPTS(np_steer_opts, .policy = "rr", .rescue = NP_OFF));
	rig_drive(&r, 2);
	before = rig_stats(&r);
	explain(&r, "next"); /* libbpf keeps what it has read once */
	fds = open_fds();
	for (unsigned i = 0; i < 10; i++) {
		struct said s = explain(&r, "next");

		ck_assert_int_eq(s.worker, 2);
		ck_assert_str_eq(s.verdict, "steered");
		ck_assert_msg(strstr(s.text, "it is its turn") != NULL, "%s", s.text);
	}
	snprintf(with_address, sizeof with_address, "next>%s", r.address);
	ck_assert_int_eq(explain(&r, with_address).worker, 2);
	ck_assert_int_eq(open_fds(), fds);
	after = rig_stats(&r);
	ck_assert_mem_eq(&before, &after, sizeof after);
	rig_stop(&r);
}
END_TEST

/* A listener that nobody has asked for its cookie is not taken for the flow. */
START_TEST(listeners_of_others_are_left_out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	struct watcher w;
	struct rig r;
	int other;

	OWN_STEERING();
	other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(other, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(listen(other, 4), 0);
	rig_start(&r, WORKERS, NP_OPTS(np_steer_opts, .policy = "hash", .rescue = NP_OFF));
	watch(&w, r.s);
	for (unsigned i = 0; i < FLOWS; i++)
		hold_to_it(&r, &w, r.address, "127.0.0.1");
	end(&r, &w);
	close(other);
}
END_TEST

/* A flow that was explained connects, and no socket is left that stood for it. */
START_TEST(a_flow_that_was_explained_is_not_in_its_own_way)
{
	char flow[160], word[80];
	struct rig r;
	FILE *f;
	int fd;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	fd = given_client(r.address, "127.0.0.1", flow, sizeof flow);
	explain(&r, flow);
	f = fopen("/proc/net/tcp", "r");
	for (unsigned n = 0; fscanf(f, "%79s", word) == 1; n++)
		ck_assert_str_ne(word, "01"); /* a connection */
	fclose(f);
	close(fd);
	rig_stop(&r);
}
END_TEST

START_TEST(what_is_no_flow_of_the_service_is_said_in_a_sentence)
{
	static const struct {
		const char *flow, *part;
		int err;
	} bad[] = {
		{ "", "no flow such as", -EINVAL },
		{ "1.2.3.4:5", "no flow such as", -EINVAL },
		{ "1.2.3.4:5>", "no flow such as", -EINVAL },
		{ "1.2.3.4:5>[::1]:80", "no flow such as", -EINVAL },
		{ "1.2.3.4:5>127.0.0.1:9", "no worker of the service", -ENOENT },
		{ "next>127.0.0.1:9", "no worker of the service", -ENOENT },
	};
	struct said s;
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ck_assert_int_eq(
			np_steer_explain(r.s, NP_OPTS(np_steer_explain_opts, .flow = bad[i].flow),
					 hear, &s),
			bad[i].err);
		ck_assert_msg(strstr(np_steer_error(r.s), bad[i].part) != NULL, "%s",
			      np_steer_error(r.s));
	}
	ck_assert_int_eq(np_steer_explain(r.s, NULL, hear, &s), -EINVAL);
	rig_stop(&r);
}
END_TEST

/* libbpf says "no such process" where memory runs out for the kernel's types. */
START_TEST(what_little_memory_keeps_from_being_read_is_said_to_lack_memory)
{
	unsigned long more = 0;
	int e = -ENOMEM, lacked = 0;
	struct said s;
	struct rig r;

	OWN_STEERING();
	if (under_asan() || under_tsan() || under_valgrind())
		SKIP("a sanitizer needs more address space than that");
	rig_start(&r, 2, NP_OPTS(np_steer_opts, .rescue = NP_OFF));
	for (; e < 0; more += 512 << 10) {
		limit_memory(more);
		e = np_steer_explain(r.s, NP_OPTS(np_steer_explain_opts, .flow = "next"), hear, &s);
		ck_assert_msg(e == 0 || e == -ENOMEM, "%lu: %d %s", more, e, np_steer_error(r.s));
		if (e == 0)
			break;
		lacked++;
		ck_assert_msg(strstr(np_steer_error(r.s), "`ulimit -v` is") != NULL, "%lu: %s",
			      more, np_steer_error(r.s));
	}
	ck_assert_int_gt(lacked, 0);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "explain");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_is_said_of_a_flow_is_what_the_kernel_does, 0,
			    POLICIES * SITUATIONS);
	tcase_add_loop_test(t, a_full_queue_is_said_to_have_no_room, 0, POLICIES);
	tcase_add_loop_test(t, a_worker_that_takes_nothing_is_said_to_be_stuck, 0, POLICIES);
	tcase_add_loop_test(t, ipv6_and_its_wildcard_are_found_and_hashed_alike, 0, 3);
	tcase_add_loop_test(t, of_a_wildcard_of_ipv4_the_hash_is_said_not_to_be_known, 0, 2);
	tcase_add_test(t, next_is_some_flow_and_changes_nothing);
	tcase_add_test(t, listeners_of_others_are_left_out);
	tcase_add_test(t, a_flow_that_was_explained_is_not_in_its_own_way);
	tcase_add_test(t, what_is_no_flow_of_the_service_is_said_in_a_sentence);
	tcase_add_test(t, what_little_memory_keeps_from_being_read_is_said_to_lack_memory);
}

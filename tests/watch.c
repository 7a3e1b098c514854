/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch: want x ready over edges, and no event for what is gone
 *
 * A test is a script of acts. A mail that posts itself plays one in every second turn, after that
 * turn's events were taken and before its watches run.
 */
#include "poll/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "given_poller.h"
#include "sys/fault.h"
#include "sys/io.h"
#include "sys/sock.h"

/* One end is watched, the test plays with the other. */
struct pair {
	struct watch w;
	int far;
	unsigned calls;
	unsigned last; /* ready, at the last call */
	void (*then)(struct pair *s, unsigned ready);
};

static struct poller *p;
static struct pair s, t;

static void called(struct watch *w, unsigned ready)
{
	struct pair *s = container_of(w, struct pair, w);

	ck_assert_uint_ne(ready, 0);
	ck_assert_uint_eq(ready & ~(unsigned)w->want, 0);
	s->calls++;
	s->last = ready;
	if (s->then)
		s->then(s, ready);
	else
		watch_cant(w, ready);
}

static void pair_open(struct pair *s, uint32_t extra)
{
	int fds[2];

	*s = (struct pair){ 0 };
	given_pair(fds);
	s->far = fds[1];
	ck_assert_int_eq(watch_open(&s->w, p, fds[0], extra, called), 0);
}

static void pair_close(struct pair *s)
{
	watch_close(&s->w);
	sys_close(&s->w.fd);
	sys_close(&s->far);
}

static void say(struct pair *s)
{
	ck_assert_int_eq(sys_write(s->far, "x", 1), 1);
}

static void hear(struct pair *s)
{
	char c;

	ck_assert_int_eq(sys_read(s->w.fd, &c, 1), 1);
}

/* ------------------------------------------------------------------ the script of a test */

typedef void (*act)(void);

static struct mail tick_mail;
static const act *script;
static bool rests;

/* An act in every second turn: what it brings about has a turn of its own before the next. */
static void tick(struct mail *m)
{
	rests = !rests;
	if (!rests && !*script) {
		poller_stop(p);
		return;
	}
	poller_post(p, m);
	if (!rests)
		(*script++)();
}

static void play(const act *acts)
{
	script = acts;
	tick_mail.fn = tick;
	poller_post(p, &tick_mail);
	run_loop(p);
}

/* Once in a test: it ends the loop. */
#define PLAY(...) play((const act[]){ __VA_ARGS__, nothing, NULL })

static void nothing(void)
{
}

static void setup(void)
{
	p = given_poller();
	pair_open(&s, 0);
}

static void teardown(void)
{
	pair_close(&s);
	free_poller(p);
}

static void s_say(void)
{
	say(&s);
}

static void s_hear(void)
{
	hear(&s);
}

static void want_in(void)
{
	ck_assert_int_eq(watch_want(&s.w, WATCH_IN), 0);
}

static void want_out(void)
{
	ck_assert_int_eq(watch_want(&s.w, WATCH_OUT), 0);
}

static void stop_in(void)
{
	watch_stop(&s.w, WATCH_IN);
}

static void one_call(void)
{
	ck_assert_uint_eq(s.calls, 1);
}

static void two_calls(void)
{
	ck_assert_uint_eq(s.calls, 2);
}

static void no_call(void)
{
	ck_assert_uint_eq(s.calls, 0);
}

/* ------------------------------------------------------------------ the table in watch.h */

START_TEST(what_is_ready_and_not_wanted_is_kept)
{
	PLAY(s_say, no_call, want_in, one_call);
	ck_assert_uint_eq(s.last, WATCH_IN);
}
END_TEST

START_TEST(what_is_wanted_is_called_when_it_becomes_ready)
{
	PLAY(want_in, no_call, s_say, one_call);
}
END_TEST

START_TEST(stop_takes_a_ready_watch_off_and_want_puts_it_back)
{
	PLAY(s_say, want_in, one_call, s_hear, stop_in, s_say, one_call, want_in, two_calls);
}
END_TEST

static void leave_it(struct pair *s, unsigned ready)
{
	if (s->calls == 3)
		watch_cant(&s->w, WATCH_IN);
}

START_TEST(who_leaves_something_over_is_called_again_with_no_new_edge)
{
	s.then = leave_it;
	PLAY(want_in, s_say, nothing);
	ck_assert_uint_eq(s.calls, 3);
}
END_TEST

START_TEST(after_cant_only_a_new_edge_counts)
{
	PLAY(want_in, s_say, one_call, nothing, one_call, s_say, two_calls);
}
END_TEST

#ifdef NP_FAULT
static void count_ctl(void)
{
	sys_fault_arm(SYS_epoll_ctl, 0, 0);
}

static void stop_out(void)
{
	watch_stop(&s.w, WATCH_OUT);
}

static void one_ctl(void)
{
	ck_assert_uint_eq(sys_fault_calls(SYS_epoll_ctl), 1);
}

START_TEST(interest_costs_one_epoll_ctl_in_a_life)
{
	PLAY(s_say, count_ctl, want_in, one_call, want_out, two_calls, one_ctl, stop_out, want_out,
	     stop_in, want_in, stop_out, want_out, one_ctl);
}
END_TEST

static void want_out_fails(void)
{
	sys_fault_arm(SYS_epoll_ctl, 1, ENOMEM);
	ck_assert_int_eq(watch_want(&s.w, WATCH_OUT), -ENOMEM);
}

START_TEST(a_refused_want_changes_nothing_and_can_be_repeated)
{
	PLAY(want_out_fails, no_call, want_out, one_call);
	ck_assert_uint_eq(s.last, WATCH_OUT);
}
END_TEST

START_TEST(a_refused_open_leaves_the_watch_closed_and_gives_its_slot_back)
{
	struct watch w = { 0 };

	sys_fault_arm(SYS_epoll_ctl, 1, ENOSPC);
	ck_assert_int_eq(watch_open(&w, p, s.far, 0, called), -ENOSPC);
	ck_assert(!watch_is_open(&w));
	watch_close(&w);

	ck_assert_int_eq(watch_open(&w, p, s.far, 0, called), 0);
	ck_assert_uint_eq(w.slot, s.w.slot + 1);
	watch_close(&w);
}
END_TEST
#endif

START_TEST(a_file_that_cannot_be_polled_says_so)
{
	struct watch w;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(watch_open(&w, p, fd, 0, called), -EPERM);
	ck_assert(!watch_is_open(&w));
	close(fd);
}
END_TEST

/* -------------------------------------------------------------- what the kernel reports (masks) */

static void far_closes(void)
{
	sys_close(&s.far);
}

static void far_half_closes(void)
{
	ck_assert_int_eq(sys_shutdown(s.far, SHUT_WR), 0);
}

static void want_gone(void)
{
	ck_assert_int_eq(watch_want(&s.w, WATCH_GONE), 0);
}

START_TEST(half_close_is_in_and_rdhup_and_not_hup)
{
	PLAY(want_in, far_half_closes, one_call);
	ck_assert_uint_eq(s.last, WATCH_IN);
	ck_assert_uint_eq(s.w.flags & (WATCH_RDHUP | WATCH_HUP | WATCH_ERR), WATCH_RDHUP);
}
END_TEST

START_TEST(close_is_in_and_out_and_hup)
{
	PLAY(want_in, want_out, one_call, far_closes, two_calls);
	ck_assert_uint_eq(s.last, WATCH_IN | WATCH_OUT);
	ck_assert_uint_eq(s.w.flags & (WATCH_RDHUP | WATCH_HUP), WATCH_RDHUP | WATCH_HUP);
}
END_TEST

START_TEST(who_does_not_read_hears_that_the_peer_has_gone)
{
	PLAY(want_gone, s_say, no_call, far_closes, one_call);
	ck_assert_uint_eq(s.last, WATCH_GONE);
}
END_TEST

/* The kernel says IN with data, and IN and RDHUP in one event when the FIN came with it. */
START_TEST(the_last_bytes_and_the_end_may_come_in_one_event)
{
	say(&s);
	far_half_closes();
	PLAY(want_in, one_call);
	ck_assert_uint_eq(s.w.flags, WATCH_RDHUP);
	hear(&s);
}
END_TEST

START_TEST(urgent_data_makes_a_watch_readable_and_says_pri)
{
	struct sockaddr_storage ss;
	struct pair u = { 0 };
	socklen_t len;
	int l, c, r;

	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, &l), 0);
	ck_assert_int_eq(sys_listen(l, 1), 0); /* binds to a port of its own, on every address */
	ck_assert_int_eq(sys_getsockname(l, &ss, &len), 0);
	ck_assert_int_eq(sys_socket(AF_INET, SOCK_STREAM, &u.far), 0);
	r = sys_connect(u.far, (struct sockaddr *)&ss, len);
	ck_assert(r == 0 || r == -EINPROGRESS);
	await_fd(l, EPOLLIN);
	ck_assert_int_eq(sys_accept4(l, NULL, NULL, &c), 0);
	ck_assert_int_eq(watch_open(&u.w, p, c, 0, called), 0);
	await_fd(u.far, EPOLLOUT);
	ck_assert_int_eq(sys_send(u.far, "!", 1, MSG_OOB), 1);
	await_fd(c, EPOLLPRI);

	watch_want(&u.w, WATCH_IN);
	PLAY(nothing);
	ck_assert_uint_eq(u.calls, 1);
	ck_assert_uint_eq(u.w.flags, WATCH_PRI);
	pair_close(&u);
	sys_close(&l);
}
END_TEST

/* ------------------------------------------------------------------ nothing after the end */

static void close_itself(struct pair *s, unsigned ready)
{
	watch_close(&s->w);
	watch_close(&s->w);
}

START_TEST(a_watch_may_close_itself_in_its_own_call)
{
	s.then = close_itself;
	PLAY(want_in, s_say, one_call, s_say, one_call);
	ck_assert(!watch_is_open(&s.w));
}
END_TEST

static void close_both(struct pair *me, unsigned ready)
{
	watch_close(&s.w);
	watch_close(&t.w);
}

START_TEST(a_watch_closed_by_another_in_the_same_turn_is_not_called)
{
	pair_open(&t, 0);
	s.then = t.then = close_both;
	say(&s);
	say(&t);
	watch_want(&s.w, WATCH_IN);
	watch_want(&t.w, WATCH_IN);
	PLAY(nothing);

	ck_assert_uint_eq(s.calls + t.calls, 1);
	pair_close(&t);
}
END_TEST

static struct pair *heap;
static struct mail reap_mail;

static void reap(struct mail *m)
{
	sys_close(&heap->w.fd);
	sys_close(&heap->far);
	free(heap);
	heap = NULL;
}

static void close_and_reap(struct pair *s, unsigned ready)
{
	watch_close(&s->w);
	reap_mail.fn = reap;
	poller_defer(p, &reap_mail);
}

START_TEST(a_closed_watch_may_be_freed_at_the_end_of_the_turn)
{
	heap = malloc(sizeof *heap);
	pair_open(heap, 0);
	heap->then = close_and_reap;
	say(heap);
	watch_want(&heap->w, WATCH_IN);
	PLAY(nothing);
	ck_assert_ptr_null(heap);
}
END_TEST

static unsigned long stale_events(void)
{
	struct poller_stats st;

	poller_get_stats(p, &st);
	return st.stale_events;
}

/* A child between fork and exec does the same: the description stays open, and in the epoll. */
static int given_a_second_holder(void)
{
	pair_open(&t, 0);
	watch_want(&t.w, WATCH_IN);
	return dup(t.w.fd);
}

static void t_say(void)
{
	say(&t);
}

START_TEST(what_a_forgotten_registration_reports_reaches_nobody)
{
	int holder = given_a_second_holder(), old = (int)t.w.slot;
	struct pair heir;

	watch_drop(&t.w);
	sys_close(&t.w.fd);
	pair_open(&heir, 0);
	watch_want(&heir.w, WATCH_IN | WATCH_GONE);
	ck_assert_int_eq((int)heir.w.slot, old);
	PLAY(t_say, nothing);

	ck_assert_uint_eq(heir.calls + t.calls, 0);
	ck_assert_uint_eq(stale_events(), 1);
	sys_close(&holder);
	pair_close(&t);
	pair_close(&heir);
}
END_TEST

START_TEST(close_ends_the_registration_though_another_holds_the_file)
{
	int holder = given_a_second_holder();

	watch_close(&t.w);
	sys_close(&t.w.fd);
	PLAY(t_say, nothing);

	ck_assert_uint_eq(t.calls, 0);
	ck_assert_uint_eq(stale_events(), 0);
	sys_close(&holder);
	pair_close(&t);
}
END_TEST

/*
 * The number of a descriptor comes back at once: the new registration's events are the new one's.
 */
START_TEST(a_descriptor_number_used_again_is_another_watch)
{
	int fd, fds[2];

	pair_open(&t, 0);
	fd = t.w.fd;
	watch_drop(&t.w);
	sys_close(&t.w.fd);
	given_pair(fds);
	ck_assert_int_eq(fds[0], fd);
	sys_close(&t.far);
	t = (struct pair){ .far = fds[1] };
	ck_assert_int_eq(watch_open(&t.w, p, fd, 0, called), 0);
	watch_want(&t.w, WATCH_IN);
	PLAY(t_say);

	ck_assert_uint_eq(t.calls, 1);
	ck_assert_uint_eq(stale_events(), 0);
	pair_close(&t);
}
END_TEST

#define MANY 300

/* Slots are distinct, come back, and the table grows under events that are under way. */
START_TEST(many_watches_are_told_apart)
{
	struct pair *many = calloc(MANY, sizeof *many);

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < MANY; i++) {
			pair_open(&many[i], 0);
			watch_want(&many[i].w, WATCH_IN);
			ck_assert(many[i].w.slot <= MANY + 1); /* the poller has one, too */
		}
		if (round == 0)
			for (int i = 0; i < MANY; i++)
				pair_close(&many[i]);
	}
	for (int i = 0; i < MANY; i += 2)
		say(&many[i]);
	PLAY(nothing);

	for (int i = 0; i < MANY; i++) {
		ck_assert_uint_eq(many[i].calls, i % 2 ? 0 : 1);
		pair_close(&many[i]);
	}
	free(many);
}
END_TEST

/* One socket in two pollers' epolls; level-triggered, so cant() is followed by the next report. */
START_TEST(an_exclusive_watch_is_told_again_while_there_is_input)
{
	pair_open(&t, EPOLLEXCLUSIVE);
	watch_want(&t.w, WATCH_IN);
	say(&t);
	PLAY(nothing);

	ck_assert_uint_ge(t.calls, 2);
	pair_close(&t);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "watch");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, what_is_ready_and_not_wanted_is_kept);
	tcase_add_test(c, what_is_wanted_is_called_when_it_becomes_ready);
	tcase_add_test(c, stop_takes_a_ready_watch_off_and_want_puts_it_back);
	tcase_add_test(c, who_leaves_something_over_is_called_again_with_no_new_edge);
	tcase_add_test(c, after_cant_only_a_new_edge_counts);
#ifdef NP_FAULT
	tcase_add_test(c, interest_costs_one_epoll_ctl_in_a_life);
	tcase_add_test(c, a_refused_want_changes_nothing_and_can_be_repeated);
	tcase_add_test(c, a_refused_open_leaves_the_watch_closed_and_gives_its_slot_back);
#endif
	tcase_add_test(c, a_file_that_cannot_be_polled_says_so);
	tcase_add_test(c, half_close_is_in_and_rdhup_and_not_hup);
	tcase_add_test(c, close_is_in_and_out_and_hup);
	tcase_add_test(c, who_does_not_read_hears_that_the_peer_has_gone);
	tcase_add_test(c, the_last_bytes_and_the_end_may_come_in_one_event);
	tcase_add_test(c, urgent_data_makes_a_watch_readable_and_says_pri);
	tcase_add_test(c, a_watch_may_close_itself_in_its_own_call);
	tcase_add_test(c, a_watch_closed_by_another_in_the_same_turn_is_not_called);
	tcase_add_test(c, a_closed_watch_may_be_freed_at_the_end_of_the_turn);
	tcase_add_test(c, what_a_forgotten_registration_reports_reaches_nobody);
	tcase_add_test(c, close_ends_the_registration_though_another_holds_the_file);
	tcase_add_test(c, a_descriptor_number_used_again_is_another_watch);
	tcase_add_test(c, many_watches_are_told_apart);
	tcase_add_test(c, an_exclusive_watch_is_told_again_while_there_is_input);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_input: what TLS has taken and a handler has not: pauses, np_conn_want(), moves, a detach */
#include "support/tls_seen.h"

/* ------------------------------------------------------------------ pause, want, move */

static void resume(struct np_conn *c, void *arg)
{
	np_conn_resume_read(c);
}

static int pauses(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	saw.requests++;
	saw.bytes++;
	if (r == 0)
		r = np_conn_write(c, p, 1);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_pause_read(c);
	np_conn_post(c, resume, NULL);
	if (saw.bytes % 7 == 0)
		r = r < 0 ? r : np_conn_move(c, !np_conn_poller(c));
	return r;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	saw.dones += arrived;
}

START_TEST(what_tls_has_taken_is_served_after_a_pause)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_request = pauses, .on_move = on_move, .on_close = on_close
	};
	static char text[4000], got[4000];
	struct tls_peer p;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 31);
	tls = given_server_tls(NULL);
	serve(2, &h, NULL,
	      NP_OPTS(np_server_opts, .tls = tls,
		      .limits = { .in_high = 16, .in_max = _i ? 64 : 0, .out_high = 16 }));
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text);
	tls_peer_hear(&p, got, sizeof got);
	ck_assert(memcmp(got, text, sizeof got) == 0);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	end_server();
}
END_TEST

static int echo_frame(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	saw.requests++;
	return np_conn_say(c, frame, n);
}

/* Nine frames of 40004 bytes lie across records, and in more bytes than are buffered otherwise. */
START_TEST(frames_are_found_in_what_tls_has_decrypted)
{
	enum { FRAME = 40004, FRAMES = 9 };
	struct np_handlers h = { .sz = sizeof h,
				 .on_frame = echo_frame,
				 .framing = { .width = 4 },
				 .on_close = on_close };
	static char text[FRAME * FRAMES], got[FRAME * FRAMES];
	struct tls_peer p;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 31 + i / FRAME);
	for (size_t i = 0; i < FRAMES; i++)
		memcpy(text + i * FRAME, "\0\0\x9c\x40", 4);
	tls = given_server_tls(NULL);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = tls, .limits = { .in_high = 1000 }));
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text);
	tls_peer_hear(&p, got, sizeof got);
	ck_assert(memcmp(got, text, sizeof got) == 0);
	ck_assert_int_eq(saw.requests, FRAMES);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	end_server();
}
END_TEST

static int wants(struct np_conn *c, void *arg)
{
	const void *p;
	int r;

	saw.requests++;
	if (np_conn_len(c) < 40000)
		return np_conn_want(c, 40000);
	r = np_conn_next(c, 40000, &p);
	if (r == 0)
		r = np_conn_write(c, p, 40000);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(want_comes_back_once_all_is_there)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = wants, .on_close = on_close };
	static char text[80000], got[80000];
	struct tls_peer p;

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text);
	tls_peer_hear(&p, got, sizeof got);
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ detach, end to end */

static int detaches(struct np_conn *c, void *arg)
{
	int fd = -7;
	struct np_linkbuf *in = NULL;

	saw.r[0] = np_conn_detach(c, &fd, &in);
	saw.r[1] = fd;
	return echo(c, arg);
}

START_TEST(a_detach_leaves_it_as_it_is)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = detaches, .on_close = on_close };
	struct tls_peer p;

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "still", 5);
	tls_peer_expect(&p, "still");
	ck_assert_int_eq(saw.r[0], -NP_EUNSUPPORTED);
	ck_assert_int_eq(saw.r[1], -7);
	tls_peer_part(&p);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_input");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_test(c, frames_are_found_in_what_tls_has_decrypted);
	tcase_add_loop_test(c, what_tls_has_taken_is_served_after_a_pause, 0, 2);
	tcase_add_test(c, want_comes_back_once_all_is_there);
	tcase_add_test(c, a_detach_leaves_it_as_it_is);
}

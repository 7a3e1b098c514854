/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_stats: every run of the program counts one verdict, and the sums agree with the world
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "program_runs.h"
#include "steer/steer.h"
#include "support/segment.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"

static uint64_t runs_counted(const struct np_steer_stats *st)
{
	return st->syn_total + st->nonsyn_total + st->migrated_child + st->migrated_request;
}

static uint64_t verdicts(const struct np_steer_stats *st)
{
	return st->steered + st->fallback_hash + st->rejected_rst + st->shed_full;
}

START_TEST(at_each_level_runs_and_verdicts_add_up)
{
	struct np_steer_stats st;
	struct rig r;
	int fd, on;

	OWN_STEERING();
	on = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (on < 0)
		SKIP("may not count the runs of programs: %s", strerror(-on));
	rig_start(&r, 4, NP_OPTS(np_steer_opts, .max_level = _i));
	ck_assert_int_eq(rig_level(&r), _i);
	rig_drive(&r, 300);
	np_steer_drain(r.s, 0);
	rig_drive(&r, 300);
	fd = client_connect(r.address);
	for (unsigned i = 0; i < 3; i++)
		rig_close_listener(&r, i);
	rig_accept(&r);
	client_close(&fd);

	st = rig_stats(&r);
	ck_assert_uint_eq(st.syn_total, 601);
	ck_assert_uint_eq(runs_counted(&st), runs_by_kernel(&r));
	ck_assert_uint_eq(verdicts(&st), st.syn_total);
	close(on);
	rig_stop(&r);
}
END_TEST

/* One TCP segment without a connection, from port 9. */
static void send_stray(const char *address, uint8_t flags)
{
	struct tcphdr h = { .th_sport = htons(9), .th_off = 5, .th_flags = flags };
	struct sockaddr_in *in;
	struct addr a;
	int fd;

	ck_assert_int_eq(addr_parse("tcp", address, &a), 0);
	in = (struct sockaddr_in *)&a.ss;
	h.th_dport = in->sin_port;
	segment_sum(&h, in->sin_addr, in->sin_addr);
	in->sin_port = 0;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(sendto(fd, &h, sizeof h, 0, (struct sockaddr *)in, sizeof *in), sizeof h);
	close(fd);
}

START_TEST(stray_segments_are_no_syns_and_take_no_turn)
{
	/* A bare ACK might have ended a SYN cookie's handshake, and is chosen for all the same. */
	static const uint8_t kinds[] = { TH_RST, TH_FIN | TH_ACK, TH_SYN | TH_ACK, TH_RST | TH_ACK,
					 TH_ACK };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NP_OPTS(np_steer_opts, .policy = "rr"));
	rig_drive(&r, 1);
	for (unsigned i = 0; i < sizeof kinds; i++)
		send_stray(r.address, kinds[i]);
	ck_assert_uint_eq(rig_stats(&r).nonsyn_total, sizeof kinds);
	ck_assert_uint_eq(rig_stats(&r).syn_total, 1);
	rig_drive(&r, 1);
	ck_assert_uint_eq(r.accepted[0], 1);
	ck_assert_uint_eq(r.accepted[1], 1);
	rig_stop(&r);
}
END_TEST

START_TEST(with_syncookies_rr_leaves_no_worker_out)
{
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/tcp_syncookies", "2"), 0);
	rig_start(&r, 2, NP_OPTS(np_steer_opts, .policy = "rr"));
	rig_drive(&r, 100);
	ck_assert_uint_gt(r.accepted[0], 20);
	ck_assert_uint_gt(r.accepted[1], 20);
	rig_stop(&r);
}
END_TEST

/* With cookies the SYN leaves nothing behind, and the ACK's choice is the one that holds. */
START_TEST(syncookies_choose_at_the_ack)
{
	char mode[] = { (char)('0' + _i), 0 };
	struct np_steer_stats st;
	uint64_t nonsyn = 0;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/tcp_syncookies", mode), 0);
	rig_start(&r, 4, NULL);
	rig_drive(&r, 400);
	st = rig_stats(&r);
	ck_assert_uint_eq(st.syn_total, 400);
	ck_assert_uint_eq(st.steered, 400);
	for (unsigned i = 0; i < r.n; i++) {
		struct np_steer_worker_info w = rig_worker_info(&r, i);

		if (_i == 2)
			ck_assert_uint_ge(w.nonsyn, r.accepted[i]);
		else
			ck_assert_uint_eq(w.steered, r.accepted[i]);
		nonsyn += w.nonsyn;
	}
	/*
	 * Not equal: a late ACK of a connection that was reset is a stray, and is chosen for too.
	 */
	ck_assert_uint_ge(nonsyn, _i == 2 ? 400 : 0);
	ck_assert_uint_le(nonsyn, st.nonsyn_total);
	rig_stop(&r);
}
END_TEST

START_TEST(a_retransmitted_syn_counts_again)
{
	struct addr a;
	struct rig r;
	int fds[8];

	OWN_STEERING();
	/* Full listeners drop SYNs, unless cookies take over. */
	ck_assert_int_eq(write_file("/proc/sys/net/ipv4/tcp_syncookies", "0"), 0);
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.1:7500", 1, &r.fd[0]), 0);
	r.n = 1;
	ck_assert_int_eq(addr_parse("tcp", "127.0.0.1:7500", &a), 0);
	for (unsigned i = 0; i < 8; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], (struct sockaddr *)&a.ss, a.len);
	}
	AWAIT(rig_stats(&r).syn_total > 8);
	ck_assert_int_gt(netstat("TcpExt", "ListenDrops"), 0);
	clients_close(fds, 8);
	rig_stop(&r);
}
END_TEST

START_TEST(ipv6_and_mapped_ipv4_are_steered_alike)
{
	static const char *const listen_at[] = { "[::1]:0", ":0" };
	struct rig r;
	int fd;

	OWN_STEERING();
	for (unsigned k = 0; k < 2; k++) {
		rig_open(&r, NULL, NULL);
		for (unsigned i = 0; i < 4; i++)
			rig_worker(&r, listen_at[k]);
		rig_drive(&r, 200); /* over IPv6 */
		if (k == 1) {
			char v4[64];
			const char *port = strrchr(r.address, ':');

			snprintf(v4, sizeof v4, "127.0.0.1%s", port);
			fd = client_connect(v4);
			ck_assert_int_ge(fd, 0);
			ck_assert_uint_eq(rig_accept(&r), 1);
			client_close(&fd);
		}
		ck_assert_uint_eq(rig_stats(&r).steered, 200 + k);
		ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);
		rig_stop(&r);
	}
}
END_TEST

/* bpftool prints hex where a map has lost its types, as libbpf lets it without a word. */
START_TEST(every_map_of_structs_keeps_the_names_of_its_fields)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	for (int m = 0; m < MAP_MAX; m++) {
		struct bpf_map_info info;
		unsigned len = sizeof info;
		const struct btf_type *t;
		struct btf *btf;

		memset(&info, 0, sizeof info);
		ck_assert_int_eq(bpf_obj_get_info_by_fd(r.s->maps.fd[m], &info, &len), 0);
		if (m == MAP_np_socks || m == MAP_np_claims || m == MAP_np_bell ||
		    m == MAP_np_trace)
			continue; /* the kernel takes no types for these */
		ck_assert_msg(info.btf_id && info.btf_value_type_id, "%s has no types",
			      map_name(m));
		btf = btf__load_from_kernel_by_id(info.btf_id);
		ck_assert_ptr_nonnull(btf);
		t = btf__type_by_id(btf, info.btf_value_type_id);
		if (info.value_size > 8)
			ck_assert_msg(btf_is_struct(t) && btf_vlen(t) > 0, "%s", map_name(m));
		btf__free(btf);
	}
	rig_stop(&r);
}
END_TEST

START_TEST(structs_of_another_age_are_filled_as_far_as_they_go)
{
	struct {
		struct np_steer_stats st;
		uint64_t newer;
	} future = { .newer = 7 };
	struct {
		size_t sz;
		uint64_t syn_total;
	} past = { .sz = sizeof past };
	struct np_steer_stats none = { 0 };
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	rig_drive(&r, 3);
	future.st.sz = sizeof future;
	ck_assert_int_eq(np_steer_stats(r.s, &future.st), 0);
	ck_assert_uint_eq(future.st.syn_total, 3);
	ck_assert_uint_eq(future.newer, 0);
	ck_assert_int_eq(np_steer_stats(r.s, (struct np_steer_stats *)&past), 0);
	ck_assert_uint_eq(past.syn_total, 3);
	ck_assert_int_eq(np_steer_stats(r.s, &none), -EINVAL);
	rig_stop(&r);
}
END_TEST

START_TEST(counters_start_with_the_claim)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	rig_drive(&r, 100);
	rig_close_listener(&r, 1);
	ck_assert_int_eq(np_steer_worker_close(&r.w[1]), 0);
	r.n--;
	rig_worker(&r, r.address);
	ck_assert_int_eq(np_steer_worker_index(r.w[1]), 1);
	ck_assert_uint_eq(rig_worker_info(&r, 1).steered, 0);
	ck_assert_uint_gt(rig_worker_info(&r, 0).steered, 0);
	rig_stop(&r);
}
END_TEST

static uint64_t slot_steered(struct rig *r, unsigned group, unsigned worker)
{
	struct np_steer_worker_info i = *NP_OPTS(np_steer_worker_info);

	ck_assert_int_eq(np_steer_slot_stats(r->s, group, worker, &i), 0);
	return i.steered;
}

/* Worker 0 listens on two addresses, worker 1 on the first alone. */
START_TEST(a_slots_counters_are_those_of_one_worker_at_one_address)
{
	struct np_steer_worker_info i = *NP_OPTS(np_steer_worker_info);
	struct rig r;
	int second, fd, c;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.2:7611", 0, &second), 0);
	rig_drive(&r, 20);
	fd = client_connect("127.0.0.2:7611");
	ck_assert_int_ge(fd, 0);
	AWAIT((c = accept4(second, NULL, NULL, SOCK_CLOEXEC)) >= 0);

	for (unsigned w = 0; w < 2; w++)
		ck_assert_uint_eq(slot_steered(&r, 0, w), r.accepted[w]);
	ck_assert_uint_eq(slot_steered(&r, 1, 0), 1);
	ck_assert_uint_eq(slot_steered(&r, 1, 1), 0);
	ck_assert_uint_eq(rig_worker_info(&r, 0).steered, r.accepted[0] + 1);
	ck_assert_int_eq(np_steer_slot_stats(r.s, UINT_MAX, 0, &i), -ERANGE);
	ck_assert_int_eq(np_steer_slot_stats(r.s, 0, UINT_MAX, &i), -ERANGE);
	client_close(&fd);
	close(c);
	close(second);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "stats");

	tcase_add_loop_test(t, at_each_level_runs_and_verdicts_add_up, NP_STEER_L2,
			    NP_STEER_L4 + 1);
	tcase_add_test(t, stray_segments_are_no_syns_and_take_no_turn);
	tcase_add_test(t, with_syncookies_rr_leaves_no_worker_out);
	tcase_add_loop_test(t, syncookies_choose_at_the_ack, 0, 3);
	tcase_add_test(t, a_retransmitted_syn_counts_again);
	tcase_add_test(t, ipv6_and_mapped_ipv4_are_steered_alike);
	tcase_add_test(t, every_map_of_structs_keeps_the_names_of_its_fields);
	tcase_add_test(t, structs_of_another_age_are_filled_as_far_as_they_go);
	tcase_add_test(t, counters_start_with_the_claim);
	tcase_add_test(t, a_slots_counters_are_those_of_one_worker_at_one_address);
}

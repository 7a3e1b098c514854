/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_listen: the one order that works, and what is said about everything else
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"
#include "sys/fault.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

static int reuseport_socket(bool on)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = on;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
	return fd;
}

static int bind_to(int fd, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return bind(fd, (struct sockaddr *)&in, sizeof in) < 0 ? -errno : 0;
}

static int attach(int fd, int prog)
{
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &prog, sizeof prog) < 0 ?
		       -errno :
		       0;
}

static int insert(const struct rig *r, uint32_t slot, int fd, uint64_t flags)
{
	uint64_t value = (uint64_t)fd;

	return map_update(&r->s->maps, MAP_np_socks, &slot, &value, flags);
}

/*
 * What the kernel says to each step out of order. The library is built on it: a kernel that answers
 * otherwise needs another library.
 */
START_TEST(the_kernels_answers_are_what_the_order_is_built_on)
{
	struct rig r;
	int prog, a, b;
	uint64_t cookie;
	uint32_t slot = 0;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(level_program(r.s, 0, &prog), 0);

	a = reuseport_socket(false);
	ck_assert_int_eq(attach(a, prog), -EINVAL); /* without SO_REUSEPORT */
	ck_assert_int_eq(insert(&r, 0, a, BPF_ANY), -EINVAL);
	close(a);

	a = reuseport_socket(true);
	ck_assert_int_eq(attach(a, prog), 0); /* before bind: allowed ... */
	ck_assert_int_eq(insert(&r, 0, a, BPF_ANY), -EINVAL);
	ck_assert_int_eq(bind_to(a, 7600), 0);
	ck_assert_int_eq(insert(&r, 0, a, BPF_ANY), -EINVAL);
	ck_assert_int_eq(listen(a, 16), 0);
	ck_assert_int_eq(insert(&r, 0, a, BPF_ANY), 0); /* ... and fine for the first socket */
	ck_assert_int_eq(insert(&r, 0, a, BPF_ANY), -EBUSY);
	ck_assert_int_eq(insert(&r, 1, a, BPF_ANY), -EBUSY);

	b = reuseport_socket(true);
	ck_assert_int_eq(attach(b, prog), 0);
	ck_assert_int_eq(bind_to(b, 7600), -EADDRINUSE); /* but not for the second */
	close(b);

	b = reuseport_socket(true);
	ck_assert_int_eq(bind_to(b, 7600), 0);
	ck_assert_int_eq(listen(b, 16), 0);
	ck_assert_int_eq(insert(&r, 0, b, BPF_NOEXIST), -EEXIST);
	ck_assert_int_eq(insert(&r, 5, b, BPF_EXIST), -ENOENT);
	ck_assert_int_eq(insert(&r, NP_SLOTS, b, BPF_ANY), -E2BIG);
	ck_assert_int_eq(insert(&r, 0, b, BPF_ANY), 0); /* replaces a, which is free again */
	ck_assert_int_eq(insert(&r, 1, a, BPF_ANY), 0);

	ck_assert_int_eq(map_lookup(&r.s->maps, MAP_np_socks, &slot, &cookie), 0);
	close(b);
	ck_assert_int_eq(map_lookup(&r.s->maps, MAP_np_socks, &slot, &cookie), -ENOENT);
	close(a);
	rig_stop(&r);
}
END_TEST

START_TEST(port_0_is_chosen_once_for_all_siblings)
{
	char first[64];
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	strcpy(first, r.address);
	for (unsigned i = 1; i < 4; i++) {
		rig_worker(&r, "127.0.0.1:0");
		ck_assert_str_eq(r.address, first);
	}
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);

	/* Asked again by the same worker it means another port, and the siblings follow. */
	for (unsigned i = 0; i < 2; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof ss;
		char address[64];

		ck_assert_int_eq(np_steer_listen(r.w[i], "tcp", "127.0.0.1:0", 0, &fd), 0);
		ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
		addr_format(&ss, len, address, sizeof address);
		ck_assert_str_ne(address, first);
		if (i == 0)
			strcpy(r.address, address);
		else
			ck_assert_str_eq(address, r.address);
		close(r.fd[i]);
		r.fd[i] = fd;
	}
	rig_stop(&r);
}
END_TEST

/* A second private program would silently take the first one's connections. */
START_TEST(a_second_private_start_on_a_taken_port_is_refused)
{
	char want[256];
	struct rig r, other;
	int fd = -1;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	rig_open(&other, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(other.s, NULL, &other.w[0]), 0);
	ck_assert_int_eq(np_steer_listen(other.w[0], "tcp", r.address, 0, &fd), -EADDRINUSE);
	snprintf(
		want, sizeof want,
		"%s is taken: `npsteer load default` to share it, and start both servers with that service",
		r.address);
	ck_assert_str_eq(np_steer_error(other.s), want);
	ck_assert_int_eq(fd, -1);

	rig_drive(&r, 100); /* nothing was lost to it */
	ck_assert_uint_eq(rig_stats(&r).steered, 100);
	ck_assert_int_eq(np_steer_worker_close(&other.w[0]), 0);
	ck_assert_int_eq(np_steer_close(&other.s), 0);
	rig_stop(&r);
}
END_TEST

START_TEST(the_same_at_level_0)
{
	struct rig r, other;
	int fd;

	OWN_STEERING();
	rig_start(&r, 2, NP_OPTS(np_steer_opts, .mode = NP_STEER_OFF));
	rig_open(&other, NULL, NP_OPTS(np_steer_opts, .mode = NP_STEER_OFF));
	ck_assert_int_eq(np_steer_worker(other.s, NULL, &other.w[0]), 0);
	ck_assert_int_eq(np_steer_listen(other.w[0], "tcp", r.address, 0, &fd), -EADDRINUSE);
	rig_drive(&r, 200);
	for (unsigned i = 0; i < r.n; i++)
		ck_assert_uint_gt(r.accepted[i], 0);
	ck_assert_int_eq(np_steer_worker_close(&other.w[0]), 0);
	ck_assert_int_eq(np_steer_close(&other.s), 0);
	rig_stop(&r);
}
END_TEST

/* A server that restarts leaves connections in TIME_WAIT, which are nobody's. */
START_TEST(a_port_in_time_wait_is_free)
{
	char address[64];
	struct rig r;
	int c, s;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	strcpy(address, r.address);
	c = client_connect(address);
	s = accept(r.fd[0], NULL, NULL);
	close(s); /* the server closes first: TIME_WAIT is on its port */
	close(c);
	rig_stop(&r);

	rig_open(&r, NULL, NULL);
	rig_worker(&r, address);
	rig_stop(&r);
}
END_TEST

START_TEST(a_listener_made_elsewhere_can_be_added)
{
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		r.fd[i] = reuseport_socket(true);
		ck_assert_int_eq(bind_to(r.fd[i], 7601), 0);
		ck_assert_int_eq(listen(r.fd[i], 4096), 0);
		ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[i]), 0);
		ck_assert_int_eq(np_steer_add(r.w[i], r.fd[i]), 0);
		r.n++;
	}
	strcpy(r.address, "127.0.0.1:7601");
	rig_drive(&r, 300);
	ck_assert_uint_eq(rig_stats(&r).steered, 300);

	ck_assert_int_eq(np_steer_add(r.w[0], r.fd[1]), -EEXIST);
	rig_stop(&r);
}
END_TEST

/* One more service of this process, with one worker. */
static void given_other(struct rig *r)
{
	rig_open(r, "other", NULL);
	ck_assert_int_eq(np_steer_worker(r->s, NULL, &r->w[0]), 0);
}

static void other_end(struct rig *r)
{
	ck_assert_int_eq(np_steer_worker_close(&r->w[0]), 0);
	ck_assert_int_eq(np_steer_close(&r->s), 0);
}

static unsigned groups_in_use(struct rig *r)
{
	struct np_steer_group_info g;
	unsigned n = 0;

	for (unsigned i = 0; i < NP_GROUPS; i++) {
		np_steer_group_info_init(&g);
		n += np_steer_group_info(r->s, i, &g) == 0;
	}
	return n;
}

/* Attaching first would have replaced the other service's program before anything was refused. */
START_TEST(a_listener_of_another_service_is_refused_and_that_service_sees_nothing)
{
	struct rig r, other;
	int fds;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	given_other(&other);
	fds = open_fds();
	ck_assert_int_eq(np_steer_add(other.w[0], r.fd[0]), -EBUSY);
	ck_assert_ptr_nonnull(strstr(np_steer_error(other.s), "another worker or service"));
	ck_assert_uint_eq(groups_in_use(&other), 0);
	/* the program of a group is kept once it is loaded */
	ck_assert_int_le(open_fds(), fds + 1);

	rig_drive(&r, 513);
	ck_assert_uint_eq(rig_stats(&r).syn_total, 513);
	ck_assert_uint_eq(rig_stats(&r).steered, 513);
	ck_assert_uint_eq(rig_stats(&other).syn_total, 0);
	other_end(&other);
	rig_stop(&r);
}
END_TEST

/* The one that has it keeps what is known of it, its place among the owners too: migrations are
 * counted by that. */
START_TEST(a_listener_of_another_worker_is_refused_and_stays_that_ones)
{
	struct rig r;
	uint64_t cookie;
	uint32_t slot = 0;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[2]), 0);
	ck_assert_int_eq(np_steer_add(r.w[2], r.fd[1]), -EBUSY);
	ck_assert_int_eq(
		map_lookup(&r.s->maps, MAP_np_socks, &(uint32_t){ NP_SLOT(0, 1) }, &cookie), 0);
	ck_assert_int_eq(map_lookup(&r.s->maps, MAP_np_owners, &cookie, &slot), 0);
	ck_assert_uint_eq(slot, NP_SLOT(0, 1));
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).steered, 100);
	ck_assert_int_eq(np_steer_worker_close(&r.w[2]), 0);
	rig_stop(&r);
}
END_TEST

START_TEST(what_fails_half_way_is_undone)
{
#ifdef NP_FAULT
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	fd = reuseport_socket(true);
	ck_assert_int_eq(bind_to(fd, 7606), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	sys_fault_arm(SYS_setsockopt, 1, EPERM); /* the attaching, which is last */
	ck_assert_int_eq(np_steer_add(r.w[0], fd), -EPERM);
	ck_assert(sys_fault_hit(SYS_setsockopt));
	sys_fault_arm(SYS_setsockopt, 0, 0);
	ck_assert_uint_eq(groups_in_use(&r), 0);
	ck_assert_int_eq(insert(&r, 7, fd, BPF_NOEXIST), 0); /* it is in no slot */
	close(fd);
	other_end(&r);
#else
	SKIP("needs a build with NP_FAULT");
#endif
}
END_TEST

/* ------------------------------------------------------------------ listening again */

static int port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

static int listens(int fd)
{
	int on = -1;
	socklen_t len = sizeof on;

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len), 0);
	return on;
}

/* A listener bound to port 0 by its owner, and shut as a rescue does it. */
static int given_shut(struct rig *r, int *ret_port)
{
	int fd = reuseport_socket(true);

	rig_open(r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r->s, NULL, &r->w[0]), 0);
	ck_assert_int_eq(bind_to(fd, 0), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(np_steer_add(r->w[0], fd), 0);
	*ret_port = port_of(fd);
	ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
	return fd;
}

START_TEST(a_listener_bound_to_port_0_listens_again_on_the_port_it_had)
{
	struct rig r;
	int port;

	OWN_STEERING();
	r.fd[0] = given_shut(&r, &port);
	r.n = 1;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(np_steer_relisten(r.w[0], r.fd[0]), 0);
		ck_assert_int_eq(port_of(r.fd[0]), port);
		ck_assert_int_eq(np_steer_relisten(r.w[0], r.fd[0]), 0); /* it listens already */
		snprintf(r.address, sizeof r.address, "127.0.0.1:%d", port);
		rig_drive(&r, 10);
		ck_assert_uint_eq(rig_stats(&r).steered, 10 * (i + 1));
		ck_assert_int_eq(shutdown(r.fd[0], SHUT_RD), 0);
	}
	rig_stop(&r);
}
END_TEST

START_TEST(a_port_that_was_taken_meanwhile_is_an_error_and_no_other_port)
{
	struct rig r;
	int port, thief;

	OWN_STEERING();
	r.fd[0] = given_shut(&r, &port);
	r.n = 1;
	thief = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind_to(thief, port), 0);
	ck_assert_int_eq(listen(thief, 16), 0);
	ck_assert_int_eq(np_steer_relisten(r.w[0], r.fd[0]), -EADDRINUSE);
	ck_assert_int_eq(listens(r.fd[0]), 0);

	close(thief); /* and once the port is free it can be had again */
	ck_assert_int_eq(np_steer_relisten(r.w[0], r.fd[0]), 0);
	ck_assert_int_eq(port_of(r.fd[0]), port);
	rig_stop(&r);
}
END_TEST

START_TEST(what_cannot_be_added_is_named)
{
	int plain = reuseport_socket(false), idle = reuseport_socket(true), un, p[2];
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	ck_assert_int_eq(bind_to(plain, 7602), 0);
	ck_assert_int_eq(listen(plain, 4), 0);
	ck_assert_int_eq(np_steer_add(r.w[0], plain), -EINVAL);
	ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), "SO_REUSEPORT must be set before bind"));
	ck_assert_int_eq(np_steer_add(r.w[0], idle), -EINVAL);
	ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), "does not listen"));
	un = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(np_steer_add(r.w[0], un), -NP_EUNSUPPORTED);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(np_steer_add(r.w[0], p[0]), -ENOTSOCK);
	ck_assert_int_eq(np_steer_add(r.w[0], -1), -EBADF);
	close(plain);
	close(idle);
	close(un);
	close(p[0]);
	close(p[1]);
	rig_stop(&r);
}
END_TEST

START_TEST(addresses_that_cannot_be_listened_on_are_named)
{
	static const struct {
		const char *network, *address;
		int code;
	} bad[] = {
		{ "tcp", "127.0.0.1", -EINVAL },
		{ "tcp", "127.0.0.1:99999", -EINVAL },
		{ "tcp", "localhost:80", -NP_ERESOLVE },
		{ "udp", "127.0.0.1:80", -NP_EUNSUPPORTED },
		{ "unix", "/tmp/sock", -NP_EUNSUPPORTED },
		{ "tcp4", "[::1]:80", -EAFNOSUPPORT },
		{ "tcp", "192.0.2.1:80", -EADDRNOTAVAIL },
		{ "tcp", NULL, -EINVAL },
	};
	struct rig r;
	int fd = -1, fds;

	OWN_STEERING();
	rig_start(&r, 1, NULL);
	fds = open_fds();
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ck_assert_int_eq(np_steer_listen(r.w[0], bad[i].network, bad[i].address, 0, &fd),
				 bad[i].code);
		ck_assert_int_eq(fd, -1);
		ck_assert_int_gt(strlen(np_steer_error(r.s)), 10);
	}
	ck_assert_int_eq(open_fds(), fds);
	rig_stop(&r);
}
END_TEST

START_TEST(a_worker_listens_once_on_an_address_and_not_after_it_left)
{
	struct rig r;
	int fd;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	ck_assert_int_eq(np_steer_listen(r.w[1], "tcp", r.address, 0, &fd), -EEXIST);
	rig_close_listener(&r, 1);
	ck_assert_int_eq(np_steer_listen(r.w[1], "tcp", r.address, 0, &r.fd[1]), 0);
	rig_drive(&r, 100);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);

	ck_assert_int_eq(np_steer_leave(r.w[1]), 0);
	ck_assert_int_eq(np_steer_leave(r.w[1]), 0);
	ck_assert_int_eq(np_steer_listen(r.w[1], "tcp", "127.0.0.1:7603", 0, &fd), -ESHUTDOWN);
	ck_assert_int_eq(np_steer_add(r.w[1], r.fd[1]), -ESHUTDOWN);
	rig_stop(&r);
}
END_TEST

START_TEST(a_service_has_so_many_addresses_and_reuses_dead_ones)
{
	int fd[NP_GROUPS], one_more = -1;
	struct rig r;
	char a[32];

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	for (unsigned g = 0; g < NP_GROUPS; g++) {
		snprintf(a, sizeof a, "127.0.0.1:%u", 7700 + g);
		ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", a, 0, &fd[g]), 0);
	}
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.1:7799", 0, &one_more), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), "16 addresses already"));
	ck_assert_int_eq(one_more, -1);

	close(fd[5]);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.1:7799", 0, &fd[5]), 0);
	r.fd[0] = fd[5];
	r.n = 1;
	strcpy(r.address, "127.0.0.1:7799");
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).steered, 50);
	for (unsigned g = 0; g < NP_GROUPS; g++)
		if (g != 5)
			close(fd[g]);
	rig_stop(&r);
}
END_TEST

START_TEST(v6_beside_v4_leaves_ipv4_alone)
{
	struct np_steer_group_info g;
	struct rig r;
	int v4, fd, s;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "0.0.0.0:7604", 0, &v4), 0);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "[::]:7604", 0, &r.fd[0]), 0);
	r.n = 1;
	fd = client_connect("127.0.0.1:7604");
	ck_assert_int_ge(fd, 0);
	s = accept(v4, NULL, NULL);
	ck_assert_int_ge(s, 0);
	close(s);
	client_close(&fd);
	np_steer_group_info_init(&g);
	ck_assert_int_eq(np_steer_group_info(r.s, 1, &g), 0);
	ck_assert_str_eq(g.address, "[::]:7604");
	ck_assert_uint_eq(g.workers, 1);
	close(v4);
	rig_stop(&r);
}
END_TEST

START_TEST(where_ipv6_is_off_a_bare_port_means_ipv4)
{
#ifdef NP_FAULT
	struct rig r;

	OWN_STEERING();
	rig_open(&r, NULL, NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	sys_fault_arm(SYS_socket, 1, EAFNOSUPPORT);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", ":7605", 0, &r.fd[0]), 0);
	ck_assert(sys_fault_hit(SYS_socket));
	r.n = 1;
	strcpy(r.address, "127.0.0.1:7605");
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).steered, 50);
	rig_stop(&r);
#else
	SKIP("needs a build with NP_FAULT");
#endif
}
END_TEST

/* The library's fd leak test for this layer: everything opened is closed. */
START_TEST(nothing_is_left_open)
{
	struct rig r;
	int fds;

	OWN_STEERING();
	fds = open_fds();
	for (unsigned i = 0; i < 3; i++) {
		rig_start(&r, 4, NULL);
		rig_drive(&r, 20);
		rig_stop(&r);
	}
	ck_assert_int_eq(open_fds(), fds);
}
END_TEST

START_TEST(a_worker_with_connections_keeps_its_claim)
{
	struct rig r;

	OWN_STEERING();
	rig_start(&r, 2, NULL);
	np_steer_conn_inc(r.w[0]);
	ck_assert_int_eq(np_steer_close(&r.s), -EBUSY);
	ck_assert_int_eq(np_steer_worker_close(&r.w[0]), -EBUSY);
	ck_assert_str_eq(np_steer_error(r.s), "worker 0 still has 1 connections");
	ck_assert_uint_eq(rig_worker_info(&r, 0).conns, 1);
	ck_assert_uint_eq(rig_worker_info(&r, 0).accepted_total, 1);
	np_steer_conn_dec(r.w[0]);
	ck_assert_uint_eq(rig_worker_info(&r, 0).closed_total, 1);
	rig_stop(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "listen");

	tcase_add_test(t, the_kernels_answers_are_what_the_order_is_built_on);
	tcase_add_test(t, port_0_is_chosen_once_for_all_siblings);
	tcase_add_test(t, a_second_private_start_on_a_taken_port_is_refused);
	tcase_add_test(t, the_same_at_level_0);
	tcase_add_test(t, a_port_in_time_wait_is_free);
	tcase_add_test(t, a_listener_made_elsewhere_can_be_added);
	tcase_add_test(t, a_listener_of_another_service_is_refused_and_that_service_sees_nothing);
	tcase_add_test(t, a_listener_of_another_worker_is_refused_and_stays_that_ones);
	tcase_add_test(t, what_fails_half_way_is_undone);
	tcase_add_test(t, a_listener_bound_to_port_0_listens_again_on_the_port_it_had);
	tcase_add_test(t, a_port_that_was_taken_meanwhile_is_an_error_and_no_other_port);
	tcase_add_test(t, what_cannot_be_added_is_named);
	tcase_add_test(t, addresses_that_cannot_be_listened_on_are_named);
	tcase_add_test(t, a_worker_listens_once_on_an_address_and_not_after_it_left);
	tcase_add_test(t, a_service_has_so_many_addresses_and_reuses_dead_ones);
	tcase_add_test(t, v6_beside_v4_leaves_ipv4_alone);
	tcase_add_test(t, where_ipv6_is_off_a_bare_port_means_ipv4);
	tcase_add_test(t, nothing_is_left_open);
	tcase_add_test(t, a_worker_with_connections_keeps_its_claim);
}

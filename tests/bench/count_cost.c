/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * count_cost: what it costs a connection to be counted by the kernel, and one that is not
 *
 * Connections over loopback, opened and closed one after another: both ends are on this machine,
 * and the changes of state of both are seen. An empty program at the same tracepoint runs beside
 * each run of ours, and what the kernel's clock (bpf_stats) says of it is subtracted from each.
 * Everything is hot. And how long it takes to find connections that were there before.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "count_abi.h"

#include "count.skel.h"
#include "steer_abi.h"
#include "support/test.h"

#define ROUNDS 9
#define LIVES  5000
#define PORT   7901
#define AIM_NS 500.0
#define THERE  8000 /* connections that were there before */
#define AIM_MS 50.0

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

struct runs {
	double ns, n;
};

static struct runs runs_of(int prog)
{
	struct bpf_prog_info i;
	unsigned len = sizeof i;

	memset(&i, 0, sizeof i);
	if (bpf_obj_get_info_by_fd(prog, &i, &len) < 0)
		die("no information about a program");
	return (struct runs){ (double)i.run_time_ns, (double)i.run_cnt };
}

static struct runs runs_of_both(const struct count_bpf *o)
{
	struct runs a = runs_of(bpf_program__fd(o->progs.np_count_state)),
		    b = runs_of(bpf_program__fd(o->progs.np_count_again));

	return (struct runs){ a.ns + b.ns, a.n + b.n };
}

static int empty_program(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int type = libbpf_find_vmlinux_btf_id("inet_sock_set_state", BPF_TRACE_RAW_TP);
	LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = BPF_TRACE_RAW_TP,
		    .attach_btf_id = (uint32_t)type);
	int fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", insns, 2, &o);

	if (type < 0 || fd < 0 || bpf_raw_tracepoint_open(NULL, fd) < 0)
		die("the empty program cannot be attached: %s", strerror(errno));
	return fd;
}

static struct count_bpf *count_program(void)
{
	struct count_bpf *o = count_bpf__open();

	if (!o)
		die("the object cannot be opened");
	bpf_program__set_autoload(o->progs.np_count_state, true);
	bpf_program__set_autoload(o->progs.np_count_again, true);
	bpf_program__set_autoload(o->progs.np_count_seed, true);
	bpf_program__set_autoload(o->progs.np_count_sweep, true);
	if (count_bpf__load(o) < 0 || !bpf_program__attach(o->progs.np_count_again) ||
	    !bpf_program__attach(o->progs.np_count_state))
		die("the program cannot be attached");
	return o;
}

/* Another address each time: no port is waited for. */
static int listen_somewhere(struct sockaddr_in *ret)
{
	static uint32_t place = INADDR_LOOPBACK;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(PORT),
				     .sin_addr.s_addr = htonl(place++) };
	if (bind(fd, (struct sockaddr *)ret, sizeof *ret) < 0 || listen(fd, 64) < 0)
		die("no listener: %s", strerror(errno));
	return fd;
}

static void live(int listener, const struct sockaddr_in *at)
{
	int c = socket(AF_INET, SOCK_STREAM, 0), s;

	if (connect(c, (const struct sockaddr *)at, sizeof *at) < 0)
		die("connect: %s", strerror(errno));
	s = accept(listener, NULL, NULL);
	close(c);
	close(s);
}

static void tag(const struct count_bpf *o, int listener)
{
	struct np_worker_line line = { .counted = 1 };
	struct np_tag t = { NP_TAG(1, NP_TAG_NEW, 1) };
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(o->maps.np_workers), &zero, &line, BPF_ANY) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(o->maps.np_tags), &listener, &t, BPF_ANY) < 0)
		die("a listener takes no tag: %s", strerror(errno));
}

/* The worker's line after a round. */
static void check(const struct count_bpf *o, bool tagged)
{
	struct np_worker_line line;
	uint32_t zero = 0;

	bpf_map_lookup_elem(bpf_map__fd(o->maps.np_workers), &zero, &line);
	if (tagged && (line.accepted_total != LIVES || line.closed_total != LIVES || line.conns))
		die("%llu counted, %llu closed, %llu left of %d: this measures something else",
		    line.accepted_total, line.closed_total, line.conns, LIVES);
}

struct row {
	double net[ROUNDS]; /* ns of a connection */
	double runs, gross;
};

static void measure(const struct count_bpf *o, int empty, bool tagged, int round, struct row *row)
{
	struct runs a, b, none_a, none_b;
	struct sockaddr_in at;
	int listener = listen_somewhere(&at);

	if (tagged)
		tag(o, listener);
	a = runs_of_both(o);
	none_a = runs_of(empty);
	for (int i = 0; i < LIVES; i++)
		live(listener, &at);
	b = runs_of_both(o);
	none_b = runs_of(empty);
	check(o, tagged);
	close(listener);
	row->net[round] = (b.ns - a.ns - 2 * (none_b.ns - none_a.ns)) / LIVES;
	row->runs = (b.n - a.n) / LIVES;
	row->gross = (none_b.ns - none_a.ns) / LIVES;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_row(const char *what, struct row *r, double aim)
{
	qsort(r->net, ROUNDS, sizeof r->net[0], by_value);
	printf("%-24s %8.0f %8.0f %8.0f %8.1f %14.0f", what, r->net[ROUNDS / 2], r->net[0],
	       r->net[ROUNDS - 1], r->runs, r->gross);
	if (aim > 0)
		printf("   aim %.0f%s", aim, r->net[ROUNDS / 2] > aim ? ", missed" : "");
	putchar('\n');
}

/* ------------------------------------------------------------------ seed */

static double ms_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void iterate(const struct bpf_program *p, union bpf_iter_link_info about)
{
	LIBBPF_OPTS(bpf_iter_attach_opts, o, .link_info = &about, .link_info_len = sizeof about);
	struct bpf_link *link = bpf_program__attach_iter(p, &o);
	int fd = link ? bpf_iter_create(bpf_link__fd(link)) : -1;
	char none;

	if (fd < 0 || read(fd, &none, 1) != 0)
		die("an iterator does not run: %s", strerror(errno));
	close(fd);
	bpf_link__destroy(link);
}

/* Under a generation of its own, and with no tags left of the last one. */
static double seed(struct count_bpf *o, const struct sockaddr_in *at, uint32_t gen)
{
	struct np_worker_line line = { .counted = gen };
	uint32_t zero = 0;
	double t;

	bpf_map_update_elem(bpf_map__fd(o->maps.np_workers), &zero, &line, BPF_ANY);
	iterate(o->progs.np_count_sweep,
		(union bpf_iter_link_info){ .map.map_fd = (uint32_t)bpf_map__fd(o->maps.np_tags) });
	o->bss->np_seed = (struct np_seed){ .tag = NP_TAG(1, NP_TAG_COUNTED, gen),
					    .family = AF_INET,
					    .port = PORT,
					    .addr = { at->sin_addr.s_addr } };
	t = ms_now();
	iterate(o->progs.np_count_seed,
		(union bpf_iter_link_info){ .task.pid = (uint32_t)getpid() });
	t = ms_now() - t;
	if (o->bss->np_seed.found != THERE)
		die("%llu of %d connections were found", o->bss->np_seed.found, THERE);
	return t;
}

static void measure_seed(struct count_bpf *o)
{
	struct rlimit all = { 2 * THERE + 100, 2 * THERE + 100 };
	struct sockaddr_in at;
	int listener = listen_somewhere(&at), c;
	double ms[ROUNDS];

	setrlimit(RLIMIT_NOFILE, &all);
	for (int i = 0; i < THERE; i++) {
		c = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(c, (struct sockaddr *)&at, sizeof at) < 0 ||
		    accept(listener, NULL, NULL) < 0)
			die("connection %d: %s", i, strerror(errno));
	}
	for (uint32_t i = 0; i < ROUNDS; i++)
		ms[i] = seed(o, &at, i + 2);
	qsort(ms, ROUNDS, sizeof ms[0], by_value);
	printf("%d connections among %d sockets found in %.1f ms (%.1f to %.1f); aim %.0f%s\n",
	       THERE, 2 * THERE, ms[ROUNDS / 2], ms[0], ms[ROUNDS - 1], AIM_MS,
	       ms[ROUNDS / 2] > AIM_MS ? ", missed" : "");
}

int main(void)
{
	struct row counted, other;
	struct count_bpf *o;
	struct utsname u;
	cpu_set_t one;
	int empty, r;

	r = own_netns();
	if (r < 0)
		die("no network namespace: %s", strerror(-r));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the runs of programs cannot be timed: needs root");
	o = count_program();
	empty = empty_program();
	for (int round = 0; round < ROUNDS; round++) {
		measure(o, empty, true, round, &counted);
		measure(o, empty, false, round, &other);
	}
	printf("%-24s %8s %8s %8s %8s %14s\n", "ns/connection, net", "median", "min", "max", "runs",
	       "(empty, gross)");
	print_row("counted", &counted, AIM_NS);
	print_row("of another server", &other, 0);
	measure_seed(o);
	uname(&u);
	printf("%s %s, %s; %d rounds of %d connections, both ends here, on one CPU; kernel's bpf_stats\n",
	       u.sysname, u.release, u.machine, ROUNDS, LIVES);
	return 0;
}

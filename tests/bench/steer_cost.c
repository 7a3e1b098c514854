/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_cost: what the steering program costs: to verify ("info") and to run ("ns")
 *
 * ns: BPF_PROG_TEST_RUN knows no sk_reuseport programs, so datagrams on loopback run them: eight UDP
 * sockets of one reuseport group stand on the roster and in np_socks as listeners would, and the
 * byte where TCP has its flags says SYN. The kernel's own clock (bpf_stats) brackets each run; an
 * empty program in the same place, measured in the same round, is subtracted. Everything is hot.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "steer.skel.h"
#include "steer_abi.h"
#include "support/test.h"

#define WORKERS 8
#define RUNS    100000
#define ROUNDS  9
#define PORT    7900

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

static struct steer_bpf *load(bool plain, char *log, size_t cap)
{
	struct steer_bpf *s = steer_bpf__open();
	struct bpf_program *p;
	int r;

	if (!s)
		die("the object cannot be opened");
	p = plain ? s->progs.np_steer_plain : s->progs.np_steer;
	bpf_program__set_autoload(p, true);
	if (log) {
		bpf_program__set_log_buf(p, log, cap);
		bpf_program__set_log_level(p, 4); /* figures only */
	}
	r = steer_bpf__load(s);
	if (r < 0)
		die("the program does not load: %s", strerror(-r));
	return s;
}

static struct bpf_prog_info info_of(int fd)
{
	struct bpf_prog_info i;
	unsigned len = sizeof i;

	memset(&i, 0, sizeof i);
	if (bpf_obj_get_info_by_fd(fd, &i, &len) < 0)
		die("no information about a program");
	return i;
}

static unsigned figure(const char *log, const char *key)
{
	const char *p = strstr(log, key);

	return p ? (unsigned)strtoul(p + strlen(key), NULL, 10) : 0;
}

/* "88+32": frames of the program and of its callback. */
static const char *stack_of(const char *log)
{
	static char text[32];
	const char *p = strstr(log, "stack depth ");

	snprintf(text, sizeof text, "%.*s", p ? (int)strcspn(p + 12, "\n") : 1, p ? p + 12 : "?");
	return text;
}

static void print_info(void)
{
	static char log[65536];

	printf("%-16s %10s %10s %10s %10s %10s %8s\n", "program", "insns", "verified", "states",
	       "stack", "xlated B", "jited B");
	for (int plain = 0; plain < 2; plain++) {
		struct steer_bpf *s;
		struct bpf_program *p;
		struct bpf_prog_info i;

		memset(log, 0, sizeof log);
		s = load(plain, log, sizeof log);
		p = plain ? s->progs.np_steer_plain : s->progs.np_steer;
		i = info_of(bpf_program__fd(p));
		printf("%-16s %10zu %10u %10u %10s %10u %8u\n", bpf_program__name(p),
		       bpf_program__insn_cnt(p), figure(log, "processed "),
		       figure(log, "total_states "), stack_of(log), i.xlated_prog_len,
		       i.jited_prog_len);
		steer_bpf__destroy(s);
	}
}

static int empty_program(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = SK_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "empty", "GPL", insns, 2, NULL);

	if (fd < 0)
		die("the empty program does not load: %s", strerror(-fd));
	return fd;
}

static struct sockaddr_in place(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return in;
}

static void put(int map, uint32_t key, const void *value)
{
	int r = bpf_map_update_elem(map, &key, value, BPF_ANY);

	if (r < 0)
		die("a map does not take an entry: %s", strerror(-r));
}

static void place_workers(struct steer_bpf *s, int socks[WORKERS])
{
	struct np_group g = { .family = AF_INET, .port = PORT, .workers = WORKERS };
	struct sockaddr_in in = place();
	int one = 1;

	for (uint32_t w = 0; w < WORKERS; w++) {
		uint64_t fd;
		uint32_t w1 = w + 1;

		socks[w] = socket(AF_INET, SOCK_DGRAM, 0);
		if (setsockopt(socks[w], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0 ||
		    bind(socks[w], (struct sockaddr *)&in, sizeof in) < 0)
			die("no UDP socket: %s", strerror(errno));
		fd = (uint64_t)socks[w];
		put(bpf_map__fd(s->maps.np_socks), w, &fd);
		put(bpf_map__fd(s->maps.np_roster), w, &w1);
		if (w < 2)
			put(bpf_map__fd(s->maps.np_cpu2worker), w, &w1);
	}
	put(bpf_map__fd(s->maps.np_groups), 0, &g);
}

static void attach(int sock, int prog)
{
	if (setsockopt(sock, SOL_SOCKET, 52 /* SO_ATTACH_REUSEPORT_EBPF */, &prog, sizeof prog) < 0)
		die("a program cannot be attached: %s", strerror(errno));
}

/* ns of one run, over RUNS datagrams. */
static double measure(int prog, int sender)
{
	/* The sixth byte after the UDP header is the fourteenth of the packet: SYN. */
	static const char payload[16] = { [5] = 0x02 };
	struct bpf_prog_info a = info_of(prog), b;

	for (int i = 0; i < RUNS; i++)
		if (send(sender, payload, sizeof payload, 0) < 0 && errno != ECONNREFUSED)
			die("send: %s", strerror(errno));
	b = info_of(prog);
	if (b.run_cnt - a.run_cnt < RUNS)
		die("the program ran %llu times, not %d",
		    (unsigned long long)(b.run_cnt - a.run_cnt), RUNS);
	return (double)(b.run_time_ns - a.run_time_ns) / (double)(b.run_cnt - a.run_cnt);
}

static const struct subject {
	const char *what;
	enum np_policy policy;
	bool busy; /* every worker has a fresh stamp, so the clock is read */
	bool plain;
} subjects[] = {
	{ "hash", NP_POLICY_HASH, false, false },
	{ "rr", NP_POLICY_RR, false, false },
	{ "cpu", NP_POLICY_CPU, false, false },
	{ "hash, workers busy", NP_POLICY_HASH, true, false },
	{ "hash, before 5.14", NP_POLICY_HASH, false, true },
};
#define SUBJECTS (sizeof subjects / sizeof subjects[0])

static void prepare(struct steer_bpf *s, const struct subject *t)
{
	struct np_config c = { .abi = NP_STEER_ABI, .policy = t->policy, .hang_ms = 60000 };
	struct np_worker_line line = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (t->busy)
		line.busy_since_ns = (uint64_t)now.tv_sec * 1000000000u;
	put(bpf_map__fd(s->maps.np_config), 0, &c);
	for (uint32_t w = 0; w < WORKERS; w++)
		put(bpf_map__fd(s->maps.np_workers), w, &line);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_row(const char *what, double *net)
{
	qsort(net, ROUNDS, sizeof *net, by_value);
	printf("%-20s %8.1f %8.1f %8.1f\n", what, net[ROUNDS / 2], net[0], net[ROUNDS - 1]);
}

static void check_steered(struct steer_bpf *s)
{
	struct np_verdicts v[256];
	uint32_t zero = 0;
	uint64_t all = 0, steered = 0;

	if (libbpf_num_possible_cpus() > 256 ||
	    bpf_map_lookup_elem(bpf_map__fd(s->maps.np_stats), &zero, v) < 0)
		die("no counters");
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		all += v[i].syn_total;
		steered += v[i].steered;
	}
	if (!all || steered != all)
		die("%llu of %llu runs were not steered: this measures something else",
		    (unsigned long long)(all - steered), (unsigned long long)all);
}

static void print_ns(void)
{
	static double net[SUBJECTS][ROUNDS], gross[ROUNDS];
	int socks[2][WORKERS], empty = empty_program(), sender, r;
	struct steer_bpf *s[2];
	struct sockaddr_in in = place();
	cpu_set_t one;

	r = own_netns();
	if (r < 0)
		die("no network namespace: %s", strerror(-r));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the runs of programs cannot be timed: needs root");
	sender = socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(sender, (struct sockaddr *)&in, sizeof in) < 0)
		die("connect: %s", strerror(errno));

	for (int round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < SUBJECTS; i++) {
			bool plain = subjects[i].plain;
			double base;
			int prog;

			s[plain] = load(plain, NULL, 0);
			prog = bpf_program__fd(plain ? s[plain]->progs.np_steer_plain :
						       s[plain]->progs.np_steer);
			place_workers(s[plain], socks[plain]);
			prepare(s[plain], &subjects[i]);
			attach(socks[plain][0], empty);
			base = measure(empty, sender);
			attach(socks[plain][0], prog);
			net[i][round] = measure(prog, sender) - base;
			check_steered(s[plain]);
			gross[round] = base;
			for (unsigned w = 0; w < WORKERS; w++)
				close(socks[plain][w]);
			steer_bpf__destroy(s[plain]);
		}
	printf("%-20s %8s %8s %8s\n", "ns/run net of empty", "median", "min", "max");
	for (unsigned i = 0; i < SUBJECTS; i++)
		print_row(subjects[i].what, net[i]);
	print_row("(empty, gross)", gross);
	printf("%d workers, %d rounds of %d runs, one CPU; kernel's bpf_stats around each run\n",
	       WORKERS, ROUNDS, RUNS);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "info"))
		print_info();
	else if (argc == 2 && !strcmp(argv[1], "ns"))
		print_ns();
	else
		die("usage: steer_cost info|ns");
	return 0;
}

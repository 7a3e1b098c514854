/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_cost: what the steering program costs: to verify ("info") and to run ("ns")
 *
 * ns: BPF_PROG_TEST_RUN knows no sk_reuseport programs, so datagrams on loopback run them: eight UDP
 * sockets of one reuseport group stand on the roster and in np_socks as listeners would, and the
 * byte where TCP has its flags says SYN. The kernel's own clock (bpf_stats) brackets each run; an
 * empty program in the same place, measured in the same round, is subtracted. Everything is hot.
 * At level 4 the loads are those of real listeners' fields; what a UDP socket has there is no queue.
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
#include "steer_exact.skel.h"
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

enum kind { STEER, PLAIN, EXACT, KINDS };

static const char *const kinds[] = { "level 3", "level 2", "level 4" };

/* A program and its maps, loaded. */
struct subject_bpf {
	struct steer_bpf *steer;
	struct steer_exact_bpf *exact;
	struct bpf_object *obj;
	struct bpf_program *prog;
};

static struct subject_bpf load(enum kind kind, char *log, size_t cap)
{
	struct subject_bpf s = { 0 };
	int r;

	if (kind == EXACT) {
		s.exact = steer_exact_bpf__open();
		s.obj = s.exact ? s.exact->obj : NULL;
		s.prog = s.exact ? s.exact->progs.np_steer : NULL;
	} else {
		s.steer = steer_bpf__open();
		s.obj = s.steer ? s.steer->obj : NULL;
		if (s.steer)
			s.prog = kind == PLAIN ? s.steer->progs.np_steer_plain : s.steer->progs.np_steer;
	}
	if (!s.obj)
		die("the object cannot be opened");
	bpf_program__set_autoload(s.prog, true);
	if (log) {
		bpf_program__set_log_buf(s.prog, log, cap);
		bpf_program__set_log_level(s.prog, 4); /* figures only */
	}
	r = bpf_object__load(s.obj);
	if (r < 0)
		die("the program of %s does not load: %s", kinds[kind], strerror(-r));
	return s;
}

static void unload(struct subject_bpf *s)
{
	steer_bpf__destroy(s->steer);
	steer_exact_bpf__destroy(s->exact);
}

static int map_of(const struct subject_bpf *s, const char *name)
{
	return bpf_object__find_map_fd_by_name(s->obj, name);
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
	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct subject_bpf s;
		struct bpf_prog_info i;

		memset(log, 0, sizeof log);
		s = load(kind, log, sizeof log);
		i = info_of(bpf_program__fd(s.prog));
		printf("%-16s %10zu %10u %10u %10s %10u %8u\n", kinds[kind], bpf_program__insn_cnt(s.prog),
		       figure(log, "processed "), figure(log, "total_states "), stack_of(log),
		       i.xlated_prog_len, i.jited_prog_len);
		unload(&s);
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

static void place_workers(const struct subject_bpf *s, int socks[WORKERS])
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
		put(map_of(s, "np_socks"), w, &fd);
		put(map_of(s, "np_roster"), w, &w1);
		if (w < 2)
			put(map_of(s, "np_cpu2worker"), w, &w1);
	}
	put(map_of(s, "np_groups"), 0, &g);
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
	enum kind kind;
} subjects[] = {
	{ "hash", NP_POLICY_HASH, false, STEER },
	{ "rr", NP_POLICY_RR, false, STEER },
	{ "cpu", NP_POLICY_CPU, false, STEER },
	{ "random", NP_POLICY_RANDOM, false, STEER },
	{ "p2c", NP_POLICY_P2C, false, STEER },
	{ "least", NP_POLICY_LEAST, false, STEER },
	{ "hash, busy", NP_POLICY_HASH, true, STEER },
	{ "p2c, busy", NP_POLICY_P2C, true, STEER },
	{ "hash, level 2", NP_POLICY_HASH, false, PLAIN },
	{ "hash, level 4", NP_POLICY_HASH, false, EXACT },
	{ "p2c, level 4", NP_POLICY_P2C, false, EXACT },
	{ "p2c-exact", NP_POLICY_P2C_EXACT, false, EXACT },
	{ "p2c-exact, busy", NP_POLICY_P2C_EXACT, true, EXACT },
	{ "least-exact", NP_POLICY_LEAST_EXACT, false, EXACT },
	{ "least-exact, busy", NP_POLICY_LEAST_EXACT, true, EXACT },
};
#define SUBJECTS (sizeof subjects / sizeof subjects[0])

static void prepare(const struct subject_bpf *s, const struct subject *t)
{
	struct np_config c = { .abi = NP_STEER_ABI, .policy = t->policy, .hang_ms = 60000 };
	struct np_worker_line line = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (t->busy)
		line.busy_since_ns = (uint64_t)now.tv_sec * 1000000000u;
	put(map_of(s, "np_config"), 0, &c);
	for (uint32_t w = 0; w < WORKERS; w++)
		put(map_of(s, "np_workers"), w, &line);
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

static void check_steered(const struct subject_bpf *s)
{
	struct np_verdicts v[256];
	uint32_t zero = 0;
	uint64_t all = 0, steered = 0;

	if (libbpf_num_possible_cpus() > 256 ||
	    bpf_map_lookup_elem(map_of(s, "np_stats"), &zero, v) < 0)
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
	int socks[WORKERS], empty = empty_program(), sender, r;
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
			struct subject_bpf s = load(subjects[i].kind, NULL, 0);
			int prog = bpf_program__fd(s.prog);
			double base;

			place_workers(&s, socks);
			prepare(&s, &subjects[i]);
			attach(socks[0], empty);
			base = measure(empty, sender);
			attach(socks[0], prog);
			net[i][round] = measure(prog, sender) - base;
			check_steered(&s);
			gross[round] = base;
			for (unsigned w = 0; w < WORKERS; w++)
				close(socks[w]);
			unload(&s);
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

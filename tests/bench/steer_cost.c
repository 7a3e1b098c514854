/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_cost: what the steering program costs: to verify ("info") and to run ("ns")
 *
 * ns: BPF_PROG_TEST_RUN knows no sk_reuseport programs, so datagrams on loopback run them: eight
 * UDP sockets of one reuseport group stand on the roster and in np_socks as listeners would, and
 * the byte where TCP has its flags says SYN. The kernel's own clock (bpf_stats) brackets each run;
 * an empty program in the same place, measured in the same round, is subtracted. Everything is hot.
 * Machines differ by more than policies do, and one machine from hour to hour: "over bare" is the
 * multiple of a program, likewise in the same round, that selects one socket and knows nothing. At
 * level 4 the loads are those of real listeners' fields; what a UDP socket has there is no queue.
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
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "steer.skel.h"
#include "steer_abi.h"
#include "steer_l2.skel.h"
#include "steer_l4.skel.h"
#include "support/test.h"

#define WORKERS 8
#define RUNS    100000
#define ROUNDS  9
#define PORT    7900
#define FLOWS   64 /* one alone may draw the same worker twice */

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

static const struct level {
	const char *name;
	int level;
} levels[] = { { "level 3", 3 }, { "level 2", 2 }, { "level 4", 4 } };
#define LEVELS (sizeof levels / sizeof levels[0])

/* A program and its maps, loaded. */
struct subject_bpf {
	struct bpf_object *obj;
	struct bpf_program *prog;
};

static struct subject_bpf load(int level, char *log, size_t cap)
{
	size_t n;
	const void *elf = level >= 4 ? steer_l4_bpf__elf_bytes(&n) :
			  level == 3 ? steer_bpf__elf_bytes(&n) :
				       steer_l2_bpf__elf_bytes(&n);
	struct subject_bpf s = { .obj = bpf_object__open_mem(elf, n, NULL) };
	int r;

	if (!s.obj)
		die("the object cannot be opened");
	s.prog = bpf_object__find_program_by_name(s.obj, NP_STEER_PROG "0");
	bpf_program__set_autoload(s.prog, true);
	if (log) {
		bpf_program__set_log_buf(s.prog, log, cap);
		bpf_program__set_log_level(s.prog, 4); /* figures only */
	}
	r = bpf_object__load(s.obj);
	if (r < 0 && log)
		fputs(log + (strlen(log) < 4000 ? 0 : strlen(log) - 4000), stderr);
	if (r < 0)
		die("the program of level %d does not load: %s", level, strerror(-r));
	return s;
}

static void unload(struct subject_bpf *s)
{
	bpf_object__close(s->obj);
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
	for (size_t l = 0; l < LEVELS; l++) {
		struct subject_bpf s;
		struct bpf_prog_info i;

		memset(log, 0, sizeof log);
		s = load(levels[l].level, log, sizeof log);
		i = info_of(bpf_program__fd(s.prog));
		printf("%-16s %10zu %10u %10u %10s %10u %8u\n", levels[l].name,
		       bpf_program__insn_cnt(s.prog), figure(log, "processed "),
		       figure(log, "total_states "), stack_of(log), i.xlated_prog_len,
		       i.jited_prog_len);
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

/* Selects slot 0 and nothing more: what no program that steers can go below. */
static int bare_program(int socks)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = socks },
		{ 0 },
		{
			.code = BPF_ALU64 | BPF_MOV | BPF_X,
			.dst_reg = BPF_REG_3,
			.src_reg = BPF_REG_10,
		},
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_3, .imm = -4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_select_reuseport },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = SK_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "bare", "GPL", insns,
			       sizeof insns / sizeof insns[0], NULL);

	if (fd < 0)
		die("the bare program does not load: %s", strerror(-fd));
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
	struct np_group g = { .family = AF_INET, .port = PORT, .workers = WORKERS, .table = 1 };
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
static double measure(int prog, const int *senders)
{
	/* The sixth byte after the UDP header is the fourteenth of the packet: SYN. */
	static const char payload[16] = { [5] = 0x02 };
	struct bpf_prog_info a = info_of(prog), b;

	for (int i = 0; i < RUNS; i++)
		if (send(senders[i % FLOWS], payload, sizeof payload, 0) < 0 &&
		    errno != ECONNREFUSED)
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
	int level;
	double aim; /* over bare, at most; 0: none */
} subjects[] = {
	{ "hash", NP_POLICY_HASH, false, 3, 1.5 },
	{ "rr", NP_POLICY_RR, false, 3 },
	{ "cpu", NP_POLICY_CPU, false, 3 },
	{ "random", NP_POLICY_RANDOM, false, 3 },
	{ "p2c", NP_POLICY_P2C, false, 3 },
	{ "least", NP_POLICY_LEAST, false, 3 },
	{ "hash, busy", NP_POLICY_HASH, true, 3 },
	{ "p2c, busy", NP_POLICY_P2C, true, 3 },
	{ "weighted", NP_POLICY_WEIGHTED, false, 3 },
	{ "bitmap", NP_POLICY_BITMAP, false, 3 },
	{ "maglev", NP_POLICY_MAGLEV, false, 3 },
	{ "maglev, level 4", NP_POLICY_MAGLEV, false, 4 },
	{ "hash, level 2", NP_POLICY_HASH, false, 2 },
	{ "hash, level 4", NP_POLICY_HASH, false, 4, 1.5 },
	{ "p2c, level 4", NP_POLICY_P2C, false, 4 },
	{ "p2c-exact", NP_POLICY_P2C_QUEUED, false, 4, 2.0 },
	{ "p2c-exact, busy", NP_POLICY_P2C_QUEUED, true, 4 },
	{ "least-exact", NP_POLICY_LEAST_QUEUED, false, 4, 3.5 },
	{ "least-exact, busy", NP_POLICY_LEAST_QUEUED, true, 4 },
};
#define SUBJECTS (sizeof subjects / sizeof subjects[0])

static void prepare(const struct subject_bpf *s, const struct subject *t)
{
	struct np_config c = { .abi = NP_STEER_ABI,
			       .policy = t->policy,
			       .hang_ms = 60000,
			       .bound = 150,
			       .spill = 200 };
	static const struct np_service_ctl all = { .set = { (1u << WORKERS) - 1 } };
	static struct np_table table;
	struct np_worker_line line = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (t->busy)
		line.busy_since_ns = (uint64_t)now.tv_sec * 1000000000u;
	put(map_of(s, "np_config"), 0, &c);
	put(map_of(s, "np_service"), 0, &all);
	for (unsigned i = 0; i < NP_TABLE; i++)
		table.w1[i] = (uint16_t)(1 + i % WORKERS);
	put(map_of(s, "np_table"), 0, &table);
	for (uint32_t w = 0; w < WORKERS; w++)
		put(map_of(s, "np_workers"), w, &line);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_row(const char *what, double *net, double *over, double aim)
{
	qsort(net, ROUNDS, sizeof *net, by_value);
	printf("%-20s %8.1f %8.1f %8.1f", what, net[ROUNDS / 2], net[0], net[ROUNDS - 1]);
	if (over) {
		qsort(over, ROUNDS, sizeof *over, by_value);
		printf(" %10.2f", over[ROUNDS / 2]);
	}
	if (aim > 0)
		printf(" %5.1f%s", aim, over[ROUNDS / 2] > aim ? " missed" : "");
	putchar('\n');
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

/* Of those asked for, or of all. */
static bool is_asked(const char *what, char **names)
{
	if (!*names)
		return true;
	while (*names && strcmp(*names, what))
		names++;
	return *names;
}

static void print_ns(char **names)
{
	static double net[SUBJECTS][ROUNDS], over[SUBJECTS][ROUNDS], bare_net[ROUNDS],
		gross[ROUNDS];
	int socks[WORKERS], empty = empty_program(), senders[FLOWS], r;
	struct sockaddr_in in = place();
	struct utsname u;
	cpu_set_t one;

	r = own_netns();
	if (r < 0)
		die("no network namespace: %s", strerror(-r));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("the runs of programs cannot be timed: needs root");
	for (int i = 0; i < FLOWS; i++) {
		senders[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (connect(senders[i], (struct sockaddr *)&in, sizeof in) < 0)
			die("connect: %s", strerror(errno));
	}

	for (int round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < SUBJECTS; i++) {
			struct subject_bpf s;
			int prog, bare;
			double base;

			if (!is_asked(subjects[i].what, names))
				continue;
			s = load(subjects[i].level, NULL, 0);
			prog = bpf_program__fd(s.prog);
			bare = bare_program(map_of(&s, "np_socks"));
			place_workers(&s, socks);
			prepare(&s, &subjects[i]);
			attach(socks[0], empty);
			base = measure(empty, senders);
			attach(socks[0], bare);
			bare_net[round] = measure(bare, senders) - base;
			close(bare);
			attach(socks[0], prog);
			net[i][round] = measure(prog, senders) - base;
			over[i][round] = net[i][round] / bare_net[round];
			check_steered(&s);
			gross[round] = base;
			for (unsigned w = 0; w < WORKERS; w++)
				close(socks[w]);
			unload(&s);
		}
	printf("%-20s %8s %8s %8s %10s %5s\n", "ns/run net of empty", "median", "min", "max",
	       "over bare", "aim");
	for (unsigned i = 0; i < SUBJECTS; i++)
		if (is_asked(subjects[i].what, names))
			print_row(subjects[i].what, net[i], over[i], subjects[i].aim);
	print_row("(bare select)", bare_net, NULL, 0);
	print_row("(empty, gross)", gross, NULL, 0);
	uname(&u);
	printf("%s %s, %s; %d workers, %d rounds of %d runs on one CPU; kernel's bpf_stats around each run\n",
	       u.sysname, u.release, u.machine, WORKERS, ROUNDS, RUNS);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "info"))
		print_info();
	else if (argc >= 2 && !strcmp(argv[1], "ns"))
		print_ns(argv + 2);
	else
		die("usage: steer_cost info | ns [WHAT...]");
	return 0;
}

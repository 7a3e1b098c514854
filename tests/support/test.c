/* SPDX-License-Identifier: BSD-2-Clause */
/* test: the shared part of every test program. */
#include "support/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/capability.h>

#include "support/sanitizer.h"

void test_skip(const char *test, const char *fmt, ...)
{
	const char *path = getenv("NP_SKIP_FILE");
	char line[512];
	va_list ap;
	int n, fd;

	n = snprintf(line, sizeof line, "%.*s: ", (int)strcspn(test, "\0"), test);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 2, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	if (write(fd >= 0 ? fd : STDERR_FILENO, line, (size_t)n) != n)
		abort(); /* a skip that nobody hears of would count as a pass */
	if (fd >= 0)
		close(fd);
}

static bool has_cap(int cap)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return false;
	return d[cap / 32].effective & (1u << (cap % 32));
}

bool can_root(void)
{
	return geteuid() == 0 && has_cap(CAP_NET_ADMIN) && has_cap(CAP_SYS_ADMIN);
}

bool can_bpf(void)
{
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof a);
	a.map_type = BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
	a.key_size = 4;
	a.value_size = 8;
	a.max_entries = 1;
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

bool under_tsan(void)
{
#ifdef TSAN
	return true;
#else
	return false;
#endif
}

bool under_asan(void)
{
#ifdef ASAN
	return true;
#else
	return false;
#endif
}

bool under_handoff(void)
{
	return getenv("NP_HANDOFF_MS") != NULL;
}

bool under_valgrind(void)
{
	const char *p = getenv("LD_PRELOAD");

	return p && (strstr(p, "valgrind") || strstr(p, "vgpreload"));
}

int own_netns(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd, r = 0;

	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		r = -errno;
	close(fd);
	return r;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -EIO;
}

static long long netstat_in(const char *path, const char *group, const char *name)
{
	char *heads = NULL, *values = NULL, *h, *v, *hs, *vs;
	size_t nh = 0, nv = 0, len = strlen(group);
	long long found = -1;
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (found < 0 && getline(&heads, &nh, f) > 0 && getline(&values, &nv, f) > 0) {
		if (strncmp(heads, group, len) || heads[len] != ':')
			continue;
		h = strtok_r(heads, " \n", &hs);
		v = strtok_r(values, " \n", &vs);
		while (h && v && strcmp(h, name)) {
			h = strtok_r(NULL, " \n", &hs);
			v = strtok_r(NULL, " \n", &vs);
		}
		if (h && v)
			found = atoll(v);
	}
	free(heads);
	free(values);
	fclose(f);
	return found;
}

long long netstat(const char *group, const char *name)
{
	long long n = netstat_in("/proc/thread-self/net/netstat", group, name);

	return n >= 0 ? n : netstat_in("/proc/thread-self/net/snmp", group, name);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ms(void)
{
	return now_ns() / 1000000u;
}

void run_on(int cpu)
{
	cpu_set_t set;

	if (cpu < 0) {
		ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
		for (cpu = 0; !CPU_ISSET(cpu, &set);)
			cpu++;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ck_assert_int_eq(sched_setaffinity(0, sizeof set, &set), 0);
}

static int entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	ck_assert_ptr_nonnull(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (e->d_name[0] != '.')
			n++;
	closedir(d);
	return n;
}

const char *own_unix_name(void)
{
	static char name[32];

	snprintf(name, sizeof name, "@np-test-%d", (int)getpid());
	return name;
}

int open_fds(void)
{
	return entries("/proc/self/fd") - 1; /* less the one that reads the folder */
}

int np_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	char path[64 + sizeof((struct dirent *)0)->d_name], name[4] = "";
	int n = 0, fd;

	ck_assert_ptr_nonnull(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* . and .., or gone meanwhile */
		if (read(fd, name, 3) == 3 && !strcmp(name, "np-"))
			n++;
		close(fd);
	}
	closedir(d);
	return n;
}

void test_pause(void)
{
	poll(NULL, 0, 1);
}

void await_fd(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do
		r = poll(&p, 1, AWAIT_MS);
	while (r < 0 && errno == EINTR);
	ck_assert_msg(r == 1, "no event on fd %d before the deadline", fd);
}

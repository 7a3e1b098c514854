/* SPDX-License-Identifier: BSD-2-Clause */
/* steer: what the steering tests share. */
#include "support/steer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/test.h"
#include "sys/addr.h"

#define WAVE 500

static char bpffs[64];
bool rig_no_rescue;

const char *own_bpffs(void)
{
	return bpffs;
}

/* The tree under test, where that lies in /tmp: its programs look for the library by their path. */
static int tree_again(int tree, const char *path)
{
	char from[64], made[PATH_MAX];

	for (const char *end = path + 5; (end = strchr(end, '/')); end++) {
		snprintf(made, sizeof made, "%.*s", (int)(end - path), path);
		if (mkdir(made, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	snprintf(from, sizeof from, "/proc/self/fd/%d", tree);
	if (mkdir(path, 0755) < 0 || mount(from, path, NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    chdir(path) < 0)
		return -errno;
	return 0;
}

/* A tmpfs of this test's own, so that nothing is left in the machine's /tmp. */
static int own_mounts(void)
{
	char path[PATH_MAX];
	int r, tree;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	/* after unshare(2): what is of the old namespace cannot be mounted in this one */
	tree = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0 || !getcwd(path, sizeof path) ||
	    mount("none", "/tmp", "tmpfs", 0, "mode=0755") < 0)
		return -errno;
	r = strncmp(path, "/tmp/", 5) ? 0 : tree_again(tree, path);
	close(tree);
	if (r < 0)
		return r;
	snprintf(bpffs, sizeof bpffs, "/tmp/bpf");
	if (mkdir(bpffs, 0755) < 0 || mount("none", bpffs, "bpf", 0, "mode=0755") < 0)
		return -errno;
	return setenv("NP_BPFFS", bpffs, 1);
}

const char *own_steering(void)
{
	struct rlimit nofile = { 8192, 8192 };
	int r;

	if (!can_root())
		return "needs root, for namespaces of its own";
	if (!can_bpf())
		return "needs CAP_BPF";
	setrlimit(RLIMIT_NOFILE, &nofile);
	r = own_netns();
	ck_assert_msg(r == 0, "no network namespace: %s", strerror(-r));
	r = own_mounts();
	if (r == -EINVAL)
		return "needs a root that is a mount point: that of a chroot cannot be made private";
	ck_assert_msg(r == 0, "no bpffs of our own: %s", strerror(-r));
	return NULL;
}

void rig_open(struct rig *r, const char *service, const struct np_steer_opts *o)
{
	struct np_steer_opts opts = *NP_OPTS(np_steer_opts);
	char why[NP_STEER_TEXT_MAX] = "";
	int e;

	memset(r, 0, sizeof *r);
	if (o)
		opts = *o;
	if (rig_no_rescue)
		opts.rescue = NP_OFF;
	if (!opts.hang_ms)
		opts.hang_ms = RIG_HANG_MS;
	opts.error = why;
	opts.error_cap = sizeof why;
	e = np_steer_open(service, &opts, &r->s);
	ck_assert_msg(e == 0, "np_steer_open: %d %s", e, why);
}

unsigned rig_worker(struct rig *r, const char *address)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	unsigned i = r->n++;
	char name[32];
	int e;

	ck_assert_uint_lt(i, RIG_MAX);
	snprintf(name, sizeof name, "worker-%u", i);
	e = np_steer_worker(r->s, name, &r->w[i]);
	ck_assert_msg(e == 0, "np_steer_worker: %s", np_steer_error(r->s));
	e = np_steer_listen(r->w[i], "tcp", address, r->backlog, &r->fd[i]);
	ck_assert_msg(e == 0, "np_steer_listen: %s", np_steer_error(r->s));
	ck_assert_int_eq(getsockname(r->fd[i], (struct sockaddr *)&ss, &len), 0);
	addr_format(&ss, len, r->address, sizeof r->address);
	return i;
}

void rig_start(struct rig *r, unsigned n, const struct np_steer_opts *o)
{
	rig_open(r, NULL, o);
	for (unsigned i = 0; i < n; i++)
		rig_worker(r, "127.0.0.1:0");
}

void rig_close_listener(struct rig *r, unsigned i)
{
	close(r->fd[i]);
	r->fd[i] = -1;
}

void rig_stop(struct rig *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		if (r->fd[i] >= 0)
			rig_close_listener(r, i);
		ck_assert_int_eq(np_steer_worker_close(&r->w[i]), 0);
	}
	ck_assert_int_eq(np_steer_close(&r->s), 0);
}

int client_connect(const char *address)
{
	struct addr a;
	int fd;

	ck_assert_int_eq(addr_parse("tcp", address, &a), 0);
	fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_msg(fd >= 0, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&a.ss, a.len) == 0)
		return fd;
	fd = (close(fd), -errno);
	return fd;
}

void client_close(int *fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(*fd);
	*fd = -1;
}

void clients_connect(const char *address, int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = client_connect(address);
		ck_assert_msg(fds[i] >= 0, "connect %u: %s", i, strerror(-fds[i]));
	}
}

void clients_close(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_close(&fds[i]);
}

unsigned rig_accept(struct rig *r)
{
	unsigned total = 0;

	for (unsigned i = 0; i < r->n; i++) {
		int c;

		while (r->fd[i] >= 0 && (c = accept4(r->fd[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			close(c);
			r->accepted[i]++;
			total++;
		}
	}
	return total;
}

void rig_drive(struct rig *r, unsigned n)
{
	int fds[WAVE];

	while (n) {
		unsigned wave = n < WAVE ? n : WAVE, got = 0;

		clients_connect(r->address, fds, wave);
		/* On a busy machine the last ACKs are still with ksoftirqd. */
		AWAIT((got += rig_accept(r)) >= wave);
		ck_assert_uint_eq(got, wave);
		clients_close(fds, wave);
		n -= wave;
	}
}

unsigned rig_accepted(const struct rig *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->n; i++)
		n += r->accepted[i];
	return n;
}

int rig_level(const struct rig *r)
{
	struct np_steer_info i;

	np_steer_info_init(&i);
	ck_assert_int_eq(np_steer_info(r->s, &i), 0);
	return i.level;
}

struct np_steer_stats rig_stats(const struct rig *r)
{
	struct np_steer_stats st;

	np_steer_stats_init(&st);
	ck_assert_int_eq(np_steer_stats(r->s, &st), 0);
	return st;
}

struct np_steer_worker_info rig_worker_info(const struct rig *r, unsigned i)
{
	struct np_steer_worker_info wi;

	np_steer_worker_info_init(&wi);
	ck_assert_int_eq(np_steer_worker_info(r->s, (unsigned)np_steer_worker_index(r->w[i]), &wi),
			 0);
	return wi;
}

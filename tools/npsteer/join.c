/* SPDX-License-Identifier: BSD-2-Clause */
/* join: the cgroup is made below the one that npsteer is in, which a unit may have been given. */
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "join.skel.h"

#define JOIN_TRIES 200 /* of 10 ms: a process that ends is in its cgroup a moment longer */

struct join {
	char outer[4096], dir[4160];
	int dir_fd, procs_fd;
	int life[2]; /* the keeper reads the end of it */
	pid_t keeper;
	struct join_bpf *bpf;
};

/* ------------------------------------------------------------------ the folder */

static const char *join_root(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs s;

	for (unsigned i = 0; i < 2; i++)
		if (statfs(roots[i], &s) == 0 && (unsigned)s.f_type == CGROUP2_SUPER_MAGIC)
			return roots[i];
	return NULL;
}

/* "0::/system.slice/x" of /proc/self/cgroup. */
static bool join_find_outer(struct join *j)
{
	const char *root = join_root();
	FILE *f = root ? fopen("/proc/self/cgroup", "re") : NULL;
	char line[3900];

	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(j->outer, sizeof j->outer, "%s%s", root, line + 3);
		break;
	}
	if (f)
		fclose(f);
	return *j->outer;
}

static int join_make(struct join *j)
{
	snprintf(j->dir, sizeof j->dir, "%s/npsteer-run.%d", j->outer, (int)getpid());
	if (mkdir(j->dir, 0755) < 0)
		return -errno;
	j->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	j->procs_fd = j->dir_fd < 0 ? -1 : openat(j->dir_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return j->procs_fd < 0 ? -errno : 0;
}

/* All that is in the folder, one after another, to the outer one. */
static void join_move_out(const struct join *j)
{
	char path[4200], pid[32];
	FILE *from;
	int to;

	snprintf(path, sizeof path, "%s/cgroup.procs", j->outer);
	to = open(path, O_WRONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/cgroup.procs", j->dir);
	from = fopen(path, "re");
	while (from && to >= 0 && fgets(pid, sizeof pid, from))
		if (write(to, pid, strlen(pid)) < 0 && errno != ESRCH)
			break;
	if (from)
		fclose(from);
	if (to >= 0)
		close(to);
}

static void join_remove(const struct join *j)
{
	for (int i = 0; i < JOIN_TRIES && rmdir(j->dir) < 0 && errno == EBUSY; i++) {
		join_move_out(j);
		pause_for(0.01);
	}
}

/* ------------------------------------------------------------------ the keeper */

static void join_keep(const struct join *j)
{
	sigset_t all;
	char c;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	close(j->life[1]);
	for (int fd = 0; fd < 3; fd++)
		close(fd); /* a reader of the tool's output is not to wait for this one */
	while (read(j->life[0], &c, 1) < 0 && errno == EINTR)
		;
	join_remove(j);
	_exit(0);
}

static int join_start_keeper(struct join *j)
{
	if (pipe2(j->life, O_CLOEXEC) < 0)
		return -errno;
	j->keeper = fork();
	if (j->keeper < 0)
		return -errno;
	if (j->keeper == 0)
		join_keep(j);
	close(j->life[0]);
	j->life[0] = -1;
	return 0;
}

/* ------------------------------------------------------------------ the programs */

static int join_attach(struct join *j, unsigned port)
{
	struct join_bpf *o = join_bpf__open();
	int r;

	j->bpf = o;
	if (!o)
		return -errno;
	o->rodata->port = port;
	r = join_bpf__load(o);
	if (r < 0)
		return r;
	o->links.np_join_bind4 = bpf_program__attach_cgroup(o->progs.np_join_bind4, j->dir_fd);
	if (!o->links.np_join_bind4)
		return -errno;
	o->links.np_join_bind6 = bpf_program__attach_cgroup(o->progs.np_join_bind6, j->dir_fd);
	return o->links.np_join_bind6 ? 0 : -errno;
}

static int join_silent(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

static int join_fail(struct npsteer *n, int r, const char *what)
{
	return fail(n, r == -EPERM || r == -EACCES ? DENIED : UNSUPPORTED,
		    "%s: %s. `npsteer run --preload` needs none, for programs that are not static",
		    what, strerror(-r));
}

/* The keeper first: from then on nothing stays, whatever happens. */
int join_open(struct npsteer *n, unsigned port, struct join **ret)
{
	struct join *j = calloc(1, sizeof *j);
	const char *what = "the programs that make copies share a port cannot be loaded";
	int code, r;

	if (!j)
		fail_without_memory();
	*j = (struct join){ .dir_fd = -1, .procs_fd = -1, .life = { -1, -1 } };
	libbpf_set_print(join_silent);
	if (!join_find_outer(j)) {
		free(j);
		return join_fail(n, -ENOENT, "there is no cgroup2 hierarchy here");
	}
	snprintf(j->dir, sizeof j->dir, "%s/npsteer-run.%d", j->outer, (int)getpid());
	r = join_start_keeper(j);
	if (r == 0)
		r = join_make(j);
	if (r < 0)
		what = "a cgroup for the copies cannot be made";
	else
		r = join_attach(j, port);
	if (r == 0) {
		*ret = j;
		return DONE;
	}
	code = join_fail(n, r, what);
	join_close(&j);
	return code;
}

int join_enter(const struct join *j)
{
	return write(j->procs_fd, "0", 1) == 1 ? 0 : -errno;
}

void join_close(struct join **p)
{
	struct join *j = *p;

	if (!j)
		return;
	join_bpf__destroy(j->bpf);
	for (int i = 0; i < 2; i++)
		if (j->life[i] >= 0)
			close(j->life[i]);
	if (j->keeper > 0)
		waitpid(j->keeper, NULL, 0);
	if (j->procs_fd >= 0)
		close(j->procs_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	free(j);
	*p = NULL;
}

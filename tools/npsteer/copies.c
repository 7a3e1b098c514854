/* SPDX-License-Identifier: BSD-2-Clause */
/* copies: their sockets are found as ss(8) finds them: by inode, in /proc. */
#include "copies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "npsteer.h"

#define COPY_SOCKETS 65536u

/* ------------------------------------------------------------------ started */

static void copy_prepare(const struct copies *cs)
{
	static const int reset[] = { SIGPIPE, SIGHUP, SIGTERM, SIGINT, SIGCHLD, SIGUSR1 };
	char port[16];
	sigset_t none;

	for (size_t i = 0; i < sizeof reset / sizeof reset[0]; i++)
		signal(reset[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	if (!cs->preload)
		return;
	snprintf(port, sizeof port, "%u", cs->port);
	setenv("NPSTEER_PORT", port, 1);
	setenv("LD_PRELOAD", cs->preload, 1);
}

static void copy_become(const struct copies *cs, int tell)
{
	int e = 0;

	copy_prepare(cs);
	if (cs->join)
		e = -join_enter(cs->join);
	if (!e) {
		execvp(cs->argv[0], cs->argv);
		e = errno;
	}
	if (write(tell, &e, sizeof e) < 0)
		_exit(126);
	_exit(127);
}

/* The pipe closes with a successful exec. */
int copy_start(const struct copies *cs, struct copy *c)
{
	int tell[2], e = 0;
	pid_t pid;

	if (pipe2(tell, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		copy_become(cs, tell[1]);
	e = pid < 0 ? errno : 0;
	close(tell[1]);
	if (pid > 0 && read(tell[0], &e, sizeof e) == (ssize_t)sizeof e)
		waitpid(pid, NULL, 0);
	close(tell[0]);
	if (e)
		return -e;
	c->pid = pid;
	c->since = seconds_now();
	c->meant_to_end = false;
	return 0;
}

void copy_signal(const struct copy *c, int sig)
{
	if (c->pid > 0)
		kill(c->pid, sig);
}

void copy_signal_all(const struct copy *c, int sig)
{
	if (c->pid > 0)
		kill(-c->pid, sig);
}

/* ------------------------------------------------------------------ what it holds */

struct sockets {
	unsigned long long inode[COPY_SOCKETS];
	unsigned n;
};

static void copy_add_sockets(struct sockets *s, const char *pid)
{
	char path[300], link[64];
	struct dirent *e;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d)) && s->n < COPY_SOCKETS) {
		n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
		link[n > 0 ? n : 0] = '\0';
		if (sscanf(link, "socket:[%llu]", &s->inode[s->n]) == 1)
			s->n++;
	}
	if (d)
		closedir(d);
}

/* The copy, and what is of its process group. */
static void copy_find_sockets(const struct copy *c, struct sockets *s)
{
	struct dirent *e;
	DIR *d = opendir("/proc");

	s->n = 0;
	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    getpgid((pid_t)atol(e->d_name)) == c->pid)
			copy_add_sockets(s, e->d_name);
	if (d)
		closedir(d);
}

static bool copy_has(const struct sockets *s, unsigned long long inode)
{
	for (unsigned i = 0; inode && i < s->n; i++)
		if (s->inode[i] == inode)
			return true;
	return false;
}

#define COPY_LISTENS 10u /* TCP_LISTEN, */
#define COPY_RESTS   6u  /* TCP_TIME_WAIT: of nobody any more, and there may be very many */

struct seen {
	const struct sockets *s;
	unsigned port;
	struct copy_holds holds;
};

static void copy_count(struct seen *x, const struct inet_diag_msg *d)
{
	if (ntohs(d->id.idiag_sport) != x->port || !copy_has(x->s, d->idiag_inode))
		return;
	if (d->idiag_state != COPY_LISTENS) {
		x->holds.conns++;
		return;
	}
	x->holds.listeners++;
	x->holds.queued += d->idiag_rqueue;
}

static int copy_ask(int fd, int family, unsigned port)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} m;

	memset(&m, 0, sizeof m);
	m.head.nlmsg_len = sizeof m;
	m.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	m.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	m.body.sdiag_family = (uint8_t)family;
	m.body.sdiag_protocol = IPPROTO_TCP;
	m.body.idiag_states = ~(1u << COPY_RESTS);
	m.body.id.idiag_sport = htons((uint16_t)port);
	return send(fd, &m, sizeof m, 0) == (ssize_t)sizeof m ? 0 : -errno;
}

/* False: the answer has ended. */
static bool copy_take(struct seen *x, const char *buf, size_t n)
{
	const struct nlmsghdr *h;

	for (h = (const void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			return false;
		copy_count(x, NLMSG_DATA(h));
	}
	return true;
}

/* Of every process, as sock_diag(7) tells. Where it does not, there may be connections. */
static void copy_read_kernel(struct seen *x, int family)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	ssize_t n;

	n = fd < 0 ? -1 : copy_ask(fd, family, x->port);
	while (n >= 0) {
		n = recv(fd, buf, sizeof buf, 0);
		if (n > 0 && !copy_take(x, buf, (size_t)n))
			break;
	}
	x->holds.conns += n < 0;
	if (fd >= 0)
		close(fd);
}

struct copy_holds copy_look(const struct copy *c, unsigned port)
{
	struct sockets *s = malloc(sizeof *s);
	struct seen x = { .s = s, .port = port };

	if (!s)
		fail_without_memory();
	copy_find_sockets(c, s);
	copy_read_kernel(&x, AF_INET);
	copy_read_kernel(&x, AF_INET6);
	free(s);
	return x.holds;
}

/* A group that is not all stopped is no worse than one that was not asked to be. */
bool copy_end_idle(const struct copy *c, unsigned port)
{
	siginfo_t info;
	bool idle;

	copy_signal_all(c, SIGSTOP);
	waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WEXITED | WNOWAIT);
	idle = copy_look(c, port).conns == 0;
	if (idle)
		copy_signal(c, SIGTERM);
	copy_signal_all(c, SIGCONT);
	return idle;
}

/* ------------------------------------------------------------------ which workers it is */

#define COPY_INODES 16u

struct inodes {
	uint64_t inode[COPY_INODES];
	unsigned n;
};

static int copy_note_inode(void *arg, const struct np_steer_listener *l)
{
	struct inodes *i = arg;

	if (i->n < COPY_INODES)
		i->inode[i->n++] = l->inode;
	return 0;
}

/* After the task that accepted when it was adopted; where none was seen to, by its inode. */
static bool copy_is_worker(const struct copy *c, const struct np_steer_worker_info *w,
			   const struct inodes *i)
{
	const char *inode = strrchr(w->name, '#');

	if (w->pid || !inode)
		return w->pid && getpgid(w->pid) == c->pid;
	for (unsigned k = 0; k < i->n; k++)
		if (strtoull(inode + 1, NULL, 10) == i->inode[k])
			return true;
	return false;
}

unsigned copy_workers(struct np_steer *s, const struct copy *c, unsigned port, unsigned *ret,
		      unsigned max)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer_worker_info w;
	struct inodes i = { .n = 0 };
	char address[16];
	unsigned n = 0;

	snprintf(address, sizeof address, "%u", port);
	np_steer_listeners(NP_OPTS(np_steer_find_opts, .address = address, .pid = c->pid),
			   copy_note_inode, &i);
	np_steer_info(s, &info);
	for (unsigned k = 0; k < info.workers && n < max; k++)
		if (read_worker(s, k, &w) && w.adopted && copy_is_worker(c, &w, &i))
			ret[n++] = k;
	return n;
}

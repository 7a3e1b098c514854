/* SPDX-License-Identifier: BSD-2-Clause */
/* count: programs are loaded when they are first needed, and stay for the next time. */
#include "steer/count.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "count_abi.h"

#include "count.skel.h"
#include "count_cgroup.skel.h"
#include "steer/cause.h"
#include "steer/folder.h"
#include "steer/iterate.h"
#include "steer/steer.h"
#include "steer/tracer.h"
#include "steer/words.h"
#include "sys/bpf.h"
#include "sys/cgroup.h"
#include "sys/fault.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/sock.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define COUNT_WHY TRACER_WHY

struct count {
	int link_fd[2]; /* of a private service; -1 */
	struct tracer tracer;
};

static struct count *count_of(struct np_steer *s)
{
	if (!s->count) {
		s->count = calloc(1, sizeof *s->count);
		if (s->count) {
			s->count->link_fd[0] = s->count->link_fd[1] = -1;
			tracer_init(&s->count->tracer, s);
		}
	}
	return s->count;
}

struct tracer *count_tracer(struct np_steer *s)
{
	struct count *c = count_of(s);

	return c ? &c->tracer : NULL;
}

static void count_close_links(struct count *c)
{
	sys_close(&c->link_fd[0]);
	sys_close(&c->link_fd[1]);
}

void count_free(struct count **p)
{
	struct count *c = *p;

	if (!c)
		return;
	count_close_links(c);
	tracer_fini(&c->tracer);
	free(c);
	*p = NULL;
}

/* ------------------------------------------------------------------ on and off */

static int count_see_pin(void *arg, const char *name)
{
	return !strncmp(name, NP_COUNT_PINS, sizeof NP_COUNT_PINS - 1);
}

bool count_is_on(const struct np_steer *s)
{
	if (s->dir[0])
		return folder_each(s->lock_fd, count_see_pin, NULL) == 1;
	return s->count && s->count->link_fd[1] >= 0;
}

/* False where it is pinned and its cgroup has gone. */
static bool count_has_pin(const struct np_steer *s, const char *name)
{
	struct bpf_link_info info;
	unsigned len = sizeof info;
	int fd = -1, r = folder_get(s->lock_fd, name, 0, &fd);
	bool gone;

	memset(&info, 0, sizeof info);
	gone = r == 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	       info.type == BPF_LINK_TYPE_CGROUP && !info.cgroup.cgroup_id;
	sys_close(&fd);
	if (gone)
		sys_unlink_at(s->lock_fd, name, false);
	return !gone && (r == 0 || r == -EACCES || r == -EPERM); /* it is root's */
}

static bool count_has_link(const struct np_steer *s, const char *name)
{
	return s->dir[0] ? count_has_pin(s, name) : count_is_on(s);
}

bool count_has(const struct np_steer *s, unsigned w)
{
	return __atomic_load_n(&s->maps.workers[w].counted, __ATOMIC_RELAXED) != 0;
}

static int count_attach(int program, int *ret_fd)
{
	int fd = bpf_link_create(program, 0, BPF_TRACE_RAW_TP, NULL);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* It holds for as long as its pin, or of a private service for as long as this process has it. */
static int count_keep(struct np_steer *s, const char *name, int which, int *fd)
{
	int r = 0;

	if (s->dir[0])
		r = folder_pin(s->lock_fd, name, *fd);
	else
		r = sys_dup(*fd, &s->count->link_fd[which]);
	sys_close(fd);
	return r == -EEXIST ? 0 : r;
}

int count_on(struct np_steer *s)
{
	struct count *c = count_of(s);
	int fd[2] = { -1, -1 }, r;

	if (count_has_link(s, NP_COUNT_LINK))
		return 0;
	if (!c)
		return -ENOMEM;
	r = tracer_load(&c->tracer);
	if (r == 0)
		r = count_attach(c->tracer.fd[TRACER_AGAIN], &fd[0]);
	if (r == 0)
		r = count_attach(c->tracer.fd[TRACER_STATE], &fd[1]);
	if (r == 0)
		r = count_keep(s, NP_COUNT_LINK "_2", 0, &fd[0]);
	if (r == 0) /* the last one: where it is, both are */
		r = count_keep(s, NP_COUNT_LINK, 1, &fd[1]);
	sys_close(&fd[0]);
	sys_close(&fd[1]);
	if (r < 0)
		cause_explain(s->error, sizeof s->error, r, "counting connections", s->name,
			      c->tracer.why);
	return r;
}

/* ------------------------------------------------------------------ by cgroup */

static int count_attach_cgroup(const struct np_steer *s, struct count_cgroup_bpf *o, int cgroup_fd,
			       int *ret_fd)
{
	struct bpf_link *link;
	int r;

	SYS_FAULT(bpf);
	bpf_program__set_autoload(o->progs.np_count_sockops, true);
	r = bpf_map__reuse_fd(o->maps.np_workers, s->maps.fd[MAP_np_workers]);
	if (r == 0)
		r = bpf_map__reuse_fd(o->maps.np_tags, s->maps.fd[MAP_np_tags]);
	if (r == 0)
		r = count_cgroup_bpf__load(o);
	if (r < 0)
		return r;
	link = bpf_program__attach_cgroup(o->progs.np_count_sockops, cgroup_fd);
	if (!link)
		return -errno;
	r = sys_dup(bpf_link__fd(link), ret_fd);
	bpf_link__destroy(link);
	return r;
}

static int count_link_cgroup(const struct np_steer *s, int cgroup_fd, char *why, size_t cap,
			     int *ret_fd)
{
	struct count_cgroup_bpf *o;
	struct words words;
	int r;

	words_take(&words, why, cap);
	o = count_cgroup_bpf__open();
	r = o ? count_attach_cgroup(s, o, cgroup_fd, ret_fd) : -errno;
	count_cgroup_bpf__destroy(o);
	words_give_back(&words);
	return r;
}

int count_on_cgroup(struct np_steer *s, pid_t pid)
{
	char why[COUNT_WHY] = "", name[64];
	int cgroup = -1, fd = -1, r;
	struct stat st;

	if (!count_of(s))
		return -ENOMEM;
	r = sys_cgroup_open(pid, &cgroup);
	if (r == 0)
		r = sys_fstat(cgroup, &st);
	if (r == 0) {
		snprintf(name, sizeof name, NP_COUNT_PINS "cgroup_%llu",
			 (unsigned long long)st.st_ino);
		if (!count_has_link(s, name))
			r = count_link_cgroup(s, cgroup, why, sizeof why, &fd);
		if (r == 0 && fd >= 0)
			r = count_keep(s, name, 1, &fd);
	}
	sys_close(&cgroup);
	if (r < 0)
		cause_explain(s->error, sizeof s->error, r, "counting a cgroup's connections",
			      s->name, why);
	return r;
}

/* ------------------------------------------------------------------ off */

static int count_unpin(void *arg, const char *name)
{
	const struct np_steer *s = arg;

	if (count_see_pin(NULL, name))
		sys_unlink_at(s->lock_fd, name, false);
	return 0;
}

static void count_off(struct np_steer *s)
{
	if (s->dir[0])
		folder_each(s->lock_fd, count_unpin, s);
	else if (s->count)
		count_close_links(s->count);
}

/* ------------------------------------------------------------------ tags */

/* A number that no tag of this worker has had, but after four thousand million of them. */
static int count_next_generation(struct np_steer *s, unsigned w, uint32_t *ret)
{
	uint32_t key = w, gen = 0;
	int r = map_lookup(&s->maps, MAP_np_gens, &key, &gen);

	gen = gen + 1 ? gen + 1 : 1;
	if (r == 0)
		r = map_update(&s->maps, MAP_np_gens, &key, &gen, BPF_ANY);
	if (r == 0)
		*ret = gen;
	return r;
}

/* The line first: a connection that is established in between would count where nothing does. */
int count_tag(struct np_steer *s, unsigned w, int fd)
{
	__u64 *counted = &s->maps.workers[w].counted;
	uint32_t gen = (uint32_t)__atomic_load_n(counted, __ATOMIC_RELAXED);
	struct np_tag tag;
	int r = 0;

	if (!gen) {
		r = count_next_generation(s, w, &gen);
		if (r == 0)
			__atomic_store_n(counted, gen, __ATOMIC_RELEASE);
	}
	tag.word = NP_TAG(w + 1, NP_TAG_NEW, gen);
	if (r == 0)
		r = map_update(&s->maps, MAP_np_tags, &fd, &tag, BPF_ANY);
	return r;
}

void count_untag(struct np_steer *s, int fd)
{
	map_delete(&s->maps, MAP_np_tags, &fd);
}

void count_stop(struct np_steer *s, const unsigned *w, unsigned n)
{
	bool any = false;

	for (unsigned i = 0; i < n; i++)
		any |= __atomic_exchange_n(&s->maps.workers[w[i]].counted, 0, __ATOMIC_SEQ_CST) !=
		       0;
	if (any)
		sys_bpf_settle();
}

/* ------------------------------------------------------------------ what is looked for */

static int count_finds(struct np_steer *s)
{
	struct count *c = count_of(s);
	int r;

	if (!c)
		return -ENOMEM;
	r = tracer_load(&c->tracer);
	if (r < 0)
		cause_explain(s->error, sizeof s->error, r, "looking for connections", s->name,
			      c->tracer.why);
	return r;
}

/* Runs the iterator to its end. It writes nothing. */
static int count_iterate(const struct np_steer *s, enum tracer_program p,
			 union bpf_iter_link_info *about)
{
	char *none = NULL;
	size_t n;
	int r;

	SYS_FAULT(bpf);
	r = iterate(s->count->tracer.fd[p], about, &none, &n);
	free(none);
	return r;
}

static int count_describe(int fd, struct np_seed *ret)
{
	struct sockaddr_storage ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
	static const uint32_t any[4];
	socklen_t len;
	int r = sys_getsockname(fd, &ss, &len);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof *ret);
	ret->family = ss.ss_family;
	ret->port = (uint16_t)addr_port(&ss);
	if (ss.ss_family == AF_INET6)
		memcpy(ret->addr, &in6->sin6_addr, sizeof ret->addr);
	else
		memcpy(ret->addr, &in->sin_addr, sizeof in->sin_addr);
	ret->any = !memcmp(ret->addr, any, sizeof any);
	if (sys_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &ret->netns, sizeof ret->netns) < 0)
		ret->netns = 0;
	return 0;
}

void count_seed_begin(struct np_steer *s, unsigned port)
{
	__atomic_store_n(&s->maps.service->seeding, port, __ATOMIC_SEQ_CST);
}

void count_seed_end(struct np_steer *s)
{
	__atomic_store_n(&s->maps.service->seeding, 0, __ATOMIC_SEQ_CST);
}

/* Of that process alone; Linux 6.1. Before, of every process, and the program picks. */
static int count_visit(const struct np_steer *s, struct np_seed *seed, pid_t pid)
{
	union bpf_iter_link_info about = { .task.pid = (uint32_t)pid };
	int r = count_iterate(s, TRACER_SEED, &about);

	if (r != -EINVAL)
		return r;
	seed->tgid = (uint32_t)pid;
	return count_iterate(s, TRACER_SEED, NULL);
}

int count_seed(struct np_steer *s, unsigned w, int fd, const struct count_task *t, bool retag,
	       unsigned *ret)
{
	struct np_seed *seed;
	int r = count_finds(s);

	if (r < 0)
		return r;
	seed = &s->count->tracer.vars->np_seed;
	r = count_describe(fd, seed);
	if (r < 0)
		return r;
	seed->tag = NP_TAG(w + 1, NP_TAG_COUNTED, s->maps.workers[w].counted);
	seed->retag = retag;
	seed->epoll = t->epoll;
	r = count_visit(s, seed, t->pid);
	*ret = (unsigned)(seed->found + seed->retagged);
	return r;
}

/*
 * Those of listeners that were released, and of their connections. Without the rights they stay
 * until their sockets go, and count nowhere; so do, where the kernel refuses the iterator over all
 * tags, those of sockets that nobody has a descriptor of.
 */
static void count_sweep(struct np_steer *s)
{
	union bpf_iter_link_info about = { .map.map_fd = (uint32_t)s->maps.fd[MAP_np_tags] };

	if (count_finds(s) < 0)
		return;
	if (s->count->tracer.fd[TRACER_SWEEP] >= 0)
		count_iterate(s, TRACER_SWEEP, &about);
	else
		count_iterate(s, TRACER_SWEEP_FILES, NULL);
}

void count_off_unused(struct np_steer *s)
{
	if (!count_is_on(s))
		return;
	for (unsigned w = 0; w < NP_WORKERS; w++)
		if (count_has(s, w))
			return;
	count_off(s);
	sys_bpf_settle();
	count_sweep(s);
}

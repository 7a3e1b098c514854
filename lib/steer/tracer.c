/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracer: of a service its maps are reused; where there is none, what needs them is left away.
 *
 * The variables of pinned programs are everybody's: a seed is made under the service's lock, and
 * np_holders_up is 0 for all who open them.
 */
#include "steer/tracer.h"

#include <errno.h>
#include <sys/mman.h>

#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "count_abi.h"

#include "count.skel.h"
#include "steer/cause.h"
#include "steer/steer.h"
#include "steer/words.h"
#include "sys/fault.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/mem.h"
#include "sys/process.h"

static int tracer_reuse_maps(const struct np_steer *s, struct count_bpf *o)
{
	int r = bpf_map__reuse_fd(o->maps.np_workers, s->maps.fd[MAP_np_workers]);

	if (r == 0)
		r = bpf_map__reuse_fd(o->maps.np_tags, s->maps.fd[MAP_np_tags]);
	if (r == 0)
		r = bpf_map__reuse_fd(o->maps.np_service, s->maps.fd[MAP_np_service]);
	return r;
}

static int tracer_leave_maps_away(struct count_bpf *o)
{
	int r = bpf_map__set_autocreate(o->maps.np_workers, false);

	if (r == 0)
		r = bpf_map__set_autocreate(o->maps.np_tags, false);
	if (r == 0)
		r = bpf_map__set_autocreate(o->maps.np_service, false);
	return r;
}

static struct bpf_program *tracer_program(const struct count_bpf *o, enum tracer_program p)
{
	struct bpf_program *const all[TRACER_PROGRAMS] = {
		[TRACER_HOLDERS] = o->progs.np_holders,
		[TRACER_STATE] = o->progs.np_count_state,
		[TRACER_AGAIN] = o->progs.np_count_again,
		[TRACER_SEED] = o->progs.np_count_seed,
		[TRACER_SWEEP] = o->progs.np_count_sweep,
		[TRACER_SWEEP_FILES] = o->progs.np_count_sweep_files,
	};

	return all[p];
}

static int tracer_prepare(const struct np_steer *s, struct count_bpf *o, int n)
{
	for (int p = 0; p < n; p++)
		bpf_program__set_autoload(tracer_program(o, p), true);
	return s ? tracer_reuse_maps(s, o) : tracer_leave_maps_away(o);
}

static int tracer_map_vars(struct tracer *t)
{
	void *p;
	int r = sys_mem_map_fd(t->vars_fd, sizeof *t->vars, PROT_READ | PROT_WRITE, &p);

	if (r == 0)
		t->vars = p;
	return r;
}

/* What stays when the object is closed. */
static int tracer_keep(struct tracer *t, const struct count_bpf *o)
{
	int r = sys_dup(bpf_map__fd(o->maps.bss), &t->vars_fd);

	for (int p = 0; p < TRACER_PROGRAMS && r == 0; p++)
		if (bpf_program__autoload(tracer_program(o, p)))
			r = sys_dup(bpf_program__fd(tracer_program(o, p)), &t->fd[p]);
	return r == 0 ? tracer_map_vars(t) : r;
}

/* The first @n of them. */
static int tracer_open(struct tracer *t, int n)
{
	struct count_bpf *o;
	int r;

	SYS_FAULT(bpf);
	o = count_bpf__open();
	r = o ? tracer_prepare(t->s, o, n) : -errno;
	if (r == 0)
		r = count_bpf__load(o);
	if (r == 0)
		r = tracer_keep(t, o);
	count_bpf__destroy(o);
	return r;
}

/* There are kernels that refuse each iterator over the elements of a map. */
static int tracer_open_all(struct tracer *t)
{
	int r = tracer_open(t, t->s ? TRACER_PROGRAMS : TRACER_HOLDERS + 1);

	if (r == 0 || !t->s || cause_is_lack(r))
		return r;
	tracer_fini(t);
	return tracer_open(t, TRACER_SWEEP);
}

/* ------------------------------------------------------------------ among a service's pins */

static const char *const pins[TRACER_PROGRAMS] = {
	[TRACER_HOLDERS] = NP_TRACER_PINS "holders",
	[TRACER_STATE] = NP_TRACER_PINS "state",
	[TRACER_AGAIN] = NP_TRACER_PINS "again",
	[TRACER_SEED] = NP_TRACER_PINS "seed",
	[TRACER_SWEEP] = NP_TRACER_PINS "sweep",
	[TRACER_SWEEP_FILES] = NP_TRACER_PINS "sweep-files",
};
static const char pinned_vars[] = NP_TRACER_PINS "vars";

int tracer_pin(const struct tracer *t, int folder)
{
	int r = folder_pin(folder, pinned_vars, t->vars_fd);

	for (int p = 0; p < TRACER_PROGRAMS && r == 0; p++)
		if (t->fd[p] >= 0)
			r = folder_pin(folder, pins[p], t->fd[p]);
	return r;
}

/* To a reader whose PID namespace is below that of /proc they would tell its own numbers. */
static int tracer_open_pins(struct tracer *t)
{
	int folder = t->s ? t->s->lock_fd : -1, r = -ENOENT;

	if (folder >= 0 && sys_process_depth() == 1)
		r = folder_get(folder, pinned_vars, 0, &t->vars_fd);
	for (int p = 0; p < TRACER_PROGRAMS && r == 0; p++)
		r = folder_get(folder, pins[p], BPF_F_RDONLY, &t->fd[p]);
	r = r == -ENOENT && t->fd[TRACER_SWEEP - 1] >= 0 ? 0 : r;
	return r == 0 ? tracer_map_vars(t) : r;
}

/* ------------------------------------------------------------------ the one or the other */

void tracer_init(struct tracer *t, const struct np_steer *s)
{
	*t = (struct tracer){ .s = s, .vars_fd = -1 };
	for (int p = 0; p < TRACER_PROGRAMS; p++)
		t->fd[p] = -1;
}

int tracer_load(struct tracer *t)
{
	struct words words;
	int r = t->err;

	if (r == 0 && !t->vars && tracer_open_pins(t) < 0) {
		tracer_fini(t);
		words_take(&words, t->why, sizeof t->why);
		r = cause_of_load(tracer_open_all(t));
		words_give_back(&words);
	}
	if (r < 0)
		tracer_fini(t);
	t->err = r == -EPERM ? r : 0;
	return r;
}

void tracer_fini(struct tracer *t)
{
	for (int p = 0; p < TRACER_PROGRAMS; p++)
		sys_close(&t->fd[p]);
	sys_close(&t->vars_fd);
	if (t->vars)
		sys_mem_unmap(t->vars, sizeof *t->vars);
	t->vars = NULL;
}

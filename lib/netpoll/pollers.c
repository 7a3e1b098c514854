/* SPDX-License-Identifier: BSD-2-Clause */
/* pollers: a set of poller threads, made and ended together. */
#include "netpoll/pollers.h"

#include <errno.h>
#include <stdlib.h>

#include "netpoll/pollers_private.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/opts.h"

#define CPUS_MAX 1024

/* Which CPUs to pin to. Return: how many, 0 = do not pin. */
static int pin_list(const struct np_pollers_opts *o, int *cpus)
{
	if (o->no_pin)
		return 0;
	if (!o->n_cpus) {
		int n = sys_cpu_list(cpus, CPUS_MAX);

		return n > 0 ? n : 0;
	}
	for (int i = 0; i < o->n_cpus; i++)
		cpus[i] = o->cpus[i];
	return o->n_cpus;
}

static int make(struct np_pollers *p, const struct np_pollers_opts *o, const int *cpus, int n_cpus)
{
	struct poller_opts po = {
		.clock_offset_ns = sys_clock_timens_offset_ns(),
		.fibers = { .stack_size = o->stack_size, .max = o->max_fibers },
		.log = o->log,
		.log_arg = o->log_arg,
	};
	int r = 0;

	for (unsigned i = 0; i < p->n && r == 0; i++) {
		po.index = (int)i;
		po.cpu = n_cpus ? cpus[i % (unsigned)n_cpus] : -1;
		r = poller_new(&po, &p->poller[i]);
	}
	for (unsigned i = 0; i < p->n && r == 0; i++)
		r = poller_start(p->poller[i]);
	return r;
}

int np_pollers_start(const struct np_pollers_opts *opts, struct np_pollers **ret)
{
	int cpus[CPUS_MAX], n_cpus, count, r;
	struct np_pollers_opts o;
	struct np_pollers *p;

	r = sys_opts_take(&o, sizeof o, opts);
	if (r < 0)
		return r;
	if (o.count < 0 || o.n_cpus < 0 || o.n_cpus > CPUS_MAX || (o.n_cpus && !o.cpus))
		return -EINVAL;
	count = o.count ? o.count : o.n_cpus ? o.n_cpus : sys_cpu_count();
	n_cpus = pin_list(&o, cpus);
	p = calloc(1, sizeof *p + (size_t)count * sizeof *p->poller);
	if (!p)
		return -ENOMEM;
	p->n = (unsigned)count;
	p->running = true;
	p->log = o.log;
	p->log_arg = o.log_arg;
	r = make(p, &o, cpus, n_cpus);
	if (r < 0) {
		np_pollers_stop(p, 0);
		np_pollers_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int np_pollers_stop(struct np_pollers *p, int timeout_ms)
{
	if (poller_self())
		return -EDEADLK;
	for (unsigned i = 0; i < p->n; i++)
		if (p->poller[i])
			poller_stop(p->poller[i]);
	for (unsigned i = 0; i < p->n; i++)
		if (p->poller[i])
			poller_join(p->poller[i], 0);
	p->running = false;
	return 0;
}

int np_pollers_free(struct np_pollers *p)
{
	int r;

	if (!p)
		return 0;
	if (p->running)
		return -EBUSY;
	for (unsigned i = 0; i < p->n; i++) {
		r = poller_free(p->poller[i]);
		if (r < 0)
			return r;
		p->poller[i] = NULL;
	}
	free(p);
	return 0;
}

int np_pollers_count(const struct np_pollers *p)
{
	return (int)p->n;
}

int np_poller_self(void)
{
	struct poller *p = poller_self();

	return p ? poller_index(p) : -1;
}

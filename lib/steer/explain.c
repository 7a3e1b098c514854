/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explain: the choice that a SYN would have now, in sentences
 *
 *   flow -> its group -> what the program would read (present.h) -> the choice made of it
 *   (replay.h), which leaves a record -> words for each worker in that, and for the end
 */
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/cause.h"
#include "steer/decision.h"
#include "steer/flow.h"
#include "steer/present.h"
#include "steer/replay.h"
#include "steer/steer.h"
#include "steer_search.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/opts.h"
#include "sys/sock.h"

#define EXPLAIN_LOOKS (NP_TRACE_INPUTS / 2) /* each of them took two inputs at least */
#define EXPLAIN_TEXT  200

struct explain {
	struct np_steer *s;
	struct np_steer_explain_opts o;
	struct flow flow;
	struct present present;
	struct np_decision record;
	struct np_steer_look look[EXPLAIN_LOOKS];
	char why[EXPLAIN_LOOKS][EXPLAIN_TEXT];
	unsigned n, unfit;
	bool more;       /* than the record has room for */
	bool hash_drawn; /* by chance: the flow's cannot be known */
	char text[NP_STEER_TEXT_MAX];
};

/* ------------------------------------------------------------------ what is asked */

/* The network namespace of this thread, as groups have it; 0: it is not known. */
static uint64_t explain_netns(void)
{
	const struct sockaddr_storage none = { .ss_family = AF_INET };
	struct np_group here = { 0 };
	int fd = -1;

	if (sys_socket(AF_INET, SOCK_STREAM, &fd) == 0)
		group_key(&here, &none, fd);
	sys_close(&fd);
	return here.netns;
}

static bool explain_is_wildcard(const struct np_group *k)
{
	static const uint8_t any[sizeof k->addr];

	return !memcmp(k->addr, any, sizeof any);
}

/* 0: it is not meant; more: by how much it is the one that the kernel would take. */
static int explain_match(const struct explain *x, const struct np_group *k)
{
	struct np_group to;

	if (!k->family)
		return 0;
	if (x->flow.anywhere)
		return 1;
	group_key(&to, &x->flow.to.ss, -1);
	if (k->port != to.port)
		return 0;
	if (k->family == to.family && !memcmp(k->addr, to.addr, sizeof k->addr))
		return 3;
	if (!explain_is_wildcard(k))
		return 0;
	return k->family == to.family ? 2 : k->family == AF_INET6 && !k->v6only;
}

static int explain_group(struct explain *x)
{
	uint64_t here = explain_netns();
	int best = 0, found = -ENOENT;

	for (unsigned g = 0; g < NP_GROUPS; g++) {
		const struct np_group *k = &x->s->maps.groups[g];
		int m = explain_match(x, k);

		if (k->netns && here && k->netns != here)
			continue;
		if (m > best && group_live(x->s, g)) {
			best = m;
			found = (int)g;
		}
	}
	if (found < 0)
		return steer_fail(x->s, found,
				  "no worker of the service %s listens there in this network "
				  "namespace: `npsteer status %s`",
				  x->s->name, x->s->name);
	x->present.group = (unsigned)found;
	return 0;
}

/* The server's end of a flow that is drawn: the group's address. */
static void explain_draw(struct explain *x)
{
	char text[80];

	group_format(&x->s->maps.groups[x->present.group], text, sizeof text);
	if (x->flow.anywhere && addr_parse("tcp", text, &x->flow.to) < 0)
		x->flow.to.ss.ss_family = AF_INET;
	flow_draw(&x->flow);
}

static int explain_fail_flow(struct explain *x, int r)
{
	char text[160];

	flow_format(&x->flow, text, sizeof text);
	if (r == -EPERM || r == -EACCES)
		return steer_fail(x->s, -EPERM,
				  "what waits at the listeners, and the hash of %s, can only be "
				  "read with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
				  text);
	if (!cause_is_lack(r))
		return steer_fail(x->s, r, "the hash of %s cannot be known: %s", text,
				  strerror(-r));
	cause_open(x->s->error, sizeof x->s->error, r,
		   "what waits at the listeners cannot be read");
	return r;
}

/* The hash that the kernel has for it, of the connection or of a socket that is made for that. */
static int explain_read(struct explain *x)
{
	bool wildcard = explain_is_wildcard(&x->s->maps.groups[x->present.group]);
	struct np_flow key = { 0 };
	uint32_t hash = 0;
	int fd = -1, r = 0;

	if (x->flow.drawn)
		explain_draw(x);
	else
		r = flow_pose(&x->flow, wildcard, &key, &fd);
	x->hash_drawn = r == -EDESTADDRREQ;
	if (x->flow.drawn || x->hash_drawn)
		r = sys_random(&hash, sizeof hash);
	if (x->hash_drawn)
		key.family = 0;
	if (r == 0)
		r = present_read(&x->present, &key, &hash);
	sys_close(&fd);
	if (r < 0)
		return explain_fail_flow(x, r);
	flow_key(&x->flow, &key);
	memcpy(x->present.client, key.remote, sizeof key.remote);
	x->record.hash = hash ^ x->present.config.seed;
	return 0;
}

/* ------------------------------------------------------------------ what was read of each */

static struct np_steer_look *explain_look(struct explain *x, uint32_t w)
{
	struct np_steer_worker_info info = { .sz = sizeof info };
	struct np_steer_look *l;

	for (unsigned i = 0; i < x->n; i++)
		if (x->look[i].worker == w)
			return &x->look[i];
	if (x->n == EXPLAIN_LOOKS)
		return NULL;
	l = &x->look[x->n++];
	*l = (struct np_steer_look){ .sz = sizeof *l, .worker = w, .weight = WEIGHT_DEFAULT };
	if (np_steer_worker_info(x->s, w, &info) == 0)
		memcpy(l->name, info.name, sizeof l->name);
	return l;
}

static uint64_t explain_busy_ms(const struct explain *x, uint64_t since_ns)
{
	uint64_t now_ns = steer_kernel_coarse_ns(x->s);

	return since_ns && now_ns > since_ns ? (now_ns - since_ns) / 1000000 : 0;
}

static void explain_note(const struct explain *x, struct np_steer_look *l,
			 const struct np_input *in)
{
	switch (in->kind) {
	case NP_INPUT_STATE:
		l->read_state = true;
		l->state = (int)in->value;
		break;
	case NP_INPUT_BUSY:
		l->busy_ms = explain_busy_ms(x, in->value);
		break;
	case NP_INPUT_LOAD:
		l->read_load = true;
		l->conns = LOAD_CONNS(in->value);
		l->weight = LOAD_WEIGHT(in->value) ? (unsigned)LOAD_WEIGHT(in->value) :
						     WEIGHT_DEFAULT;
		break;
	case NP_INPUT_QUEUE:
		l->read_queue = true;
		l->queued = NP_QUEUE_ACCEPT(in->value);
		l->half_open = NP_QUEUE_SYN(in->value);
		l->backlog = NP_QUEUE_BACKLOG(in->value);
		break;
	case NP_INPUT_SELECT:
		l->tried = true;
		l->listens = in->value;
		break;
	case NP_INPUT_WAITED:
		l->waited_ms = in->value / 1000000;
		break;
	default:
		break;
	}
}

static bool explain_is_of_worker(uint32_t kind)
{
	return kind == NP_INPUT_STATE || kind == NP_INPUT_BUSY || kind == NP_INPUT_SELECT ||
	       kind == NP_INPUT_LOAD || kind == NP_INPUT_QUEUE || kind == NP_INPUT_WAITED;
}

/* A worker whose listener is there may be selected several times: on trial, and once more. */
static void explain_collect(struct explain *x)
{
	const struct np_decision *d = &x->record;

	x->more = d->n > NP_TRACE_INPUTS;
	for (uint32_t i = 0; i < d->n && i < NP_TRACE_INPUTS; i++) {
		const struct np_input *in = &d->inputs[i];
		struct np_steer_look *l;

		if (!explain_is_of_worker(in->kind))
			continue;
		l = explain_look(x, in->who);
		if (!l)
			continue;
		explain_note(x, l, in);
	}
}

/* ------------------------------------------------------------------ why */

/* Whether it cannot take a connection well; the sentence for it. */
static bool explain_unfit(const struct explain *x, const struct np_steer_look *l, char *dst)
{
	unsigned hang_ms = x->record.hang_ms;

	*dst = '\0';
	if (l->tried && !l->listens)
		snprintf(dst, EXPLAIN_TEXT, "it has no listener at this address any more");
	else if (l->read_state && l->state != NP_WORKER_READY)
		snprintf(dst, EXPLAIN_TEXT, "%s",
			 l->state == NP_WORKER_DRAINING ?
				 "it drains: it gets connections only where no other can" :
				 "it is out: it gets none");
	else if (hang_ms && l->busy_ms > hang_ms)
		snprintf(dst, EXPLAIN_TEXT,
			 "it has been busy for %llu ms, which is longer than hang_ms, %u",
			 (unsigned long long)l->busy_ms, hang_ms);
	else if (l->read_queue && l->queued + l->half_open > l->backlog)
		snprintf(dst, EXPLAIN_TEXT,
			 "its queue has no room: %u wait in it and %u are half open, of %u",
			 l->queued, l->half_open, l->backlog);
	else if (hang_ms && l->waited_ms > hang_ms)
		snprintf(dst, EXPLAIN_TEXT,
			 "the first of the %u in its queue has waited for %llu ms, which is longer "
			 "than hang_ms, %u",
			 l->queued, (unsigned long long)l->waited_ms, hang_ms);
	return *dst;
}

static void explain_load(const struct np_steer_look *l, char *dst, size_t cap)
{
	int n = snprintf(dst, cap, "%llu connections", (unsigned long long)l->conns);

	if (l->read_queue && l->waited_ms)
		n += snprintf(dst + n, cap - (size_t)n,
			      ", %u in its queue, the first for %llu ms, and %u half open",
			      l->queued, (unsigned long long)l->waited_ms, l->half_open);
	else if (l->read_queue)
		n += snprintf(dst + n, cap - (size_t)n, ", %u in its queue and %u half open",
			      l->queued, l->half_open);
	if (l->weight != WEIGHT_DEFAULT)
		snprintf(dst + n, cap - (size_t)n, ", for a weight of %u", l->weight);
}

static bool explain_has_own(uint32_t policy)
{
	return policy == NP_POLICY_CPU || policy == NP_POLICY_MAGLEV;
}

static void explain_passed_over(const struct explain *x, const struct np_steer_look *l, char *dst)
{
	char load[160];

	if (x->record.policy == NP_POLICY_WEIGHTED) {
		snprintf(dst, EXPLAIN_TEXT, "the draw by weight, its own is %u, fell on another",
			 l->weight);
	} else if (l->read_load) {
		explain_load(l, load, sizeof load);
		snprintf(dst, EXPLAIN_TEXT, "it is fit, and has %.120s: %s", load,
			 explain_has_own(x->record.policy) ?
				 "the chosen one comes before it" :
				 "no less than the chosen one, or met later");
	} else {
		snprintf(dst, EXPLAIN_TEXT, "another one was better");
	}
}

static const char *explain_rule(uint32_t policy)
{
	static const char *const rules[] = {
		[NP_POLICY_HASH] = "the hash of the flow draws it",
		[NP_POLICY_RR] = "it is its turn",
		[NP_POLICY_CPU] = "by the CPU that gets the SYN",
		[NP_POLICY_RANDOM] = "by a draw that is another one for each SYN",
		[NP_POLICY_P2C] = "the less loaded one of two that the hash draws",
		[NP_POLICY_LEAST] = "the least loaded one, of equals the first from a place of the "
				    "flow's own on",
		[NP_POLICY_P2C_QUEUED] = "the less loaded one of two that the hash draws, what is "
					 "queued and how long it waits included",
		[NP_POLICY_LEAST_QUEUED] =
			"the least loaded one, what is queued and how long it "
			"waits included, of equals the first from a place of the flow's own on",
		[NP_POLICY_MAGLEV] = "by the client's address",
		[NP_POLICY_WEIGHTED] = "drawn by its weight",
		[NP_POLICY_BITMAP] = "the hash of the flow draws it from the published set",
	};

	return policy < sizeof rules / sizeof rules[0] && rules[policy] ? rules[policy] : "";
}

static void explain_chosen(const struct explain *x, const struct np_steer_look *l, char *dst)
{
	char load[160] = "", unfit[EXPLAIN_TEXT];

	if (x->record.fit != FIT_READY && explain_unfit(x, l, unfit)) {
		snprintf(dst, EXPLAIN_TEXT, "%.150s, and no other is better", unfit);
		return;
	}
	if (l->read_load)
		explain_load(l, load, sizeof load);
	snprintf(dst, EXPLAIN_TEXT, "it is fit%s%.160s", *load ? ", and has " : "", load);
}

static void explain_each(struct explain *x)
{
	for (unsigned i = 0; i < x->n; i++) {
		struct np_steer_look *l = &x->look[i];

		l->chosen = x->record.worker1 == l->worker + 1;
		if (l->chosen)
			explain_chosen(x, l, x->why[i]);
		else if (explain_unfit(x, l, x->why[i]))
			x->unfit++;
		else
			explain_passed_over(x, l, x->why[i]);
		l->text = x->why[i];
	}
}

/* ------------------------------------------------------------------ the end */

/* Of a policy that has a worker for each flow: whether that is it. */
static const char *explain_own(const struct explain *x)
{
	const struct np_decision *d = &x->record;

	if (!explain_has_own(d->policy) || !x->n)
		return "";
	if (d->worker1 == x->look[0].worker + 1)
		return d->policy == NP_POLICY_CPU ? ", and is that of this CPU, or drawn where it "
						    "has none" :
						    ", and is this client's own";
	return d->policy == NP_POLICY_CPU ? ", where that one has too much, or is not fit" :
					    ", where this client's own has too much, or is not fit";
}

static void explain_steered(struct explain *x, const char *flow)
{
	const struct np_decision *d = &x->record;
	const char *name = "";
	int n;

	for (unsigned i = 0; i < x->n; i++)
		if (x->look[i].chosen)
			name = x->look[i].name;
	n = snprintf(x->text, sizeof x->text, "%s would go to worker %u (%s) now. \"%s\": %s%s.",
		     flow, d->worker1 - 1, name, policy_name(d->policy), explain_rule(d->policy),
		     explain_own(x));
	if (x->unfit)
		snprintf(x->text + n, sizeof x->text - (size_t)n,
			 " %u of the %u workers that were looked at, of %u, %s passed over.",
			 x->unfit, x->n, d->roster, x->unfit == 1 ? "was" : "were");
}

static void explain_end(struct explain *x, const char *flow)
{
	const struct np_decision *d = &x->record;

	if (d->verdict == NP_VERDICT_STEERED)
		explain_steered(x, flow);
	else if (d->verdict == NP_VERDICT_RST)
		snprintf(x->text, sizeof x->text,
			 "%s would be refused now: no worker is fit, and on_exhausted says rst.",
			 flow);
	else if (d->verdict == NP_VERDICT_SHED)
		snprintf(x->text, sizeof x->text,
			 "%s would be left to the full queue of worker %u now, and dropped: no "
			 "worker is fit, and on_exhausted says full_queue.",
			 flow, d->worker1 - 1);
	else if (d->worker1)
		snprintf(x->text, sizeof x->text,
			 "%s would go to worker %u now: no worker is fit, and this is the least "
			 "bad of them.",
			 flow, d->worker1 - 1);
	else
		snprintf(x->text, sizeof x->text,
			 "%s would not be steered now: no worker can be selected, and the "
			 "kernel's hash decides over every socket of the port.",
			 flow);
}

static int explain_tell(struct explain *x,
			int (*fn)(void *arg, const struct np_steer_explanation *e), void *arg)
{
	struct np_steer_explanation out = { .sz = sizeof out };
	struct np_steer_decision d;
	char flow[160], address[80];
	size_t n;

	decision_read(&x->record, sizeof x->record, &d);
	group_format(&x->s->maps.groups[x->present.group], address, sizeof address);
	flow_format(&x->flow, flow, sizeof flow);
	explain_collect(x);
	explain_each(x);
	explain_end(x, flow);
	n = strlen(x->text);
	if (x->more)
		snprintf(x->text + n, sizeof x->text - n, " Not all of them are listed.");
	else if (x->hash_drawn)
		snprintf(
			x->text + n, sizeof x->text - n,
			" What the kernel makes of an IPv4 flow to a listener without an address of "
			"its own (0.0.0.0, [::] for both) cannot be known beforehand: its hash was "
			"drawn, and where the hash decides the worker may be another.");
	out.flow = flow;
	out.address = address;
	out.group = x->present.group;
	out.cpu = x->present.cpu;
	out.hash = x->record.hash;
	out.hash_drawn = x->flow.drawn || x->hash_drawn;
	out.policy = d.policy;
	out.verdict = d.verdict;
	out.worker = d.worker;
	out.name = "";
	for (unsigned i = 0; i < x->n; i++)
		if (x->look[i].chosen)
			out.name = x->look[i].name;
	out.text = x->text;
	out.looks = x->look;
	out.n_looks = x->n;
	return fn(arg, &out);
}

static int explain_check(struct explain *x, const struct np_steer_explain_opts *opts)
{
	int r = sys_opts_take(&x->o, sizeof x->o, opts), cpu = sched_getcpu();

	if (r == 0)
		r = steer_needs_l3(x->s, "choices can be replayed");
	if (r < 0)
		return r;
	if (flow_parse(x->o.flow, &x->flow) < 0)
		return steer_fail(x->s, -EINVAL,
				  "\"%.100s\" is no flow such as 10.0.0.7:41234>10.0.0.1:80, next, "
				  "next>10.0.0.1:80",
				  x->o.flow ? x->o.flow : "");
	x->present.cpu = x->o.on_cpu ? x->o.cpu : cpu < 0 ? 0 : (unsigned)cpu;
	return 0;
}

static int explain_run(struct explain *x)
{
	struct np_steer *s = x->s;
	int r = explain_group(x);

	if (r == 0)
		r = maps_config(&s->maps, &x->present.config);
	if (r == 0)
		r = explain_read(x);
	if (r < 0)
		return r;
	x->record.group = x->present.group;
	x->record.roster = s->maps.groups[x->present.group].workers;
	if (x->record.roster > NP_WORKERS)
		x->record.roster = NP_WORKERS;
	x->record.queues = s->level >= NP_STEER_L4;
	replay_make(&x->record, &x->present.config, present_look, &x->present);
	return 0;
}

int np_steer_explain(struct np_steer *s, const struct np_steer_explain_opts *opts,
		     int (*fn)(void *arg, const struct np_steer_explanation *e), void *arg)
{
	struct explain *x = calloc(1, sizeof *x);
	int r;

	if (!x)
		return -ENOMEM;
	x->s = s;
	x->present.s = s;
	r = explain_check(x, opts);
	if (r == 0)
		r = explain_run(x);
	if (r == 0)
		r = explain_tell(x, fn, arg);
	present_fini(&x->present);
	free(x);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* trace: how single connections were given to workers. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "npsteer.h"

/* However it ends: tracing costs each connection something, and ends with its last reader. */
static volatile sig_atomic_t asked_to_end;

static void trace_end(int sig)
{
	asked_to_end = 1;
	alarm(1); /* should this one have come a moment before the wait */
}

/* Without SA_RESTART: the wait has to end too. SIGPIPE: a write that fails is seen by ferror(3). */
static void trace_catch_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM };
	struct sigaction end = { .sa_handler = trace_end }, ignore = { .sa_handler = SIG_IGN };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &end, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

struct tracing {
	struct npsteer *n;
	long left; /* 0: no end */
};

static const char *trace_replay_name(int replay)
{
	return replay == 0 ? "agrees" : replay == -ENODATA ? "unknown" : "disagrees";
}

static int trace_tell(void *arg, const struct np_steer_decision *d)
{
	struct tracing *t = arg;
	struct json *j = &t->n->say;

	if (!t->n->json) {
		if (d->lost)
			printf("%" PRIu64 " decisions came too fast to be read\n", d->lost);
		printf("%" PRIu64 ".%06" PRIu64 "  address %u  flow %08" PRIx32
		       "  %s  %s  worker %d  %u of %u candidates tried",
		       d->at_ns / 1000000000u, d->at_ns / 1000u % 1000000u, d->group, d->hash,
		       d->policy, d->verdict, d->worker, d->tried, d->candidates);
		if (d->stuck)
			printf(", %u took nothing for hang_ms", d->stuck);
		putchar('\n');
	} else {
		answer(t->n);
		json_uint(j, "at_ns", d->at_ns);
		json_uint(j, "lost", d->lost);
		json_uint(j, "group", d->group);
		json_uint(j, "hash", d->hash);
		json_string(j, "policy", d->policy);
		json_string(j, "verdict", d->verdict);
		json_int(j, "worker", d->worker);
		json_uint(j, "candidates", d->candidates);
		json_uint(j, "tried", d->tried);
		json_string(j, "replay", trace_replay_name(d->replay));
		json_uint(j, "stuck", d->stuck);
		end_answer(t->n);
	}
	fflush(stdout);
	return ferror(stdout) || asked_to_end || (t->left && --t->left == 0);
}

int verb_trace(struct npsteer *n)
{
	struct tracing t = { .n = n };
	long flows = 65536;
	struct np_steer *s;
	int code, r;

	if (n->count && (!parse_number(n->count, 1000000000, &t.left) || t.left == 0))
		return fail(n, MISUSED, "-n takes a number of connections, not \"%s\"", n->count);
	if (n->flows && (!parse_number(n->flows, 65536, &flows) || flows == 0))
		return fail(n, MISUSED, "--flows takes how many of 65536, not \"%s\"", n->flows);
	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	trace_catch_signals();
	do
		r = np_steer_trace(s, (unsigned)flows, -1, trace_tell, &t);
	while (r == -EINTR && !asked_to_end); /* it was stopped and continues */
	if (r < 0 && r != -EINTR)
		code = fail_status(n, r, np_steer_error(s));
	np_steer_close(&s);
	return code;
}

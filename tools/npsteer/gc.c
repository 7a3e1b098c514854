/* SPDX-License-Identifier: BSD-2-Clause */
/* gc: the remains of dead processes are taken away, or shown. They do no harm if it never runs. */
#include <errno.h>
#include <stdio.h>

#include <netpoll/observe.h>

#include "npsteer.h"

/* clang-format off */
#define KINDS(X)                                             \
	X(pins, "folders of a load or unload that was killed")  \
	X(groups, "addresses without a listener")            \
	X(roster, "listeners that are gone, on a roster")    \
	X(owners, "cookies of listeners that are gone")      \
	X(cpus, "CPUs of workers that are gone")             \
	X(workers, "lines that nobody has claimed")
/* clang-format on */

struct gc {
	struct npsteer *n;
	unsigned services;
	char why[NP_STEER_TEXT_MAX + NP_STEER_NAME_MAX +
		 3]; /* of the first that could not be looked through */
	int r;
};

static void gc_json(struct json *j, const struct np_steer_garbage *g)
{
#define NP_ROW(field, text) json_uint(j, #field, g->field);
	KINDS(NP_ROW)
#undef NP_ROW
}

/* Return: how many. */
static unsigned gc_text(const char *before, const struct np_steer_garbage *g)
{
	unsigned total = 0;

#define NP_ROW(field, text)                                  \
	if (g->field)                                        \
		printf("%s%u %s\n", before, g->field, text); \
	total += g->field;
	KINDS(NP_ROW)
#undef NP_ROW
	return total;
}

static int gc_run(const struct npsteer *n, struct np_steer *s, struct np_steer_garbage *ret)
{
	return n->dry_run ? np_steer_gc_look(s, ret) : np_steer_gc(s, ret);
}

static void gc_say_dry(const struct npsteer *n)
{
	if (n->dry_run && !n->json)
		puts("nothing was taken away: it was a dry run");
}

/* ------------------------------------------------------------------ one service */

static void gc_show(struct npsteer *n, const struct np_steer_garbage *g)
{
	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_bool(&n->say, "dry_run", n->dry_run);
		gc_json(&n->say, g);
		end_answer(n);
	} else if (!gc_text("", g)) {
		puts("nothing was left behind");
	}
}

static int gc_service(struct npsteer *n)
{
	struct np_steer_garbage g = { .sz = sizeof g };
	struct np_steer *s;
	int code, r;

	code = join_service(n, service_of(n), &s);
	if (code != DONE)
		return code;
	r = gc_run(n, s, &g);
	if (r < 0)
		code = fail_status(n, r, np_steer_error(s));
	else
		gc_show(n, &g);
	if (code == DONE)
		gc_say_dry(n);
	np_steer_close(&s);
	return code;
}

/* ------------------------------------------------------------------ all that there is */

static unsigned gc_workers(struct np_steer *s)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer_worker_info i;
	unsigned n = 0;

	np_steer_info(s, &info);
	for (unsigned w = 0; w < info.workers; w++)
		n += read_worker(s, w, &i);
	return n;
}

static void gc_list(struct gc *gc, const char *name, struct np_steer *s,
		    const struct np_steer_garbage *g)
{
	char before[NP_STEER_NAME_MAX + 3];
	unsigned workers = gc_workers(s);
	struct json *j = &gc->n->say;

	if (gc->n->json) {
		json_object(j, NULL);
		json_string(j, "service", name);
		json_uint(j, "claimed", workers);
		gc_json(j, g);
		json_end_object(j);
		return;
	}
	snprintf(before, sizeof before, "%s: ", name);
	if (!gc_text(before, g))
		printf("%snothing was left behind\n", before);
	if (!workers)
		printf("%snobody is in it; it stays until `npsteer unload %s`\n", before, name);
}

/* One that cannot be looked through keeps none of the others from it. */
static int gc_listed(void *arg, const char *name, const char *path)
{
	struct np_steer_garbage g = { .sz = sizeof g };
	char why[NP_STEER_TEXT_MAX];
	struct gc *gc = arg;
	struct np_steer *s = NULL;
	int r = open_service(gc->n, name, why, &s);

	if (r == 0) {
		r = gc_run(gc->n, s, &g);
		snprintf(why, sizeof why, "%s", np_steer_error(s));
	}
	if (r == 0)
		gc_list(gc, name, s, &g);
	else if (!gc->r)
		snprintf(gc->why, sizeof gc->why, "%s: %s", name, *why ? why : np_strerror(r));
	gc->r = gc->r ? gc->r : r;
	if (s)
		np_steer_close(&s);
	return 0;
}

static void gc_swept(void *arg, const char *path)
{
	struct npsteer *n = arg;

	if (n->json)
		json_string(&n->say, NULL, path);
	else
		printf("%s of a process that has ended\n", path);
}

static int gc_all(struct npsteer *n)
{
	struct gc gc = { .n = n };
	int r;

	if (n->service)
		return fail(n, MISUSED, "--all is of all services: npsteer gc --all");
	if (n->json) {
		answer(n);
		json_bool(&n->say, "dry_run", n->dry_run);
		json_array(&n->say, "services");
	}
	r = np_steer_list(NP_OPTS(np_steer_opts, .bpffs = n->bpffs), gc_listed, &gc);
	if (n->json) {
		json_end_array(&n->say);
		json_array(&n->say, "sockets");
	}
	if (!gc.r && r < 0 && r != -ENODEV)
		gc.r = r;
	r = n->dry_run ? np_observe_sweep_look(gc_swept, n) : np_observe_sweep(gc_swept, n);
	if (n->json)
		json_end_array(&n->say);
	if (!gc.r && r < 0)
		gc.r = r;
	if (gc.r)
		return fail_status(n, gc.r, gc.why);
	if (n->json)
		end_answer(n);
	gc_say_dry(n);
	return DONE;
}

int verb_gc(struct npsteer *n)
{
	return n->all ? gc_all(n) : gc_service(n);
}

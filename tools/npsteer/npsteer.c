/* SPDX-License-Identifier: BSD-2-Clause */
/* npsteer: answers and errors, and the service that a verb is about. */
#include "npsteer.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "printable.h"

void answer(struct npsteer *n)
{
	json_object(&n->say, NULL);
	json_uint(&n->say, "schema", JSON_SCHEMA);
	n->answering = true;
}

void end_answer(struct npsteer *n)
{
	json_end_object(&n->say);
	n->answering = false;
}

int fail(struct npsteer *n, enum exit_code code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (!n->json) {
		printable(text);
		fprintf(stderr, "npsteer: %s\n", text);
		return code;
	}
	if (!n->answering)
		answer(n);
	json_object(&n->say, "error");
	json_int(&n->say, "code", code);
	json_string(&n->say, "message", text);
	json_end_object(&n->say);
	end_answer(n);
	return code;
}

void fail_without_memory(void)
{
	fputs("npsteer: no memory is left (ENOMEM; `ulimit -v`, or the cgroup's memory.max): "
	      "raise the limit\n",
	      stderr);
	exit(FAILED);
}

void say(const char *sentence)
{
	char text[1024];

	snprintf(text, sizeof text, "%s", sentence);
	printable(text);
	puts(text);
}

void say_event(void *arg, int level, const char *msg)
{
	struct npsteer *n = arg;

	flockfile(stdout);
	if (n->json) {
		answer(n);
		json_string(&n->say, "service", service_of(n));
		json_int(&n->say, "level", level);
		json_string(&n->say, "event", msg);
		end_answer(n);
	} else {
		say(msg);
	}
	fflush(stdout); /* it may be a day until the next */
	funlockfile(stdout);
}

static enum exit_code npsteer_code(int r)
{
	switch (-r) {
	case EPERM:
	case EACCES:
		return DENIED;
	case ENOENT:
	case ENODEV:
		return ABSENT;
	case EBUSY:
		return BUSY;
	case EEXIST:
	case EPROTO:
		return FOREIGN;
	case NP_EUNSUPPORTED:
		return UNSUPPORTED;
	case ENOTUNIQ:
	case EINVAL:
		return MISUSED;
	default:
		return FAILED;
	}
}

int fail_status(struct npsteer *n, int r, const char *sentence)
{
	const char *text = *sentence ? sentence : np_strerror(r);
	bool root_helps = npsteer_code(r) == DENIED && geteuid() != 0 && !strstr(text, "root");

	return fail(n, npsteer_code(r), "%s%s", text, root_helps ? ": run npsteer as root" : "");
}

const char *service_of(const struct npsteer *n)
{
	return n->service ? n->service : DEFAULT_SERVICE;
}

int open_service(struct npsteer *n, const char *service, char why[NP_STEER_TEXT_MAX],
		 struct np_steer **ret)
{
	why[0] = '\0';
	return np_steer_open(service,
			     NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = n->bpffs,
				     .error = why, .error_cap = NP_STEER_TEXT_MAX, .log = n->log),
			     ret);
}

int join_service(struct npsteer *n, const char *service, struct np_steer **ret)
{
	char why[NP_STEER_TEXT_MAX];
	int r = open_service(n, service, why, ret);

	return r < 0 ? fail_status(n, r, why) : DONE;
}

bool read_worker(struct np_steer *s, unsigned w, struct np_steer_worker_info *ret)
{
	*ret = (struct np_steer_worker_info){ .sz = sizeof *ret };
	return np_steer_worker_info(s, w, ret) == 0 && ret->claimed;
}

bool read_group(struct np_steer *s, unsigned g, struct np_steer_group_info *ret)
{
	*ret = (struct np_steer_group_info){ .sz = sizeof *ret };
	return np_steer_group_info(s, g, ret) == 0;
}

bool parse_number(const char *text, long max, long *ret)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 0 || v > max)
		return false;
	*ret = v;
	return true;
}

int group_of(struct npsteer *n, gid_t *ret)
{
	struct group *g;
	long id;

	if (parse_number(n->group, INT_MAX, &id)) {
		*ret = (gid_t)id;
		return DONE;
	}
	g = getgrnam(n->group);
	if (!g)
		return fail(n, MISUSED,
			    "there is no group \"%s\": `addgroup --system %s` makes one", n->group,
			    n->group);
	*ret = g->gr_gid;
	return DONE;
}

const char *state_name(int state)
{
	switch (state) {
	case NP_STEER_READY:
		return "ready";
	case NP_STEER_DRAINING:
		return "draining";
	case NP_STEER_OUT:
		return "out";
	default:
		return "unknown";
	}
}

const char *kind_name(const struct np_steer_worker_info *i)
{
	return i->held ? "held" : i->counted ? "counted" : i->adopted ? "adopted" : "server";
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer: what the verbs share: options, the two ways to speak, and exit codes
 *
 * npsteer [OPTIONS] VERB [SERVICE] ... One file for each verb. A verb prints through say (JSON) or
 * stdio (text), never both, and returns an exit code. An error is one sentence, from fail(), that
 * says what to do.
 */
#ifndef NPSTEER_H
#define NPSTEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "json.h"
#include "netpoll/steer_admin.h"
#include "netpoll/version.h"

/* In the man page, in this order. */
enum exit_code {
	DONE = 0,
	FAILED = 1,      /* none of the below */
	MISUSED = 2,     /* unknown verb, option, policy; a name that is none */
	DENIED = 3,      /* EPERM, EACCES */
	ABSENT = 4,      /* no such service, no BPF file system */
	BUSY = 5,        /* workers hold claims; another npsteer holds the lock */
	FOREIGN = 6,     /* the pins are of another ABI */
	UNSUPPORTED = 7, /* by this kernel */
};

#define JSON_SCHEMA  1
#define NPSTEER_ARGS 4 /* words after SERVICE, at most */

struct npsteer {
	bool json;
	bool answered; /* --help, --version: nothing is left to do */
	struct json say;
	bool answering;                 /* between answer() and end_answer() */
	const char *service;            /* NULL: none was named */
	const char *args[NPSTEER_ARGS]; /* what follows it */
	int n_args;
	/* options */
	const char *bpffs;
	const char *group;
	const char *policy;
	const char *hang_ms;
	const char *level;
	const char *interval;
	const char *count;
	const char *flows;
	const char *port;
	const char *pid;
	const char *cgroup;
	const char *hold;
	const char *rescue;
	const char *cpu;
	const char *copies;
	const char *listen;
	const char *http;
	const char *full;
	const char *workers;
	const char *signal;
	const char *timeout;
	const char *since;
	char **program; /* NULL: there is no "--" */
	bool preload;
	bool force;
	bool all;
	bool watch;
	bool dry_run;
	bool no_count;
	bool allow_remote;
	/* what the library logs while a service is open; NULL: nobody reads it */
	void (*log)(void *arg, int level, const char *msg);
};

struct verb {
	const char *name;
	const char
		*options; /* long names it takes beside the common ones, each followed by a space */
	int max_args;     /* after SERVICE; -1: no SERVICE either */
	int (*run)(struct npsteer *n);
	const char *usage, *text;
};

int verb_check(struct npsteer *n);
int verb_load(struct npsteer *n);
int verb_unload(struct npsteer *n);
int verb_status(struct npsteer *n);
int verb_stats(struct npsteer *n);
int verb_top(struct npsteer *n);
int verb_metrics(struct npsteer *n);
int verb_lost(struct npsteer *n);
int verb_conns(struct npsteer *n);
int verb_fibers(struct npsteer *n);
int verb_dump(struct npsteer *n);
int verb_policy(struct npsteer *n);
int verb_drain(struct npsteer *n);
int verb_undrain(struct npsteer *n);
int verb_kick(struct npsteer *n);
int verb_weight(struct npsteer *n);
int verb_rescue(struct npsteer *n);
int verb_restart(struct npsteer *n);
int verb_trace(struct npsteer *n);
int verb_explain(struct npsteer *n);
int verb_gc(struct npsteer *n);
int verb_listeners(struct npsteer *n);
int verb_adopt(struct npsteer *n);
int verb_run(struct npsteer *n);
int verb_release(struct npsteer *n);
int verb_agent(struct npsteer *n);
int verb_serve(struct npsteer *n);

/*
 * Prints "npsteer: SENTENCE" to stderr, or {"error": ...} to stdout under --json, as the end of an
 * answer that has begun. Return: @code.
 */
int fail(struct npsteer *n, enum exit_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for a status @r of the library; @sentence is what the library said, may be empty. */
int fail_status(struct npsteer *n, int r, const char *sentence);

/* No memory: a sentence, and the end with FAILED. A tool that shows half an answer lies. */
_Noreturn void fail_without_memory(void);

/* The outermost object of a verb's answer, schema and all. */
void answer(struct npsteer *n);
void end_answer(struct npsteer *n);

#define DEFAULT_SERVICE "default"
/* The service that was named, or the default one. */
const char *service_of(const struct npsteer *n);
/* Joins it for what it tells; @why has the sentence where that fails. */
int open_service(struct npsteer *n, const char *service, char why[NP_STEER_TEXT_MAX],
		 struct np_steer **ret);
/* Joins it, read and write as far as the caller may. DONE, or what fail() returned. */
int join_service(struct npsteer *n, const char *service, struct np_steer **ret);

/*
 * The interval and the number of lines that -w and -n ask for; *ret_every 0: once, *ret_count 0:
 * for ever. DONE, or what fail() returned.
 */
int parse_interval(struct npsteer *n, double *ret_every, long *ret_count);
/* --pid and --cgroup. DONE, or what fail() returned. */
int parse_listeners(struct npsteer *n, int *ret_pid);
/* --hold. DONE, or what fail() returned. */
int parse_hold(struct npsteer *n, int *ret_ms);
/* A sentence of the library's, and a newline: text on stdout. */
void say(const char *sentence);
/* For opts.log, whose @arg is a struct npsteer: an event of a verb that goes on. Thread: any. */
void say_event(void *arg, int level, const char *msg);
void pause_for(double seconds);
double seconds_now(void);
const char *state_name(int state);
/* Where its figures come from: the "server" itself, or it was "adopted", "counted", "held". */
const char *kind_name(const struct np_steer_worker_info *i);
/* False: worker @w is not claimed; group @g is free. */
bool read_worker(struct np_steer *s, unsigned w, struct np_steer_worker_info *ret);
bool read_group(struct np_steer *s, unsigned g, struct np_steer_group_info *ret);
/* The group of --group, by name or number. DONE, or what fail() returned. */
int group_of(struct npsteer *n, gid_t *ret);

/* A number from @text, all of it. False if it is none or out of 0..max. */
bool parse_number(const char *text, long max, long *ret);

#endif

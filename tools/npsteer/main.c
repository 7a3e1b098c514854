/* SPDX-License-Identifier: BSD-2-Clause */
/* main: npsteer's command line. Options may stand anywhere, as with bpftool. */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "npsteer.h"

static const struct verb verbs[] = {
	{ "check", "group ", -1, verb_check, "check [--group GROUP]",
	  "what this machine allows, and what would raise it" },
	{ "load", "group policy hang-ms level force ", 0, verb_load,
	  "load [SERVICE] [--group GROUP] [--policy POLICY] [--hang-ms MS] [--level N] [--force]",
	  "load the program and pin the service" },
	{ "unload", "force ", 0, verb_unload, "unload [SERVICE] [--force]",
	  "remove the service's pins" },
	{ "status", "", 0, verb_status, "status [SERVICE]", "services, workers and addresses" },
	{ "stats", "interval count ", 0, verb_stats, "stats [SERVICE] [-w SEC [-n COUNT]]",
	  "what the program has counted" },
	{ "top", "interval count ", 0, verb_top, "top [SERVICE | PID | SOCKET] [-w SEC] [-n COUNT]",
	  "the workers, or a process's pollers, live" },
	{ "metrics", "listen allow-remote ", 0, verb_metrics,
	  "metrics [SERVICE | PID | SOCKET] [--listen [ADDR:]PORT [--allow-remote]]",
	  "what is counted, for Prometheus: once, or to whoever asks there" },
	{ "lost", "since ", 0, verb_lost, "lost [SERVICE | PID | SOCKET] [--since FILE]",
	  "who did not get what he came for, since metrics were written to FILE" },
	{ "conns", "", 0, verb_conns, "conns PID | SOCKET",
	  "a process's connections: what each waits for, and since when" },
	{ "fibers", "", 0, verb_fibers, "fibers PID | SOCKET",
	  "its handlers and tasks: what each waits for, and since when" },
	{ "dump", "", 0, verb_dump, "dump PID | SOCKET",
	  "all that it says of itself: pollers, servers, connections, pools ..." },
	{ "policy", "", NPSTEER_ARGS, verb_policy,
	  "policy SERVICE [POLICY] [hang_ms=MS] [on_exhausted=serve|rst|full_queue]",
	  "show or switch the policy" },
	{ "drain", "", 1, verb_drain, "drain SERVICE WORKER",
	  "new connections only if nobody else can take them" },
	{ "undrain", "", 1, verb_undrain, "undrain SERVICE WORKER", "end that, or a kick" },
	{ "kick", "", 1, verb_kick, "kick SERVICE WORKER", "no new connections at all" },
	{ "weight", "", 2, verb_weight, "weight SERVICE WORKER WEIGHT",
	  "its share under policies that weigh; 100 is usual" },
	{ "rescue", "watch ", 0, verb_rescue, "rescue [SERVICE] [--watch]",
	  "hand what hanging workers have queued to their siblings" },
	{ "restart", "dry-run signal timeout pid ", 0, verb_restart,
	  "restart [SERVICE] [--dry-run] [--pid PID] [--signal USR2|HUP] [--timeout SEC]",
	  "have each process that serves start the next one, and leave" },
	{ "trace", "count flows ", 0, verb_trace, "trace [SERVICE] [-n COUNT] [--flows OF_65536]",
	  "how single connections are given to workers" },
	{ "explain", "cpu ", 1, verb_explain, "explain SERVICE FLOW|next [--cpu CPU]",
	  "which worker a connection would get now, and why" },
	{ "listeners", "port pid cgroup ", -1, verb_listeners,
	  "listeners [--port [ADDR:]PORT] [--pid PID | --cgroup PATH]",
	  "who listens, who accepts, and whether it could be steered" },
	{ "adopt", "port pid cgroup force dry-run no-count watch hold rescue ", 0, verb_adopt,
	  "adopt [SERVICE] --port [ADDR:]PORT [--pid PID | --cgroup PATH] [--force] [--dry-run] "
	  "[--no-count] [--watch] [--hold SEC] [--rescue WHOM]",
	  "steer the listeners of a server that knows nothing of it" },
	{ "run", "port copies hold preload -- ", 0, verb_run,
	  "run [SERVICE] --port PORT [--copies N] [--hold SEC] [--preload] -- PROG ARGS...",
	  "copies of any program behind one port, restarted without a refused connection" },
	{ "release", "port ", 0, verb_release, "release [SERVICE] [--port [ADDR:]PORT]",
	  "end that" },
	{ "agent", "listen http interval full workers allow-remote ", 0, verb_agent,
	  "agent [SERVICE] [--listen [ADDR:]PORT] [--http [ADDR:]PORT] [-w SEC] [--full N] "
	  "[--workers N] [--allow-remote]",
	  "tell haproxy's agent-check and HTTP probes how much the service takes" },
	{ "serve", "listen interval allow-remote ", 0, verb_serve,
	  "serve [SERVICE] --listen [ADDR:]PORT [-w SEC] [--allow-remote]",
	  "a page to look at: workers, queues and verdicts, live" },
	{ "gc", "all dry-run ", 0, verb_gc, "gc [SERVICE | --all] [--dry-run]",
	  "take away what dead processes left behind" },
};

#define VERBS (sizeof verbs / sizeof verbs[0])

static void main_usage(FILE *to)
{
	fputs("usage: npsteer [OPTIONS] VERB ...\n", to);
	for (size_t i = 0; i < VERBS; i++)
		fprintf(to, "  %s\n        %s\n", verbs[i].usage, verbs[i].text);
	fputs("  help\n"
	      "options:\n"
	      "  -j, --json     one JSON object on stdout, errors too\n"
	      "  -p, --pretty   the same, indented\n"
	      "  --bpffs DIR    the BPF file system, instead of $NP_BPFFS, /sys/fs/bpf and /run/netpoll/bpf\n"
	      "  -V, --version  -h, --help\n"
	      "SERVICE is \"" DEFAULT_SERVICE
	      "\" where it is left out. npsteer(8) has the exit codes.\n",
	      to);
}

enum {
	OPT_BPFFS = 256,
	OPT_GROUP,
	OPT_POLICY,
	OPT_HANG_MS,
	OPT_LEVEL,
	OPT_WATCH,
	OPT_FLOWS,
	OPT_PORT,
	OPT_PID,
	OPT_CGROUP,
	OPT_DRY_RUN,
	OPT_NO_COUNT,
	OPT_HOLD,
	OPT_RESCUE,
	OPT_CPU,
	OPT_COPIES,
	OPT_PRELOAD,
	OPT_LISTEN,
	OPT_HTTP,
	OPT_FULL,
	OPT_WORKERS,
	OPT_SIGNAL,
	OPT_ALL,
	OPT_TIMEOUT,
	OPT_SINCE,
	OPT_ALLOW_REMOTE,
};

static const struct option longs[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "pretty", no_argument, NULL, 'p' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ "bpffs", required_argument, NULL, OPT_BPFFS },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "hang-ms", required_argument, NULL, OPT_HANG_MS },
	{ "level", required_argument, NULL, OPT_LEVEL },
	{ "interval", required_argument, NULL, 'w' },
	{ "count", required_argument, NULL, 'n' },
	{ "force", no_argument, NULL, 'f' },
	{ "watch", no_argument, NULL, OPT_WATCH },
	{ "flows", required_argument, NULL, OPT_FLOWS },
	{ "port", required_argument, NULL, OPT_PORT },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "cgroup", required_argument, NULL, OPT_CGROUP },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "no-count", no_argument, NULL, OPT_NO_COUNT },
	{ "hold", required_argument, NULL, OPT_HOLD },
	{ "rescue", required_argument, NULL, OPT_RESCUE },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "copies", required_argument, NULL, OPT_COPIES },
	{ "preload", no_argument, NULL, OPT_PRELOAD },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "http", required_argument, NULL, OPT_HTTP },
	{ "full", required_argument, NULL, OPT_FULL },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "signal", required_argument, NULL, OPT_SIGNAL },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "since", required_argument, NULL, OPT_SINCE },
	{ "allow-remote", no_argument, NULL, OPT_ALLOW_REMOTE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ 0 },
};

/* --version, --help. */
static void main_answer(struct npsteer *n, int option)
{
	if (option == 'V')
		printf("npsteer %s\n", np_version(NULL));
	else
		main_usage(stdout);
	n->answered = true;
}

/* Where the option's argument goes; NULL: it has none. */
static const char **main_place(struct npsteer *n, int option)
{
	switch (option) {
	case OPT_BPFFS:
		return &n->bpffs;
	case OPT_GROUP:
		return &n->group;
	case OPT_POLICY:
		return &n->policy;
	case OPT_FLOWS:
		return &n->flows;
	case OPT_PORT:
		return &n->port;
	case OPT_HOLD:
		return &n->hold;
	case OPT_RESCUE:
		return &n->rescue;
	case OPT_PID:
		return &n->pid;
	case OPT_CGROUP:
		return &n->cgroup;
	case OPT_CPU:
		return &n->cpu;
	case OPT_COPIES:
		return &n->copies;
	case OPT_LISTEN:
		return &n->listen;
	case OPT_HTTP:
		return &n->http;
	case OPT_FULL:
		return &n->full;
	case OPT_WORKERS:
		return &n->workers;
	case OPT_SIGNAL:
		return &n->signal;
	case OPT_TIMEOUT:
		return &n->timeout;
	case OPT_SINCE:
		return &n->since;
	case OPT_HANG_MS:
		return &n->hang_ms;
	case OPT_LEVEL:
		return &n->level;
	case 'w':
		return &n->interval;
	case 'n':
		return &n->count;
	default:
		return NULL;
	}
}

/* The options in @given that @v does not take. */
static const char *main_stray_option(const struct verb *v, const bool *given)
{
	char word[32];

	for (const struct option *o = longs; o->name; o++) {
		snprintf(word, sizeof word, "%s ", o->name);
		if (given[o - longs] && !strstr(v->options, word))
			return o->name;
	}
	return NULL;
}

/* The switch that the option is; NULL: it is none. */
static bool *main_switch(struct npsteer *n, int option)
{
	switch (option) {
	case 'j':
		return &n->json;
	case 'p':
		return &n->say.pretty;
	case 'f':
		return &n->force;
	case OPT_WATCH:
		return &n->watch;
	case OPT_ALL:
		return &n->all;
	case OPT_DRY_RUN:
		return &n->dry_run;
	case OPT_NO_COUNT:
		return &n->no_count;
	case OPT_PRELOAD:
		return &n->preload;
	case OPT_ALLOW_REMOTE:
		return &n->allow_remote;
	default:
		return NULL;
	}
}

/* Those that every verb takes are not noted. */
static void main_note(bool *given, int option)
{
	for (const struct option *o = longs; o->name; o++)
		if (o->val == option && option != 'j' && option != 'p' && option != OPT_BPFFS)
			given[o - longs] = true;
}

static int main_parse_options(struct npsteer *n, int argc, char **argv, bool *given)
{
	const char **place;
	bool *on;
	int c;

	opterr = 0; /* the sentence is ours, and may have to be JSON */
	while ((c = getopt_long(argc, argv, ":jpVhfw:n:", longs, NULL)) != -1) {
		if (c == ':')
			return fail(n, MISUSED, "%s needs a value: try npsteer --help",
				    argv[optind - 1]);
		if (c == '?')
			return fail(n, MISUSED, "unknown option %s: try npsteer --help",
				    argv[optind - 1]);
		if (c == 'V' || c == 'h') {
			main_answer(n, c);
			return DONE;
		}
		place = main_place(n, c);
		if (place)
			*place = optarg;
		on = main_switch(n, c);
		if (on)
			*on = true;
		n->json |= n->say.pretty;
		main_note(given, c);
	}
	return DONE;
}

static const struct verb *main_find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static int main_parse_words(struct npsteer *n, const struct verb *v, int argc, char **argv)
{
	if (argc > v->max_args + 1)
		return fail(n, MISUSED, "\"%s\" is one word too many: npsteer %s",
			    argv[v->max_args + 1], v->usage);
	if (argc > 0)
		n->service = argv[0];
	for (int i = 1; i < argc; i++)
		n->args[n->n_args++] = argv[i];
	return DONE;
}

/* What stands behind "--" is a program's, and no option of it is ours. How many words are. */
static int main_cut_program(struct npsteer *n, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--")) {
			n->program = argv + i + 1;
			return i;
		}
	return argc;
}

static int main_run(struct npsteer *n, int argc, char **argv)
{
	bool given[sizeof longs / sizeof longs[0]] = { false };
	const struct verb *v;
	const char *stray;
	int code;

	argc = main_cut_program(n, argc, argv);
	code = main_parse_options(n, argc, argv, given);
	if (code != DONE || n->answered)
		return code;
	if (optind == argc && n->json)
		return fail(n, MISUSED, "there is no verb: try npsteer help");
	if (optind == argc || !strcmp(argv[optind], "help")) {
		main_usage(optind == argc ? stderr : stdout);
		return optind == argc ? MISUSED : DONE;
	}
	v = main_find_verb(argv[optind]);
	if (!v)
		return fail(n, MISUSED, "there is no verb \"%s\": try npsteer help", argv[optind]);
	stray = main_stray_option(v, given);
	if (stray)
		return fail(n, MISUSED, "%s takes no --%s: npsteer %s", v->name, stray, v->usage);
	if (n->program && !strstr(v->options, "-- "))
		return fail(n, MISUSED, "%s takes no program: npsteer %s", v->name, v->usage);
	code = main_parse_words(n, v, argc - optind - 1, argv + optind + 1);
	return code == DONE ? v->run(n) : code;
}

int main(int argc, char **argv)
{
	struct npsteer n = { 0 };
	int code;

	setlocale(LC_CTYPE, ""); /* what can be shown; numbers stay as they are */
	json_init(&n.say, stdout, false);
	code = main_run(&n, argc, argv);
	/* A full disk or a pipe without a reader must not look like success. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "npsteer: the answer cannot be written to stdout\n");
		return FAILED;
	}
	return code;
}

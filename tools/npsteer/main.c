/* SPDX-License-Identifier: BSD-2-Clause */
/* main: npsteer's command line. Options may stand anywhere, as with bpftool. */
#include <getopt.h>
#include <locale.h>
#include <stddef.h>
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
	  "what clients did not get, since metrics were written to FILE" },
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

/* Where an option goes in struct npsteer: the text behind it, or that it was there. */
#define VALUE(field)  TAKES_TEXT, offsetof(struct npsteer, field)
#define SWITCH(field) TURNS_ON, offsetof(struct npsteer, field)

static const struct known {
	const char *name;
	enum { TAKES_TEXT, TURNS_ON, ANSWER } kind;
	size_t at;
	char letter;      /* 0: it has none */
	bool every_verbs; /* else of those that name it */
} known[] = {
	{ "json", SWITCH(json), 'j', true },
	{ "pretty", SWITCH(say.pretty), 'p', true },
	{ "version", ANSWER, 0, 'V' },
	{ "help", ANSWER, 0, 'h' },
	{ "bpffs", VALUE(bpffs), 0, true },
	{ "group", VALUE(group) },
	{ "policy", VALUE(policy) },
	{ "hang-ms", VALUE(hang_ms) },
	{ "level", VALUE(level) },
	{ "interval", VALUE(interval), 'w' },
	{ "count", VALUE(count), 'n' },
	{ "force", SWITCH(force), 'f' },
	{ "watch", SWITCH(watch) },
	{ "flows", VALUE(flows) },
	{ "port", VALUE(port) },
	{ "pid", VALUE(pid) },
	{ "cgroup", VALUE(cgroup) },
	{ "dry-run", SWITCH(dry_run) },
	{ "no-count", SWITCH(no_count) },
	{ "hold", VALUE(hold) },
	{ "rescue", VALUE(rescue) },
	{ "cpu", VALUE(cpu) },
	{ "copies", VALUE(copies) },
	{ "preload", SWITCH(preload) },
	{ "listen", VALUE(listen) },
	{ "http", VALUE(http) },
	{ "full", VALUE(full) },
	{ "workers", VALUE(workers) },
	{ "signal", VALUE(signal) },
	{ "timeout", VALUE(timeout) },
	{ "since", VALUE(since) },
	{ "allow-remote", SWITCH(allow_remote) },
	{ "all", SWITCH(all) },
};
#define KNOWN (sizeof known / sizeof known[0])
#define NAMED 256 /* what getopt_long() calls the first of them, where it was not a letter */

/* --version, --help. */
static void main_answer(struct npsteer *n, int option)
{
	if (option == 'V')
		printf("npsteer %s\n", np_version(NULL));
	else
		main_usage(stdout);
	n->answered = true;
}

/* The options in @given that @v does not take. */
static const char *main_stray_option(const struct verb *v, const bool *given)
{
	char word[32];

	for (size_t i = 0; i < KNOWN; i++) {
		snprintf(word, sizeof word, "%s ", known[i].name);
		if (given[i] && !known[i].every_verbs && !strstr(v->options, word))
			return known[i].name;
	}
	return NULL;
}

static const struct option *main_longs(void)
{
	static struct option longs[KNOWN + 1];

	for (size_t i = 0; i < KNOWN; i++)
		longs[i] = (struct option){ .name = known[i].name,
					    .has_arg = known[i].kind == TAKES_TEXT,
					    .val = NAMED + (int)i };
	return longs;
}

/* By its letter, or by its place in the table. */
static const struct known *main_known(int option)
{
	const struct known *k = known;

	if (option >= NAMED)
		return &known[option - NAMED];
	while (k->letter != option)
		k++;
	return k;
}

static void main_take_option(struct npsteer *n, const struct known *k)
{
	char *at = (char *)n + k->at;

	if (k->kind == ANSWER)
		main_answer(n, k->letter);
	else if (k->kind == TURNS_ON)
		*(bool *)at = true;
	else
		*(const char **)(void *)at = optarg;
}

static int main_parse_options(struct npsteer *n, int argc, char **argv, bool *given)
{
	const struct option *longs = main_longs();
	const struct known *k;
	int c;

	opterr = 0; /* the sentence is ours, and may have to be JSON */
	while ((c = getopt_long(argc, argv, ":jpVhfw:n:", longs, NULL)) != -1) {
		if (c == ':')
			return fail(n, MISUSED, "%s needs a value: try npsteer --help",
				    argv[optind - 1]);
		if (c == '?')
			return fail(n, MISUSED, "unknown option %s: try npsteer --help",
				    argv[optind - 1]);
		k = main_known(c);
		main_take_option(n, k);
		if (n->answered)
			return DONE;
		n->json |= n->say.pretty;
		given[k - known] = true;
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
	bool given[KNOWN] = { false };
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

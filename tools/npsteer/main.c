/* SPDX-License-Identifier: BSD-2-Clause */
/* main: npsteer's command line. Options may stand anywhere, as with bpftool. */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npsteer.h"
#include "printable.h"

#define DEFAULT_SERVICE "default"

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
	{ "top", "interval count ", 0, verb_top, "top [SERVICE] [-w SEC] [-n COUNT]",
	  "the workers, live" },
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
	{ "trace", "count flows ", 0, verb_trace, "trace [SERVICE] [-n COUNT] [--flows OF_65536]",
	  "how single connections are given to workers" },
	{ "gc", "", 0, verb_gc, "gc [SERVICE]", "take away what dead processes left behind" },
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

/* ------------------------------------------------------------------ answers and errors */

void answer(struct npsteer *n)
{
	json_object(&n->say, NULL);
	json_uint(&n->say, "schema", JSON_SCHEMA);
}

void end_answer(struct npsteer *n)
{
	json_end_object(&n->say);
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
	answer(n);
	json_object(&n->say, "error");
	json_int(&n->say, "code", code);
	json_string(&n->say, "message", text);
	json_end_object(&n->say);
	end_answer(n);
	return code;
}

void say(const char *sentence)
{
	char text[1024];

	snprintf(text, sizeof text, "%s", sentence);
	printable(text);
	puts(text);
}

static enum exit_code main_code(int r)
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
	bool root_helps = main_code(r) == DENIED && geteuid() != 0 && !strstr(text, "root");

	return fail(n, main_code(r), "%s%s", text, root_helps ? ": run npsteer as root" : "");
}

const char *service_of(const struct npsteer *n)
{
	return n->service ? n->service : DEFAULT_SERVICE;
}

int join_service(struct npsteer *n, const char *service, struct np_steer **ret)
{
	char why[NP_STEER_TEXT_MAX] = "";
	int r;

	r = np_steer_open(service,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .bpffs = n->bpffs,
				  .error = why, .error_cap = sizeof why),
			  ret);
	return r < 0 ? fail_status(n, r, why) : DONE;
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

/* ------------------------------------------------------------------ command line */

enum { OPT_BPFFS = 256, OPT_GROUP, OPT_POLICY, OPT_HANG_MS, OPT_LEVEL, OPT_WATCH, OPT_FLOWS };

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
	{ 0 },
};

/* Where the option's argument goes; NULL: it has none, or is one of the common ones. */
static const char **main_place(struct npsteer *n, int option)
{
	switch (option) {
	case OPT_GROUP:
		return &n->group;
	case OPT_POLICY:
		return &n->policy;
	case OPT_FLOWS:
		return &n->flows;
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

static int main_parse_options(struct npsteer *n, int argc, char **argv, bool *given)
{
	const char **place;
	int c;

	opterr = 0; /* the sentence is ours, and may have to be JSON */
	while ((c = getopt_long(argc, argv, ":jpVhfw:n:", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			n->say.pretty = true;
			n->json = true;
			break;
		case 'j':
			n->json = true;
			break;
		case 'V':
			printf("npsteer %s\n", NP_VERSION);
			n->answered = true;
			return DONE;
		case 'h':
			main_usage(stdout);
			n->answered = true;
			return DONE;
		case OPT_BPFFS:
			n->bpffs = optarg;
			break;
		case ':':
			return fail(n, MISUSED, "%s needs a value: try npsteer --help",
				    argv[optind - 1]);
		case '?':
			return fail(n, MISUSED, "unknown option %s: try npsteer --help",
				    argv[optind - 1]);
		default:
			place = main_place(n, c);
			if (place)
				*place = optarg;
			else if (c == OPT_WATCH)
				n->watch = true;
			else
				n->force = true;
			for (const struct option *o = longs; o->name; o++)
				if (o->val == c)
					given[o - longs] = true;
		}
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

static int main_run(struct npsteer *n, int argc, char **argv)
{
	bool given[sizeof longs / sizeof longs[0]] = { false };
	const struct verb *v;
	const char *stray;
	int code;

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
	/* A full disk or a reader who has gone must not look like success. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "npsteer: the answer cannot be written to stdout\n");
		return FAILED;
	}
	return code;
}

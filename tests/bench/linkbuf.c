/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linkbuf: what each verb costs beside libevent's evbuffer doing the same work, and how much is
 * copied
 *
 *   linkbuf [ROUNDS]      default 101; prints Markdown
 *
 * Both libraries are linked as they are shipped, shared. The process pins itself to one CPU; within
 * a round the two take turns, each going first in every other round, and a figure is the median
 * over the rounds. Only the verbs named are timed: what they need to stand ready is prepared
 * before. A row's work ends with nothing in either buffer, so that getting and giving back memory
 * is in it.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <netpoll/block.h>
#include <netpoll/linkbuf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#define MUST(cond)                                                                  \
	do {                                                                        \
		if (!(cond)) {                                                      \
			fprintf(stderr, "linkbuf: line %d: %s\n", __LINE__, #cond); \
			exit(1);                                                    \
		}                                                                   \
	} while (0)

static size_t n;       /* bytes a call moves */
static unsigned count; /* calls in one measurement */
/* n bytes, the last of them '\n', elsewhere in their page in each round */
static char *area, *data;
static volatile unsigned char sink;

static struct np_linkbuf *b;
static struct evbuffer *e, *other;

/* Every cycle touches what it writes and what it reads, by one byte. */
static void touch(void *p)
{
	*(volatile char *)p = 1;
}

static void look(const void *p)
{
	sink = *(const unsigned char *)p;
}

static void no_done(void *arg)
{
}

static void no_cleanup(const void *p, size_t len, void *arg)
{
}

/* ------------------------------------------------------------------ put and get */

static void np_get(void)
{
	const void *p;

	np_linkbuf_next(b, n, &p);
	look(p);
	np_linkbuf_release(b);
}

static void ev_get(void)
{
	look(evbuffer_pullup(e, (ev_ssize_t)n));
	evbuffer_drain(e, n);
}

static void np_reserve(void)
{
	void *v;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_reserve(b, n, &v);
		touch(v);
		np_linkbuf_flush(b);
		np_get();
	}
}

static void ev_reserve(void)
{
	struct evbuffer_iovec v;

	for (unsigned i = 0; i < count; i++) {
		evbuffer_reserve_space(e, (ev_ssize_t)n, &v, 1);
		touch(v.iov_base);
		v.iov_len = n;
		evbuffer_commit_space(e, &v, 1);
		ev_get();
	}
}

static void np_space(void)
{
	struct iovec v[2];

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_space(b, n, v, 2);
		touch(v[0].iov_base);
		np_linkbuf_commit(b, n);
		np_get();
	}
}

static void ev_space(void)
{
	struct evbuffer_iovec v[2];
	int k;

	for (unsigned i = 0; i < count; i++) {
		k = evbuffer_reserve_space(e, (ev_ssize_t)n, v, 2);
		touch(v[0].iov_base);
		if (v[0].iov_len > n)
			v[0].iov_len = n;
		if (k == 2)
			v[1].iov_len = n - v[0].iov_len;
		evbuffer_commit_space(e, v, k);
		ev_get();
	}
}

static void np_write(void)
{
	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_write(b, data, n);
		np_linkbuf_flush(b);
		np_get();
	}
}

static void ev_write(void)
{
	for (unsigned i = 0; i < count; i++) {
		evbuffer_add(e, data, n);
		ev_get();
	}
}

static void np_ref(void)
{
	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_write_ref(b, data, n, no_done, NULL);
		np_linkbuf_flush(b);
		np_get();
	}
}

static void ev_ref(void)
{
	for (unsigned i = 0; i < count; i++) {
		evbuffer_add_reference(e, data, n, no_cleanup, NULL);
		ev_get();
	}
}

static void np_append(void)
{
	struct np_linkbuf *o;
	void *v;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_new(n, &o);
		np_linkbuf_reserve(o, n, &v);
		touch(v);
		np_linkbuf_append(b, &o);
		np_linkbuf_flush(b);
		np_get();
	}
}

static void ev_append(void)
{
	struct evbuffer_iovec v;

	for (unsigned i = 0; i < count; i++) {
		evbuffer_reserve_space(other, (ev_ssize_t)n, &v, 1);
		touch(v.iov_base);
		v.iov_len = n;
		evbuffer_commit_space(other, &v, 1);
		evbuffer_add_buffer(e, other);
		ev_get();
	}
}

/* ---------------------------------------------------- what stands ready, written in pieces of n */

static void np_stand(void)
{
	for (unsigned i = 0; i < count; i++)
		MUST(!np_linkbuf_write(b, data, n));
	np_linkbuf_flush(b);
}

static void ev_stand(void)
{
	for (unsigned i = 0; i < count; i++)
		MUST(!evbuffer_add(e, data, n));
}

static void np_next(void)
{
	for (unsigned i = 0; i < count; i++)
		np_get();
}

static void ev_next(void)
{
	for (unsigned i = 0; i < count; i++)
		ev_get();
}

static void np_peek(void)
{
	const void *p;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_peek(b, n, &p);
		look(p);
	}
}

static void ev_peek(void)
{
	for (unsigned i = 0; i < count; i++)
		look(evbuffer_pullup(e, (ev_ssize_t)n));
}

static void np_skip(void)
{
	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_skip(b, n);
		np_linkbuf_release(b);
	}
}

static void ev_skip(void)
{
	for (unsigned i = 0; i < count; i++)
		evbuffer_drain(e, n);
}

static void np_copy(void)
{
	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_copy(b, data, n);
		np_linkbuf_release(b);
	}
}

static void ev_copy(void)
{
	for (unsigned i = 0; i < count; i++)
		evbuffer_remove(e, data, n);
}

static void np_until(void)
{
	const void *p;
	size_t len;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_until(b, '\n', n, &p, &len);
		look(p);
		np_linkbuf_release(b);
	}
}

static void ev_until(void)
{
	struct evbuffer_ptr at;
	size_t eol;

	for (unsigned i = 0; i < count; i++) {
		at = evbuffer_search_eol(e, NULL, &eol, EVBUFFER_EOL_LF);
		look(evbuffer_pullup(e, at.pos + (ev_ssize_t)eol));
		evbuffer_drain(e, (size_t)at.pos + eol);
	}
}

static void np_slice(void)
{
	struct np_linkbuf *s;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_slice(b, n, &s);
		np_linkbuf_free(&s);
		np_linkbuf_release(b);
	}
}

static void ev_slice(void)
{
	struct evbuffer *s;

	for (unsigned i = 0; i < count; i++) {
		s = evbuffer_new();
		evbuffer_remove_buffer(e, s, n);
		evbuffer_free(s);
	}
}

/* ------------------------------------------------------------------ as netpoll's own benchmarks */

#define PIECE 70
#define SIP   7

static void np_sip(void)
{
	const void *p;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_write(b, data, PIECE);
		np_linkbuf_flush(b);
		for (int k = 0; k < PIECE / SIP; k++) {
			np_linkbuf_next(b, SIP, &p);
			look(p);
		}
		np_linkbuf_release(b);
	}
}

static void ev_sip(void)
{
	for (unsigned i = 0; i < count; i++) {
		evbuffer_add(e, data, PIECE);
		for (int k = 0; k < PIECE / SIP; k++) {
			look(evbuffer_pullup(e, SIP));
			evbuffer_drain(e, SIP);
		}
	}
}

static void np_new(void)
{
	struct np_linkbuf *o;

	for (unsigned i = 0; i < count; i++) {
		np_linkbuf_new(0, &o);
		np_linkbuf_free(&o);
	}
}

static void ev_new(void)
{
	for (unsigned i = 0; i < count; i++)
		evbuffer_free(evbuffer_new());
}

/* ------------------------------------------------------------------ measuring */

static const struct row {
	const char *name, *evbuffer;
	void (*np)(void), (*ev)(void);
	int stands; /* the bytes are there before */
} rows[] = {
	{ "reserve, flush, next, release", "reserve_space, commit_space, pullup, drain", np_reserve,
	  ev_reserve },
	{ "space, commit, next, release", "the same with two iovecs", np_space, ev_space },
	{ "write, flush, next, release", "add, pullup, drain", np_write, ev_write },
	{ "write_ref, flush, next, release", "add_reference, pullup, drain", np_ref, ev_ref },
	{ "new, reserve, append, next, release",
	  "reserve_space, commit_space, add_buffer, pullup, drain", np_append, ev_append },
	{ "next, release", "pullup, drain", np_next, ev_next, 1 },
	{ "peek", "pullup", np_peek, ev_peek, 1 },
	{ "skip, release", "drain", np_skip, ev_skip, 1 },
	{ "copy, release", "remove", np_copy, ev_copy, 1 },
	{ "until, release", "search_eol, pullup, drain", np_until, ev_until, 1 },
	{ "slice, free, release", "new, remove_buffer, free", np_slice, ev_slice, 1 },
};
#define ROWS (sizeof rows / sizeof rows[0])

static const struct row fixed[] = {
	{ "write 70 bytes, flush, ten times next 7, release", "add, ten times pullup and drain",
	  np_sip, ev_sip },
	{ "new, free", "new, free", np_new, ev_new },
};

static const size_t sizes[] = { 16, 64, 256, 1024, 4096, 16384, 65536 };
#define SIZES (sizeof sizes / sizeof sizes[0])

#define ROUNDS_MAX 1001
static unsigned rounds = 101;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *x, const void *y)
{
	double d = *(const double *)x - *(const double *)y;

	return d < 0 ? -1 : d > 0;
}

static double median(double *v)
{
	qsort(v, rounds, sizeof v[0], ascending);
	return v[rounds / 2];
}

static double np_once(const struct row *r)
{
	double t;

	if (r->stands)
		np_stand();
	t = now();
	r->np();
	t = now() - t;
	np_linkbuf_skip(b, np_linkbuf_len(b));
	np_linkbuf_release(b);
	return t / count;
}

static double ev_once(const struct row *r)
{
	double t;

	if (r->stands)
		ev_stand();
	t = now();
	r->ev();
	t = now() - t;
	evbuffer_drain(e, evbuffer_get_length(e));
	return t / count;
}

struct result {
	double np, ev;
};

/* Copying costs up to twice as much where source and target are a little apart in their pages. */
static void place(unsigned round)
{
	data = area + round * 208 % 4096;
	memset(data, 'x', n);
	data[n - 1] = '\n';
}

static struct result measure(const struct row *r, size_t size)
{
	static double np[ROUNDS_MAX], ev[ROUNDS_MAX];

	n = size;
	count = (unsigned)((2u << 20) / n);
	count = count > 1000 ? 1000 : count;
	for (unsigned i = 0; i < rounds; i++) {
		place(i);
		if (i % 2)
			np[i] = np_once(r);
		ev[i] = ev_once(r);
		if (i % 2 == 0)
			np[i] = np_once(r);
	}
	return (struct result){ median(np), median(ev) };
}

/* ------------------------------------------------------------------ bytes copied */

static size_t copied(void)
{
	struct np_block_stats s;

	np_block_stats_init(&s);
	MUST(!np_block_stats(&s));
	return s.bytes_copied;
}

#define ARRIVES 65536 /* at most, at a time */

/*
 * A stream of frames of n bytes arrives in pieces of random length and is read frame by frame, as a
 * server reads it: what is missing of a frame is what it asks for, at least 16 KiB. Bytes copied
 * for each byte that came.
 */
static double copied_reading(void)
{
	size_t frames = ((64u << 20) + n - 1) / n, got, k, before = copied();
	unsigned long random = 1;
	struct iovec v[2];
	const void *p;
	int r;

	for (size_t i = 0; i < frames;) {
		got = np_linkbuf_len(b);
		if (got >= n) {
			MUST(!np_linkbuf_next(b, n, &p));
			np_linkbuf_release(b);
			i++;
			continue;
		}
		r = np_linkbuf_space(b, n - got > 16384 ? n - got : 16384, v, 2);
		MUST(r > 0);
		k = v[0].iov_len + (r > 1 ? v[1].iov_len : 0);
		random = random * 6364136223846793005u + 1442695040888963407u;
		MUST(!np_linkbuf_commit(b, 1 + (random >> 33) % (k < ARRIVES ? k : ARRIVES)));
	}
	got = np_linkbuf_len(b);
	np_linkbuf_skip(b, got);
	np_linkbuf_release(b);
	return (double)(copied() - before) / (double)(frames * n + got);
}

/* Each frame goes on into a buffer of its own and out again, as through a proxy. */
static double copied_passing(void)
{
	size_t before = copied(), moved = 0;
	struct np_linkbuf *out, *s;
	struct iovec v[2];
	size_t k;
	int r;

	MUST(!np_linkbuf_new(0, &out));
	while (moved < 64u << 20) {
		r = np_linkbuf_space(b, n, v, 2);
		MUST(r > 0);
		k = v[0].iov_len + (r > 1 ? v[1].iov_len : 0);
		MUST(!np_linkbuf_commit(b, k));
		MUST(!np_linkbuf_slice(b, k, &s) && !np_linkbuf_append(out, &s) &&
		     !np_linkbuf_flush(out));
		np_linkbuf_release(b);
		MUST(!np_linkbuf_skip(out, k));
		np_linkbuf_release(out);
		moved += k;
	}
	np_linkbuf_free(&out);
	return (double)(copied() - before) / (double)moved;
}

/* ------------------------------------------------------------------ the tables */

static const char *size_name(size_t size)
{
	static char s[2][32];
	static int turn;

	turn = !turn;
	if (size < 1024)
		snprintf(s[turn], sizeof s[turn], "%zu B", size);
	else if (size < 1 << 20)
		snprintf(s[turn], sizeof s[turn], "%zu KiB", size >> 10);
	else
		snprintf(s[turn], sizeof s[turn], "%zu MiB", size >> 20);
	return s[turn];
}

static void cpu_name(char *name, size_t cap)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], *colon;

	snprintf(name, cap, "unknown");
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "model name", 10) || !(colon = strchr(line, ':')))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(name, cap, "%s", colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static void header(void)
{
	char cpu[200];

	cpu_name(cpu, sizeof cpu);
	printf("<!-- written by make bench-linkbuf -->\n# What the verbs of a buffer cost\n\n");
	printf("CPU: %s. Compiler: %s. libevent %s.\n", cpu, __VERSION__, event_get_version());
	printf("Medians of %u rounds in which both take turns on one CPU; both libraries shared, as they are shipped.\n"
	       "Each cell: our ns, evbuffer's ns, **ours / evbuffer's**. Below each row's verbs, evbuffer's.\n",
	       rounds);
}

/* What four calls into a shared library cost before they do anything: the floor under a cycle of
 * four. */
static void floor_row(void)
{
	static double v[ROUNDS_MAX];
	double t;

	for (unsigned i = 0; i < rounds; i++) {
		t = now();
		for (int k = 0; k < 1000; k++) {
			np_linkbuf_len(b);
			np_linkbuf_len(b);
			np_linkbuf_len(b);
			np_linkbuf_len(b);
		}
		v[i] = (now() - t) / 1000;
	}
	printf("\nFour calls of np_linkbuf_len(), which loads one word: %.1f ns.\n", median(v));
}

/* Above 1 evbuffer would be the faster one. */
static void table(void)
{
	int slower = 0;

	printf("\n| |");
	for (size_t k = 0; k < SIZES; k++)
		printf(" %s |", size_name(sizes[k]));
	printf("\n|---|");
	for (size_t k = 0; k < SIZES; k++)
		printf("---|");
	for (size_t i = 0; i < ROWS; i++) {
		printf("\n| %s<br>*%s* |", rows[i].name, rows[i].evbuffer);
		for (size_t k = 0; k < SIZES; k++) {
			struct result r = measure(&rows[i], sizes[k]);

			printf(" %.1f, %.1f, **%.2f** |", r.np, r.ev, r.np / r.ev);
			slower += r.np > r.ev;
			fflush(stdout);
		}
	}
	printf("\n\nSlower than evbuffer in %d of %zu cells.\n", slower, ROWS * SIZES);
}

static void fixed_table(void)
{
	printf("\n| | ns, evbuffer's, **ratio** |\n|---|---|\n");
	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		struct result r = measure(&fixed[i], PIECE);

		printf("| %s<br>*%s* | %.1f, %.1f, **%.2f** |\n", fixed[i].name, fixed[i].evbuffer,
		       r.np, r.ev, r.np / r.ev);
	}
}

static void copies(void)
{
	/* and their length before them */
	static const size_t frames[] = { 64, 1024, 16384, 65536, 1 << 20 };
	double reading, passing;

	printf("\n| bytes copied for each byte moved, frames of 4 B and | read frame by frame | slice, append, out again |\n"
	       "|---|---|---|\n");
	for (size_t k = 0; k < sizeof frames / sizeof frames[0]; k++) {
		n = frames[k] + 4;
		reading = copied_reading();
		passing = copied_passing();
		printf("| %s | %.3f | %.3f |\n", size_name(frames[k]), reading, passing);
	}
}

static void pin(void)
{
	cpu_set_t all, one;
	int last = 0;

	CPU_ZERO(&one);
	MUST(!sched_getaffinity(0, sizeof all, &all));
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all))
			last = i;
	CPU_SET(last, &one);
	MUST(!sched_setaffinity(0, sizeof one, &one));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		rounds = (unsigned)atoi(argv[1]) | 1;
	MUST(rounds && rounds <= ROUNDS_MAX);
	pin();
	area = aligned_alloc(4096, sizes[SIZES - 1] + 4096);
	MUST(area && !np_linkbuf_new(0, &b));
	e = evbuffer_new();
	other = evbuffer_new();
	MUST(e && other);
	header();
	table();
	floor_row();
	fixed_table();
	copies();
	np_linkbuf_free(&b);
	evbuffer_free(e);
	evbuffer_free(other);
	free(area);
	return 0;
}

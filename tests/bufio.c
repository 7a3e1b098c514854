/* SPDX-License-Identifier: BSD-2-Clause */
/* bufio: the verbs over a file, a pipe, a session that packs its bytes into records, and sources
 * that misbehave. */
#include "netpoll/bufio.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "netpoll/block.h"
#include "netpoll/linkbuf.h"
#include "support/test.h"

static struct np_block_stats stats(void)
{
	struct np_block_stats b;

	np_block_stats_init(&b);
	ck_assert_int_eq(np_block_stats(&b), 0);
	return b;
}

static void nothing_in_use(void)
{
	ck_assert_uint_eq(stats().blocks_in_use, 0);
	ck_assert_uint_eq(stats().cells_in_use, 0);
}

/* ------------------------------------------------------------------ a descriptor */

static ssize_t fd_readv(void *arg, const struct iovec *iov, int n)
{
	ssize_t k = readv(*(int *)arg, iov, n);

	return k < 0 ? -errno : k;
}

static ssize_t fd_writev(void *arg, const struct iovec *iov, int n)
{
	ssize_t k = writev(*(int *)arg, iov, n);

	return k < 0 ? -errno : k;
}

static void fd_close(void *arg)
{
	close(*(int *)arg);
	*(int *)arg = -1;
}

static struct np_bufio *given_fd(int *fd, size_t chunk)
{
	struct np_bufio *b;

	ck_assert_int_eq(np_bufio_new(NP_OPTS(np_bufio_ops, .readv = fd_readv, .writev = fd_writev,
					      .close = fd_close, .chunk = chunk),
				      fd, &b),
			 0);
	return b;
}

/* Byte i of every file here. */
static unsigned char number(size_t i)
{
	return (unsigned char)(i * 7 + i / 256);
}

static void ck_numbers(const void *p, size_t from, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		if (c[i] != number(from + i))
			ck_abort_msg("byte %zu is %u", from + i, c[i]);
}

static int given_file(size_t n)
{
	int fd = memfd_create("numbers", MFD_CLOEXEC);
	unsigned char *p;

	ck_assert_int_ge(fd, 0);
	if (!n)
		return fd;
	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	for (size_t i = 0; i < n; i++)
		p[i] = number(i);
	munmap(p, n);
	return fd;
}

/* ---------------------------------------------------- a source and sink that does as it is told */

struct step {
	ssize_t ret; /* where there are no bytes */
	const char *bytes;
};
#define LAST (1 << 20) /* as ret: no step, the one before is repeated */

struct puppet {
	const struct step *in;
	const ssize_t *out; /* at most that many, 0 or an error */
	int reads, writes, closed;
	char *first;  /* byte that it gave, */
	char planted; /* and what becomes of it at the next read */
	char taken[4096];
	size_t ntaken;
	struct np_bufio *b; /* tries to read and write it from its own callbacks */
	int nested;
};

static ssize_t puppet_readv(void *arg, const struct iovec *iov, int n)
{
	struct puppet *p = arg;
	const struct step *t = p->in;
	const void *v;
	size_t k;

	p->reads++;
	if (p->b)
		p->nested = np_bufio_next(p->b, 100, &v);
	if (t[1].ret != LAST)
		p->in++;
	if (!t->bytes)
		return t->ret;
	k = strlen(t->bytes);
	ck_assert_uint_le(k, iov[0].iov_len);
	if (!p->first)
		p->first = iov[0].iov_base;
	if (p->planted)
		*p->first = p->planted;
	memcpy(iov[0].iov_base, t->bytes, k);
	return (ssize_t)k;
}

static ssize_t puppet_writev(void *arg, const struct iovec *iov, int n)
{
	struct puppet *p = arg;
	ssize_t most = *p->out;
	size_t k, sum = 0;

	p->writes++;
	if (p->b)
		p->nested = np_bufio_write_byte(p->b, 'x');
	if (p->out[1] != LAST)
		p->out++;
	if (most <= 0)
		return most;
	for (int i = 0; i < n && sum < (size_t)most; i++) {
		k = iov[i].iov_len < (size_t)most - sum ? iov[i].iov_len : (size_t)most - sum;
		ck_assert_uint_le(p->ntaken + k, sizeof p->taken);
		memcpy(p->taken + p->ntaken, iov[i].iov_base, k);
		p->ntaken += k;
		sum += k;
	}
	return (ssize_t)sum;
}

static void puppet_close(void *arg)
{
	((struct puppet *)arg)->closed++;
}

static struct np_bufio *given(struct puppet *p)
{
	struct np_bufio *b;

	ck_assert_int_eq(np_bufio_new(NP_OPTS(np_bufio_ops, .readv = p->in ? puppet_readv : NULL,
					      .writev = p->out ? puppet_writev : NULL,
					      .close = puppet_close),
				      p, &b),
			 0);
	return b;
}

#define STEPS(...) ((const struct step[]){ __VA_ARGS__, { .ret = LAST } })
#define TAKES(...) ((const ssize_t[]){ __VA_ARGS__, LAST })
#define SOURCE(...)                      \
	{                                \
		.in = STEPS(__VA_ARGS__) \
	}
#define SINK(...)                         \
	{                                 \
		.out = TAKES(__VA_ARGS__) \
	}
#define BYTES(b)           \
	{                  \
		.bytes = b \
	}
#define FAILS(e)            \
	{                   \
		.ret = -(e) \
	}
#define END              \
	{                \
		.ret = 0 \
	}
#define ALL 4096

static void must_read(struct np_bufio *b, const char *what)
{
	const void *p;

	ck_assert_int_eq(np_bufio_next(b, strlen(what), &p), 0);
	ck_assert_mem_eq(p, what, strlen(what));
}

static void must_write(struct np_bufio *b, const char *what)
{
	ck_assert_int_eq(np_bufio_write(b, what, strlen(what)), 0);
}

static void took(const struct puppet *p, const char *what)
{
	ck_assert_uint_eq(p->ntaken, strlen(what));
	ck_assert_mem_eq(p->taken, what, p->ntaken);
}

static int dones;
static void count_done(void *arg)
{
	dones++;
}

/* ------------------------------------------------------------------ reading */

START_TEST(every_reading_verb_works_on_a_file_whatever_is_asked_for_at_a_time)
{
	const size_t chunks[] = { 0, 1, 7, 100000 };

	for (size_t i = 0; i < 4; i++) {
		int fd = given_file(200000);
		struct np_bufio *b = given_fd(&fd, chunks[i]);
		struct np_linkbuf *part;
		unsigned char c, to[5000];
		const void *p, *q;
		char *str;

		ck_assert_int_eq(np_bufio_peek(b, 300, &p), 0);
		ck_numbers(p, 0, 300);
		ck_assert_int_eq(np_bufio_next(b, 60000, &q), 0);
		ck_numbers(q, 0, 60000);
		ck_numbers(p, 0, 300);
		np_bufio_release(b);
		ck_assert_int_eq(np_bufio_skip(b, 30000), 0);
		ck_assert_int_eq(np_bufio_copy(b, to, 5000), 0);
		ck_numbers(to, 90000, 5000);
		ck_assert_int_eq(np_bufio_dup(b, 10, &str), 0);
		ck_numbers(str, 95000, 10);
		free(str);
		ck_assert_int_eq(np_bufio_byte(b, &c), 0);
		ck_numbers(&c, 95010, 1);
		ck_assert_int_eq(np_bufio_slice(b, 20000, &part), 0);
		ck_assert_int_eq(np_linkbuf_next(part, 20000, &p), 0);
		ck_numbers(p, 95011, 20000);
		ck_assert_int_eq(np_bufio_skip(b, 200000 - 115011), 0);
		ck_assert_int_eq(np_bufio_next(b, 1, &p), -NP_EEOF);
		np_bufio_free(&b);
		ck_assert_int_eq(fd, -1);
		ck_numbers(p, 95011, 20000); /* a slice outlives what it was read from */
		np_linkbuf_free(&part);
		nothing_in_use();
	}
}
END_TEST

START_TEST(no_more_is_asked_of_the_source_than_needed_where_the_chunk_is_1)
{
	int fd = given_file(1000);
	struct np_bufio *b = given_fd(&fd, 1);

	ck_assert_int_eq(np_bufio_skip(b, 600), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 600);
	ck_assert_int_eq(np_bufio_wait(b, 100), 0);
	ck_assert_int_eq(np_bufio_wait(b, 50), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 700);
	ck_assert_uint_eq(np_bufio_len(b), 100);
	np_bufio_free(&b);
}
END_TEST

START_TEST(short_reads_are_put_together)
{
	struct puppet p = SOURCE(BYTES("a"), BYTES("bc"), BYTES("def"), END);
	struct np_bufio *b = given(&p);

	must_read(b, "abcde");
	ck_assert_int_eq(p.reads, 3);
	must_read(b, "f");
	ck_assert_int_eq(p.reads, 3);
	np_bufio_free(&b);
}
END_TEST

/* What is here stays readable, and the end is told as often as it is asked for, without asking the
 * source. */
START_TEST(bytes_before_the_end_stay_readable_and_the_end_is_for_good)
{
	struct puppet p = SOURCE(BYTES("abc"), END, BYTES("never"));
	struct np_bufio *b = given(&p);
	const void *v = &p;
	char to[8];

	ck_assert_int_eq(np_bufio_next(b, 4, &v), -NP_EEOF);
	ck_assert_ptr_eq(v, &p);
	ck_assert_uint_eq(np_bufio_len(b), 3);
	ck_assert_int_eq(np_bufio_wait(b, 4), -NP_EEOF);
	must_read(b, "abc");
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(np_bufio_skip(b, 1), -NP_EEOF);
		ck_assert_int_eq(np_bufio_read(b, to, sizeof to), 0);
	}
	ck_assert_int_eq(np_bufio_skip(b, 0), 0);
	ck_assert_int_eq(p.reads, 2);
	np_bufio_free(&b);
}
END_TEST

START_TEST(bytes_before_an_error_stay_readable_and_the_error_is_for_good)
{
	struct puppet p = SOURCE(BYTES("abc"), FAILS(ECONNRESET), BYTES("never"));
	struct np_bufio *b = given(&p);
	unsigned char to[1];

	ck_assert_int_eq(np_bufio_wait(b, 4), -ECONNRESET);
	ck_assert_int_eq(np_bufio_wait(b, 4), -ECONNRESET);
	must_read(b, "ab");
	ck_assert_int_eq(np_bufio_read(b, to, 1), 1);
	ck_assert_int_eq(np_bufio_read(b, to, 1), -ECONNRESET);
	ck_assert_int_eq(np_bufio_byte(b, to), -ECONNRESET);
	ck_assert_int_eq(p.reads, 2);
	np_bufio_free(&b);
}
END_TEST

START_TEST(a_signal_is_no_error_and_not_now_is_none_for_good)
{
	struct puppet p =
		SOURCE(FAILS(EINTR), FAILS(EINTR), BYTES("ab"), FAILS(EAGAIN), BYTES("cd"), END);
	struct np_bufio *b = given(&p);

	ck_assert_int_eq(np_bufio_wait(b, 4), -EAGAIN);
	ck_assert_uint_eq(np_bufio_len(b), 2);
	must_read(b, "abcd");
	np_bufio_free(&b);
}
END_TEST

START_TEST(until_takes_a_line_in_however_many_pieces)
{
	struct puppet p =
		SOURCE(BYTES("GE"), BYTES("T /\r"), BYTES("\nHost"), BYTES(": x\n12345678"), END);
	struct np_bufio *b = given(&p);
	const void *v;
	size_t n;

	ck_assert_int_eq(np_bufio_until(b, '\n', 100, &v, &n), 0);
	ck_assert_uint_eq(n, 7);
	ck_assert_mem_eq(v, "GET /\r\n", 7);
	ck_assert_int_eq(np_bufio_until(b, '\n', 3, &v, &n), -NP_ETOOLONG);
	ck_assert_int_eq(np_bufio_until(b, '\n', 0, &v, &n), -EINVAL);
	ck_assert_int_eq(np_bufio_until(b, '\n', 8, &v, &n), 0);
	ck_assert_mem_eq(v, "Host: x\n", 8);
	ck_assert_int_eq(np_bufio_until(b, '\n', 9, &v, &n), -NP_EEOF);
	ck_assert_int_eq(np_bufio_until(b, '\n', 8, &v, &n), -NP_ETOOLONG);
	must_read(b, "12345678");
	np_bufio_free(&b);
}
END_TEST

/* Plants a line's end among the bytes that were searched in vain before: one that starts again
 * finds it. */
START_TEST(until_goes_on_where_not_now_has_stopped_it)
{
	struct puppet p = SOURCE(BYTES("abcd"), FAILS(EAGAIN), BYTES("ef\n"), END);
	struct np_bufio *b = given(&p);
	const void *v;
	size_t n;

	ck_assert_int_eq(np_bufio_until(b, '\n', 100, &v, &n), -EAGAIN);
	p.planted = '\n';
	ck_assert_int_eq(np_bufio_until(b, '\n', 100, &v, &n), 0);
	ck_assert_uint_eq(n, 7);
	ck_assert_mem_eq(v, "\nbcdef\n", 7);
	np_bufio_free(&b);
}
END_TEST

START_TEST(until_starts_again_after_another_verb_or_for_another_end)
{
	struct puppet p = SOURCE(BYTES("a,b;c"), FAILS(EAGAIN), FAILS(EAGAIN), FAILS(EAGAIN),
				 BYTES(";x"), FAILS(EAGAIN), END);
	struct np_bufio *b = given(&p);
	struct np_linkbuf *in;
	const void *v;
	size_t n;

	ck_assert_int_eq(np_bufio_until(b, '\n', 100, &v, &n), -EAGAIN);
	ck_assert_int_eq(np_bufio_until(b, ',', 100, &v, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(np_bufio_until(b, '.', 100, &v, &n), -EAGAIN);
	ck_assert_int_eq(np_bufio_skip(b, 2), 0);
	np_bufio_release(b);
	in = np_bufio_in(b);
	ck_assert_int_eq(np_bufio_until(b, '.', 100, &v, &n), -EAGAIN);
	ck_assert_int_eq(np_linkbuf_skip(in, 1), 0); /* behind the back of the next */
	np_linkbuf_release(in);
	ck_assert_int_eq(np_bufio_until(b, '.', 100, &v, &n), -EAGAIN);
	ck_assert_int_eq(np_bufio_until(b, 'x', 100, &v, &n), 0);
	ck_assert_mem_eq(v, ";x", n);
	np_bufio_free(&b);
}
END_TEST

START_TEST(no_verb_waits_for_more_than_in_max)
{
	int fd = given_file(10000);
	struct np_bufio *b;
	const void *p;
	size_t n;

	ck_assert_int_eq(
		np_bufio_new(NP_OPTS(np_bufio_ops, .readv = fd_readv, .in_max = 1000, .chunk = 1),
			     &fd, &b),
		0);
	ck_assert_int_eq(np_bufio_next(b, 1001, &p), -NP_ETOOLONG);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	ck_assert_int_eq(np_bufio_next(b, 1000, &p), 0);
	ck_assert_int_eq(np_bufio_until(b, number(1000 + 300) + 1, 100000, &p, &n), 0);
	np_bufio_free(&b);
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(read_gives_what_there_is_and_copies_nothing_into_a_large_buffer)
{
	static unsigned char to[100000];
	int fd = given_file(300000);
	struct np_bufio *b = given_fd(&fd, 0);
	size_t before = stats().bytes_copied;

	ck_assert_int_eq(np_bufio_read(b, to, 0), 0);
	ck_assert_int_eq(np_bufio_read(b, to, sizeof to), sizeof to);
	ck_numbers(to, 0, sizeof to);
	ck_assert_uint_eq(stats().bytes_copied, before);
	ck_assert_int_eq(np_bufio_read(b, to, 100), 100);
	ck_numbers(to, 100000, 100);
	ck_assert_int_eq(np_bufio_read(b, to, sizeof to), 16384 - 100);
	ck_numbers(to, 100100, 16384 - 100);
	np_bufio_free(&b);
	nothing_in_use();
}
END_TEST

/* Only a pointer that was given out keeps what was read. */
START_TEST(who_takes_no_pointers_need_not_release)
{
	int fd = given_file(4 << 20);
	struct np_bufio *b = given_fd(&fd, 0);
	struct np_linkbuf *part;
	unsigned char to[3000];
	const void *p;

	for (size_t at = 0; at + 9001 < 4 << 20; at += 9001) {
		ck_assert_int_eq(np_bufio_copy(b, to, 3000), 0);
		ck_numbers(to, at, 3000);
		ck_assert_int_eq(np_bufio_skip(b, 3000), 0);
		ck_assert_int_eq(np_bufio_byte(b, to), 0);
		ck_assert_int_eq(np_bufio_slice(b, 3000, &part), 0);
		np_linkbuf_free(&part);
		ck_assert_uint_le(stats().bytes_in_use, 256 << 10);
	}
	ck_assert_int_eq(np_bufio_peek(b, 10, &p), 0);
	memcpy(to, p, 10);
	ck_assert_int_eq(np_bufio_skip(b, np_bufio_len(b)), 0);
	ck_assert_mem_eq(p, to, 10);
	np_bufio_release(b);
	nothing_in_use();
	np_bufio_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ writing */

START_TEST(nothing_is_written_before_flush)
{
	struct puppet p = SINK(ALL);
	struct np_bufio *b = given(&p);
	struct np_linkbuf *more;
	void *v;

	must_write(b, "ab");
	ck_assert_int_eq(np_bufio_write_byte(b, 'c'), 0);
	ck_assert_int_eq(np_bufio_reserve(b, 8, &v), 0);
	memcpy(v, "dehijklm", 8);
	ck_assert_int_eq(np_bufio_write_direct(b, "fg", 2, 6, count_done, NULL), 0);
	ck_assert_uint_eq(np_bufio_pending(b), 13);
	ck_assert_int_eq(np_bufio_trim(b, 10), 0);
	ck_assert_int_eq(np_bufio_write_ref(b, "klmno", 5, count_done, NULL), 0);
	ck_assert_int_eq(np_linkbuf_new(0, &more), 0);
	ck_assert_int_eq(np_linkbuf_write(more, "pq", 2), 0);
	ck_assert_int_eq(np_bufio_append(b, &more), 0);
	ck_assert_int_eq(p.writes, 0);

	ck_assert_int_eq(np_bufio_flush(b), 0);
	took(&p, "abcdefghijklmnopq");
	ck_assert_int_eq(p.writes, 1);
	ck_assert_int_eq(dones, 2);
	ck_assert_int_eq(np_bufio_flush(b), 0);
	ck_assert_int_eq(p.writes, 1);
	np_bufio_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(a_sink_that_takes_little_gets_the_rest_in_the_same_flush)
{
	struct puppet p = SINK(1, -EINTR, 2, ALL);
	struct np_bufio *b = given(&p);

	must_write(b, "abcdefgh");
	ck_assert_int_eq(np_bufio_flush(b), 0);
	took(&p, "abcdefgh");
	ck_assert_int_eq(p.writes, 4);
	np_bufio_free(&b);
}
END_TEST

START_TEST(a_sink_that_takes_nothing_now_gets_the_rest_at_the_next_flush)
{
	struct puppet p = SINK(3, -EAGAIN, 2, -EAGAIN, ALL), none = SINK(0);
	struct np_bufio *b = given(&p), *t = given(&none);

	must_write(b, "abcde");
	ck_assert_int_eq(np_bufio_write_ref(b, "fgh", 3, count_done, NULL), 0);
	ck_assert_int_eq(np_bufio_flush(b), -EAGAIN);
	took(&p, "abc");
	must_write(b, "ij");
	ck_assert_int_eq(np_bufio_flush(b), -EAGAIN);
	ck_assert_uint_eq(np_linkbuf_len(np_bufio_out(b)), 5);
	ck_assert_int_eq(dones, 0);
	ck_assert_int_eq(np_bufio_flush(b), 0);
	took(&p, "abcdefghij");
	ck_assert_int_eq(dones, 1);
	must_write(t, "x");
	ck_assert_int_eq(np_bufio_flush(t), -EAGAIN);
	np_bufio_free(&t);
	np_bufio_free(&b);
}
END_TEST

START_TEST(an_error_of_the_sink_is_for_good_and_gives_back_what_it_did_not_take)
{
	struct puppet p = SINK(3, -EPIPE, ALL);
	struct np_bufio *b = given(&p);
	void *v;

	must_write(b, "abc");
	ck_assert_int_eq(np_bufio_write_ref(b, "def", 3, count_done, NULL), 0);
	ck_assert_int_eq(np_bufio_flush(b), -EPIPE);
	ck_assert_int_eq(np_bufio_write(b, "x", 1), -EPIPE);
	ck_assert_int_eq(np_bufio_write_byte(b, 'x'), -EPIPE);
	ck_assert_int_eq(np_bufio_reserve(b, 1, &v), -EPIPE);
	ck_assert_int_eq(np_bufio_trim(b, 0), -EPIPE);
	ck_assert_int_eq(np_bufio_write_ref(b, "x", 1, count_done, NULL), -EPIPE);
	ck_assert_int_eq(np_bufio_write_direct(b, "x", 1, 0, count_done, NULL), -EPIPE);
	ck_assert_int_eq(np_bufio_append(b, &(struct np_linkbuf *){ NULL }), -EPIPE);
	ck_assert_int_eq(np_bufio_flush(b), -EPIPE);
	ck_assert_int_eq(p.writes, 2);
	ck_assert_int_eq(dones, 0);

	np_bufio_free(&b);
	ck_assert_int_eq(dones, 1);
	ck_assert_int_eq(p.closed, 1);
	nothing_in_use();
}
END_TEST

START_TEST(an_error_in_one_direction_leaves_the_other)
{
	struct puppet p = { .in = STEPS(BYTES("bye"), END), .out = TAKES(ALL) };
	struct np_bufio *b = given(&p);

	ck_assert_int_eq(np_bufio_wait(b, 4), -NP_EEOF);
	must_write(b, "bye");
	ck_assert_int_eq(np_bufio_flush(b), 0);
	took(&p, "bye");
	np_bufio_free(&b);
}
END_TEST

START_TEST(many_pieces_leave_in_several_writes)
{
	struct puppet p = SINK(ALL);
	struct np_bufio *b = given(&p);
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(np_bufio_write_ref(b, letters + i % 26, 1, count_done, NULL), 0);
	ck_assert_int_eq(np_bufio_flush(b), 0);
	ck_assert_uint_eq(p.ntaken, 100);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(p.taken[i], letters[i % 26]);
	ck_assert_int_eq(p.writes, 4);
	ck_assert_int_eq(dones, 100);
	np_bufio_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ pipe, records */

START_TEST(a_pipe_that_does_not_block_gives_and_takes_what_it_can)
{
	struct np_bufio *r, *w;
	size_t sent = 0, got = 0;
	int fd[2], k;
	const void *p;
	void *v;

	ck_assert_int_eq(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	r = given_fd(&fd[0], 0);
	w = given_fd(&fd[1], 0);
	ck_assert_int_eq(np_bufio_wait(r, 1), -EAGAIN);
	while (got < 1 << 20) {
		if (sent < 1 << 20) {
			ck_assert_int_eq(np_bufio_reserve(w, 4096 * 5, &v), 0);
			for (size_t i = 0; i < 4096 * 5; i++)
				((unsigned char *)v)[i] = number(sent + i);
			sent += 4096 * 5;
		}
		k = np_bufio_flush(w);
		ck_assert(k == 0 || k == -EAGAIN);
		while ((k = np_bufio_next(r, 1234, &p)) == 0) {
			ck_numbers(p, got, 1234);
			got += 1234;
			np_bufio_release(r);
		}
		ck_assert_int_eq(k, -EAGAIN);
	}
	while (np_bufio_flush(w) == -EAGAIN) {
		ck_assert_int_eq(np_bufio_skip(r, 4096), 0);
		got += 4096;
	}
	np_bufio_free(&w);
	ck_assert_int_eq(np_bufio_wait(r, sent), -NP_EEOF);
	ck_assert_uint_eq(np_bufio_len(r), sent - got);
	np_bufio_free(&r);
	nothing_in_use();
}
END_TEST

START_TEST(a_pipe_without_a_reader_fails_the_flush)
{
	struct np_bufio *w;
	int fd[2];

	ck_assert_int_eq(pipe2(fd, O_CLOEXEC), 0);
	close(fd[0]);
	signal(SIGPIPE, SIG_IGN);
	w = given_fd(&fd[1], 0);
	must_write(w, "x");
	ck_assert_int_eq(np_bufio_flush(w), -EPIPE);
	np_bufio_free(&w);
}
END_TEST

/*
 * A stream of bytes as a TLS session has it: they travel in sealed records of at most RECORD, a
 * record is opened as a whole and handed out piecemeal, and its end is a record of its own: a bare
 * FIN is an attack.
 */
#define RECORD 100

struct session {
	int fd;
	unsigned char opened[RECORD], sealed[RECORD + 1];
	size_t len, at; /* of opened */
	size_t have;    /* of sealed */
	bool said_goodbye;
};

static ssize_t session_open(struct session *t)
{
	size_t want;
	ssize_t k;

	do {
		want = t->have ? t->sealed[0] + 1u : 1;
		if (t->have == want)
			break;
		k = recv(t->fd, t->sealed + t->have, want - t->have, MSG_DONTWAIT);
		if (k <= 0)
			return k < 0 ? -errno : -ECONNABORTED;
		t->have += (size_t)k;
	} while (t->have < t->sealed[0] + 1u);
	for (size_t i = 0; i < t->sealed[0]; i++)
		t->opened[i] = t->sealed[i + 1] ^ 0x5a;
	t->len = t->sealed[0];
	t->at = t->have = 0;
	t->said_goodbye = !t->len;
	return 1;
}

static ssize_t session_readv(void *arg, const struct iovec *iov, int n)
{
	struct session *t = arg;
	size_t k;
	ssize_t r;

	if (t->at == t->len && !t->said_goodbye) {
		r = session_open(t);
		if (r < 0)
			return r;
	}
	if (t->said_goodbye)
		return 0;
	k = t->len - t->at < iov[0].iov_len ? t->len - t->at : iov[0].iov_len;
	memcpy(iov[0].iov_base, t->opened + t->at, k);
	t->at += k;
	return (ssize_t)k;
}

static ssize_t session_writev(void *arg, const struct iovec *iov, int n)
{
	struct session *t = arg;
	size_t k = iov[0].iov_len < RECORD ? iov[0].iov_len : RECORD;
	unsigned char record[RECORD + 1] = { (unsigned char)k };

	for (size_t i = 0; i < k; i++)
		record[i + 1] = ((unsigned char *)iov[0].iov_base)[i] ^ 0x5a;
	if (send(t->fd, record, k + 1, MSG_NOSIGNAL) != (ssize_t)k + 1)
		return -errno;
	return (ssize_t)k;
}

static void session_close(void *arg)
{
	struct session *t = arg;

	send(t->fd, "", 1, MSG_NOSIGNAL); /* goodbye; the other side may be gone */
	close(t->fd);
}

static struct np_bufio *given_session(struct session *t)
{
	struct np_bufio *b;

	ck_assert_int_eq(np_bufio_new(NP_OPTS(np_bufio_ops, .readv = session_readv,
					      .writev = session_writev, .close = session_close),
				      t, &b),
			 0);
	return b;
}

START_TEST(a_session_of_records_reads_as_one_stream)
{
	struct session a = { 0 }, b = { 0 };
	struct np_bufio *client, *server;
	unsigned char frame[1000];
	const void *p;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	a.fd = fd[0];
	b.fd = fd[1];
	client = given_session(&a);
	server = given_session(&b);
	for (size_t i = 0; i < sizeof frame; i++)
		frame[i] = number(i);
	for (size_t n = 1; n <= sizeof frame; n += 111) {
		ck_assert_int_eq(np_bufio_next(server, 2, &p), -EAGAIN);
		ck_assert_int_eq(np_bufio_write(client, &(uint16_t){ (uint16_t)n }, 2), 0);
		ck_assert_int_eq(np_bufio_write_ref(client, frame, n, NULL, NULL), 0);
		ck_assert_int_eq(np_bufio_flush(client), 0);

		ck_assert_int_eq(np_bufio_next(server, 2, &p), 0);
		ck_assert_uint_eq(*(const uint16_t *)p, n);
		ck_assert_int_eq(np_bufio_next(server, n, &p), 0);
		ck_numbers(p, 0, n);
		np_bufio_release(server);
	}
	must_write(client, "last");
	ck_assert_int_eq(np_bufio_flush(client), 0);
	np_bufio_free(&client);
	ck_assert_int_eq(np_bufio_wait(server, 5), -NP_EEOF);
	must_read(server, "last");
	ck_assert_int_eq(np_bufio_wait(server, 1), -NP_EEOF);
	np_bufio_free(&server);
	nothing_in_use();
}
END_TEST

START_TEST(a_session_that_is_cut_off_fails_and_does_not_end)
{
	struct session b = { 0 };
	struct np_bufio *server;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	b.fd = fd[1];
	server = given_session(&b);
	/* "ab", and of a record only its length */
	ck_assert_int_eq(send(fd[0], "\x02\x3b\x38\x07", 4, 0), 4);
	ck_assert_int_eq(shutdown(fd[0], SHUT_WR), 0);
	ck_assert_int_eq(np_bufio_wait(server, 3), -ECONNABORTED);
	must_read(server, "ab");
	ck_assert_int_eq(np_bufio_wait(server, 1), -ECONNABORTED);
	np_bufio_free(&server);
	close(fd[0]);
}
END_TEST

/* ------------------------------------------------------------------ misuse */

START_TEST(a_callback_that_uses_its_own_bufio_is_refused)
{
	struct puppet p = { .in = STEPS(BYTES("ab"), END), .out = TAKES(ALL) };
	struct np_bufio *b = given(&p);
	char to[4];

	p.b = b;
	ck_assert_int_eq(np_bufio_wait(b, 2), 0);
	ck_assert_int_eq(p.nested, -NP_ECONCURRENT);
	must_write(b, "x");
	ck_assert_int_eq(np_bufio_flush(b), 0);
	ck_assert_int_eq(p.nested, -NP_ECONCURRENT);
	ck_assert_int_eq(np_bufio_copy(b, to, 2), 0);
	took(&p, "x");
	np_bufio_free(&b);
}
END_TEST

START_TEST(a_callback_that_claims_too_much_ends_its_direction)
{
	struct puppet p = SOURCE({ .ret = 1 << 30 });
	struct np_bufio *b = given(&p);

	ck_assert_int_eq(np_bufio_wait(b, 1), -EINVAL);
	ck_assert_int_eq(np_bufio_wait(b, 1), -EINVAL);
	ck_assert_uint_eq(np_bufio_len(b), 0);
	ck_assert_int_eq(p.reads, 1);
	np_bufio_free(&b);
	nothing_in_use();
}
END_TEST

static ssize_t claims_more(void *arg, const struct iovec *iov, int n)
{
	return 2;
}

START_TEST(a_sink_that_claims_too_much_fails)
{
	struct np_bufio *b;

	ck_assert_int_eq(np_bufio_new(NP_OPTS(np_bufio_ops, .writev = claims_more), NULL, &b), 0);
	must_write(b, "x");
	ck_assert_int_eq(np_bufio_flush(b), -EINVAL);
	ck_assert_uint_eq(np_linkbuf_len(np_bufio_out(b)), 1);
	np_bufio_free(&b);
}
END_TEST

START_TEST(a_direction_without_a_callback_is_refused)
{
	struct puppet in = SOURCE(BYTES("a"), END), out = SINK(ALL);
	struct np_bufio *r = given(&in), *w = given(&out);
	char to[1];

	ck_assert_int_eq(np_bufio_write(r, "a", 1), -NP_EUNSUPPORTED);
	ck_assert_int_eq(np_bufio_flush(r), -NP_EUNSUPPORTED);
	ck_assert_int_eq(np_bufio_wait(w, 1), -NP_EUNSUPPORTED);
	ck_assert_int_eq(np_bufio_read(w, to, 1), -NP_EUNSUPPORTED);
	must_read(r, "a");
	np_bufio_free(&r);
	np_bufio_free(&w);
	ck_assert_ptr_null(w);
	np_bufio_free(&w);
}
END_TEST

START_TEST(new_refuses_what_it_cannot_read_or_write_with)
{
	struct {
		struct np_bufio_ops io;
		size_t newer;
	} future = { .io.sz = sizeof future, .io.readv = fd_readv };
	struct np_bufio *b = NULL;

	ck_assert_int_eq(np_bufio_new(NULL, NULL, &b), -EINVAL);
	ck_assert_int_eq(np_bufio_new(&(struct np_bufio_ops){ .readv = fd_readv }, NULL, &b),
			 -EINVAL);
	ck_assert_int_eq(np_bufio_new(NP_OPTS(np_bufio_ops, .chunk = 1), NULL, &b), -EINVAL);
	future.newer = 1;
	ck_assert_int_eq(np_bufio_new(&future.io, NULL, &b), -E2BIG);
	ck_assert_ptr_null(b);
}
END_TEST

START_TEST(the_buffers_behind_a_bufio_are_used_like_any)
{
	struct puppet p = { .in = STEPS(BYTES("abc"), END), .out = TAKES(ALL) };
	struct np_bufio *b = given(&p);
	struct np_linkbuf *in;

	ck_assert_int_eq(np_bufio_wait(b, 3), 0);
	in = np_bufio_in(b);
	ck_assert_int_eq(np_linkbuf_append(np_bufio_out(b), &in), 0);
	ck_assert_uint_eq(np_bufio_len(b), 0);
	ck_assert_int_eq(np_bufio_flush(b), 0);
	took(&p, "abc");
	np_bufio_free(&b);
	nothing_in_use();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "reading");

	tcase_add_test(t, every_reading_verb_works_on_a_file_whatever_is_asked_for_at_a_time);
	tcase_add_test(t, no_more_is_asked_of_the_source_than_needed_where_the_chunk_is_1);
	tcase_add_test(t, short_reads_are_put_together);
	tcase_add_test(t, bytes_before_the_end_stay_readable_and_the_end_is_for_good);
	tcase_add_test(t, bytes_before_an_error_stay_readable_and_the_error_is_for_good);
	tcase_add_test(t, a_signal_is_no_error_and_not_now_is_none_for_good);
	tcase_add_test(t, until_takes_a_line_in_however_many_pieces);
	tcase_add_test(t, until_goes_on_where_not_now_has_stopped_it);
	tcase_add_test(t, until_starts_again_after_another_verb_or_for_another_end);
	tcase_add_test(t, no_verb_waits_for_more_than_in_max);
	tcase_add_test(t, read_gives_what_there_is_and_copies_nothing_into_a_large_buffer);
	tcase_add_test(t, who_takes_no_pointers_need_not_release);

	t = add_case(s, "writing");
	tcase_add_test(t, nothing_is_written_before_flush);
	tcase_add_test(t, a_sink_that_takes_little_gets_the_rest_in_the_same_flush);
	tcase_add_test(t, a_sink_that_takes_nothing_now_gets_the_rest_at_the_next_flush);
	tcase_add_test(t, an_error_of_the_sink_is_for_good_and_gives_back_what_it_did_not_take);
	tcase_add_test(t, an_error_in_one_direction_leaves_the_other);
	tcase_add_test(t, many_pieces_leave_in_several_writes);

	t = add_case(s, "sources");
	tcase_add_test(t, a_pipe_that_does_not_block_gives_and_takes_what_it_can);
	tcase_add_test(t, a_pipe_without_a_reader_fails_the_flush);
	tcase_add_test(t, a_session_of_records_reads_as_one_stream);
	tcase_add_test(t, a_session_that_is_cut_off_fails_and_does_not_end);

	t = add_case(s, "misuse");
	tcase_add_test(t, a_callback_that_uses_its_own_bufio_is_refused);
	tcase_add_test(t, a_callback_that_claims_too_much_ends_its_direction);
	tcase_add_test(t, a_sink_that_claims_too_much_fails);
	tcase_add_test(t, a_direction_without_a_callback_is_refused);
	tcase_add_test(t, new_refuses_what_it_cannot_read_or_write_with);
	tcase_add_test(t, the_buffers_behind_a_bufio_are_used_like_any);
}

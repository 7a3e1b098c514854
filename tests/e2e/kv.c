/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv: examples/kv, byte by byte, and beside redis-server where that is installed
 *
 * Real clients use it in `make check-kv`.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/child.h"
#include "support/example.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

static struct example kv;
static struct child redis;
static char *redis_dir;

/* ------------------------------------------------------------------ both servers */

static void given_kv(const char *options)
{
	example_start(&kv, "kv/kv", -1, "--listen 127.0.0.1:0 --steer off %s", options);
}

static void over(void)
{
	example_end(&kv);
}

static int client(void)
{
	return example_connect(&kv);
}

static void exec_redis(int sock, void *path)
{
	if (!freopen("/dev/null", "w", stdout))
		child_fail("no /dev/null");
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
	       "--appendonly", "no", "--dir", redis_dir, NULL);
	child_fail("cannot run redis-server: %s", strerror(errno));
}

/* A connection to a redis-server of this test's own; -1: there is none on this machine. */
static int given_redis(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval limit = { AWAIT_MS / 1000, 0 };
	struct ran which;
	int fd;

	sh(&which, "command -v redis-server");
	if (which.code) {
		ran_free(&which);
		return -1;
	}
	ran_free(&which);
	redis_dir = temp_dir();
	snprintf(un.sun_path, sizeof un.sun_path, "%s/redis.sock", redis_dir);
	child_start(&redis, exec_redis, un.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	AWAIT(connect(fd, (struct sockaddr *)&un, sizeof un) == 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	return fd;
}

static void redis_over(int *fd)
{
	peer_close(fd);
	child_kill(&redis);
	remove_tree(&redis_dir);
}

static int redis_again(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval limit = { AWAIT_MS / 1000, 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s/redis.sock", redis_dir);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	return fd;
}

/* ------------------------------------------------------------------ commands and answers */

struct bytes {
	char *p;
	size_t n;
};

static void add(struct bytes *b, const void *p, size_t n)
{
	b->p = realloc(b->p, b->n + n + 1);
	ck_assert_ptr_nonnull(b->p);
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

static void add_text(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_text(struct bytes *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ck_assert_int_lt(n, (int)sizeof text);
	add(b, text, (size_t)n);
}

static void add_arg(struct bytes *b, const void *p, size_t n)
{
	add_text(b, "$%zu\r\n", n);
	add(b, p, n);
	add_text(b, "\r\n");
}

/* Words, as a RESP array. */
static void add_command(struct bytes *b, const char *words)
{
	char text[512], *word, *save;
	int n = 0;

	snprintf(text, sizeof text, "%s", words);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		n++;
	add_text(b, "*%d\r\n", n);
	snprintf(text, sizeof text, "%s", words);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		add_arg(b, word, strlen(word));
}

static void read_line(int fd, struct bytes *b)
{
	char c = 0;

	while (c != '\n') {
		peer_recv(fd, &c, 1);
		add(b, &c, 1);
	}
}

/* One answer, whatever is in it, behind what is in @b. */
static void read_answer(int fd, struct bytes *b)
{
	size_t from = b->n;
	char type, *body;
	long n;

	read_line(fd, b);
	type = b->p[from];
	n = strtol(b->p + from + 1, NULL, 10);
	if ((type == '$' || type == '=') && n >= 0) {
		body = malloc((size_t)n + 2);
		peer_recv(fd, body, (size_t)n + 2);
		add(b, body, (size_t)n + 2);
		free(body);
	}
	if (type == '%')
		n *= 2;
	if (strchr("*%~>", type))
		while (n-- > 0)
			read_answer(fd, b);
}

static void ask(int fd, const char *words)
{
	struct bytes b = { NULL, 0 };

	add_command(&b, words);
	peer_send(fd, b.p, b.n);
	free(b.p);
}

static void expect_answer(int fd, const char *answer)
{
	struct bytes b = { NULL, 0 };

	read_answer(fd, &b);
	ck_assert_str_eq(b.p, answer);
	free(b.p);
}

static void expect(int fd, const char *words, const char *answer)
{
	ask(fd, words);
	expect_answer(fd, answer);
}

static long integer(int fd, const char *words)
{
	struct bytes b = { NULL, 0 };
	long n;

	ask(fd, words);
	read_answer(fd, &b);
	ck_assert_int_eq(b.p[0], ':');
	n = atol(b.p + 1);
	free(b.p);
	return n;
}

/* ------------------------------------------------------------------ what Redis says */

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

/* K: a key. T: one that has the same tag as the others. V: a value. I: an integer, or what looks
 * like one. M: an integer that is no short time. S: a score. Z: an option of
 * ZADD. W: a word that some other option is. */
static const char *const forms[] = {
	"GET K",
	"SET K V",
	"SET K V",
	"SET K V W",
	"SET K V W W",
	"SET K V EX 1000",
	"SET K V PX M",
	"SET K V W M",
	"SET K V NX GET",
	"SETNX K V",
	"SETEX K M V",
	"PSETEX K 100000 V",
	"GETSET K V",
	"GETDEL K",
	"GETEX K",
	"GETEX K W M",
	"GETEX K PERSIST",
	"MGET K K K",
	"MGET K",
	"MSET K V K V",
	"MSET K V K V K V",
	"MSET K V K",
	"MSETNX T V T V",
	"INCR K",
	"DECR K",
	"INCRBY K I",
	"DECRBY K I",
	"INCRBYFLOAT K I",
	"STRLEN K",
	"APPEND K V",
	"SETRANGE K I V",
	"GETRANGE K I I",
	"SUBSTR K I I",
	"DEL K",
	"DEL K K K",
	"UNLINK K K",
	"EXISTS K K K",
	"TOUCH K K",
	"TYPE K",
	"RENAME T T",
	"RENAMENX T T",
	"SET T V",
	"LPUSH T V V",
	"EXPIRE K 1000",
	"EXPIRE K M",
	"EXPIRE K 2000 W",
	"EXPIRE K 90 W W",
	"PEXPIRE K 500000",
	"EXPIREAT K M",
	"EXPIREAT K 9999999999",
	"PEXPIREAT K M",
	"TTL K",
	"PERSIST K",
	"EXPIRETIME K",
	"LPUSH K V",
	"LPUSH K V V V",
	"RPUSH K V",
	"RPUSH K V V",
	"LPUSHX K V",
	"RPUSHX K V V",
	"LPOP K",
	"RPOP K",
	"LPOP K I",
	"RPOP K I",
	"LPOP K I I",
	"LLEN K",
	"LRANGE K I I",
	"LRANGE K 0 -1",
	"LINDEX K I",
	"DBSIZE",
	"PING",
	"PING V",
	"ECHO V",
	"SELECT 1",
	"SELECT 0",
	"SELECT I",
	"NOSUCH K V",
	"GET",
	"GET K K",
	"SET K",
	"CLIENT GETNAME",
	"CLIENT SETNAME V",
	"EXEC",
	"DISCARD",
	"PUBLISH K V",
	"KEYS nothing*",
	"SADD K V V",
	"SADD K V",
	"SREM K V V",
	"SISMEMBER K V",
	"SCARD K",
	"SPOP K 1 2",
	"SPOP none",
	"SPOP K -1",
	"HSET K V V",
	"HSET K V V V",
	"HSET K V 1 V 2",
	"HMSET K V V",
	"HSETNX K V V",
	"HGET K V",
	"HMGET K V V V",
	"HDEL K V V",
	"HLEN K",
	"HEXISTS K V",
	"HSTRLEN K V",
	"HINCRBY K V I",
	"ZADD K S V",
	"ZADD K S V S V S V",
	"ZADD K Z S V",
	"ZADD K Z Z S V S V",
	"ZADD K 1 a -inf b 3 c 1 d",
	"ZINCRBY K S V",
	"ZREM K V V",
	"ZSCORE K V",
	"ZRANK K V",
	"ZREVRANK K V",
	"ZCARD K",
	"ZPOPMIN K",
	"ZPOPMAX K",
	"ZPOPMIN K I",
	"ZRANGE K I I",
	"ZRANGE K 0 -1 WITHSCORES",
	"ZRANGE K I I REV WITHSCORES",
	"ZREVRANGE K I I",
	/* the last one: it needs all keys on one shard */
	"MULTI",
};

#define FORMS ((unsigned)(sizeof forms / sizeof *forms))

static void add_key(struct bytes *b, bool tagged)
{
	char key[16];
	int n = snprintf(key, sizeof key, tagged ? "{t}%u" : "k%u", pick(6));

	add_arg(b, key, (size_t)n);
}

static void add_value(struct bytes *b)
{
	static const struct bytes values[] = {
		{ "", 0 },        { "1", 1 },         { "-5", 2 },
		{ "abc", 3 },     { "3.25", 4 },      { "a b", 3 },
		{ "\0\r\n$", 4 }, { "00", 2 },        { "9223372036854775807", 19 },
		{ "1e3", 3 },     { "10", 2 },        { "-9223372036854775808", 20 },
		{ " 1", 2 },      { "'quoted\"", 8 }, { "x", 1 },
	};
	static char large[5000];
	unsigned i = pick(sizeof values / sizeof *values + 2);

	memset(large, 'l', sizeof large);
	if (i < sizeof values / sizeof *values)
		add_arg(b, values[i].p, values[i].n);
	else
		add_arg(b, large, pick(sizeof large));
}

static void add_word(struct bytes *b, char what)
{
	static const char *const integers[] = { "0",  "1",  "-1", "2",    "5",
						"-3", "10", "x",  "1000", "9223372036854775807",
						"+1", "01", "-0", "3.5",  "-9223372036854775808" };
	static const char *const words[] = { "NX", "xx", "GET",  "KEEPTTL", "EX",  "px",
					     "GT", "lt", "PXAT", "EXAT",    "nope" };
	static const char *const times[] = { "0",      "-1", "x", "100000", "9223372036854775807",
					     "9999999" };
	static const char *const scores[] = { "1",   "2.5", "-1e3", "inf",  "-inf",
					      "nan", "x",   "0.1",  "1e400" };
	static const char *const flags[] = { "NX", "xx", "GT", "LT", "CH", "INCR", "1" };
	const char *word = what == 'I' ? integers[pick(15)] :
			   what == 'S' ? scores[pick(9)] :
			   what == 'Z' ? flags[pick(7)] :
			   what == 'M' ? times[pick(6)] :
					 words[pick(11)];

	add_arg(b, word, strlen(word));
}

/* @alone: one poller has all keys. Else a transaction may be refused. */
static void add_random(struct bytes *b, bool alone)
{
	const char *form = forms[pick(alone ? FORMS : FORMS - 1)], *word = form;
	int n = 1;

	for (const char *p = form; *p; p++)
		n += *p == ' ';
	add_text(b, "*%d\r\n", n);
	for (size_t len; *word; word += len + (word[len] == ' ')) {
		len = strcspn(word, " ");
		if (len > 1 || word == form || strchr("0123456789", *word))
			add_arg(b, word, len);
		else if (*word == 'K' || *word == 'T')
			add_key(b, *word == 'T');
		else if (*word == 'V')
			add_value(b);
		else
			add_word(b, *word);
	}
}

/* Whether the command at @p is answered with a time, by itself or as a part of a transaction. */
static bool tells_time(const char *p)
{
	static const char *const names[] = { "TTL\r", "EXPIRETIME\r", "EXEC\r" };

	for (int lines = 0; lines < 2; lines++)
		p = strchr(p, '\n') + 1;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strncmp(p, names[i], strlen(names[i])))
			return true;
	return false;
}

static bool is_near(const char *one, const char *other, long s)
{
	long a = atol(one + 1), b = atol(other + 1);

	return *one == ':' && *other == ':' && a > 0 && b > 0 && labs(a - b) <= s;
}

/* Line by line; integers may be @s apart. */
static bool is_same_but_for_time(const struct bytes *one, const struct bytes *other, long s)
{
	const char *p = one->p, *q = other->p, *p_end = p + one->n, *q_end = q + other->n;

	while (p < p_end && q < q_end) {
		size_t n = (size_t)((const char *)memchr(p, '\n', (size_t)(p_end - p)) + 1 - p);
		size_t m = (size_t)((const char *)memchr(q, '\n', (size_t)(q_end - q)) + 1 - q);

		if ((n != m || memcmp(p, q, n)) && !is_near(p, q, s))
			return false;
		p += n;
		q += m;
	}
	return p == p_end && q == q_end;
}

/* The two servers read their clocks one after the other: less than @ms lies between. */
static bool is_same(const char *command, const struct bytes *one, const struct bytes *other,
		    uint64_t ms)
{
	if (one->n == other->n && !memcmp(one->p, other->p, one->n))
		return true;
	return tells_time(command) && is_same_but_for_time(one, other, (long)(ms / 1000) + 1);
}

#define STREAM 400

static void compare_stream(int a, int b, uint64_t with_seed, bool alone)
{
	struct bytes in = { NULL, 0 }, one = { NULL, 0 }, other = { NULL, 0 };
	size_t from[STREAM + 1] = { 0 };
	uint64_t began = now_ms();

	seed = with_seed;
	for (int i = 0; i < STREAM; i++) {
		add_random(&in, alone);
		from[i + 1] = in.n;
	}
	/* in parts, so that neither side waits for the other to read */
	for (int i = 0; i < STREAM; i += 20) {
		peer_send(a, in.p + from[i], from[i + 20] - from[i]);
		peer_send(b, in.p + from[i], from[i + 20] - from[i]);
		for (int k = i; k < i + 20; k++) {
			one.n = other.n = 0;
			read_answer(a, &one);
			read_answer(b, &other);
			ck_assert_msg(is_same(in.p + from[k], &one, &other, now_ms() - began),
				      "seed %llu, command %d: %.*s\nkv    %s\nRedis %s",
				      (unsigned long long)with_seed, k,
				      (int)(from[k + 1] - from[k]), in.p + from[k], one.p, other.p);
		}
	}
	free(in.p);
	free(one.p);
	free(other.p);
}

START_TEST(answers_are_those_of_redis)
{
	int r = given_redis(), fd;
	struct bytes hello = { NULL, 0 };

	if (r < 0)
		SKIP("redis-server is not installed");
	given_kv(_i ? "--pollers 3" : "--pollers 1");
	fd = client();
	for (uint64_t s = 1; s <= 16; s++) {
		if (s % 4 == 0) {
			ask(fd, "HELLO 3");
			ask(r, "HELLO 3");
			read_answer(fd, &hello);
			read_answer(r, &hello);
		}
		/* 10050 has found an overflow once */
		compare_stream(fd, r, s == 16 ? 10050 : s + 100 * (uint64_t)_i, !_i);
		ask(fd, "RESET");
		ask(r, "RESET");
		expect_answer(fd, "+RESET\r\n");
		expect_answer(r, "+RESET\r\n");
		expect(fd, "FLUSHALL", "+OK\r\n");
		expect(r, "FLUSHALL", "+OK\r\n");
	}
	free(hello.p);
	peer_close(&fd);
	redis_over(&r);
	over();
}
END_TEST

static const struct bytes malformed[] = {
#define IN(s)                    \
	{                        \
		s, sizeof(s) - 1 \
	}
	IN("*x\r\n"),
	IN("*2147483648\r\n"),
	IN("*99999999999999999999\r\n"),
	IN("*01\r\n$4\r\nPING\r\n"),
	IN("*-2\r\nPING\r\n"),
	IN("*0\r\nPING\r\n"),
	IN("*1\r\nPING\r\n"),
	IN("*1\r\n:4\r\n"),
	IN("*1\r\n\r\n"),
	IN("*1\r\n$x\r\n"),
	IN("*1\r\n$-1\r\n"),
	IN("*1\r\n$536870913\r\n"),
	IN("*1\r\n$4x\r\n"),
	IN("*2\r\n$4\r\nECHO\r\n$3\r\nabcde\r\n"),
	IN("*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n"),
	IN("PING\r\n*1\r\n$4\r\nPING\r\nPING\nping x\r\n"),
	IN("\r\n\n  \r\nPING\r\n"),
	IN("ECHO \"a\\x41\\n\\q\" \r\n"),
	IN("ECHO 'a\\'b\\n'\r\n"),
	IN("ECHO \"a\"b\r\n"),
	IN("ECHO \"a\r\n"),
	IN("ECHO 'a\r\n"),
	IN("ECHO a\"b c\"\r\n"),
	IN("ECHO \"\"\r\n"),
	IN("nosuch \"a\\nb\" c\r\n"),
	IN("PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n!\r\nPING\r\n"),
	IN("QUIT\r\nPING\r\n"),
	IN("GET / HTTP/1.1\r\nAccept: x\r\n"),
#undef IN
};

#define MALFORMED ((int)(sizeof malformed / sizeof *malformed))

/* All that comes until it closes, or has answered a last ECHO. */
static void read_all(int fd, struct bytes *b)
{
	static const char end[] = "the end of it";
	char part[4096];
	ssize_t n;

	while ((n = recv(fd, part, sizeof part, 0)) > 0) {
		add(b, part, (size_t)n);
		if (b->n > sizeof end && memmem(b->p, b->n, end, sizeof end - 1))
			break;
	}
	add_text(b, n > 0 ? "open" : "closed");
}

START_TEST(what_is_malformed_is_answered_as_redis_does)
{
	static const char end[] = "*2\r\n$4\r\nECHO\r\n$13\r\nthe end of it\r\n";
	int r = given_redis(), a, b;

	if (r < 0)
		SKIP("redis-server is not installed");
	given_kv("--pollers 2");
	for (int i = 0; i < MALFORMED; i++) {
		struct bytes one = { NULL, 0 }, other = { NULL, 0 };

		a = client();
		b = redis_again();
		peer_send(a, malformed[i].p, malformed[i].n);
		peer_send(b, malformed[i].p, malformed[i].n);
		/* it may be closed by now */
		send(a, end, sizeof end - 1, MSG_NOSIGNAL);
		send(b, end, sizeof end - 1, MSG_NOSIGNAL);
		read_all(a, &one);
		read_all(b, &other);
		ck_assert_msg(one.n == other.n && !memcmp(one.p, other.p, one.n),
			      "%s\nkv    %s\nRedis %s", malformed[i].p, one.p, other.p);
		free(one.p);
		free(other.p);
		close(a);
		close(b);
	}
	redis_over(&r);
	over();
}
END_TEST

/* ------------------------------------------------------------------ bytes in any pieces */

static const char stream_in[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n\r\n\0x\n\r\n"
				"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
				"incr n\r\n"
				"*5\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\nc\r\n$1\r\n2\r\n"
				"*4\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
				"echo \"q \\x41\"\r\n"
				"*2\r\n$3\r\nDEL\r\n$1\r\nn\r\n";
static const char stream_out[] = "+OK\r\n"
				 "$5\r\n\r\n\0x\n\r\n"
				 ":1\r\n"
				 "+OK\r\n"
				 "*3\r\n$5\r\n\r\n\0x\n\r\n$1\r\n1\r\n$1\r\n2\r\n"
				 "$3\r\nq A\r\n"
				 ":1\r\n";

static void expect_bytes(int fd, const char *p, size_t n)
{
	char got[1024];

	peer_recv(fd, got, n);
	ck_assert_mem_eq(got, p, n);
}

START_TEST(a_stream_may_be_cut_at_every_byte)
{
	const size_t n = sizeof stream_in - 1;
	int fd;

	given_kv("--pollers 2");
	fd = client();
	for (size_t cut = 1; cut < n; cut++) {
		peer_send(fd, stream_in, cut);
		peer_send(fd, stream_in + cut, n - cut);
		expect_bytes(fd, stream_out, sizeof stream_out - 1);
	}
	for (size_t i = 0; i < n; i++)
		peer_send(fd, stream_in + i, 1);
	expect_bytes(fd, stream_out, sizeof stream_out - 1);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_pipeline_over_shards_is_answered_in_order)
{
	struct bytes in = { NULL, 0 }, out = { NULL, 0 };
	char *got;
	int fd;

	given_kv("--pollers 3");
	for (int i = 0; i < 3000; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d %d", i, i);
		add_command(&in, words);
		add_text(&out, "+OK\r\n");
		snprintf(words, sizeof words, "GET key%d", i);
		add_command(&in, words);
		add_text(&out, "$%d\r\n%d\r\n", snprintf(words, sizeof words, "%d", i), i);
		snprintf(words, sizeof words, "MGET key%d key%d none", i, i / 2);
		add_command(&in, words);
		add_text(&out, "*3\r\n$%d\r\n%d\r\n", snprintf(words, sizeof words, "%d", i), i);
		add_text(&out, "$%d\r\n%d\r\n$-1\r\n", snprintf(words, sizeof words, "%d", i / 2),
			 i / 2);
	}
	add_command(&in, "DBSIZE");
	add_text(&out, ":3000\r\n");
	fd = client();
	got = malloc(out.n);
	for (size_t sent = 0, n; sent < in.n; sent += n) {
		n = in.n - sent < 65536 ? in.n - sent : 65536;
		peer_send(fd, in.p + sent, n);
	}
	peer_recv(fd, got, out.n);
	ck_assert_mem_eq(got, out.p, out.n);
	free(got);
	free(in.p);
	free(out.p);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(what_was_asked_before_a_fin_is_answered)
{
	int fd;

	given_kv("--pollers 2");
	fd = client();
	peer_send(fd, stream_in, sizeof stream_in - 1);
	peer_send(fd, "*2\r\n$3\r\nGET\r\n$1", 16); /* and this is none */
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect_bytes(fd, stream_out, sizeof stream_out - 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_client_that_resets_harms_nobody)
{
	struct bytes in = { NULL, 0 };
	int fd, other;

	given_kv("--pollers 3");
	other = client();
	for (int i = 0; i < 500; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d v", i);
		add_command(&in, words);
		add_command(&in, "MGET key1 key2 key3");
	}
	for (int i = 0; i < 20; i++) {
		fd = client();
		peer_send(fd, in.p, in.n);
		peer_reset(&fd);
		expect(other, "PING", "+PONG\r\n");
	}
	free(in.p);
	peer_close(&other);
	over();
}
END_TEST

/* ------------------------------------------------------------------ transactions */

START_TEST(a_transaction_runs_where_all_its_keys_are)
{
	int fd;

	given_kv("--pollers 3");
	fd = client();
	expect(fd, "MULTI", "+OK\r\n");
	expect(fd, "SET {x}a 1", "+QUEUED\r\n");
	expect(fd, "INCR {x}b", "+QUEUED\r\n");
	expect(fd, "ECHO hi", "+QUEUED\r\n");
	expect(fd, "LPUSH {x}b 1", "+QUEUED\r\n");
	expect(fd, "MGET {x}a {x}b", "+QUEUED\r\n");
	expect(fd, "EXEC",
	       "*5\r\n+OK\r\n:1\r\n$2\r\nhi\r\n"
	       "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
	       "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_transaction_over_shards_is_refused)
{
	bool refused = false;
	int fd;

	given_kv("--pollers 3");
	fd = client();
	expect(fd, "MULTI", "+OK\r\n");
	for (int i = 0; i < 20; i++) {
		struct bytes b = { NULL, 0 };
		char words[32];

		snprintf(words, sizeof words, "SET k%d v", i);
		ask(fd, words);
		read_answer(fd, &b);
		refused |= !strncmp(b.p, "-CROSSSLOT ", 11);
		free(b.p);
	}
	ck_assert(refused);
	expect(fd, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
	ck_assert_int_eq(integer(fd, "DBSIZE"), 0);
	peer_close(&fd);
	over();
}
END_TEST

/* ------------------------------------------------------------------ who listens */

START_TEST(what_is_published_reaches_subscribers_of_every_poller)
{
	enum { N = 12 };
	int fds[N], fd;

	given_kv("--pollers 3");
	for (int i = 0; i < N; i++) {
		fds[i] = client();
		if (i % 3 == 2)
			expect(fds[i], "PSUBSCRIBE n?ws",
			       "*3\r\n$10\r\npsubscribe\r\n$4\r\nn?ws\r\n:1\r\n");
		else
			expect(fds[i], "SUBSCRIBE news",
			       "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
	}
	fd = client();
	for (int k = 0; k < 50; k++)
		ck_assert_int_eq(integer(fd, "PUBLISH news hi"), N);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < 50; k++)
			expect_answer(
				fds[i],
				i % 3 == 2 ?
					"*4\r\n$8\r\npmessage\r\n$4\r\nn?ws\r\n$4\r\nnews\r\n$2\r\nhi\r\n" :
					"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
	expect(fds[0], "GET x",
	       "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n");
	expect(fds[0], "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
	expect(fds[0], "UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
	expect(fds[0], "GET x", "$-1\r\n");
	peer_close(&fds[1]);
	AWAIT(integer(fd, "PUBLISH news hi") == N - 2);
	for (int i = 0; i < N; i++)
		if (i != 1)
			peer_close(&fds[i]);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_subscriber_that_does_not_read_is_reset_and_the_others_are_told)
{
	struct bytes in = { NULL, 0 };
	static char block[65536];
	int deaf, good, fd;
	long told = 2;

	given_kv("--pollers 2 --output-max 1000000");
	deaf = client();
	good = client();
	fd = client();
	expect(deaf, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
	expect(good, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
	add_text(&in, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n");
	memset(block, 'x', sizeof block);
	add_arg(&in, block, sizeof block);
	for (int i = 0; told == 2 && i < 2000; i++) {
		struct bytes b = { NULL, 0 };

		peer_send(fd, in.p, in.n);
		read_answer(fd, &b);
		told = atol(b.p + 1);
		b.n = 0;
		read_answer(good, &b);
		free(b.p);
	}
	ck_assert_int_eq(told, 1);
	AWAIT(send(deaf, "PING\r\n", 6, MSG_NOSIGNAL) < 0);
	expect(fd, "PING", "+PONG\r\n");
	free(in.p);
	peer_close(&deaf);
	peer_close(&good);
	peer_close(&fd);
	over();
}
END_TEST

/* ------------------------------------------------------------------ bounds */

static long resident_kib(void)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)kv.child.pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

START_TEST(at_the_memory_limit_what_adds_is_refused_and_the_rest_works)
{
	static char block[10000];
	bool refused = false;
	int fd;

	given_kv("--pollers 2 --maxmemory 2000000");
	fd = client();
	memset(block, 'x', sizeof block);
	for (int i = 0; i < 1000 && !refused; i++) {
		struct bytes in = { NULL, 0 }, b = { NULL, 0 };
		char key[16];

		add_text(&in, "*3\r\n$3\r\nSET\r\n");
		add_arg(&in, key, (size_t)snprintf(key, sizeof key, "k%d", i));
		add_arg(&in, block, sizeof block);
		peer_send(fd, in.p, in.n);
		read_answer(fd, &b);
		refused = !strcmp(b.p,
				  "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
		free(in.p);
		free(b.p);
	}
	ck_assert(refused);
	ck_assert_int_gt(integer(fd, "STRLEN k0"), 0);
	expect(fd, "FLUSHALL", "+OK\r\n");
	for (int i = 0; i < 10; i++) {
		struct bytes b = { NULL, 0 };
		char words[32];

		/* what was flushed is freed bit by bit */
		snprintf(words, sizeof words, "SET n%d v", i);
		do {
			b.n = 0;
			ask(fd, words);
			read_answer(fd, &b);
		} while (!strncmp(b.p, "-OOM", 4));
		ck_assert_str_eq(b.p, "+OK\r\n");
		free(b.p);
	}
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(lengths_that_are_only_claimed_take_no_memory)
{
	enum { N = 50 };
	int fds[N], fd;
	long before;

	given_kv("--pollers 2");
	fd = client();
	expect(fd, "PING", "+PONG\r\n");
	before = resident_kib();
	for (int i = 0; i < N; i++) {
		static const char claim[] = "*2147483647\r\n$536870912\r\nabc";

		fds[i] = client();
		peer_send(fds[i], claim, sizeof claim - 1);
	}
	expect(fd, "PING", "+PONG\r\n");
	if (!under_asan() && !under_tsan())
		ck_assert_int_lt(resident_kib() - before, 16384);
	for (int i = 0; i < N; i++)
		peer_close(&fds[i]);
	peer_close(&fd);
	over();
}
END_TEST

/* Answers of 200 MB are asked for: those that wait are bounded, and all come when they are read. */
START_TEST(a_client_that_does_not_read_is_not_read_from)
{
	struct bytes in = { NULL, 0 };
	static char block[100000];
	struct pollfd p;
	size_t asked = 0, sent = 0, got = 0;
	ssize_t n;
	long before;
	int fd;

	given_kv("--pollers 2");
	fd = client();
	memset(block, 'x', sizeof block);
	add_text(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n");
	add_arg(&in, block, sizeof block);
	peer_send(fd, in.p, in.n);
	expect_answer(fd, "+OK\r\n");
	in.n = 0;
	for (int i = 0; i < 2000; i++)
		add_command(&in, "GET k");
	before = resident_kib();
	p = (struct pollfd){ fd, POLLOUT, 0 };
	while (asked < in.n && poll(&p, 1, 300) == 1)
		if ((n = send(fd, in.p + asked, in.n - asked, MSG_DONTWAIT)) > 0)
			asked += (size_t)n;
	if (!under_asan() && !under_tsan())
		ck_assert_int_lt(resident_kib() - before, 32768);
	sent = 2000 * (sizeof block + 11);
	while (got < sent) {
		if (asked < in.n && (n = send(fd, in.p + asked, in.n - asked, MSG_DONTWAIT)) > 0)
			asked += (size_t)n;
		n = recv(fd, block, sizeof block, 0);
		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	ck_assert_uint_eq(got, sent);
	free(in.p);
	peer_close(&fd);
	over();
}
END_TEST

/* As hiredis does it, in a blocking way: 800 KB of questions, for 20 MB of answers. */
START_TEST(a_whole_pipeline_may_be_sent_before_an_answer_is_read)
{
	struct bytes in = { NULL, 0 };
	static char value[1000], block[65536];
	size_t left;
	ssize_t n;
	int fd;

	given_kv("--pollers 2");
	fd = client();
	memset(value, 'x', sizeof value);
	add_text(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n");
	add_arg(&in, value, sizeof value);
	peer_send(fd, in.p, in.n);
	expect_answer(fd, "+OK\r\n");
	in.n = 0;
	for (int i = 0; i < 20000; i++)
		add_text(&in, "GET k%*s\r\n", 35, "");
	peer_send(fd, in.p, in.n);
	for (left = 20000 * (sizeof value + 9); left; left -= (size_t)n) {
		n = recv(fd, block, left < sizeof block ? left : sizeof block, 0);
		if (n <= 0)
			ck_abort_msg("%zu bytes are missing: %s", left, strerror(errno));
	}
	free(in.p);
	peer_close(&fd);
	over();
}
END_TEST

/* ------------------------------------------------------------------ keys */

START_TEST(a_key_ends_though_nobody_looks_for_it)
{
	int fd;

	given_kv("--pollers 2");
	fd = client();
	for (int i = 0; i < 1000; i++) {
		char words[64];

		snprintf(words, sizeof words, "SET key%d v PX %d", i, 1 + i % 300);
		expect(fd, words, "+OK\r\n");
	}
	expect(fd, "SET stays v PX 1000000", "+OK\r\n");
	AWAIT(integer(fd, "DBSIZE") == 1);
	peer_close(&fd);
	over();
}
END_TEST

/* Every key that is there from the first call to the last is seen, while others come and go. */
START_TEST(a_scan_sees_every_key_while_the_table_is_resized)
{
	enum { N = 500 };
	bool seen[N] = { false };
	struct bytes b = { NULL, 0 };
	char words[64], cursor[32] = "0";
	int fd, more = 0;

	given_kv("--pollers 3");
	fd = client();
	for (int i = 0; i < N; i++) {
		snprintf(words, sizeof words, "SET s%d v", i);
		expect(fd, words, "+OK\r\n");
	}
	do {
		snprintf(words, sizeof words, "SCAN %s COUNT 7", cursor);
		ask(fd, words);
		b.n = 0;
		read_answer(fd, &b);
		ck_assert_int_eq(sscanf(b.p, "*2\r\n$%*d\r\n%31[0-9]", cursor), 1);
		for (char *p = b.p; (p = strstr(p, "\r\ns")); p += 3)
			if (atoi(p + 3) < N)
				seen[atoi(p + 3)] = true;
		for (int i = 0; i < 20; i++) {
			snprintf(words, sizeof words, "SET more%d v", more++);
			expect(fd, words, "+OK\r\n");
		}
	} while (strcmp(cursor, "0") != 0);
	for (int i = 0; i < N; i++)
		ck_assert_msg(seen[i], "s%d was not seen", i);
	free(b.p);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_unix_socket_is_served)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_un *un = (struct sockaddr_un *)&ss;
	char *dir = temp_dir(), options[256];
	int fd;

	snprintf(options, sizeof options, "--pollers 2 --listen unix:%s/kv.sock", dir);
	given_kv(options);
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof un->sun_path, "%s/kv.sock", dir);
	fd = peer_connect(&ss, sizeof *un);
	expect(fd, "SET a b", "+OK\r\n");
	expect(fd, "GET a", "$1\r\nb\r\n");
	peer_close(&fd);
	over();
	remove_tree(&dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kv");
	TCase *t = tcase_create("kv");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, answers_are_those_of_redis, 0, 2);
	tcase_add_test(t, what_is_malformed_is_answered_as_redis_does);
	tcase_add_test(t, a_stream_may_be_cut_at_every_byte);
	tcase_add_test(t, a_pipeline_over_shards_is_answered_in_order);
	tcase_add_test(t, what_was_asked_before_a_fin_is_answered);
	tcase_add_test(t, a_client_that_resets_harms_nobody);
	tcase_add_test(t, a_transaction_runs_where_all_its_keys_are);
	tcase_add_test(t, a_transaction_over_shards_is_refused);
	tcase_add_test(t, what_is_published_reaches_subscribers_of_every_poller);
	tcase_add_test(t, a_subscriber_that_does_not_read_is_reset_and_the_others_are_told);
	tcase_add_test(t, at_the_memory_limit_what_adds_is_refused_and_the_rest_works);
	tcase_add_test(t, lengths_that_are_only_claimed_take_no_memory);
	tcase_add_test(t, a_client_that_does_not_read_is_not_read_from);
	tcase_add_test(t, a_whole_pipeline_may_be_sent_before_an_answer_is_read);
	tcase_add_test(t, a_key_ends_though_nobody_looks_for_it);
	tcase_add_test(t, a_scan_sees_every_key_while_the_table_is_resized);
	tcase_add_test(t, a_unix_socket_is_served);
	suite_add_tcase(s, t);
	return run_suite(s);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_redis: examples/kv beside redis-server, where that is installed: the same random commands and
 * the same garbage to both
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/child.h"
#include "support/kv.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

static struct child redis;
static char *redis_dir;

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

/* ------------------------------------------------------------------ random commands */

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

	kv_add_arg(b, key, (size_t)n);
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
		kv_add_arg(b, values[i].p, values[i].n);
	else
		kv_add_arg(b, large, pick(sizeof large));
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

	kv_add_arg(b, word, strlen(word));
}

/* @alone: one poller has all keys. Else a transaction may be refused. */
static void add_random(struct bytes *b, bool alone)
{
	const char *form = forms[pick(alone ? FORMS : FORMS - 1)], *word = form;
	int n = 1;

	for (const char *p = form; *p; p++)
		n += *p == ' ';
	bytes_add_text(b, "*%d\r\n", n);
	for (size_t len; *word; word += len + (word[len] == ' ')) {
		len = strcspn(word, " ");
		if (len > 1 || word == form || strchr("0123456789", *word))
			kv_add_arg(b, word, len);
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
	struct bytes in = { 0 }, one = { 0 }, other = { 0 };
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
			kv_read_answer(a, &one);
			kv_read_answer(b, &other);
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
	struct bytes hello = { 0 };

	if (r < 0)
		SKIP("redis-server is not installed");
	kv_start(_i ? "--pollers 3" : "--pollers 1");
	fd = kv_client();
	for (uint64_t s = 1; s <= 16; s++) {
		if (s % 4 == 0) {
			kv_ask(fd, "HELLO 3");
			kv_ask(r, "HELLO 3");
			kv_read_answer(fd, &hello);
			kv_read_answer(r, &hello);
		}
		/* 10050 has found an overflow once */
		compare_stream(fd, r, s == 16 ? 10050 : s + 100 * (uint64_t)_i, !_i);
		kv_ask(fd, "RESET");
		kv_ask(r, "RESET");
		kv_expect_answer(fd, "+RESET\r\n");
		kv_expect_answer(r, "+RESET\r\n");
		kv_expect(fd, "FLUSHALL", "+OK\r\n");
		kv_expect(r, "FLUSHALL", "+OK\r\n");
	}
	free(hello.p);
	peer_close(&fd);
	redis_over(&r);
	kv_end();
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
		bytes_add(b, part, (size_t)n);
		if (b->n > sizeof end && memmem(b->p, b->n, end, sizeof end - 1))
			break;
	}
	bytes_add_text(b, n > 0 ? "open" : "closed");
}

START_TEST(what_is_malformed_is_answered_as_redis_does)
{
	static const char end[] = "*2\r\n$4\r\nECHO\r\n$13\r\nthe end of it\r\n";
	int r = given_redis(), a, b;

	if (r < 0)
		SKIP("redis-server is not installed");
	kv_start("--pollers 2");
	for (int i = 0; i < MALFORMED; i++) {
		struct bytes one = { 0 }, other = { 0 };

		a = kv_client();
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
	kv_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "kv");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, answers_are_those_of_redis, 0, 2);
	tcase_add_test(t, what_is_malformed_is_answered_as_redis_does);
}

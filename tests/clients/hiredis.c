/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hiredis: the example kv as hiredis sees it: hiredis HOST PORT | hiredis SOCKET
 *
 * What the library's own tests ask of a server: formats, all kinds of replies, pipelines, a
 * transaction, messages, and the end of a connection. Ends with 1 at the first that is otherwise.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *where, *port;

static void fail(const char *what, const char *got)
{
	fprintf(stderr, "hiredis: %s: %s\n", what, got ? got : "no reply");
	exit(EXIT_FAILURE);
}

static redisContext *connected(void)
{
	redisContext *c = port ? redisConnect(where, atoi(port)) : redisConnectUnix(where);

	if (!c || c->err)
		fail("cannot connect", c ? c->errstr : "no memory");
	return c;
}

static redisReply *must(redisContext *c, void *reply, const char *what, int type)
{
	redisReply *r = reply;

	if (!r || r->type != type)
		fail(what, r ? r->str : c->errstr);
	return r;
}

static void expect_str(redisContext *c, void *reply, const char *what, int type, const char *str,
		       size_t n)
{
	redisReply *r = must(c, reply, what, type);

	if ((size_t)r->len != n || memcmp(r->str, str, n) != 0)
		fail(what, r->str);
	freeReplyObject(r);
}

static void expect_int(redisContext *c, void *reply, const char *what, long long n)
{
	redisReply *r = must(c, reply, what, REDIS_REPLY_INTEGER);

	if (r->integer != n)
		fail(what, "another number");
	freeReplyObject(r);
}

static void check_replies(redisContext *c)
{
	redisReply *r;

	expect_str(c, redisCommand(c, "PING"), "ping", REDIS_REPLY_STATUS, "PONG", 4);
	expect_str(c, redisCommand(c, "FLUSHDB"), "flushdb", REDIS_REPLY_STATUS, "OK", 2);
	expect_int(c, redisCommand(c, "DBSIZE"), "dbsize", 0);
	expect_str(c, redisCommand(c, "SET %b %b", "k\0y", (size_t)3, "a\r\nb", (size_t)4), "set",
		   REDIS_REPLY_STATUS, "OK", 2);
	expect_str(c, redisCommand(c, "GET %b", "k\0y", (size_t)3), "get", REDIS_REPLY_STRING,
		   "a\r\nb", 4);
	expect_str(c, redisCommand(c, "SET %s %b", "empty", "", (size_t)0), "set of nothing",
		   REDIS_REPLY_STATUS, "OK", 2);
	expect_str(c, redisCommand(c, "GET empty"), "get of nothing", REDIS_REPLY_STRING, "", 0);
	freeReplyObject(must(c, redisCommand(c, "GET nokey"), "nil", REDIS_REPLY_NIL));
	expect_int(c, redisCommand(c, "INCR mycounter"), "incr", 1);
	freeReplyObject(must(c, redisCommand(c, "NOSUCH"), "an error", REDIS_REPLY_ERROR));
	freeReplyObject(must(c, redisCommand(c, "LPUSH mylist foo"), "lpush", REDIS_REPLY_INTEGER));
	freeReplyObject(must(c, redisCommand(c, "LPUSH mylist bar"), "lpush", REDIS_REPLY_INTEGER));
	r = must(c, redisCommand(c, "LRANGE mylist 0 -1"), "lrange", REDIS_REPLY_ARRAY);
	if (r->elements != 2 || memcmp(r->element[0]->str, "bar", 3) != 0)
		fail("lrange", "other elements");
	freeReplyObject(r);
}

static void check_transaction(redisContext *c)
{
	redisReply *r;

	freeReplyObject(must(c, redisCommand(c, "MULTI"), "multi", REDIS_REPLY_STATUS));
	freeReplyObject(
		must(c, redisCommand(c, "LRANGE mylist 0 -1"), "queued", REDIS_REPLY_STATUS));
	freeReplyObject(must(c, redisCommand(c, "PING"), "queued", REDIS_REPLY_STATUS));
	r = must(c, redisCommand(c, "EXEC"), "exec", REDIS_REPLY_ARRAY);
	if (r->elements != 2 || r->element[0]->type != REDIS_REPLY_ARRAY ||
	    r->element[0]->elements != 2 || r->element[1]->type != REDIS_REPLY_STATUS)
		fail("exec", "another nesting");
	freeReplyObject(r);
}

static void check_pipeline(redisContext *c)
{
	enum { N = 10000 };
	char text[16];
	void *reply;

	for (int i = 0; i < N; i++) {
		redisAppendCommand(c, "SET key:%d %d", i, i);
		redisAppendCommand(c, "GET key:%d", i);
	}
	for (int i = 0; i < N; i++) {
		if (redisGetReply(c, &reply) != REDIS_OK)
			fail("pipeline", c->errstr);
		freeReplyObject(must(c, reply, "a set in a pipeline", REDIS_REPLY_STATUS));
		if (redisGetReply(c, &reply) != REDIS_OK)
			fail("pipeline", c->errstr);
		expect_str(c, reply, "a get in a pipeline", REDIS_REPLY_STRING, text,
			   (size_t)snprintf(text, sizeof text, "%d", i));
	}
}

static void check_messages(redisContext *c)
{
	redisContext *listener = connected();
	redisReply *r;
	void *reply;

	freeReplyObject(must(listener, redisCommand(listener, "SUBSCRIBE news"), "subscribe",
			     REDIS_REPLY_ARRAY));
	expect_int(c, redisCommand(c, "PUBLISH news %s", "hello"), "publish", 1);
	if (redisGetReply(listener, &reply) != REDIS_OK)
		fail("a message", listener->errstr);
	r = must(listener, reply, "a message", REDIS_REPLY_ARRAY);
	if (r->elements != 3 || strcmp(r->element[2]->str, "hello") != 0)
		fail("a message", "another one");
	freeReplyObject(r);
	redisFree(listener);
}

static void check_information(redisContext *c)
{
	redisReply *r = must(c, redisCommand(c, "INFO"), "info", REDIS_REPLY_STRING);
	int major;
	const char *at = strstr(r->str, "redis_version:");

	if (!at || sscanf(at, "redis_version:%d.", &major) != 1)
		fail("info", "no version");
	freeReplyObject(r);
}

static void check_end(redisContext *c)
{
	void *reply;

	freeReplyObject(must(c, redisCommand(c, "QUIT"), "quit", REDIS_REPLY_STATUS));
	if (redisGetReply(c, &reply) != REDIS_ERR || c->err != REDIS_ERR_EOF)
		fail("the end", "no EOF");
}

int main(int argc, char **argv)
{
	redisContext *c;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: hiredis HOST PORT | hiredis SOCKET\n");
		return 2;
	}
	where = argv[1];
	port = argv[2];
	c = connected();
	check_replies(c);
	check_transaction(c);
	check_pipeline(c);
	check_messages(c);
	check_information(c);
	check_end(c);
	redisFree(c);
	return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* http_files: the folder that examples/http serves: no way out of it, ranges, what has changed */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "support/http.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

#define BIG 200000u

static struct answer a;
static char *dir;
static char big[BIG];

/* A file of the folder, changed an hour ago: its tag is a strong one. */
static void given_file(const char *name, const void *bytes, size_t n)
{
	struct timespec old[2] = { { .tv_sec = (time_t)(time(NULL) - 3600) } };
	char path[512];
	int fd;

	old[1] = old[0];
	snprintf(path, sizeof path, "%s/www/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	ck_assert_int_eq(futimens(fd, old), 0);
	close(fd);
}

static void setup(void)
{
	dir = temp_dir();
	must_sh("cd %s && mkdir -p www/sub/deep www/empty www/.git && echo secret >secret", dir);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 2654435761u >> 24);
	given_file("ten.txt", "0123456789", 10);
	given_file("big.bin", big, BIG);
	given_file("none.txt", "", 0);
	given_file("with space+%.html", "odd", 3);
	given_file("sub/index.html", "index", 5);
	given_file(".git/config", "secret\n", 7);
	given_file(".dot", "secret\n", 7);
}

static void teardown(void)
{
	remove_tree(&dir);
}

static void given_http_of(const char *more)
{
	char options[512];

	snprintf(options, sizeof options, "--folder %s/www %s", dir, more);
	http_start(options);
}

/* GET @path with the header lines @more. */
static int get(const char *path, const char *more)
{
	char text[16384];

	snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, more);
	return http_ask_once(&a, text);
}

START_TEST(files_come_as_they_are)
{
	NEEDS_HTTP();
	given_http_of("");
	get("/ten.txt", "");
	answer_must_be(&a, 200, "0123456789");
	answer_must_have(&a, "Content-Type: text/plain; charset=utf-8");
	answer_must_have(&a, "X-Content-Type-Options: nosniff");
	answer_must_have(&a, "Accept-Ranges: bytes");
	ck_assert_int_eq(get("/big.bin?x=/../y", ""), 200);
	ck_assert_uint_eq(a.n, BIG);
	ck_assert_mem_eq(a.body, big, BIG);
	get("/none.txt", "");
	answer_must_be(&a, 200, "");
	get("/with%20space+%25.html", "");
	answer_must_be(&a, 200, "odd");
	answer_must_have(&a, "Content-Type: text/html; charset=utf-8");
	get("/sub/", "");
	answer_must_be(&a, 200, "index");
	ck_assert_int_eq(get("/sub?x", ""), 301);
	answer_must_have(&a, "Location: /sub/");
	ck_assert_int_eq(get("/empty/", ""), 404);
	ck_assert_int_eq(get("/", ""), 404);
	http_end();
}
END_TEST

/* A FIFO that nobody opens has no reader, and so no writer can be had. */
static bool fifo_is_unread(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == ENXIO;
}

START_TEST(nothing_leads_out_of_the_folder)
{
	static const struct {
		const char *path;
		int status;
	} cases[] = {
		{ "/../secret", 404 },
		{ "/sub/../../secret", 404 },
		{ "/sub/../ten.txt", 404 }, /* no harm, and no name of a file */
		{ "/%2e%2e/secret", 404 },
		{ "/%2E./secret", 404 },
		{ "/..%2fsecret", 404 },
		{ "/sub%2findex.html", 404 },
		{ "/%2e%2e%2fsecret", 404 },
		{ "/%252e%252e/secret", 404 },
		{ "/..\\secret", 404 },
		{ "/ten.txt%00", 400 },
		{ "/%00", 400 },
		{ "/ten.txt%", 400 },
		{ "/ten.txt%4", 400 },
		{ "/ten.txt%zz", 400 },
		{ "//ten.txt", 404 },
		{ "//etc/passwd", 404 },
		{ "/%2fetc/passwd", 404 },
		{ "/sub//index.html", 404 },
		{ "/./ten.txt", 404 },
		{ "/.git/config", 404 },
		{ "/.dot", 404 },
		{ "/ten.txt/", 404 },
		{ "/ten.txt/x", 404 },
		{ "/link", 404 },
		{ "/linked/secret", 404 },
		{ "/inside", 404 }, /* also where it stays in the folder */
		{ "/fifo", 404 },
		{ "/device", 404 },
		{ "/socket", 404 },
		{ "/dangling", 404 },
		{ "/http://a/ten.txt", 404 },
		{ "http://a/../secret", 404 },
		{ "http://a/ten.txt", 200 },
		{ "http://a", 404 },
	};
	char path[512];

	NEEDS_HTTP();
	must_sh("cd %s/www && ln -s ../secret link && ln -s .. linked && ln -s ten.txt inside && mkfifo fifo && "
		"ln -s nowhere dangling && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
		dir);
	snprintf(path, sizeof path, "%s/www/device", dir);
	if (mknod(path, S_IFCHR | 0666, makedev(1, 5)) <
	    0) /* needs root: else it is just not there */
		ck_assert_int_eq(errno, EPERM);
	snprintf(path, sizeof path, "%s/www/fifo", dir);
	given_http_of("");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int status = get(cases[i].path, "");

		ck_assert_msg(status == cases[i].status, "%s: %d", cases[i].path, status);
		ck_assert_msg(!strstr(a.body, "secret"), "%s", cases[i].path);
	}
	ck_assert(fifo_is_unread(path));
	http_end();
}
END_TEST

START_TEST(a_path_that_is_too_long_is_no_file)
{
	static char path[8000];

	NEEDS_HTTP();
	given_http_of("");
	memset(path, 'a', sizeof path - 1);
	path[0] = '/';
	ck_assert_int_eq(get(path, ""), 404); /* longer than a path */
	path[3000] = '\0';
	ck_assert_int_eq(get(path, ""), 404); /* longer than a name */
	http_end();
}
END_TEST

/* Whoever runs this: the server is a user who may not read all files. */
static void given_http_of_nobody(const char *more)
{
	bool root = geteuid() == 0;

	must_sh("chmod 755 %s", dir);
	if (root)
		ck_assert_int_eq(setresuid(65534, 65534, 0), 0);
	if (!http_is_built())
		SKIP("another user cannot reach the program");
	given_http_of(more);
	if (root)
		ck_assert_int_eq(setresuid(0, 0, 0), 0);
}

START_TEST(what_may_not_be_read_is_forbidden)
{
	NEEDS_HTTP();
	given_file("locked", "x", 1);
	must_sh("chmod 0 %s/www/locked", dir);
	given_http_of_nobody("");
	ck_assert_int_eq(get("/locked", ""), 403);
	ck_assert_int_eq(get("/ten.txt", ""), 200);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ ranges */

static const struct {
	const char *path, *range;
	int status;
	const char *line, *body; /* NULL: whatever */
} ranges[] = {
	{ "/ten.txt", "bytes=0-0", 206, "Content-Range: bytes 0-0/10", "0" },
	{ "/ten.txt", "bytes=0-9", 206, "Content-Range: bytes 0-9/10", "0123456789" },
	{ "/ten.txt", "bytes=9-", 206, "Content-Range: bytes 9-9/10", "9" },
	{ "/ten.txt", "bytes=-3", 206, "Content-Range: bytes 7-9/10", "789" },
	{ "/ten.txt", "bytes=-100", 206, "Content-Range: bytes 0-9/10", "0123456789" },
	{ "/ten.txt", "bytes=5-1000", 206, "Content-Range: bytes 5-9/10", "56789" },
	{ "/ten.txt", "bytes=5-18446744073709551615", 206, "Content-Range: bytes 5-9/10", "56789" },
	{ "/ten.txt", "bytes=5-99999999999999999999999", 206, "Content-Range: bytes 5-9/10",
	  "56789" },
	{ "/ten.txt", "BYTES= 1-2 ", 206, "Content-Range: bytes 1-2/10", "12" },
	/* such as touch are one */
	{ "/ten.txt", "bytes=0-3,2-5", 206, "Content-Range: bytes 0-5/10", "012345" },
	{ "/ten.txt", "bytes=4-5,0-3", 206, "Content-Range: bytes 0-5/10", "012345" },
	{ "/ten.txt", "bytes=0-0,2-2,1-1", 206, "Content-Range: bytes 0-2/10", "012" },
	{ "/ten.txt", "bytes=0-,0-,0-,0-", 206, "Content-Range: bytes 0-9/10", "0123456789" },
	{ "/ten.txt", "bytes=1-1,100-", 206, "Content-Range: bytes 1-1/10", "1" },
	{ "/ten.txt", "bytes=,1-1,,", 206, "Content-Range: bytes 1-1/10", "1" },
	/* none of it is there */
	{ "/ten.txt", "bytes=10-", 416, "Content-Range: bytes */10", NULL },
	{ "/ten.txt", "bytes=10-20,30-", 416, "Content-Range: bytes */10", NULL },
	{ "/ten.txt", "bytes=99999999999999999999-", 416, "Content-Range: bytes */10", NULL },
	{ "/ten.txt", "bytes=-0", 416, "Content-Range: bytes */10", NULL },
	{ "/none.txt", "bytes=0-", 416, "Content-Range: bytes */0", NULL },
	{ "/none.txt", "bytes=-1", 416, "Content-Range: bytes */0", NULL },
	/* not heeded */
	{ "/ten.txt", "bytes=3-2", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=a-", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=1", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=-", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=1-2 3", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=1-2;3-4", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "lines=1-2", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes", 200, "Content-Length: 10", "0123456789" },
	{ "/ten.txt", "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0,1-1,2-2,3-3,4-4,5-5,6-6",
	  200, "Content-Length: 10", "0123456789" },
};

START_TEST(a_range_is_a_part_of_the_file)
{
	char field[256];

	NEEDS_HTTP();
	given_http_of("");
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		snprintf(field, sizeof field, "Range: %s\r\n", ranges[i].range);
		get(ranges[i].path, field);
		ck_assert_msg(a.status == ranges[i].status, "%s: %d", ranges[i].range, a.status);
		ck_assert_msg(answer_has(&a, ranges[i].line), "%s: %s", ranges[i].range, a.head);
		ck_assert_msg(!ranges[i].body || !strcmp(a.body, ranges[i].body), "%s: %s",
			      ranges[i].range, a.body);
	}
	http_end();
}
END_TEST

START_TEST(several_ranges_are_parts_in_the_order_of_the_header)
{
	char expected[1024], boundary[64];
	const char *at;

	NEEDS_HTTP();
	given_http_of("");
	ck_assert_int_eq(get("/ten.txt", "Range: bytes=8-,0-1,4-4\r\n"), 206);
	at = strstr(a.head, "multipart/byteranges; boundary=");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "multipart/byteranges; boundary=%63s", boundary), 1);
	snprintf(
		expected, sizeof expected,
		"\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
		"\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
		"\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 4-4/10\r\n\r\n4"
		"\r\n--%s--\r\n",
		boundary, boundary, boundary, boundary);
	ck_assert_str_eq(a.body, expected);
	/* parts that are large enough for sendfile(2) */
	ck_assert_int_eq(get("/big.bin", "Range: bytes=0-79999,100000-199999\r\n"), 206);
	at = strstr(a.body, "\r\n\r\n") + 4;
	ck_assert_mem_eq(at, big, 80000);
	at = strstr(at + 80000, "\r\n\r\n") + 4;
	ck_assert_mem_eq(at, big + 100000, 100000);
	http_end();
}
END_TEST

START_TEST(head_heeds_no_range_and_tells_the_size_of_all)
{
	NEEDS_HTTP();
	given_http_of("");
	http_ask_once(&a, "HEAD /big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n");
	ck_assert_int_eq(a.status, 200);
	answer_must_have(&a, "Content-Length: 200000");
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ conditions */

/* What the last answer says of itself. */
static void field_of(const char *name, char *dst, size_t cap)
{
	const char *at = strstr(a.head, name), *end;

	ck_assert_msg(at != NULL, "no %s in\n%s", name, a.head);
	at += strlen(name);
	end = strstr(at, "\r\n");
	snprintf(dst, cap, "%.*s", (int)(end - at), at);
}

static int get_if(const char *name, const char *value, const char *more)
{
	char fields[512];

	snprintf(fields, sizeof fields, "%s: %s\r\n%s", name, value, more);
	return get("/ten.txt", fields);
}

#define LONG_AGO "Sun, 06 Nov 1994 08:49:37 GMT"
#define RANGE    "Range: bytes=0-0\r\n"

START_TEST(what_the_client_has_is_not_sent_again)
{
	char tag[64], weak[80], list[128], date[64];

	NEEDS_HTTP();
	given_http_of("");
	ck_assert_int_eq(get("/ten.txt", ""), 200);
	field_of("ETag: ", tag, sizeof tag);
	field_of("Last-Modified: ", date, sizeof date);
	ck_assert_int_eq(tag[0], '"');
	snprintf(weak, sizeof weak, "W/%s", tag);
	snprintf(list, sizeof list, "\"x\", W/\"y\" ,%s", tag);

	ck_assert_int_eq(get_if("If-None-Match", tag, ""), 304);
	answer_must_have(&a, "X-Content-Type-Options: nosniff");
	ck_assert_ptr_null(strstr(a.head, "Content-Length"));
	ck_assert_int_eq(get_if("If-None-Match", weak, ""), 304);
	ck_assert_int_eq(get_if("If-None-Match", list, ""), 304);
	ck_assert_int_eq(get_if("If-None-Match", "*", ""), 304);
	ck_assert_int_eq(get_if("If-None-Match", "\"x\"", ""), 200);
	ck_assert_int_eq(get_if("If-None-Match", "x", ""), 200);
	ck_assert_int_eq(get_if("If-Modified-Since", date, ""), 304);
	ck_assert_int_eq(get_if("If-Modified-Since", LONG_AGO, ""), 200);
	ck_assert_int_eq(get_if("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", ""), 200);
	ck_assert_int_eq(get_if("If-Modified-Since", "yesterday", ""), 200);
	/* the tag counts, the date does not */
	ck_assert_int_eq(get_if("If-Modified-Since", date, "If-None-Match: \"x\"\r\n"), 200);
	ck_assert_int_eq(get_if("If-Match", tag, ""), 200);
	ck_assert_int_eq(get_if("If-Match", "*", ""), 200);
	ck_assert_int_eq(get_if("If-Match", "\"x\"", ""), 412);
	ck_assert_int_eq(get_if("If-Match", weak, ""), 412);
	ck_assert_int_eq(get_if("If-Unmodified-Since", date, ""), 200);
	ck_assert_int_eq(get_if("If-Unmodified-Since", LONG_AGO, ""), 412);
	ck_assert_int_eq(get_if("If-Unmodified-Since", "Sun Nov  6 08:49:37 1994", ""), 412);
	/* a part of what the client has, or all of it */
	ck_assert_int_eq(get_if("If-Range", tag, RANGE), 206);
	ck_assert_int_eq(get_if("If-Range", date, RANGE), 206);
	ck_assert_int_eq(get_if("If-Range", weak, RANGE), 200);
	ck_assert_int_eq(get_if("If-Range", "\"x\"", RANGE), 200);
	ck_assert_int_eq(get_if("If-Range", LONG_AGO, RANGE), 200);
	ck_assert_int_eq(get_if("If-None-Match", tag, RANGE), 304);
	http_end();
}
END_TEST

START_TEST(a_file_that_was_written_just_now_has_a_weak_tag)
{
	char tag[64];

	NEEDS_HTTP();
	must_sh("echo new >%s/www/new.txt", dir);
	must_sh("touch -d '1 hour' %s/www/new.txt", dir); /* to come: its time is never over */
	given_http_of("");
	ck_assert_int_eq(get("/new.txt", ""), 200);
	field_of("ETag: ", tag, sizeof tag);
	ck_assert_msg(!strncmp(tag, "W/\"", 3), "%s", tag);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ while it is sent */

/* A promise of bytes that are not there any more: the client must not take the part for all. */
START_TEST(a_file_that_gets_shorter_while_it_is_sent_ends_in_a_reset)
{
	static char buf[65536];
	char path[512];
	ssize_t n;
	int fd;

	NEEDS_HTTP();
	snprintf(path, sizeof path, "%s/www/long", dir);
	must_sh("truncate -s 1G %s", path);
	given_http_of("");
	fd = http_connect();
	http_send(fd, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
	http_read_head(fd, &a);
	answer_must_have(&a, "Content-Length: 1073741824");
	ck_assert_int_eq(truncate(path, 1000), 0);
	do
		n = recv(fd, buf, sizeof buf, 0);
	while (n > 0);
	ck_assert_int_eq(n, -1);
	ck_assert_int_eq(errno, ECONNRESET);
	peer_close(&fd);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ files that stay open */

/* Descriptors of the server that are files beneath the folder, whatever they are called by now. */
static int open_now(void)
{
	struct ran r;
	int n;

	sh(&r, "ls -l /proc/%d/fd | grep -c ' -> %s/www/'", (int)http.child.pid, dir);
	n = atoi(r.out);
	ran_free(&r);
	return n;
}

START_TEST(no_descriptor_is_left_behind)
{
	static const char *const paths[] = { "/ten.txt", "/big.bin", "/none", "/sub", "/sub/",
					     "/link",    "/empty",   "/..",   "/%00" };

	NEEDS_HTTP();
	must_sh("ln -s / %s/www/link", dir);
	given_http_of("--keep-ms 0");
	for (int i = 0; i < 90; i++)
		get(paths[i % 9], i % 2 ? "Range: bytes=0-0,5-5\r\n" : "");
	AWAIT(open_now() == 0);
	http_end();
}
END_TEST

#define FOR_EVER "--keep-ms 2000000000"

START_TEST(a_file_that_stays_open_has_the_same_answers)
{
	char tag[64], line[256];

	NEEDS_HTTP();
	given_http_of(FOR_EVER);
	for (int i = 0; i < 2; i++) {
		get("/ten.txt", "");
		answer_must_be(&a, 200, "0123456789");
		field_of("ETag: ", tag, sizeof tag);
		ck_assert_int_eq(open_now(), 1);
		get("/ten.txt", "Range: bytes=2-4\r\n");
		answer_must_be(&a, 206, "234");
		snprintf(line, sizeof line, "If-None-Match: %s\r\n", tag);
		ck_assert_int_eq(get("/ten.txt", line), 304);
		snprintf(line, sizeof line, "If-Match: \"other\"\r\n");
		ck_assert_int_eq(get("/ten.txt", line), 412);
		ck_assert_int_eq(get("/ten.txt", "Range: bytes=10-\r\n"), 416);
	}
	ck_assert_int_eq(open_now(), 1);
	http_end();
}
END_TEST

START_TEST(head_of_a_file_that_stays_open_tells_its_size)
{
	int fd;

	NEEDS_HTTP();
	given_http_of(FOR_EVER);
	fd = http_connect();
	for (int i = 0; i < 2; i++) {
		http_send(fd, "HEAD /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
		http_read_head(fd, &a);
		ck_assert_int_eq(a.status, 200);
		answer_must_have(&a, "Content-Length: 200000");
	}
	ck_assert_int_eq(open_now(), 1);
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(what_is_done_to_an_open_file_is_seen_by_the_next_answer)
{
	static const struct {
		const char *what; /* in the folder */
		int status;
		const char *body; /* NULL: whatever */
	} cases[] = {
		{ "rm f", 404, NULL },
		{ "printf new >n && mv n f", 200, "new" },
		{ "printf NEW-NEW-10 >f", 200, "NEW-NEW-10" },
		{ "truncate -s 3 f", 200, "012" },
		{ "truncate -s 0 f", 200, "" },
		{ "printf abc >>f", 200, "0123456789abc" },
		{ "mv f ../left", 404, NULL },
		{ "ln f ../still && rm f", 404, NULL },
		{ "ln -s ../secret l && mv -T l f", 404, NULL },
		{ "ln -s ten.txt l && mv -T l f", 404, NULL },
		{ "mkfifo p && mv p f", 404, NULL },
		{ "rm f && mkdir f", 301, NULL },
		{ "chmod 0 f", 403, NULL },
	};

	NEEDS_HTTP();
	given_http_of_nobody(FOR_EVER);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		must_sh("cd %s/www && rm -rf f", dir);
		given_file("f", "0123456789", 10);
		get("/f", "");
		answer_must_be(&a, 200, "0123456789");
		must_sh("cd %s/www && %s", dir, cases[i].what);
		ck_assert_msg(get("/f", "") == cases[i].status, "%s: %d", cases[i].what, a.status);
		ck_assert_msg(!cases[i].body || !strcmp(a.body, cases[i].body), "%s: %s",
			      cases[i].what, a.body);
	}
	http_end();
}
END_TEST

START_TEST(what_is_done_to_a_folder_above_is_seen_when_the_time_is_over)
{
	NEEDS_HTTP();
	given_http_of("--keep-ms 1");
	get("/sub/index.html", "");
	answer_must_be(&a, 200, "index");
	must_sh("cd %s && mv www/sub left && ln -s ../left www/sub", dir);
	AWAIT(get("/sub/index.html", "") == 404);
	must_sh("cd %s && rm www/sub && mv left www/sub", dir);
	AWAIT(get("/sub/index.html", "") == 200);
	must_sh("rm %s/www/sub/index.html", dir);
	ck_assert_int_eq(get("/ten.txt", ""), 200);
	AWAIT(get("/ten.txt", "") == 200 && open_now() <= 1); /* an unlinked one is not held */
	http_end();
}
END_TEST

/* The server's limit, of which an eighth may be files that stay open. */
#define DESCRIPTORS 64
#define KEPT        (DESCRIPTORS / 8)

static void given_http_of_few_descriptors(void)
{
	struct rlimit few, before;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ DESCRIPTORS, before.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	given_http_of(FOR_EVER);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* Asks for @n files, each of which has its number in it. */
static void ask_for_many(int n)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "/many%d", i);
		given_file(name + 1, name, strlen(name));
		get(name, "");
		answer_must_be(&a, 200, name);
	}
}

START_TEST(more_files_than_may_stay_open_push_the_oldest_out)
{
	NEEDS_HTTP();
	given_http_of_few_descriptors();
	for (int i = 0; i < 2; i++) {
		ask_for_many(3 * KEPT);
		ck_assert_int_eq(open_now(), KEPT);
	}
	http_end();
}
END_TEST

static int descriptors_now(void)
{
	struct ran r;
	int n;

	sh(&r, "ls /proc/%d/fd | wc -l", (int)http.child.pid);
	n = atoi(r.out);
	ran_free(&r);
	return n;
}

START_TEST(where_descriptors_are_short_open_files_are_closed_for_others)
{
	int fds[DESCRIPTORS], fd;

	NEEDS_HTTP();
	given_http_of_few_descriptors();
	ask_for_many(KEPT);
	fd = http_connect();
	ck_assert_int_eq(http_ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
	for (int i = 0; i < DESCRIPTORS; i++)
		fds[i] = http_connect();
	AWAIT(descriptors_now() >= DESCRIPTORS - 1);
	ck_assert_int_eq(open_now(), KEPT);
	ck_assert_int_eq(http_ask(fd, &a, "GET /ten.txt HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
	answer_must_be(&a, 200, "0123456789");
	peer_close(&fd);
	for (int i = 0; i < DESCRIPTORS; i++)
		peer_close(&fds[i]);
	http_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "http_files");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, files_come_as_they_are);
	tcase_add_test(t, nothing_leads_out_of_the_folder);
	tcase_add_test(t, a_path_that_is_too_long_is_no_file);
	tcase_add_test(t, what_may_not_be_read_is_forbidden);
	tcase_add_test(t, a_range_is_a_part_of_the_file);
	tcase_add_test(t, several_ranges_are_parts_in_the_order_of_the_header);
	tcase_add_test(t, head_heeds_no_range_and_tells_the_size_of_all);
	tcase_add_test(t, what_the_client_has_is_not_sent_again);
	tcase_add_test(t, a_file_that_was_written_just_now_has_a_weak_tag);
	tcase_add_test(t, a_file_that_gets_shorter_while_it_is_sent_ends_in_a_reset);
	tcase_add_test(t, no_descriptor_is_left_behind);
	tcase_add_test(t, a_file_that_stays_open_has_the_same_answers);
	tcase_add_test(t, head_of_a_file_that_stays_open_tells_its_size);
	tcase_add_test(t, what_is_done_to_an_open_file_is_seen_by_the_next_answer);
	tcase_add_test(t, what_is_done_to_a_folder_above_is_seen_when_the_time_is_over);
	tcase_add_test(t, more_files_than_may_stay_open_push_the_oldest_out);
	tcase_add_test(t, where_descriptors_are_short_open_files_are_closed_for_others);
}

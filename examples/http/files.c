/* SPDX-License-Identifier: BSD-2-Clause */
/* files: two descriptors at most for each answer, closed before it returns. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "condition.h"
#include "head.h"
#include "media.h"
#include "path.h"
#include "range.h"

#define INDEX    "index.html"
#define BOUNDARY 17 /* 16 digits and NUL */
#define PART_MAX 256

struct file {
	int fd; /* for reading; -1: only its headers are wanted */
	uint64_t size;
	const char *type;
	struct version version;
};

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int files_open(struct files *f, const char *folder, const char **ret_what)
{
	*ret_what = folder;
	f->folder = open_folder(folder);
	if (f->folder < 0)
		return f->folder;
	*ret_what = "/proc/self/fd";
	f->descriptors = open_folder(*ret_what);
	return f->descriptors < 0 ? f->descriptors : 0;
}

void files_close(struct files *f)
{
	if (f->folder >= 0)
		close(f->folder);
	if (f->descriptors >= 0)
		close(f->descriptors);
}

/* ------------------------------------------------------------------ ranges */

static void write_version(struct response *rs, const struct file *f)
{
	response_field(rs, "ETag", f->version.etag);
	response_field(rs, "Last-Modified", f->version.modified);
}

static void answer_whole(const struct file *f, struct response *rs)
{
	response_start(rs, 200, f->type);
	write_version(rs, f);
	response_field(rs, "Accept-Ranges", "bytes");
	response_length(rs, f->size);
	response_file(rs, f->fd, 0, f->size);
}

static void answer_one(const struct file *f, const struct range *r, struct response *rs)
{
	char text[96];

	snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)r->from,
		 (unsigned long long)(r->from + r->n - 1), (unsigned long long)f->size);
	response_start(rs, 206, f->type);
	write_version(rs, f);
	response_field(rs, "Content-Range", text);
	response_length(rs, r->n);
	response_file(rs, f->fd, (off_t)r->from, r->n);
}

static size_t part_head(char *dst, const char *boundary, const struct file *f,
			const struct range *r)
{
	return (size_t)snprintf(dst, PART_MAX,
				"\r\n--%s\r\nContent-Type: %s\r\n"
				"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
				boundary, f->type, (unsigned long long)r->from,
				(unsigned long long)(r->from + r->n - 1),
				(unsigned long long)f->size);
}

/* Digits that no file can know. */
static void make_boundary(char dst[BOUNDARY])
{
	uint64_t n = 0;

	if (getrandom(&n, sizeof n, 0) < 0)
		n = clock_ms();
	snprintf(dst, BOUNDARY, "%016llx", (unsigned long long)n);
}

/* multipart/byteranges */
static void answer_parts(const struct file *f, const struct range *r, int n, struct response *rs)
{
	char boundary[BOUNDARY], type[64], text[PART_MAX];
	uint64_t length;

	make_boundary(boundary);
	snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", boundary);
	length = strlen("\r\n----\r\n") + BOUNDARY - 1;
	for (int i = 0; i < n; i++)
		length += part_head(text, boundary, f, &r[i]) + r[i].n;
	response_start(rs, 206, type);
	write_version(rs, f);
	response_length(rs, length);
	for (int i = 0; i < n; i++) {
		response_write(rs, text, part_head(text, boundary, f, &r[i]));
		response_file(rs, f->fd, (off_t)r[i].from, r[i].n);
	}
	response_write(rs, text, (size_t)snprintf(text, sizeof text, "\r\n--%s--\r\n", boundary));
}

static void answer_none(const struct file *f, struct response *rs)
{
	char text[64];

	snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)f->size);
	response_status_with(rs, 416, "Content-Range", text);
}

static void answer_bytes(const struct file *f, const struct request *rq, struct response *rs)
{
	struct range ranges[RANGES_MAX];
	int n = 0;

	if (rq->range.p && !rs->is_head && condition_range(rq, &f->version))
		n = range_parse(rq->range, f->size, ranges);
	if (n < 0)
		answer_none(f, rs);
	else if (n == 0)
		answer_whole(f, rs);
	else if (n == 1)
		answer_one(f, ranges, rs);
	else
		answer_parts(f, ranges, n, rs);
}

/* ------------------------------------------------------------------ one file */

static void answer_unchanged(const struct file *f, struct response *rs)
{
	response_start(rs, 304, NULL);
	write_version(rs, f);
	response_empty(rs);
}

static void answer_regular(int descriptors, int found, const char *name, const struct stat *st,
			   const struct request *rq, struct response *rs)
{
	struct file f = { .fd = -1, .size = (uint64_t)st->st_size, .type = media_type(name) };
	int status;

	version_init(&f.version, st);
	status = condition_status(rq, &f.version);
	if (status == 304) {
		answer_unchanged(&f, rs);
		return;
	}
	if (!status && !rs->is_head) {
		f.fd = path_open(descriptors, found);
		status = f.fd < 0 ? -f.fd : 0;
	}
	if (status)
		response_status(rs, status);
	else
		answer_bytes(&f, rq, rs);
	if (f.fd >= 0)
		close(f.fd);
}

/* To the same with a slash, so that what its pages name beside them is found. */
static void answer_folder(const struct request *rq, struct response *rs)
{
	char to[HEAD_LINE_MAX + 2];

	snprintf(to, sizeof to, "%.*s/", (int)rq->path.n, rq->path.p);
	response_status_with(rs, 301, "Location", to);
}

void files_answer(const struct files *f, const struct request *rq, struct response *rs)
{
	char name[PATH_NAME_MAX + sizeof INDEX];
	int status = path_name(rq->path, name), found;
	struct stat st;
	size_t n;

	if (status) {
		response_status(rs, status);
		return;
	}
	n = strlen(name);
	if (!n || name[n - 1] == '/')
		memcpy(name + n, INDEX, sizeof INDEX);
	found = path_find(f->folder, name, &st);
	if (found < 0) {
		response_status(rs, -found);
		return;
	}
	if (S_ISREG(st.st_mode))
		answer_regular(f->descriptors, found, name, &st, rq, rs);
	else if (S_ISDIR(st.st_mode) && rq->path.p[rq->path.n - 1] != '/')
		answer_folder(rq, rs);
	else
		response_status(rs, 404);
	close(found);
}

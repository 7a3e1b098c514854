/* SPDX-License-Identifier: BSD-2-Clause */
/* files: what an answer sends of a file is in its descriptor, whatever its name is meanwhile. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <netpoll/conn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "condition.h"
#include "head.h"
#include "path.h"
#include "range.h"

#define INDEX    "index.html"
#define BOUNDARY 17 /* 16 digits and NUL */
#define PART_MAX 256
#define KEPT_MAX 1024 /* files that stay open, and not more than an eighth of the descriptors */

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static unsigned kept_by_each(int pollers)
{
	struct rlimit limit;
	rlim_t all = KEPT_MAX;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 8 < all)
		all = limit.rlim_cur / 8;
	return (unsigned)all / (unsigned)pollers;
}

static int start_keeping(struct files *f, int pollers)
{
	unsigned max = kept_by_each(pollers);

	f->open = aligned_alloc(_Alignof(struct open_files), (size_t)pollers * sizeof *f->open);
	if (!f->open)
		return -ENOMEM;
	for (f->pollers = 0; f->pollers < pollers; f->pollers++)
		open_files_init(&f->open[f->pollers], f->folder, f->descriptors, max, f->keep_ms);
	return 0;
}

int files_open(struct files *f, const char *folder, int pollers, const char **ret_what)
{
	*ret_what = folder;
	f->folder = open_folder(folder);
	if (f->folder < 0)
		return f->folder;
	*ret_what = "/proc/self/fd";
	f->descriptors = open_folder(*ret_what);
	return f->descriptors < 0 ? f->descriptors : start_keeping(f, pollers);
}

void files_close(struct files *f)
{
	while (f->pollers > 0)
		open_files_close(&f->open[--f->pollers]);
	free(f->open);
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
	response_length(rs, (uint64_t)f->st.st_size);
	response_file(rs, f->fd, 0, (size_t)f->st.st_size);
}

static void answer_one(const struct file *f, const struct range *r, struct response *rs)
{
	char text[96];

	snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)r->from,
		 (unsigned long long)(r->from + r->n - 1), (unsigned long long)f->st.st_size);
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
				(unsigned long long)f->st.st_size);
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

	snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)f->st.st_size);
	response_status_with(rs, 416, "Content-Range", text);
}

static void answer_bytes(const struct file *f, const struct request *rq, struct response *rs)
{
	struct range ranges[RANGES_MAX];
	int n = 0;

	if (rq->range.p && !rs->is_head && condition_range(rq, &f->version))
		n = range_parse(rq->range, (uint64_t)f->st.st_size, ranges);
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

static void answer_regular(const struct file *f, const struct request *rq, struct response *rs)
{
	int status = condition_status(rq, &f->version);

	if (status == 304)
		answer_unchanged(f, rs);
	else if (status)
		response_status(rs, status);
	else
		answer_bytes(f, rq, rs);
}

/* To the same with a slash, so that what its pages name beside them is found. */
static void answer_folder(const struct request *rq, struct response *rs)
{
	char to[HEAD_LINE_MAX + 2];

	snprintf(to, sizeof to, "%.*s/", (int)rq->path.n, rq->path.p);
	response_status_with(rs, 301, "Location", to);
}

/* Of a folder its index. Return: 0; the status of the answer. */
static int name_of(const struct request *rq, char name[PATH_NAME_MAX + sizeof INDEX])
{
	int status = path_name(rq->path, name);
	size_t n = status ? 0 : strlen(name);

	if (!status && (!n || name[n - 1] == '/'))
		memcpy(name + n, INDEX, sizeof INDEX);
	return status;
}

void files_answer(const struct files *f, const struct request *rq, struct response *rs)
{
	struct open_files *open = &f->open[np_conn_poller(rs->conn)];
	char name[PATH_NAME_MAX + sizeof INDEX];
	int r = -name_of(rq, name);
	struct file *file;

	if (!r)
		r = open_files_take(open, name, &file);
	if (!r) {
		answer_regular(file, rq, rs);
		open_files_give(open, &file);
	} else if (r == OPEN_FILES_FOLDER && rq->path.p[rq->path.n - 1] != '/') {
		answer_folder(rq, rs);
	} else {
		response_status(rs, r < 0 ? -r : 404);
	}
}

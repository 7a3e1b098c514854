/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * open_files: few, and for a short time, so that the oldest makes room and none is moved when used
 *
 *   a file     is left by
 *   open       open_files_take() -> kept, in use; or only in use, where it may change unseen
 *   kept       file_drop(): it has changed, its time is over, it is the oldest where there are too
 *              many, descriptors are short -> not kept
 *   not kept   the last open_files_give() -> closed
 */
#include "open_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "media.h"
#include "path.h"

#define HASHES (sizeof((struct open_files *)0)->hashes / sizeof *((struct open_files *)0)->hashes)

void open_files_init(struct open_files *o, int folder, int descriptors, unsigned max, int keep_ms)
{
	memset(o, 0, sizeof *o);
	o->folder = folder;
	o->descriptors = descriptors;
	o->max = keep_ms ? max : 0;
	o->keep_ms = (uint64_t)keep_ms;
	pthread_mutex_init(&o->lock, NULL);
	TAILQ_INIT(&o->by_age);
}

/* ------------------------------------------------------------------ one file */

static void file_free(struct file *f)
{
	close(f->fd);
	free(f);
}

/* The descriptor's own state: whatever is done to the file or to its name moves its ctime. */
static bool file_is_unchanged(const struct file *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_nlink == f->st.st_nlink &&
	       st.st_size == f->st.st_size && st.st_ctim.tv_sec == f->st.st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == f->st.st_ctim.tv_nsec &&
	       st.st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
}

static int file_new(const char *name, const struct stat *st, int fd, struct file **ret)
{
	size_t n = strlen(name) + 1;
	struct file *f = calloc(1, sizeof *f + n);

	if (!f) {
		close(fd);
		return -503;
	}
	f->fd = fd;
	f->st = *st;
	f->type = media_type(name);
	f->found_ms = clock_ms();
	f->users = 1;
	version_init(&f->version, st);
	memcpy(f->name, name, n);
	*ret = f;
	return 0;
}

/* What was found is looked at before it is opened: path.c. */
static int file_open(const struct open_files *o, const char *name, struct file **ret)
{
	struct stat st;
	int found = path_find(o->folder, name, &st), r;

	if (found < 0)
		return found;
	if (S_ISREG(st.st_mode))
		r = path_open(o->descriptors, found);
	else
		r = S_ISDIR(st.st_mode) ? OPEN_FILES_FOLDER : -404;
	close(found);
	return S_ISREG(st.st_mode) && r >= 0 ? file_new(name, &st, r, ret) : r;
}

/* ------------------------------------------------------------------ those that are kept */

static unsigned hash_of(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return (h ^ h >> 16) % HASHES;
}

/* The lock is held. */
static void file_drop(struct open_files *o, struct file *f)
{
	TAILQ_REMOVE(&o->by_age, f, by_age);
	LIST_REMOVE(f, same_hash);
	f->kept = false;
	o->n--;
	if (!f->users)
		file_free(f);
}

/* Likewise. */
static void drop_until(struct open_files *o, unsigned max, uint64_t found_ms)
{
	struct file *f;

	while ((f = TAILQ_LAST(&o->by_age, files_by_age)) && (o->n > max || f->found_ms < found_ms))
		file_drop(o, f);
}

static struct file *find_kept(struct open_files *o, const char *name)
{
	uint64_t now = clock_ms();
	struct file *f;

	pthread_mutex_lock(&o->lock);
	drop_until(o, o->max, now > o->keep_ms ? now - o->keep_ms : 0);
	LIST_FOREACH(f, &o->hashes[hash_of(name)], same_hash)
	if (!strcmp(f->name, name))
		break;
	if (f)
		f->users++;
	pthread_mutex_unlock(&o->lock);
	return f;
}

static void keep(struct open_files *o, struct file *f)
{
	pthread_mutex_lock(&o->lock);
	drop_until(o, o->max - 1, 0);
	TAILQ_INSERT_HEAD(&o->by_age, f, by_age);
	LIST_INSERT_HEAD(&o->hashes[hash_of(f->name)], f, same_hash);
	f->kept = true;
	o->n++;
	pthread_mutex_unlock(&o->lock);
}

static void stop_keeping(struct open_files *o, struct file **f)
{
	pthread_mutex_lock(&o->lock);
	if ((*f)->kept)
		file_drop(o, *f);
	pthread_mutex_unlock(&o->lock);
	open_files_give(o, f);
}

/* Return: whether there was any. */
static bool drop_all(struct open_files *o)
{
	bool any;

	pthread_mutex_lock(&o->lock);
	any = o->n > 0;
	drop_until(o, 0, 0);
	pthread_mutex_unlock(&o->lock);
	return any;
}

/* ------------------------------------------------------------------ answers */

int open_files_take(struct open_files *o, const char *name, struct file **ret)
{
	struct file *f = o->max ? find_kept(o, name) : NULL;
	int r;

	if (f && !file_is_unchanged(f))
		stop_keeping(o, &f);
	if (f)
		return *ret = f, 0;
	r = file_open(o, name, &f);
	if (r == -503 && drop_all(o)) /* descriptors are short, and here were some */
		r = file_open(o, name, &f);
	if (r)
		return r;
	if (o->max && !version_is_weak(&f->version))
		keep(o, f);
	*ret = f;
	return 0;
}

void open_files_give(struct open_files *o, struct file **f)
{
	bool last;

	pthread_mutex_lock(&o->lock);
	last = !--(*f)->users && !(*f)->kept;
	pthread_mutex_unlock(&o->lock);
	if (last)
		file_free(*f);
	*f = NULL;
}

void open_files_close(struct open_files *o)
{
	drop_all(o);
	pthread_mutex_destroy(&o->lock);
}

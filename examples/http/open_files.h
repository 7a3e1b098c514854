/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * open_files: the regular files of a folder that are open for the answers of one poller
 *
 * A file that was found stays open for a moment, so that the next answer does not look for it
 * again. Each answer asks the descriptor whether the file has changed: one that was written,
 * renamed, unlinked or forbidden meanwhile is looked for anew. What happens to a folder above it is
 * seen when the moment is over.
 */
#ifndef HTTP_OPEN_FILES_H
#define HTTP_OPEN_FILES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "condition.h"

struct file {
	/* as long as it is taken */
	int fd; /* for reading */
	struct stat st;
	const char *type;
	struct version version;

	/* open_files' own */
	TAILQ_ENTRY(file) by_age;
	LIST_ENTRY(file) same_hash;
	uint64_t found_ms;
	unsigned users;
	bool kept;
	char name[];
};

struct open_files {
	int folder, descriptors; /* borrowed: path.h */
	unsigned max, n;         /* how many may be kept, and are */
	uint64_t keep_ms;
	pthread_mutex_t lock; /* with --may-block two threads may serve one poller's connections */
	TAILQ_HEAD(files_by_age, file) by_age; /* all that are kept, the newest first */
	LIST_HEAD(, file) hashes[256];
} __attribute__((aligned(64)));

/* @keep_ms 0: none is kept. */
void open_files_init(struct open_files *o, int folder, int descriptors, unsigned max, int keep_ms);
/* Nothing is taken any more. */
void open_files_close(struct open_files *o);

#define OPEN_FILES_FOLDER 1

/*
 * open_files_take() - the file called @name, to be given back by open_files_give()
 *
 * Does not park. Return: 0; OPEN_FILES_FOLDER: it is a folder; the status of the answer, negative:
 * -404, -403, -503.
 */
int open_files_take(struct open_files *o, const char *name, struct file **ret);
void open_files_give(struct open_files *o, struct file **f);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* words: how many of our threads are inside, and what was set before the first one came. */
#include "steer/words.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned inside;
static libbpf_print_fn_t theirs; /* changes only while no thread is inside */

/* libbpf calls back on the thread that called it. */
static _Thread_local struct words *listening;

static int words_hear(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	struct words *w = listening;
	libbpf_print_fn_t fn;

	if (!w) {
		fn = __atomic_load_n(&theirs, __ATOMIC_ACQUIRE);
		return fn ? fn(level, fmt, ap) : 0;
	}
	if (!w->dst || !w->cap || w->dst[0] || level != LIBBPF_WARN)
		return 0;
	vsnprintf(w->dst, w->cap, fmt, ap);
	w->dst[strcspn(w->dst, "\n")] = '\0';
	return 0;
}

void words_take(struct words *w, char *dst, size_t cap)
{
	libbpf_print_fn_t old;

	*w = (struct words){ .outer = listening, .dst = dst, .cap = cap };
	if (dst && cap)
		dst[0] = '\0';
	listening = w;
	pthread_mutex_lock(&lock);
	inside++;
	/* Also where we were inside already: the program may have set its own meanwhile. */
	old = libbpf_set_print(words_hear);
	if (old != words_hear)
		__atomic_store_n(&theirs, old, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
}

void words_give_back(struct words *w)
{
	libbpf_print_fn_t now;

	pthread_mutex_lock(&lock);
	if (--inside == 0) {
		now = libbpf_set_print(theirs);
		if (now != words_hear)
			libbpf_set_print(now);
	}
	pthread_mutex_unlock(&lock);
	listening = w->outer;
}

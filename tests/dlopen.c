/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dlopen: the library comes late, into a process that did not plan for it
 *
 * What a reader would get wrong: thread-local storage of the initial-exec model has its place
 * beside every thread's stack from the start of the process, and for what comes later glibc keeps
 * about a kilobyte for all.
 */
#include <dlfcn.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/release.h"
#include "support/run.h"
#include "support/test.h"

/* Of the release build: a sanitizer's has thread-local storage of its own. */
static char library[4096];

static void setup(void)
{
	release_make("lib");
	snprintf(library, sizeof library, "%s/libnetpoll-bpf.so", release_dir());
}

/*
 * What each thread of a program pays, and what dlopen(3) has to find: pointers, the place that its
 * fibers come back to, and who may touch its poller (144 bytes); no buffers.
 */
START_TEST(threads_keep_pointers_and_places_and_no_buffers)
{
	must_sh("n=$(readelf -lW '%s' | awk '$1 == \"TLS\" { print $6 }'); test $((n)) -gt 0 && test $((n)) -le 160 || "
		"{ echo \"$n bytes of thread-local storage\"; exit 1; }",
		library);
}
END_TEST

START_TEST(an_interpreter_opens_the_library_and_serves_an_echo)
{
	struct ran r;

	sh(&r, "command -v python3 && python3 -c 'import ctypes'");
	if (r.code) {
		ran_free(&r);
		SKIP("no python3 with ctypes");
	}
	ran_free(&r);
	must_sh("unset LD_PRELOAD; python3 tests/support/dlopen_echo.py \"$(realpath '%s')\"",
		library);
}
END_TEST

static pthread_barrier_t used, closed;

static void *use_and_end(void *handle)
{
	int (*make)(size_t, struct np_linkbuf **) = dlsym(handle, "np_linkbuf_new");
	int (*write)(struct np_linkbuf *, const void *, size_t) = dlsym(handle, "np_linkbuf_write");
	void (*free)(struct np_linkbuf **) = dlsym(handle, "np_linkbuf_free");
	struct np_linkbuf *b = NULL;
	bool ok = make && write && free && make(0, &b) == 0 && write(b, "bytes", 5) == 0;

	if (ok)
		free(&b);
	pthread_barrier_wait(&used);
	pthread_barrier_wait(&closed);
	return ok ? handle : NULL;
}

/* What it keeps for the library is given back at its end. */
START_TEST(a_thread_that_has_used_it_may_end_behind_dlclose)
{
	void *handle, *result;
	pthread_t thread;

	if (under_asan() || under_tsan())
		SKIP("a second library of the release build beside the sanitizer's");
	handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(handle != NULL, "%s", dlerror());
	pthread_barrier_init(&used, NULL, 2);
	pthread_barrier_init(&closed, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, use_and_end, handle), 0);
	pthread_barrier_wait(&used);
	ck_assert_int_eq(dlclose(handle), 0);
	pthread_barrier_wait(&closed);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_eq(result, handle);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "dlopen");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, threads_keep_pointers_and_places_and_no_buffers);
	tcase_add_test(t, an_interpreter_opens_the_library_and_serves_an_echo);
	tcase_add_test(t, a_thread_that_has_used_it_may_end_behind_dlclose);
}

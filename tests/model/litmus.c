/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * litmus: the two words of the baton on this very processor: which fence is enough?
 *
 *   litmus FENCE SECONDS    FENCE: none, membarrier, mfence
 *
 * The owner goes in and out of its critical section as a rider goes in and out of the library; the
 * robber takes the section away while the owner's word says that it is outside. Both add to two
 * numbers that are equal outside of it. Spin's memory is sequentially consistent and cannot show
 * what this shows.
 *
 * Prints one line. Exit: 0: no violation; 3: violations; 77: this machine cannot tell (one CPU, no
 * membarrier).
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CANNOT_TELL 77
#define VIOLATED    3

enum { LIB = 0, USER = 1 };
enum fence { NONE, MEMBARRIER, MFENCE };

static const char *const fence_names[] = { "none", "membarrier", "mfence" };
static enum fence fence;

/* The owner writes word, the robber flag, each for the other to read. */
static struct {
	_Atomic(uint32_t) word, flag;
} rider __attribute__((aligned(64)));

/* Guarded by the baton, and by it alone. */
static struct {
	volatile uint64_t n __attribute__((aligned(64)));
	volatile uint64_t same __attribute__((aligned(64)));
} section;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t given_back = PTHREAD_COND_INITIALIZER;
static bool robber_has; /* gate */
static _Atomic(bool) over;
static uint64_t owner_bad, robber_bad, robbed, failed;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

/* The owner's: on the fast path, so in the asymmetric protocol it is the compiler's alone. */
static inline void light_fence(void)
{
	if (fence == MFENCE)
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
}

static void heavy_fence(void)
{
	if (fence == MEMBARRIER && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) < 0)
		die("membarrier");
	light_fence();
}

static bool touch(void)
{
	bool equal = section.n == section.same;

	section.n++;
	section.same++;
	return equal;
}

static void enter_slow(void)
{
	pthread_mutex_lock(&gate);
	while (robber_has)
		pthread_cond_wait(&given_back, &gate);
	atomic_store_explicit(&rider.flag, 0, memory_order_relaxed);
	pthread_mutex_unlock(&gate);
}

static inline void enter(void)
{
	atomic_store_explicit(&rider.word, LIB, memory_order_relaxed);
	light_fence();
	if (atomic_load_explicit(&rider.flag, memory_order_acquire))
		enter_slow();
}

static inline void leave(void)
{
	atomic_store_explicit(&rider.word, USER, memory_order_release);
}

static void *own(void *arg)
{
	for (unsigned i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i++) {
		enter();
		owner_bad += !touch();
		leave();
		for (volatile unsigned wait = i % 23; wait; wait--)
			;
	}
	return NULL;
}

/* Gate held. */
static bool rob(void)
{
	atomic_store_explicit(&rider.flag, 1, memory_order_release);
	heavy_fence();
	if (atomic_load_explicit(&rider.word, memory_order_acquire) == USER)
		return true;
	atomic_store_explicit(&rider.flag, 0, memory_order_relaxed);
	return false;
}

static void use_and_give_back(void)
{
	for (int i = 0; i < 3; i++)
		robber_bad += !touch();
	pthread_mutex_lock(&gate);
	robber_has = false;
	pthread_cond_signal(&given_back);
	pthread_mutex_unlock(&gate);
}

/* The flag stays set until the owner has been at the gate: it may be robbed again meanwhile. */
static void *rob_on(void *arg)
{
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		pthread_mutex_lock(&gate);
		robber_has = rob();
		*(robber_has ? &robbed : &failed) += 1;
		pthread_mutex_unlock(&gate);
		if (robber_has)
			use_and_give_back();
	}
	return NULL;
}

/* On CPUs of their own: on one they would never run at the same time. */
static void start(pthread_t *t, void *(*fn)(void *), const cpu_set_t *mask, int *cpu)
{
	cpu_set_t one;
	int r;

	while (*cpu < CPU_SETSIZE && !CPU_ISSET(*cpu, mask))
		++*cpu;
	CPU_ZERO(&one);
	CPU_SET(*cpu, &one);
	++*cpu;
	r = pthread_create(t, NULL, fn, NULL);
	if (r == 0)
		r = pthread_setaffinity_np(*t, sizeof one, &one);
	if (r) {
		errno = r;
		die("a thread on a CPU of its own");
	}
}

static int cannot_tell(const char *why)
{
	printf("%-10s  skipped: %s\n", fence_names[fence], why);
	return CANNOT_TELL;
}

static bool parse(int argc, char **argv, int *seconds)
{
	if (argc != 3 || (*seconds = atoi(argv[2])) < 1)
		return false;
	for (fence = NONE; fence <= MFENCE; fence++)
		if (!strcmp(argv[1], fence_names[fence]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	pthread_t owner, robber;
	cpu_set_t mask;
	int seconds, cpu = 0;

	if (!parse(argc, argv, &seconds)) {
		fprintf(stderr, "usage: litmus none|membarrier|mfence SECONDS\n");
		return 2;
	}
	if (sched_getaffinity(0, sizeof mask, &mask) < 0)
		die("sched_getaffinity");
	if (CPU_COUNT(&mask) < 2)
		return cannot_tell("one CPU");
	if (fence == MEMBARRIER && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0)
		return cannot_tell(strerror(errno));
	start(&owner, own, &mask, &cpu);
	start(&robber, rob_on, &mask, &cpu);
	sleep((unsigned)seconds);
	atomic_store(&over, true);
	pthread_join(robber, NULL);
	pthread_join(owner, NULL);
	printf("%-10s  %10llu robberies  %10llu refused  %10llu violations\n", fence_names[fence],
	       (unsigned long long)robbed, (unsigned long long)failed,
	       (unsigned long long)(owner_bad + robber_bad));
	return owner_bad + robber_bad ? VIOLATED : 0;
}

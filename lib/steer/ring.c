/* SPDX-License-Identifier: BSD-2-Clause */
/* ring: a copy is made first, and then asked whether it was overwritten meanwhile. */
#include "steer/ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/io.h"
#include "sys/mem.h"

#define RING_HEADER BPF_RINGBUF_HDR_SZ

static size_t ring_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t ring_written(const struct ring *r)
{
	return __atomic_load_n((const unsigned long *)r->producer, __ATOMIC_ACQUIRE);
}

int ring_open(struct ring *r, int fd, size_t bytes)
{
	int e;

	*r = (struct ring){ .fd = fd, .bytes = bytes };
	e = sys_mem_map_fd(fd, ring_page(), PROT_READ | PROT_WRITE, &r->consumer);
	if (e == 0)
		e = sys_mem_map_fd_at(fd, ring_page(), ring_page() + 2 * bytes, PROT_READ,
				      &r->producer);
	if (e < 0) {
		ring_close(r);
		return e;
	}
	r->at = ring_written(r);
	return 0;
}

void ring_close(struct ring *r)
{
	if (r->consumer)
		sys_mem_unmap(r->consumer, ring_page());
	if (r->producer)
		sys_mem_unmap(r->producer, ring_page() + 2 * r->bytes);
	r->consumer = r->producer = NULL;
}

/* The fastest reader's position is what the kernel goes by. */
static void ring_release(const struct ring *r)
{
	unsigned long *consumer = r->consumer, was = __atomic_load_n(consumer, __ATOMIC_RELAXED);

	while ((long)(r->at - was) > 0 &&
	       !__atomic_compare_exchange_n(consumer, &was, r->at, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

int ring_wait(const struct ring *r, int ms)
{
	ring_release(r);
	if (ring_written(r) != r->at)
		ms = ms ? 1 : 0; /* there is something, which may not be complete yet */
	return sys_wait_readable(r->fd, ms);
}

/*
 * The next records were overwritten: on with the one that is sure to be whole, the next to be
 * written.
 */
static void ring_skip(struct ring *r)
{
	uint64_t now = ring_written(r);

	r->skipped += now - r->at;
	r->at = now;
}

/* The kernel writes a record's header before it moves the producer's position over it: hence not
 * "more than". */
static bool ring_overwritten(const struct ring *r)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return ring_written(r) - r->at >= r->bytes;
}

bool ring_next(struct ring *r, void *dst, size_t cap, size_t *ret_size)
{
	const char *data = (const char *)r->producer + ring_page();
	uint32_t header, size;

	while (ring_written(r) != r->at) {
		const char *record = data + (r->at & (r->bytes - 1));

		header = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		if (!ring_overwritten(r) && (header & BPF_RINGBUF_BUSY_BIT))
			return false;
		if (size > r->bytes || ring_overwritten(r)) {
			ring_skip(r);
			continue;
		}
		memcpy(dst, record + RING_HEADER, size < cap ? size : cap);
		if (ring_overwritten(r)) {
			ring_skip(r);
			continue;
		}
		r->at += (size + RING_HEADER + 7) & ~7u;
		ring_release(r);
		if (header & BPF_RINGBUF_DISCARD_BIT)
			continue;
		*ret_size = size;
		return true;
	}
	return false;
}

uint64_t ring_take_lost(struct ring *r, size_t size)
{
	uint64_t n = r->skipped / ((size + RING_HEADER + 7) & ~(size_t)7);

	r->skipped = 0;
	return n;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* bell: the ring buffer's two positions, mapped, and an epoll of it and an eventfd. */
#include "steer/bell.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/epoll.h"
#include "sys/io.h"
#include "sys/mem.h"
#include "sys/wake.h"

#define RECORD (NP_BELL_RECORD + 8u) /* with the header that the kernel puts before it */

static size_t bell_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int bell_open(struct bell *b, const struct maps *m)
{
	int ring = m->fd[MAP_np_bell], r;

	memset(b, 0, sizeof *b);
	b->service = m->service;
	b->epoll_fd = b->wake_fd = -1;
	r = sys_mem_map_fd(ring, bell_page(), PROT_READ | PROT_WRITE, &b->consumer);
	if (r == 0)
		r = sys_mem_map_fd_at(ring, bell_page(), bell_page(), PROT_READ, &b->producer);
	if (r == 0)
		r = sys_epoll_create(&b->epoll_fd);
	if (r == 0)
		r = sys_wake_open(&b->wake_fd);
	if (r == 0)
		r = sys_epoll_add(b->epoll_fd, b->wake_fd, EPOLLIN | EPOLLET, 0);
	if (r == 0)
		r = sys_epoll_add(b->epoll_fd, ring, EPOLLIN | EPOLLET, 0);
	if (r < 0)
		bell_close(b);
	return r;
}

void bell_close(struct bell *b)
{
	sys_close(&b->wake_fd);
	sys_close(&b->epoll_fd);
	if (b->consumer)
		sys_mem_unmap(b->consumer, bell_page());
	if (b->producer)
		sys_mem_unmap(b->producer, bell_page());
	b->consumer = b->producer = NULL;
}

/*
 * Makes room, and leaves the last record there. A slow one may put the position back to where it
 * read it: until the next sleeper comes by, that costs room and nothing else.
 */
static void bell_consume(struct bell *b)
{
	uint64_t *read = b->consumer,
		 written = __atomic_load_n((uint64_t *)b->producer, __ATOMIC_ACQUIRE);

	if (written - __atomic_load_n(read, __ATOMIC_RELAXED) > RECORD)
		__atomic_store_n(read, written - RECORD, __ATOMIC_RELEASE);
}

void bell_arm(struct bell *b)
{
	bell_consume(b);
	__atomic_store_n(&b->service->bell, 1, __ATOMIC_SEQ_CST);
}

void bell_wait(struct bell *b, int ms)
{
	struct epoll_event e[2];

	sys_epoll_wait(b->epoll_fd, e, 2, ms);
}

void bell_wake(struct bell *b)
{
	sys_wake_signal(b->wake_fd);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listeners: those that this process has in slots, so that they can be shut and listened on again
 *
 * A reader would get wrong: the descriptors are their owners', who may close one at any moment, and
 * its number may then be another socket. So it is duplicated first, and what was duplicated is
 * asked for its cookie, which no other socket ever has; a lock that the owner's close() would share
 * is not needed, and users with event loops of their own would not take it.
 */
#ifndef STEER_LISTENERS_H
#define STEER_LISTENERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct listeners_entry {
	uint32_t slot;
	uint64_t cookie;
	int fd;
	int backlog;
	struct sockaddr_storage ss;
	socklen_t len;
};

struct listeners {
	pthread_mutex_t lock; /* np_groups too, which the watchdog reads */
	struct listeners_entry *all;
	unsigned n;
};

void listeners_init(struct listeners *ls);
void listeners_fini(struct listeners *ls);
/*
 * @fd listens in @slot from now on; what was noted for that slot before is forgotten. 0 or -errno.
 */
int listeners_note(struct listeners *ls, uint32_t slot, int fd);
void listeners_forget(struct listeners *ls, uint32_t slot);
/* SO_INCOMING_CPU, on each listener of worker @w; -1: none. 0 or -errno. */
int listeners_prefer_cpu(struct listeners *ls, unsigned w, int cpu);
/* The listener with that cookie; -ENOENT. */
int listeners_find(struct listeners *ls, uint64_t cookie, struct listeners_entry *ret);
/* A duplicate of the listener with that cookie. 0; -ENOENT, -EMFILE. */
int listeners_dup(struct listeners *ls, uint64_t cookie, int *ret_fd);
/* Whether @fd is the socket with that cookie. */
bool listeners_is(int fd, uint64_t cookie);
/* What @fd is: cookie, address, backlog. 0 or -errno. */
int listeners_describe(int fd, struct listeners_entry *l);
/*
 * listeners_listen() - again, on the port that @fd had when it was described
 *
 * With the shutdown a listener that was bound to port 0 has lost its port, and listen(2) would take
 * another one: getsockname(2) still tells the old one. So it is bound once more; a socket that has
 * its port says -EINVAL to that.
 */
int listeners_listen(int fd, const struct listeners_entry *l);
/* shutdown(2) for reading, if @fd is that socket, of whatever process. 0; -ENOENT. */
int listeners_shut(int fd, uint64_t cookie);

#endif

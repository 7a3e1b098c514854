/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * own: the listeners that this process has in slots, so that they can be shut and listened on again
 *
 * A reader would get wrong: the descriptors are their owners', who may close one at any moment, and
 * its number may then be another socket. So it is duplicated first, and what was duplicated is
 * asked for its cookie, which no other socket ever has; a lock that the owner's close() would share
 * is not needed, and users with event loops of their own would not take it.
 */
#ifndef STEER_OWN_H
#define STEER_OWN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct own_listener {
	uint32_t slot;
	uint64_t cookie;
	int fd;
	int backlog;
	struct sockaddr_storage ss;
	socklen_t len;
};

struct own {
	pthread_mutex_t lock; /* np_groups too, which the watchdog reads */
	struct own_listener *all;
	unsigned n;
};

void own_init(struct own *o);
void own_fini(struct own *o);
/*
 * @fd listens in @slot from now on; what was noted for that slot before is forgotten. 0 or -errno.
 */
int own_note(struct own *o, uint32_t slot, int fd);
void own_forget(struct own *o, uint32_t slot);
/* SO_INCOMING_CPU, on each listener of worker @w; -1: none. 0 or -errno. */
int own_prefer_cpu(struct own *o, unsigned w, int cpu);
/* The listener with that cookie; -ENOENT. */
int own_find(struct own *o, uint64_t cookie, struct own_listener *ret);
/* A duplicate of the listener with that cookie. 0; -ENOENT, -EMFILE. */
int own_dup(struct own *o, uint64_t cookie, int *ret_fd);
/* Whether @fd is the socket with that cookie. */
bool own_is(int fd, uint64_t cookie);
/* shutdown(2), if @fd or a socket of ours is the one with that cookie. 0; -ENOENT. */
int own_shut(struct own *o, uint64_t cookie);
/* The same for a duplicate of another process's descriptor. */
int own_shut_if(int fd, uint64_t cookie);

#endif

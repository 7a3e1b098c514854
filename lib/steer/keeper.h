/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keeper: the one process that watches a port of a service in a network namespace
 *
 * Two that keep the same listeners would each take the other for the server, and keep them for
 * ever. What says who it is: the lock on a folder of mode 0700 in the service's own, where nobody
 * but root and the service's loader can make one or open it. The kernel drops the lock however its
 * holder ends; a folder that is left over without a lock is the next one's.
 */
#ifndef STEER_KEEPER_H
#define STEER_KEEPER_H

struct np_steer;

struct keeper {
	int fd; /* the lock; -1: none is needed, or had */
	char name[64];
};

/*
 * keeper_become() - keeper_resign() in any case
 *
 * A private service, which no other process can have, needs no lock.
 * Return: 0; with a sentence: -EBUSY: another process is; -EACCES: the folder is a stranger's, or
 *         the service's is closed to this user.
 */
int keeper_become(struct keeper *k, struct np_steer *s, unsigned port, int netns_fd);
void keeper_resign(struct keeper *k, struct np_steer *s);

#endif

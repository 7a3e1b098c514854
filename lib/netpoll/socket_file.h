/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * socket_file: the name of a unix socket in the file system, and the lock beside it
 *
 * A name says nothing about its owner: between two looks another process may have put a socket of
 * its own there. So the file of a listener is known by device and inode, and PATH.lock is held
 * wherever a look and an act have to be one step: from the look at what is there to listen(2), and
 * from the comparison to unlink(2). It is not held in between: the file may be taken away by its
 * administrator, and another server listens. A server that does not know the lock leaves a race of
 * microseconds.
 *
 *   state    leaves it by
 *   none     socket_file_open() -> locked
 *   locked   socket_file_note() notes the inode;  socket_file_unlock() -> open
 *   open     socket_file_remove() -> none
 */
#ifndef NETPOLL_SOCKET_FILE_H
#define NETPOLL_SOCKET_FILE_H

#include <stdbool.h>
#include <sys/types.h>

struct addr;
struct sys_holder;

struct socket_file {
	char *path;     /* from the root; NULL: none */
	int lock_fd;    /* PATH.lock, by which its owner is known to be the one of that name */
	bool lock_goes; /* with the file; else it stays, for the process that listens there next */
	bool noted;     /* the inode is the listener's */
	dev_t device;
	ino_t inode;
};

/* A lock that was unlinked while it was waited for is no lock: the next one is tried. Return: 0;
 * -EAGAIN: *ret_holder has had the lock for a second; -ENOMEM, and what open(2) and
 * flock(2) say. */
int socket_file_open(struct socket_file *f, const char *path, struct sys_holder *ret_holder);
/*
 * socket_file_clear() - take away a dead socket
 * socket_file_look()  - whether that would be done; nothing is changed
 *
 * Return: 0: the name is free; -EADDRINUSE: it is no socket, one that answers, or another user's;
 *         nothing was touched then; what unlink(2) says.
 */
int socket_file_look(const struct socket_file *f, const struct addr *at);
int socket_file_clear(const struct socket_file *f, const struct addr *at);
/* After bind(2): whose file it is from now on. Return: 0; what lstat(2) says. */
int socket_file_note(struct socket_file *f);
void socket_file_unlock(const struct socket_file *f);
/* Takes away the lock, which is held, where it goes with the file. */
void socket_file_end_lock(const struct socket_file *f);
/*
 * Before the listener is closed, else the next socket may get its inode. A file that is another's
 * by now stays, and so does ours where the lock cannot be had: it is a dead socket, which the next
 * server replaces.
 */
void socket_file_remove(struct socket_file *f);

#endif

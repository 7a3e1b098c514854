/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sock: sockets are made, bound, listened on, accepted, connected
 *
 * Every socket is made O_NONBLOCK and O_CLOEXEC.
 */
#ifndef SYS_SOCK_H
#define SYS_SOCK_H

#include <stdbool.h>
#include <sys/socket.h>

int sys_socket(int family, int type, int *ret_fd);
int sys_bind(int fd, const struct sockaddr *sa, socklen_t len);
int sys_listen(int fd, int backlog);
/*
 * Not retried on EINTR alone: every errno of accept4(2) is the caller's to judge. @sa may be NULL.
 */
int sys_accept4(int fd, struct sockaddr *sa, socklen_t *len, int *ret_fd);
/* -EINPROGRESS is the usual answer. EINTR on connect means the same and is reported as such. */
int sys_connect(int fd, const struct sockaddr *sa, socklen_t len);
int sys_shutdown(int fd, int how);
int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t len);
int sys_setsockopt_int(int fd, int level, int name, int v);
/* SO_KEEPALIVE on, and its three numbers (tcp(7)). */
/* @idle_s 0, -1: off. @intvl_s 0: @idle_s; @cnt 0: 3. */
int sys_set_keepalive(int fd, int idle_s, int intvl_s, int cnt);
/* 0: as long as the kernel tries; -1: no limit, but the 24 days it can count. */
int sys_set_user_timeout(int fd, int ms);
int sys_getsockopt_int(int fd, int level, int name, int *ret);
/* Exactly @len bytes; -EPROTO where the kernel has another size for it. */
int sys_getsockopt(int fd, int level, int name, void *v, socklen_t len);
int sys_getsockname(int fd, struct sockaddr_storage *ret, socklen_t *ret_len);
int sys_getpeername(int fd, struct sockaddr_storage *ret, socklen_t *ret_len);
/* The same, and of a connection that was reset too: getpeername(2) says -ENOTCONN then. */
int sys_peer_addr(int fd, struct sockaddr_storage *ret, socklen_t *ret_len);
/* How many connections a listening TCP socket has for accept(2) at this moment. */
int sys_accept_queue(int fd, unsigned *ret);
/* net.core.somaxconn: no listener's queue is longer, but for a unix one by one. Where it cannot be
 * read: 65535. */
unsigned sys_somaxconn(void);
int sys_set_cloexec(int fd);
int sys_set_nonblock(int fd);
/* Whether it was opened for reading. */
bool sys_can_read(int fd);
/* Whether there is such a descriptor: of one of O_PATH, too, most calls say EBADF. */
bool sys_is_open(int fd);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* epoll: a poller's sleep. */
#ifndef SYS_EPOLL_H
#define SYS_EPOLL_H

#include <stdint.h>
#include <sys/epoll.h>

int sys_epoll_create(int *ret_fd);
int sys_epoll_add(int ep, int fd, uint32_t events, uint64_t data);
int sys_epoll_mod(int ep, int fd, uint32_t events, uint64_t data);
int sys_epoll_del(int ep, int fd);
/*
 * Return: events reported, 0 at @timeout_ms or on EINTR (the loop looks round anyway), or -errno.
 */
int sys_epoll_wait(int ep, struct epoll_event *ev, int max, int timeout_ms);

#endif

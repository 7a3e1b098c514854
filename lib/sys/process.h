/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process: other processes: what they hold and wait for, and duplicates of their sockets
 *
 * A process has one number in its own PID namespace and others in those around it; from a namespace
 * beside it the process cannot be named at all. The socket's inode is the same everywhere.
 *
 * pidfd_getfd(2), Linux 5.6, asks for the rights that ptrace(2) asks for: root has them, and in
 * general a process of the same user.
 */
#ifndef SYS_PROCESS_H
#define SYS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Which PID namespace this process is in: the inode of /proc/self/ns/pid; 0: cannot be known. */
uint32_t sys_process_pidns(void);
/*
 * sys_process_socket() - a duplicate of @pid's socket of that inode (see diag.h)
 *
 * The descriptor's number may be another socket's by the time it is duplicated: ask its cookie.
 * Return: 0; -ENOENT: it has none such; -ESRCH; -EACCES, -EPERM: not for us; -ENOSYS.
 */
int sys_process_socket(pid_t pid, uint64_t inode, int *ret_fd);
/*
 * sys_process_find_socket() - the same of whatever process has it
 *
 * Reads the descriptors of every process in /proc, which takes milliseconds, or longer where there
 * are very many.
 * Return: 0, *ret_pid is set; -ENOENT: no process that this one can see and duplicate from has it;
 * -EACCES: nor does one that could be looked into, and there are others; -EPERM, -ENOSYS.
 */
int sys_process_find_socket(uint64_t inode, pid_t *ret_pid, int *ret_fd);

/* ------------------------------------------------------------------ what /proc tells of others */

/* How many PID namespaces there are from that of /proc to this process's own, both included: 1. */
unsigned sys_process_depth(void);
/* /proc does not show the processes of others (hidepid): the first one is always there. */
bool sys_process_first_is_hidden(void);
/*
 * Processes by the number that /proc has for them. One that cannot be looked into, or has just
 * ended, is -EACCES, -EPERM, -ESRCH, or 0 and "" where a word is asked for.
 */
int sys_process_each(void (*fn)(void *arg, pid_t pid), void *arg);
/* Each descriptor: its number, and what its link says: "socket:[INODE]". */
int sys_process_each_fd(pid_t pid, void (*fn)(void *arg, int number, const char *what), void *arg);
/* What its epoll instance @number watches: of each file its descriptor's number then, and inode. */
int sys_process_each_watched(pid_t pid, int number,
			     void (*fn)(void *arg, int number, uint64_t inode), void *arg);
int sys_process_each_task(pid_t pid, void (*fn)(void *arg, pid_t tid), void *arg);

enum sys_wait { SYS_WAIT_NONE, SYS_WAIT_EPOLL, SYS_WAIT_ACCEPT };
/* What thread @tid sleeps in at this moment; *ret_number is the descriptor that it waits for. */
enum sys_wait sys_process_waits(pid_t pid, pid_t tid, int *ret_number);

/* When it began, in the kernel's ticks since boot: with the number it names a process for good. */
uint64_t sys_process_starttime(pid_t pid);
/* 0: it has none that /proc shows. */
pid_t sys_process_parent(pid_t pid);
/* As ps(1) has it; 0: it is not there. Of a thread by the thread's own number, here and below. */
char sys_process_state(pid_t pid);
/* How often it has given up its CPU by itself. */
uint64_t sys_process_sleeps(pid_t pid);
void sys_process_name(pid_t pid, char *dst, size_t cap);
/* The start of its file in /proc, such as "comm"; "" where that cannot be read. */
void sys_process_read(pid_t pid, const char *file, char *dst, size_t cap);
/* What system calls of this process take for the number that /proc has; 0: it has none here. */
pid_t sys_process_here(pid_t pid);

/* Whether its descriptor @number is the socket with that inode. */
bool sys_process_has_socket(pid_t pid, int number, uint64_t inode);
/* A descriptor that can be read once it has ended (pidfd_open(2)). */
int sys_process_open(pid_t pid, int *ret_fd);
/* sys_process_take() - a duplicate of the descriptor that has that number at this moment. As
 * sys_process_socket(); -EBADF. */
int sys_process_take(pid_t pid, int number, int *ret_fd);

#endif

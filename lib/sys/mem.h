/* SPDX-License-Identifier: BSD-2-Clause */
/* mem: pages from the kernel, for stacks, slabs and BPF maps. */
#ifndef SYS_MEM_H
#define SYS_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Private, zero, read-write, not reserved until touched. */
int sys_mem_map(size_t n, void **ret);
/* The whole of @fd's first @n bytes, shared; prot as mmap(2). */
int sys_mem_map_fd(int fd, size_t n, int prot, void **ret);
/* The same from byte @off on, a multiple of the page size. */
int sys_mem_map_fd_at(int fd, size_t off, size_t n, int prot, void **ret);
int sys_mem_unmap(void *p, size_t n);
int sys_mem_protect(void *p, size_t n, int prot);
int sys_mem_advise(void *p, size_t n, int advice);
/* Whether the kernel can read the eight bytes at @p. Changes nothing. */
bool sys_mem_readable(const void *p);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* mem: mmap(2) and its kin. */
#include "sys/mem.h"

#include <asm/unistd.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/fault.h"

static int mem_map(size_t n, int prot, int flags, int fd, size_t off, void **ret)
{
	void *p;

	SYS_FAULT(mmap);
	p = mmap(NULL, n, prot, flags, fd, (off_t)off);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int sys_mem_map(size_t n, void **ret)
{
	return mem_map(n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0, ret);
}

int sys_mem_map_fd(int fd, size_t n, int prot, void **ret)
{
	return mem_map(n, prot, MAP_SHARED, fd, 0, ret);
}

int sys_mem_map_fd_at(int fd, size_t off, size_t n, int prot, void **ret)
{
	return mem_map(n, prot, MAP_SHARED, fd, off, ret);
}

int sys_mem_unmap(void *p, size_t n)
{
	SYS_FAULT(munmap);
	return munmap(p, n) < 0 ? -errno : 0;
}

int sys_mem_protect(void *p, size_t n, int prot)
{
	SYS_FAULT(mprotect);
	return mprotect(p, n, prot) < 0 ? -errno : 0;
}

int sys_mem_advise(void *p, size_t n, int advice)
{
	SYS_FAULT(madvise);
	return madvise(p, n, advice) < 0 ? -errno : 0;
}

/*
 * The kernel's own sigprocmask(2), not glibc's, which looks at the set itself: a call that reads
 * from where it is told to. Whatever is there blocks signals between two calls, and nothing in
 * fresh memory.
 */
bool sys_mem_readable(const void *p)
{
	unsigned long old;

	return syscall(__NR_rt_sigprocmask, SIG_BLOCK, p, &old, sizeof old) == 0 &&
	       syscall(__NR_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof old) == 0;
}

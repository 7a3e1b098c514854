/* SPDX-License-Identifier: BSD-2-Clause */
/* fence: membarrier(2), PRIVATE_EXPEDITED (Linux 4.14). */
#include "sys/fence.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <unistd.h>

#include "sys/fault.h"

_Atomic(bool) sys_fence_by_kernel;

static pthread_once_t fence_once = PTHREAD_ONCE_INIT;

static int fence_call(int command)
{
	SYS_FAULT(fence);
	return syscall(__NR_membarrier, command, 0, 0) < 0 ? -errno : 0;
}

static void fence_find(void)
{
	if (fence_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
		atomic_store(&sys_fence_by_kernel, true);
}

void sys_fence_find(void)
{
	pthread_once(&fence_once, fence_find);
}

int sys_fence_heavy(void)
{
	int r = 0;

	if (atomic_load_explicit(&sys_fence_by_kernel, memory_order_relaxed)) {
		r = fence_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
		if (r < 0)
			atomic_store(&sys_fence_by_kernel, false);
	}
	atomic_thread_fence(memory_order_seq_cst);
	return r;
}

#ifdef NP_FAULT
void sys_fence_forget(void)
{
	fence_once = (pthread_once_t)PTHREAD_ONCE_INIT;
	atomic_store(&sys_fence_by_kernel, false);
}
#endif

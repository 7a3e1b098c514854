/* SPDX-License-Identifier: BSD-2-Clause */
/* probe: the one with a semaphore, in a file of its own: sdt.h gives all of a file one, or none. */
#if !defined(NP_NO_PROBES)
#define _SDT_HAS_SEMAPHORES 1
#endif
#include "sys/probe.h"

#include "sys/ack.h"

#ifdef NP_PROBES
unsigned short netpoll_steer_semaphore __attribute__((section(".probes"), visibility("hidden")));
#else
unsigned short netpoll_steer_semaphore;
#endif

void probe_steer(int fd, unsigned poller)
{
	uint64_t waited_ms = sys_tcp_waited_ms(fd);

	PROBE3(steer, fd, poller, waited_ms);
	(void)waited_ms;
}

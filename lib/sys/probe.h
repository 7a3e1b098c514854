/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe: places where bpftrace, perf and systemtap can look in (USDT)
 *
 * Each is a nop, and a note in the ELF file that says where it is and which registers have its
 * arguments. What is an argument is at hand there anyway: what would have to be computed stands
 * behind a semaphore, which the one who looks raises. Without <sys/sdt.h>, or with
 * -DNP_NO_PROBES, there is none.
 *
 *   provider netpoll   arguments
 *   steer              descriptor, poller, ms that it waited in the queue   (semaphore)
 *   accept             descriptor, poller
 *   read               descriptor, bytes
 *   handler__begin     connection, descriptor, function
 *   handler__end       connection, descriptor, result
 *   park               fiber, what for (a string), descriptor, handler
 *   wake               fiber, result
 *   write              descriptor, bytes
 *   move               connection, descriptor, poller that it leaves, that it goes to (addresses)
 *   close              connection, descriptor, why
 *   handoff            poller (address), handler
 */
#ifndef SYS_PROBE_H
#define SYS_PROBE_H

#include <stdint.h>

#if !defined(NP_NO_PROBES) && defined(__has_include)
#if __has_include(<sys/sdt.h>)
#define NP_PROBES 1
#endif
#endif

#ifdef NP_PROBES
#include <sys/sdt.h>
#define PROBE2(name, a, b)       DTRACE_PROBE2(netpoll, name, a, b)
#define PROBE3(name, a, b, c)    DTRACE_PROBE3(netpoll, name, a, b, c)
#define PROBE4(name, a, b, c, d) DTRACE_PROBE4(netpoll, name, a, b, c, d)
#else
#define PROBE2(name, a, b)       ((void)0)
#define PROBE3(name, a, b, c)    ((void)0)
#define PROBE4(name, a, b, c, d) ((void)0)
#endif

/* Raised while somebody looks at `steer`. */
extern unsigned short netpoll_steer_semaphore __attribute__((visibility("hidden")));
/* A connection was accepted where steering had put it: how long it waited there is asked now. */
void probe_steer(int fd, unsigned poller);

#endif

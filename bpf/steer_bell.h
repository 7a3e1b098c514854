/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_bell: wakes the watchdogs that sleep until there is something to watch
 *
 * A worker that hangs harms what is queued at it, and a SYN is what fills a queue: between two SYNs
 * a second apart no watchdog has anything to do, and an idle service costs no wake-up. A watchdog
 * that goes to sleep sets np_service.bell; the next SYN finds it set and wakes them all. While it
 * is not set, that is one word read for each SYN.
 */
#ifndef STEER_BELL_H
#define STEER_BELL_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536); /* a multiple of every page size */
} np_bell SEC(".maps");

static __always_inline void bell_ring(void)
{
	__u32 zero = 0;
	struct np_service_ctl *service = bpf_map_lookup_elem(&np_service, &zero);
	void *record;

	if (!service || !READ_ONCE(service->bell))
		return;
	WRITE_ONCE(service->bell, 0);
	record = bpf_ringbuf_reserve(&np_bell, NP_BELL_RECORD, 0);
	if (record)
		bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment: single TCP segments that no kernel has a connection for
 *
 * A reader would get wrong: the kernel answers what it knows nothing of with an RST, so who plays a
 * client segment by segment needs an address that no kernel has. far_open() gives 10.9.0.2 behind a
 * TUN device, whose other end, 10.9.0.1, is this network namespace.
 */
#ifndef SUPPORT_SEGMENT_H
#define SUPPORT_SEGMENT_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>

#define FAR_SERVER "10.9.0.1"

/* Fills in the checksum. */
void segment_sum(struct tcphdr *h, struct in_addr src, struct in_addr dst);

/* The TUN device, up, in this thread's network namespace; -errno where there is no TUN. */
int far_open(void);
/* A segment from 10.9.0.2:@port to the server's @to. */
void far_send(int tun, uint16_t port, uint16_t to, uint8_t flags, uint32_t seq, uint32_t ack);
/* The next segment that comes from the server's @from: its flags, port it goes to, and number.
 * Waits. */
uint8_t far_receive(int tun, uint16_t from, uint16_t *port, uint32_t *seq);

#endif

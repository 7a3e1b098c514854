/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* steer_packet: what the packet is that the program is asked about */
#ifndef STEER_PACKET_H
#define STEER_PACKET_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum packet {
	PACKET_SYN,
	PACKET_ACK,   /* of a SYN cookie, or a stray */
	PACKET_STRAY, /* neither: RST, FIN, SYN-ACK of nobody's connection */
};

#define TCP_FLAGS 13 /* offset of the flag byte in the TCP header */
#define TH_FIN    0x01
#define TH_SYN    0x02
#define TH_RST    0x04
#define TH_ACK    0x10

static __always_inline enum packet packet_of(struct sk_reuseport_md *md)
{
	__u8 *data = md->data, flags = 0;

	if (data + TCP_FLAGS + 1 <= (__u8 *)md->data_end)
		flags = data[TCP_FLAGS];
	else
		bpf_skb_load_bytes(md, TCP_FLAGS, &flags, 1);

	if ((flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN)
		return PACKET_SYN;
	if ((flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) == TH_ACK)
		return PACKET_ACK;
	return PACKET_STRAY;
}

#endif

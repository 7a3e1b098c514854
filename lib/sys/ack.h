/* SPDX-License-Identifier: BSD-2-Clause */
/* ack: how many of the bytes that the kernel took from us the other side has not taken */
#ifndef SYS_ACK_H
#define SYS_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sys_ack {
	/*
	 * Bytes that the kernel holds and the peer has not taken. TCP: not acknowledged; our FIN
	 * counts as one, and it stays up after the peer's RST. A unix socket: memory, which moves
	 * by whole packets: that it fell says something, how far does not. A pipe or a tty: bytes.
	 */
	size_t queued;
	/* TCP: bytes ever acknowledged, the FIN and a dialed connection's SYN included; else 0 */
	uint64_t acked;
	bool over; /* TCP: there is no connection any more: RST, or the kernel gave it up */
};

/* @tcp: an AF_INET or AF_INET6 stream. Return: 0, or what ioctl(2) or getsockopt(2) says. */
int sys_ack(int fd, bool tcp, struct sys_ack *ret);

/* What the kernel has counted. The first byte of each direction is of SYN and FIN where they count
 * in struct sys_ack. */
struct sys_tcp_sight {
	uint64_t received, sent;
	uint64_t in_flight; /* not acknowledged, of what was sent */
	uint32_t quiet_ms;  /* since the peer's last byte; since the beginning where none came */
};
/* How long ago, in ms: the peer's last byte; the end of the handshake, of one that has sent nothing
 * yet. 0 where the kernel does not say. */
uint64_t sys_tcp_quiet_ms(int fd);
uint64_t sys_tcp_waited_ms(int fd);
/* Of a TCP socket. Return: as sys_ack(). */
int sys_tcp_look(int fd, struct sys_tcp_sight *ret);

/*
 * sys_tcp_reset() - RST, at once
 *
 * SO_LINGER and close(2) send it when the last duplicate of the descriptor is closed, which may be
 * another process's.
 * Return: 0 or what connect(2) says.
 */
int sys_tcp_reset(int fd);
/* What was sent with MSG_MORE waits for nothing more. Return: 0 or what setsockopt(2) says. */
int sys_tcp_push(int fd);

#endif

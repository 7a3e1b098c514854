/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_frame: what two processes of one server say to each other over a unix stream socket
 *
 *   the old one                    the new one
 *                                  HELLO: what it is
 *   ADDRESS, one or more for each
 *   address; OFFERED
 *                                  BEGIN: it can serve at once
 *   RELEASED: it accepts no more
 *                                  LISTENING
 *   YOURS: it has forgotten them
 *   CONNS: at most 64 connections,
 *   those of a set side by side
 *                                  IMPORTED: which of them it can have; it reads none yet
 *   COMMIT: they are the other's
 *   ... END
 *
 * Either may send REFUSED, with a sentence, and closes the socket. Descriptors come with the first
 * byte of a frame; one that came without its frame, or that a frame did not announce, is closed.
 */
#ifndef NETPOLL_HANDOVER_FRAME_H
#define NETPOLL_HANDOVER_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "sys/pass.h"

enum handover_type {
	HANDOVER_NONE, /* is not sent; for handover_expect(), where nothing is due */
	HANDOVER_HELLO,
	HANDOVER_ADDRESS,
	HANDOVER_OFFERED,
	HANDOVER_BEGIN,
	HANDOVER_RELEASED,
	HANDOVER_LISTENING,
	HANDOVER_YOURS,
	HANDOVER_CONNS,
	HANDOVER_IMPORTED,
	HANDOVER_COMMIT,
	HANDOVER_END,
	HANDOVER_REFUSED,
};

struct handover_hello {
	uint32_t pollers;
	uint32_t credits; /* descriptors that it takes before it has said IMPORTED */
};

/* HANDOVER_ADDRESS; the path of a unix socket's file follows. */
struct handover_address {
	uint32_t index;
	uint32_t fds;   /* of the whole address */
	uint32_t first; /* that comes with this frame */
	uint32_t flags; /* HANDOVER_OWN ... */
	uint64_t device, inode;
	uint32_t path_len;
	uint32_t addr_len;
	char addr[128]; /* a sockaddr_storage */
};

#define HANDOVER_OWN     1u
#define HANDOVER_SHARED  2u
#define HANDOVER_STEERED 4u
#define HANDOVER_DELAYS  8u

/* HANDOVER_CONNS: so many struct handover_conn follow, and then their messages. */
struct handover_conns {
	uint32_t poller;
	uint32_t n;
};

struct handover_conn {
	uint32_t set; /* how many belong together from here on, 1 or 2; 0: the one before said so */
	uint32_t zero;
	uint64_t n; /* bytes of its message */
};

struct handover_frame {
	enum handover_type type;
	void *bytes;
	size_t n;
	int fds[SYS_PASS_MAX]; /* -1: taken */
	unsigned n_fds;
};

/* @until_ns of sys_clock_ns(). Return: 0; -ETIMEDOUT, -EPIPE: the other is gone; send(2). */
int handover_send(int sock, enum handover_type type, const void *p, size_t n, const int *fds,
		  unsigned n_fds, uint64_t until_ns);
/*
 * handover_recv() - the next frame; handover_frame_free() closes what was not taken of it
 *
 * Return: 0; -EPIPE: the other is gone; -ETIMEDOUT; -EPROTO: it is cut, or is none;
 *         -EPROTONOSUPPORT: of another version; -EMSGSIZE: too many descriptors; -EBADMSG: not as
 *         many as it says; -ENOMEM.
 */
int handover_recv(int sock, struct handover_frame *ret, uint64_t until_ns);
/* The same, and that it is of @type. Return: also -EPROTO; -ECONNREFUSED: it was REFUSED, which is
 * *ret then. */
int handover_expect(int sock, enum handover_type type, struct handover_frame *ret,
		    uint64_t until_ns);
void handover_frame_free(struct handover_frame *f);
/* What @r means of a frame that was to come. Lifetime: static, or the frame's. */
const char *handover_words(const struct handover_frame *f, int r);
/* REFUSED, with a sentence. */
void handover_refuse(int sock, const char *words);

#endif

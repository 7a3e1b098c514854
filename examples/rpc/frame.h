/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame: 4 bytes, big-endian, how long the payload is; the payload
 *
 * The wire format of cloudwego's netpoll-benchmark. A payload of ours begins with the number of its
 * call, 8 bytes, which the answer has too: so answers may come in any order (netpoll/call.h).
 */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include <netpoll/conn.h>
#include <netpoll/handlers.h>
#include <netpoll/linkbuf.h>
#include <stdint.h>

#define FRAME_HEAD 4u
#define FRAME_ID   8u
#define FRAME_MAX  (16u << 20)
/* For np_handlers. */
#define FRAMING    ((struct np_framing){ .width = FRAME_HEAD, .max = FRAME_HEAD + FRAME_MAX })

/*
 * frame_peek() - waits for a head, and says how long the payload is
 *
 * Thread: fiber. May park: yes. Return: 0; -EMSGSIZE: longer than FRAME_MAX; as np_conn_peek().
 */
int frame_peek(struct np_conn *c, size_t *ret_n);
/* np_channel_opts.frame */
int frame_answer(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg);
/* A frame of a call. Return: 0; -ENOMEM. */
int frame_make(uint64_t id, const void *body, size_t n, struct np_linkbuf **ret);
void frame_put_head(void *dst, size_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* frame: heads are copied out, for they lie at any address. */
#include "frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

int frame_peek(struct np_conn *c, size_t *ret_n)
{
	const void *p;
	uint32_t n;
	int r = np_conn_peek(c, FRAME_HEAD, &p);

	if (r < 0)
		return r;
	memcpy(&n, p, sizeof n);
	*ret_n = be32toh(n);
	return *ret_n > FRAME_MAX ? -EMSGSIZE : 0;
}

int frame_answer(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	const void *p;
	uint64_t id;
	size_t n;
	int r = frame_peek(c, &n);

	if (r == 0 && n < FRAME_ID)
		r = -EBADMSG;
	if (r == 0)
		r = np_conn_peek(c, FRAME_HEAD + FRAME_ID, &p);
	if (r < 0)
		return r;
	memcpy(&id, (const char *)p + FRAME_HEAD, sizeof id);
	*ret_id = be64toh(id);
	*ret_len = FRAME_HEAD + n;
	return 0;
}

void frame_put_head(void *dst, size_t n)
{
	uint32_t head = htobe32((uint32_t)n);

	memcpy(dst, &head, sizeof head);
}

int frame_make(uint64_t id, const void *body, size_t n, struct np_linkbuf **ret)
{
	struct np_linkbuf *b;
	void *p;
	int r = np_linkbuf_new(FRAME_HEAD + FRAME_ID + n, &b);

	if (r < 0)
		return r;
	r = np_linkbuf_reserve(b, FRAME_HEAD + FRAME_ID, &p);
	if (r == 0) {
		frame_put_head(p, FRAME_ID + n);
		id = htobe64(id);
		memcpy((char *)p + FRAME_HEAD, &id, sizeof id);
		r = np_linkbuf_write(b, body, n);
	}
	if (r < 0)
		np_linkbuf_free(&b);
	else
		*ret = b;
	return r;
}

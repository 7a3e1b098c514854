/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_file: a file sent without a buffer
 *
 * The file lies behind what was flushed before, and other output waits for it: a message of
 * np_conn_send() between a header and the file that it announces would break both.
 *
 *   stream.file   is left by
 *   NULL          np_conn_sendfile() -> set
 *   set           every byte sent, refused, an end in the middle -> NULL
 */
#include <errno.h>

#include "conn/conn.h"
#include "poll/baton.h"

struct file_send {
	struct stream_file file;
	bool then_fin;
};

bool conn_file_puts_off_fin(struct np_conn *c)
{
	if (!c->io || !c->io->stream.file)
		return false;
	container_of(c->io->stream.file, struct file_send, file)->then_fin = true;
	return true;
}

/* What waited for the end of the message goes on. */
static void file_is_through(struct np_conn *c, const struct file_send *f)
{
	if (conn_life(c) != CONN_OPEN)
		return;
	conn_take_sends(c);
	if (conn_life(c) == CONN_OPEN)
		conn_pump(c, PUMP_FLUSH);
	if (f->then_fin)
		conn_shut(c);
}

/*
 * The fiber leaves, and its stack with the file: the peer has been promised bytes that cannot come,
 * and nothing can follow.
 */
static int file_cut(struct np_conn *c, const struct file_send *f, int err)
{
	if (c->io && c->io->stream.file == &f->file)
		conn_out_fails(c, err);
	return err;
}

static int file_submit(struct np_conn *c)
{
	int r = conn_await_output(c);

	if (r == 0)
		r = conn_unwritable(c);
	if (r == 0 && !fiber_self())
		r = -NP_ENOTFIBER;
	if (r == 0 && !c->io)
		r = conn_io_attach(c);
	if (r == 0)
		conn_submit(c, c->io);
	return r;
}

int conn_send_file(struct np_conn *c, const struct stream_file *file)
{
	struct file_send f = { .file = *file };
	int r;

	r = conn_verb_ends(c, file_submit(c));
	if (r < 0)
		return r;
	if (file->left)
		conn_request_over(c); /* also where nothing was written before the file */
	stream_set_file(&c->io->stream, &f.file);
	r = conn_pump(c, PUMP_FLUSH);
	if (r >= 0 && c->io->stream.file)
		r = conn_wait_output(c, 0);
	if (r < 0 && r != -NP_EMOVED) /* then the pipe's bytes are output by now: conn_part.c */
		return file_cut(c, &f, r);
	file_is_through(c, &f);
	return r < 0 ? r : f.file.err;
}

int np_conn_sendfile(struct np_conn *c, int fd, off_t off, size_t n)
{
	NP_GATE(np_conn_sendfile(c, fd, off, n));

	if (off < 0)
		return -EINVAL;
	return conn_send_file(c, &(struct stream_file){ .fd = fd, .off = off, .left = n });
}

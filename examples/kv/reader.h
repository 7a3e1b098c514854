/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reader: commands out of bytes: RESP arrays of bulk strings, and lines of words
 *
 * It is given all bytes of a command from its first one on, each time more of them have come, and
 * goes on where it stopped: no byte is looked at twice, and the bytes may have moved meanwhile. It
 * keeps no more memory than the bytes that have come call for.
 */
#ifndef KV_READER_H
#define KV_READER_H

#include <stddef.h>
#include <stdint.h>

#define READER_BULK_MAX (512u << 20)
#define READER_LINE_MAX (64u << 10)

struct arg {
	const char *p;
	size_t n;
};

/* In bytes from the command's first one, or from the beginning of .line. */
struct part {
	uint32_t at, n;
};

/*
 *   left   bulk   state                          leaves it by
 *   0      -1     before the first byte          reader_begin(), reader_line()
 *   > 0    -1     before the "$" of an argument  reader_bulk_size()
 *   > 0    >= 0   its bytes have to come         reader_bulk(), and then left is one less
 */
struct reader {
	struct part *parts;
	int n_parts, cap;
	int left;
	int64_t bulk;
	size_t at;   /* bytes that have been read */
	size_t need; /* READER_MORE: there have to be so many */
	char *line;  /* an inline command, its quotes resolved */
	int is_line;
	char error[64]; /* READER_BAD: what the peer is told */
};

enum { READER_MORE, READER_COMMAND, READER_BAD };

/*
 * reader_parse() - the command that begins at @p
 *
 * Return: READER_COMMAND: it has r->at bytes and r->n_parts arguments, 0 where it was empty;
 *         READER_MORE: call again with r->need bytes at least; READER_BAD: r->error, and nothing
 *         that follows can be understood; -ENOMEM.
 */
int reader_parse(struct reader *r, const char *p, size_t n);
/* The arguments, in @argv, which has room for r->n_parts. @p as it was for reader_parse(). */
void reader_args(const struct reader *r, const char *p, struct arg *argv);
/* Before the next command. */
void reader_next(struct reader *r);
void reader_init(struct reader *r);
void reader_fini(struct reader *r);

#endif

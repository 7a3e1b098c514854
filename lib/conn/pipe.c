/* SPDX-License-Identifier: BSD-2-Clause */
/* pipe: the pool. */
#include "conn/pipe.h"

#include <stdlib.h>

#include "sys/io.h"

#define PIPES_MAX  32u
#define PIPES_IDLE 4u
#define PIPE_SIZE  (1024u * 1024) /* what anybody may ask for: fs.pipe-max-size */
#define PIPE_LEAST (64u * 1024)   /* what pipe(2) gives a user who has not many */

static void pipe_free(struct pipes *s, struct pipe *p)
{
	sys_close(&p->rd);
	sys_close(&p->wr);
	free(p);
	s->n--;
}

static struct pipe *pipe_new(struct pipes *s)
{
	struct pipe *p = calloc(1, sizeof *p);
	int fd[2] = { -1, -1 };
	ssize_t size;

	if (!p)
		return NULL;
	size = sys_pipe(fd, PIPE_SIZE);
	p->rd = fd[0];
	p->wr = fd[1];
	p->size = size > 0 ? (size_t)size : 0;
	s->n++;
	if (size >= (ssize_t)PIPE_LEAST)
		return p;
	pipe_free(s, p);
	return NULL;
}

struct pipe *pipe_get(struct pipes *s)
{
	struct pipe *p = s->idle;

	if (!p)
		return s->n < PIPES_MAX ? pipe_new(s) : NULL;
	s->idle = p->next;
	s->n_idle--;
	return p;
}

void pipe_put(struct pipes *s, struct pipe *p)
{
	if (p->held || s->n_idle == PIPES_IDLE) {
		pipe_free(s, p);
		return;
	}
	p->next = s->idle;
	s->idle = p;
	s->n_idle++;
}

void pipes_fini(struct pipes *s)
{
	struct pipe *p;

	while ((p = s->idle)) {
		s->idle = p->next;
		pipe_free(s, p);
	}
}

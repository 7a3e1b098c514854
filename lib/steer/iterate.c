/* SPDX-License-Identifier: BSD-2-Clause */
/* iterate: records are written whole, but may be read in parts. */
#include "steer/iterate.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>

#include "sys/io.h"

#define ITERATE_CHUNK 4096u

static int iterate_take(int fd, char **ret, size_t *ret_n)
{
	size_t cap = 0, n = 0;
	char *all = NULL, *grown;
	ssize_t got;

	do {
		if (cap - n < ITERATE_CHUNK) {
			cap = 2 * cap + ITERATE_CHUNK;
			grown = realloc(all, cap);
			if (!grown) {
				free(all);
				return -ENOMEM;
			}
			all = grown;
		}
		got = sys_read(fd, all + n, cap - n);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 || got == -EAGAIN); /* so far nothing, of a million */
	if (got < 0) {
		free(all);
		return (int)got;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int iterate(int fd, union bpf_iter_link_info *about, char **ret, size_t *ret_n)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .iter_info = about,
		    .iter_info_len = about ? sizeof *about : 0);
	int link = bpf_link_create(fd, 0, BPF_TRACE_ITER, &o), iter, r;

	if (link < 0)
		return link;
	iter = bpf_iter_create(link);
	r = iter < 0 ? iter : iterate_take(iter, ret, ret_n);
	sys_close(&iter);
	sys_close(&link);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* iterate: records are written whole, but may be read in parts. */
#include "steer/iterate.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

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

int iterate(struct bpf_program *p, char **ret, size_t *ret_n)
{
	struct bpf_link *link = bpf_program__attach_iter(p, NULL);
	int fd, r;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	r = fd < 0 ? -errno : iterate_take(fd, ret, ret_n);
	sys_close(&fd);
	bpf_link__destroy(link);
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* attached: an iterator is loaded, read to its end and dropped. */
#include "steer/attached.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "groups.skel.h"
#include "steer/words.h"
#include "sys/fault.h"
#include "sys/io.h"

#define ATTACHED_CHUNK 4096u

/* Records are written whole, but may be read in parts. */
static int attached_take(int fd, char **ret, size_t *ret_n)
{
	size_t cap = 0, n = 0;
	char *all = NULL, *grown;
	ssize_t got;

	do {
		if (cap - n < ATTACHED_CHUNK) {
			cap = 2 * cap + ATTACHED_CHUNK;
			grown = realloc(all, cap);
			if (!grown) {
				free(all);
				return -ENOMEM;
			}
			all = grown;
		}
		got = sys_read(fd, all + n, cap - n);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	if (got < 0) {
		free(all);
		return (int)got;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

static int attached_iterate(struct bpf_program *p, char **ret, size_t *ret_n)
{
	struct bpf_link *link = bpf_program__attach_iter(p, NULL);
	int fd, r;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	r = fd < 0 ? -errno : attached_take(fd, ret, ret_n);
	sys_close(&fd);
	bpf_link__destroy(link);
	return r;
}

int attached_read(struct np_attached **ret)
{
	struct groups_bpf *o;
	struct words words;
	char *bytes = NULL;
	size_t n = 0;
	int r;

	SYS_FAULT(bpf);
	words_take(&words, NULL, 0);
	o = groups_bpf__open_and_load();
	r = o ? attached_iterate(o->progs.np_groups, &bytes, &n) : -errno;
	groups_bpf__destroy(o);
	words_give_back(&words);
	if (r < 0)
		return r;
	*ret = (struct np_attached *)bytes;
	return (int)(n / sizeof **ret);
}

const struct np_attached *attached_find(const struct np_attached *all, int n, uint64_t cookie)
{
	for (int i = 0; i < n; i++)
		if (all[i].cookie == cookie)
			return &all[i];
	return NULL;
}

uint32_t attached_id(int prog_fd)
{
	struct bpf_prog_info info;
	unsigned len = sizeof info;

	memset(&info, 0, sizeof info);
	return bpf_obj_get_info_by_fd(prog_fd, &info, &len) < 0 ? 0 : info.id;
}

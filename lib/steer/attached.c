/* SPDX-License-Identifier: BSD-2-Clause */
/* attached: an iterator is loaded, read to its end and dropped. */
#include "steer/attached.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "groups.skel.h"
#include "steer/iterate.h"
#include "steer/words.h"
#include "sys/fault.h"

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
	r = o ? iterate(o->progs.np_groups, &bytes, &n) : -errno;
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

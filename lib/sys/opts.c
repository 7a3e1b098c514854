/* SPDX-License-Identifier: BSD-2-Clause */
/* opts: every such struct begins with size_t sz. */
#include "sys/opts.h"

#include <errno.h>
#include <string.h>

int sys_opts_take(void *dst, size_t dst_sz, const void *src)
{
	size_t sz = dst_sz, i;

	memset(dst, 0, dst_sz);
	if (src) {
		memcpy(&sz, src, sizeof sz);
		if (sz < sizeof sz)
			return -EINVAL;
		for (i = dst_sz; i < sz; i++)
			if (((const unsigned char *)src)[i])
				return -E2BIG;
		memcpy(dst, src, sz < dst_sz ? sz : dst_sz);
	}
	memcpy(dst, &dst_sz, sizeof dst_sz);
	return 0;
}

int sys_opts_give(void *dst, const void *src, size_t src_sz)
{
	size_t sz;

	memcpy(&sz, dst, sizeof sz);
	if (sz < sizeof sz)
		return -EINVAL;
	memset((char *)dst + sizeof sz, 0, sz - sizeof sz);
	memcpy((char *)dst + sizeof sz, (const char *)src + sizeof sz,
	       (sz < src_sz ? sz : src_sz) - sizeof sz);
	return 0;
}

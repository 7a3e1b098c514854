/* SPDX-License-Identifier: BSD-2-Clause */
/* symbol: dladdr(3), in words. */
#include "sys/symbol.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *sys_symbol(const void *addr, char *buf, size_t size)
{
	Dl_info i;

	if (!dladdr(addr, &i) || !i.dli_fname)
		snprintf(buf, size, "%p", addr);
	else if (i.dli_sname && i.dli_saddr == addr)
		snprintf(buf, size, "%p (%s in %s)", addr, i.dli_sname, base_name(i.dli_fname));
	else
		snprintf(buf, size, "%p (%s+0x%zx)", addr, base_name(i.dli_fname),
			 (size_t)((const char *)addr - (const char *)i.dli_fbase));
	return buf;
}

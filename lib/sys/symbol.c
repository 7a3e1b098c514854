/* SPDX-License-Identifier: BSD-2-Clause */
/* symbol: dladdr(3), in words, and dlsym(3). */
#include "sys/symbol.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const char *symbol_base_name(const char *path)
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
		snprintf(buf, size, "%p (%s in %s)", addr, i.dli_sname,
			 symbol_base_name(i.dli_fname));
	else
		snprintf(buf, size, "%p (%s+0x%zx)", addr, symbol_base_name(i.dli_fname),
			 (size_t)((const char *)addr - (const char *)i.dli_fbase));
	return buf;
}

/* A pointer of dlsym(3) as POSIX has it: the object is a function. */
static void (*symbol_of(void *handle, const char *name))(void)
{
	union {
		void *object;
		void (*function)(void);
	} found = { dlsym(handle, name) };

	return found.function;
}

static void (*symbol_in(const char *object, const char *name))(void)
{
	void *handle = dlopen(object, RTLD_LAZY | RTLD_NOLOAD);
	void (*fn)(void) = handle ? symbol_of(handle, name) : NULL;

	if (handle && !fn)
		dlclose(handle);
	return fn;
}

void (*sys_symbol_find(const char *name, const char *object, const char *or_object))(void)
{
	void (*fn)(void) = symbol_of(RTLD_DEFAULT, name);

	if (!fn)
		fn = symbol_in(object, name);
	return fn ? fn : symbol_in(or_object, name);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* exceptions: which C++ runtime there is. The library itself needs none and links none. */
#include "fiber/exceptions.h"

#include <stddef.h>

#include "sys/symbol.h"

/* A program that links libstdc++ or libc++abi, shared or static, gives this its value. */
extern exceptions_fn __cxa_get_globals __attribute__((weak));

exceptions_fn *exceptions_find(void)
{
	/* Still NULL where the library was bound before the runtime came. */
	if (__cxa_get_globals)
		return __cxa_get_globals;
	return (exceptions_fn *)sys_symbol_find("__cxa_get_globals", "libstdc++.so.6",
						"libc++abi.so.1");
}

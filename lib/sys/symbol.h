/* SPDX-License-Identifier: BSD-2-Clause */
/* symbol: the name of an address, for log lines: as far as the dynamic linker knows. */
#ifndef SYS_SYMBOL_H
#define SYS_SYMBOL_H

#include <stddef.h>

/*
 * sys_symbol() - "0x55d0c0de (on_request in echo)"; "0x55d0c0de (echo+0xc0de)" for addr2line(1)
 * where there is no exported name (a program's static functions never have one)
 *
 * Thread: any. Takes the dynamic linker's lock: not for hot paths. Return: @buf.
 */
const char *sys_symbol(const void *addr, char *buf, size_t size);
/*
 * sys_symbol_find() - a function by its name: as a program would find it, else in one of two
 * objects, if loaded
 *
 * An object opened with RTLD_LOCAL is found by its own name only. Where it is found it stays
 * loaded.
 * Thread: any. Return: NULL: none has it.
 */
void (*sys_symbol_find(const char *name, const char *object, const char *or_object))(void);

#endif

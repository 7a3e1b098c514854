/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opts: how option structs are made
 *
 * Each begins with its own size, so that a library that is newer than the program knows which
 * fields the program has never heard of. Left out fields are zero, and zero is the default.
 *
 *	r = np_steer_open("web", NP_OPTS(np_steer_opts, .policy = "rr"), &s);
 *
 * A switch that is off by default is a bool. One that the library turns on by itself, or where it
 * chooses, is an enum np_switch, so that 0 is the default there too: false would be no NP_OFF.
 *
 * C++ has no such initializers: there, np_steer_opts_init(&o) and assignments do the same. A struct
 * that a call fills in is prepared likewise.
 */
#ifndef NETPOLL_OPTS_H
#define NETPOLL_OPTS_H

#include <stddef.h>
#include <string.h>

/*
 * In every timeout, wait and bound 0 is the default and -1 no limit (SIZE_MAX where it is a size);
 * what is below is -EINVAL. The default of a wait is no limit, too. doc/limits.md lists them all.
 *
 * NP_NOW: do not wait at all, where a call says that it takes it: a linger, np_deadline().
 */
#define NP_NOW (-2)

enum np_switch { NP_DEFAULT = 0, NP_ON = 1, NP_OFF = 2 };

/* A pointer to an options struct that lives as long as the enclosing block. */
#define NP_OPTS(name, ...) (&(struct name){ .sz = sizeof(struct name), __VA_ARGS__ })

/* np_<name>_init(): everything zero but the size. Inline: the size is the caller's. */
#define NP_OPTS_INIT(name)                             \
	static inline void name##_init(struct name *o) \
	{                                              \
		memset(o, 0, sizeof *o);               \
		o->sz = sizeof *o;                     \
	}

#endif

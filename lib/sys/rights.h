/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rights: what this thread may ask of the kernel, as /proc tells it, and so why the kernel says no
 *
 * EPERM has causes that look alike: a capability that is not there, one that counts in a user
 * namespace alone, a seccomp filter, a security module. The first three can be looked up.
 */
#ifndef SYS_RIGHTS_H
#define SYS_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

struct sys_rights {
	bool known;    /* false: there is no /proc, and the rest is zero */
	uint64_t caps; /* CapEff */
	bool filtered; /* a seccomp filter is in force */
	bool user_ns;  /* not the machine's own: its capabilities do not count outside of it */
};

void sys_rights_read(struct sys_rights *ret);
static inline bool sys_rights_has(const struct sys_rights *r, unsigned cap)
{
	return r->caps >> cap & 1;
}

#endif

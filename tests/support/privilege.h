/* SPDX-License-Identifier: BSD-2-Clause */
/* privilege: become somebody with exactly these rights. In a child: there is no way back. */
#ifndef SUPPORT_PRIVILEGE_H
#define SUPPORT_PRIVILEGE_H

#include <stdint.h>
#include <sys/types.h>

#include <linux/capability.h>

#ifndef CAP_BPF
#define CAP_BPF 39
#endif

/* uid and gid @id, no other groups, and the capabilities in @caps (bit n: capability n). */
void become(uid_t id, uint64_t caps);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* privilege: setresuid(2) with the capabilities kept, then capset(2) down to what is wanted. */
#include "support/privilege.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/child.h"

void become(uid_t id, uint64_t caps)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	for (unsigned i = 0; i < 2; i++)
		d[i].permitted = d[i].effective = (uint32_t)(caps >> (32 * i));
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
	    setresuid(id, id, id) < 0 || syscall(SYS_capset, &h, d) < 0)
		child_fail("cannot become uid %d", (int)id);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* restrict: each ends with the process of the test. */
#include "support/restrict.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "support/test.h"

void deny_bpf(int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof code / sizeof *code, .filter = code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_msg(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0, "seccomp: %s",
		      strerror(errno));
}

void own_userns(void)
{
	ck_assert_msg(unshare(CLONE_NEWUSER) == 0, "no user namespace: %s", strerror(errno));
	ck_assert_int_eq(write_file("/proc/self/uid_map", "0 0 1"), 0);
}

void empty_sys(void)
{
	ck_assert_msg(mount("none", "/sys", "tmpfs", 0, NULL) == 0, "/sys: %s", strerror(errno));
}

static unsigned long address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

void limit_memory(unsigned long more)
{
	struct rlimit l = { address_space() + more, RLIM_INFINITY };

	ck_assert_int_eq(setrlimit(RLIMIT_AS, &l), 0);
}

void limit_fds(unsigned more)
{
	rlim_t n = (rlim_t)open_fds() + more;
	struct rlimit l = { n, n };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

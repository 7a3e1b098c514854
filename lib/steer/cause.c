/* SPDX-License-Identifier: BSD-2-Clause */
/* cause: one function for each errno that has several causes. */
#include "steer/cause.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/capability.h>

#include "sys/fs.h"
#include "sys/mem.h"
#include "sys/rights.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF     39
#endif

#define BTF_OF_KERNEL "/sys/kernel/btf/vmlinux"

struct refusal {
	char *dst;
	size_t cap;
	int err;
	const char *tried, *service;
	struct sys_rights rights;
};

/* CAP_SYS_ADMIN was all of them before 5.8, and still is. */
static bool cause_has(const struct sys_rights *r, unsigned which)
{
	return sys_rights_has(r, which) || sys_rights_has(r, CAP_SYS_ADMIN);
}

static void cause_of_eperm(const struct refusal *x)
{
	if (!x->rights.known)
		snprintf(
			x->dst, x->cap,
			"%s: the kernel says EPERM to uid %d, and without /proc it cannot be told whether CAP_BPF is missing, or a seccomp filter or a user namespace bars bpf(2)",
			x->tried, (int)geteuid());
	else if (!cause_has(&x->rights, CAP_BPF))
		snprintf(
			x->dst, x->cap,
			"%s: uid %d may not load BPF programs (EPERM, no CAP_BPF): run `npsteer load %s` as root once and have it join that by name, or `setcap cap_bpf+ep` the program",
			x->tried, (int)geteuid(), x->service);
	else if (x->rights.user_ns)
		snprintf(
			x->dst, x->cap,
			"%s: the kernel says EPERM, since this process has CAP_BPF in a user namespace alone, where it does not count: run `npsteer load %s --group` outside of it, and give it that bpffs",
			x->tried, x->service);
	else if (x->rights.filtered)
		snprintf(
			x->dst, x->cap,
			"%s: bpf(2) says EPERM though this process has CAP_BPF, and a seccomp filter is in force: allow bpf(2) in the profile of its container or unit (SystemCallFilter=)",
			x->tried);
	else
		snprintf(
			x->dst, x->cap,
			"%s: the kernel says EPERM though this process has CAP_BPF: a security module or lockdown does so (/sys/kernel/security/lockdown, the kernel's log)",
			x->tried);
}

static void cause_of_enosys(const struct refusal *x, const char *release)
{
	if (x->rights.filtered)
		snprintf(
			x->dst, x->cap,
			"%s: bpf(2) says ENOSYS, and a seccomp filter is in force: allow bpf(2) in the profile of its container or unit (SystemCallFilter=); or this kernel (%s) has no CONFIG_BPF_SYSCALL",
			x->tried, release);
	else
		snprintf(x->dst, x->cap,
			 "%s: this kernel (%s) has no BPF: build it with CONFIG_BPF_SYSCALL",
			 x->tried, release);
}

/* "16", "unlimited" */
static const char *cause_limit(int which, unsigned unit, char *dst, size_t cap)
{
	struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY };

	getrlimit(which, &l);
	if (l.rlim_cur == RLIM_INFINITY)
		snprintf(dst, cap, "unlimited");
	else
		snprintf(dst, cap, "%llu", (unsigned long long)l.rlim_cur / unit);
	return dst;
}

bool cause_is_lack(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

static void cause_of_shortage(const struct refusal *x)
{
	char n[24], k[24];

	if (x->err == -EMFILE)
		snprintf(
			x->dst, x->cap,
			"%s: this process has no descriptor left (EMFILE, `ulimit -n` is %s): a service takes about 40 of its own, and a load about 100, raise the limit",
			x->tried, cause_limit(RLIMIT_NOFILE, 1, n, sizeof n));
	else if (x->err == -ENFILE)
		snprintf(x->dst, x->cap,
			 "%s: this machine has no descriptor left (ENFILE): raise fs.file-max",
			 x->tried);
	else
		snprintf(
			x->dst, x->cap,
			"%s: no memory is left (ENOMEM; `ulimit -v` is %s KiB, `ulimit -l` %s KiB; or the cgroup's memory.max): raise the limit",
			x->tried, cause_limit(RLIMIT_AS, 1024, n, sizeof n),
			cause_limit(RLIMIT_MEMLOCK, 1024, k, sizeof k));
}

static bool cause_kernel_is_before(int want_major, int want_minor)
{
	struct utsname u = { .release = "?" };
	int major = 0, minor = 0;

	uname(&u);
	if (sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major < want_major || (major == want_major && minor < want_minor);
}

/* No capability is needed to open a pin. Before 5.19 the sysctl barred even that from processes
 * without CAP_BPF. */
static void cause_of_eperm_at_pins(const struct refusal *x)
{
	if (!x->rights.known)
		snprintf(
			x->dst, x->cap,
			"%s: bpf(2) says EPERM, and without /proc it cannot be told whether a seccomp filter bars it",
			x->tried);
	else if (!cause_has(&x->rights, CAP_BPF) && cause_kernel_is_before(5, 19))
		snprintf(
			x->dst, x->cap,
			"%s: bpf(2) says EPERM: before Linux 5.19 kernel.unprivileged_bpf_disabled bars pins too: set it to 0, or `setcap cap_bpf+ep` the program",
			x->tried);
	else if (x->rights.filtered)
		snprintf(
			x->dst, x->cap,
			"%s: bpf(2) says EPERM, and a seccomp filter is in force: allow bpf(2) in the profile of its container or unit (SystemCallFilter=)",
			x->tried);
	else
		snprintf(x->dst, x->cap,
			 "%s: the kernel says EPERM: a security module does so (the kernel's log)",
			 x->tried);
}

/* The causes that a load and a pin have in common; @of_eperm is for the one that they have not. */
static bool cause_tell(struct refusal *x, void (*of_eperm)(const struct refusal *x))
{
	struct utsname u = { .release = "?" };

	uname(&u);
	sys_rights_read(&x->rights);
	if (x->err == -EPERM)
		of_eperm(x);
	else if (x->err == -ENOSYS)
		cause_of_enosys(x, u.release);
	else if (cause_is_lack(x->err))
		cause_of_shortage(x);
	else
		return false;
	return true;
}

void cause_explain(char *dst, size_t cap, int err, const char *tried, const char *service,
		   const char *why)
{
	struct refusal x = {
		.dst = dst, .cap = cap, .err = err, .tried = tried, .service = service
	};
	struct utsname u = { .release = "?" };

	uname(&u);
	if (!cause_tell(&x, cause_of_eperm))
		snprintf(dst, cap,
			 "%s: this kernel (%s) refused: %s; Linux 5.8 or later is needed%s%.120s",
			 tried, u.release, strerror(-err), why[0] ? ": " : "", why);
}

void cause_open(char *dst, size_t cap, int err, const char *tried)
{
	struct refusal x = { .dst = dst, .cap = cap, .err = err, .tried = tried };

	if (!cause_tell(&x, cause_of_eperm_at_pins))
		snprintf(dst, cap, "%s: %s", tried, strerror(-err));
}

/* libbpf has the kernel's types twice for a moment, and makes an index over them meanwhile. */
static bool cause_btf_has_no_room(void)
{
	void *all = NULL;
	struct stat st;
	size_t n;

	if (sys_lstat(BTF_OF_KERNEL, &st) < 0 || st.st_size <= 0)
		return false;
	n = (size_t)st.st_size * 5 / 2;
	if (sys_mem_map(n, &all) < 0)
		return true;
	sys_mem_unmap(all, n);
	return false;
}

int cause_of_load(int err)
{
	return err == -ESRCH && cause_btf_has_no_room() ? -ENOMEM : err;
}

void cause_not_exact(char *dst, size_t cap, const char *why)
{
	struct sys_rights rights;
	char n[24];

	sys_rights_read(&rights);
	if (rights.known && !cause_has(&rights, CAP_PERFMON))
		snprintf(dst, cap, "CAP_PERFMON is missing");
	else if (cause_kernel_is_before(6, 2))
		snprintf(dst, cap, "Linux 6.2 is needed");
	else if (sys_exists(BTF_OF_KERNEL) < 0)
		snprintf(dst, cap, "the kernel's types are needed, and there is no " BTF_OF_KERNEL);
	else if (cause_btf_has_no_room())
		snprintf(dst, cap,
			 "no memory is left to read the kernel's types, `ulimit -v` is %s KiB",
			 cause_limit(RLIMIT_AS, 1024, n, sizeof n));
	else
		snprintf(dst, cap, "%.160s", why[0] ? why : "the kernel refused its program");
}

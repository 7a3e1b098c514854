/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check: what this machine and this user may have, why it is no more, and the mend for each finding
 *
 * The level is found out by trying: the program is loaded and dropped again. All else is read from
 * /proc and /sys, and explains. Nothing is changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include "check.h"
#include "places.h"

static const char *const found_names[] = { "ok", "note", "lacking" };

void check_found(struct report *r, const char *what, enum found found, const char *value,
		 const char *mend)
{
	struct json *j = &r->n->say;

	if (!r->n->json) {
		table_text(&r->table, "%s", found_names[found]);
		table_text(&r->table, "%s", what);
		table_text(&r->table, mend && found != FOUND_OK ? "%s: %s" : "%s", value, mend);
		return;
	}
	json_object(j, NULL);
	json_string(j, "name", what);
	json_string(j, "state", found_names[found]);
	json_string(j, "value", value);
	json_string(j, "mend", found != FOUND_OK ? mend : NULL);
	json_end_object(j);
}

/* The first line of a file, "" where it cannot be read. */
static void check_read_line(const char *path, char *dst, size_t cap)
{
	FILE *f = fopen(path, "re");

	dst[0] = '\0';
	if (!f)
		return;
	if (!fgets(dst, (int)cap, f))
		dst[0] = '\0';
	dst[strcspn(dst, "\n")] = '\0';
	fclose(f);
}

/* ------------------------------------------------------------------ kernel and rights */

static bool check_kernel_at_least(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &a, &b) != 2)
		return false;
	return a > major || (a == major && b >= minor);
}

static void check_kernel(struct report *r)
{
	struct utsname u = { .release = "?" };

	uname(&u);
	if (!check_kernel_at_least(5, 8))
		check_found(r, "kernel", FOUND_LACKING, u.release,
			    "Linux 5.8 or later is needed to steer");
	else
		check_found(r, "kernel", check_kernel_at_least(5, 14) ? FOUND_OK : FOUND_LACKING,
			    u.release,
			    "with Linux 5.14 or later a listener that closes loses nothing");
}

/* One "Name: value" line of this process's status, in the number base of scanf's @fmt. */
static bool check_status_word(const char *fmt, unsigned long long *ret)
{
	FILE *f = fopen("/proc/self/status", "re");
	bool found = false;
	char line[256];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof line, f))
		found = sscanf(line, fmt, ret) == 1;
	fclose(f);
	return found;
}

static bool check_has_cap(unsigned cap)
{
	unsigned long long effective = 0;

	return check_status_word("CapEff: %llx", &effective) && effective >> cap & 1;
}

/* The machine's own maps every uid to itself. */
static bool check_in_user_ns(void)
{
	unsigned inside, outside, n;
	char line[64];

	check_read_line("/proc/self/uid_map", line, sizeof line);
	return line[0] && (sscanf(line, "%u %u %u", &inside, &outside, &n) != 3 || inside ||
			   outside || n != 4294967295u);
}

static void check_cap(struct report *r, const char *name, unsigned cap, enum found lacking,
		      const char *mend)
{
	if (!check_has_cap(CAP_SYS_ADMIN) && !check_has_cap(cap))
		check_found(r, name, lacking, "no", mend);
	else if (check_in_user_ns())
		check_found(r, name, lacking,
			    "in this user namespace alone, where it does not count",
			    "load the service outside of it, and give it that BPF file system");
	else
		check_found(r, name, FOUND_OK, "yes", NULL);
}

static void check_caps(struct report *r)
{
	unsigned long long mode = 0;

	check_cap(
		r, "CAP_BPF", CAP_BPF, FOUND_LACKING,
		"root can `npsteer load SERVICE --group GROUP` for this user, or `setcap cap_bpf+ep` the server");
	check_cap(r, "CAP_PERFMON", CAP_PERFMON, FOUND_NOTE,
		  "only programs that read kernel memory need it");
	if (check_status_word("Seccomp: %llu", &mode) && mode == 2)
		check_found(
			r, "seccomp", FOUND_NOTE, "a filter is in force",
			"where bpf(2) is refused: allow it in the profile of the container or unit (SystemCallFilter=)");
}

/* Kernels before 5.11 charge maps to the user. */
static void check_memlock(struct report *r)
{
	struct rlimit l;
	char value[64];

	if (check_kernel_at_least(5, 11) || getrlimit(RLIMIT_MEMLOCK, &l) < 0 ||
	    l.rlim_cur == RLIM_INFINITY)
		return;
	snprintf(value, sizeof value, "%llu bytes", (unsigned long long)l.rlim_cur);
	check_found(r, "memlock", l.rlim_cur < 64u << 20 ? FOUND_NOTE : FOUND_OK, value,
		    "`ulimit -l unlimited` before loading");
}

/* ------------------------------------------------------------------ types and kfuncs */

static void check_btf(struct report *r)
{
	static const char *const kfuncs[] = { "bpf_cast_to_kern_ctx", "bpf_rdonly_cast" };
	char missing[128] = "";
	struct btf *btf;
	size_t n = 0;

	libbpf_set_print(NULL); /* what it says is said here */
	btf = btf__load_vmlinux_btf();

	if (!btf && access("/sys/kernel/btf/vmlinux", F_OK) == 0) {
		check_found(
			r, "BTF", FOUND_NOTE, "cannot be read",
			"it takes some 30 MiB of memory: raise `ulimit -v`, or the cgroup's memory.max");
		return;
	}
	if (!btf) {
		check_found(r, "BTF", FOUND_NOTE, "no",
			    "only programs that read kernel memory need it: CONFIG_DEBUG_INFO_BTF");
		return;
	}
	check_found(r, "BTF", FOUND_OK, "yes", NULL);
	for (size_t i = 0; i < sizeof kfuncs / sizeof kfuncs[0]; i++)
		if (btf__find_by_name_kind(btf, kfuncs[i], BTF_KIND_FUNC) < 0)
			n += (size_t)snprintf(missing + n, sizeof missing - n, "%s%s",
					      n ? ", " : "no ", kfuncs[i]);
	check_found(r, "kfuncs", n ? FOUND_NOTE : FOUND_OK, n ? missing : "yes",
		    "only programs that read kernel memory need them");
	btf__free(btf);
}

/* ------------------------------------------------------------------ sysctls */

static void check_sysctls(struct report *r)
{
	char v[64];

	check_read_line("/proc/sys/kernel/unprivileged_bpf_disabled", v, sizeof v);
	if (v[0])
		check_found(r, "kernel.unprivileged_bpf_disabled", FOUND_OK, v, NULL);
	check_read_line("/proc/sys/net/core/bpf_jit_enable", v, sizeof v);
	if (v[0])
		check_found(r, "net.core.bpf_jit_enable", strcmp(v, "0") ? FOUND_OK : FOUND_NOTE, v,
			    "`sysctl net.core.bpf_jit_enable=1`: interpreted, the program is slow");
	check_read_line("/proc/sys/net/ipv4/tcp_syncookies", v, sizeof v);
	if (v[0])
		check_found(
			r, "net.ipv4.tcp_syncookies", strcmp(v, "2") ? FOUND_OK : FOUND_NOTE, v,
			"under 2 every connection is decided twice: `sysctl net.ipv4.tcp_syncookies=1`");
	check_read_line("/proc/sys/net/core/somaxconn", v, sizeof v);
	if (v[0])
		check_found(
			r, "net.core.somaxconn", atol(v) < 1024 ? FOUND_NOTE : FOUND_OK, v,
			"no listener's queue is longer than that: `sysctl net.core.somaxconn=4096`");
}

/* A service that can be joined gives its level to a server without any capability. */
static int check_service(void *arg, const char *name, const char *path)
{
	char why[NP_STEER_TEXT_MAX], value[NP_STEER_NAME_MAX + 64];
	struct np_steer_info info = { .sz = sizeof info };
	struct report *r = arg;
	struct np_steer *s;

	if (open_service(r->n, name, why, &s) < 0) {
		snprintf(value, sizeof value, "%s cannot be joined", name);
		check_found(r, "service", FOUND_NOTE, value, why);
		return 0;
	}
	np_steer_info(s, &info);
	np_steer_close(&s);
	snprintf(value, sizeof value, "%s can be joined: level %d", name, info.level);
	check_found(r, "service", FOUND_OK, value, NULL);
	return 0;
}

/* ------------------------------------------------------------------ the verb */

/*
 * The level a private program would have; an errno and the sentence if none can be loaded. Nothing
 * can be pinned below /dev/null, so no service is joined instead.
 */
static int check_find_level(int *ret_level, char *why, size_t cap)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer *s;
	int r;

	r = np_steer_open(NULL,
			  NP_OPTS(np_steer_opts, .mode = NP_STEER_REQUIRED, .bpffs = "/dev/null",
				  .error = why, .error_cap = cap),
			  &s);
	if (r < 0)
		return r;
	np_steer_info(s, &info);
	np_steer_close(&s);
	*ret_level = info.level;
	snprintf(why, cap, "%s",
		 info.level >= NP_STEER_L4 ?
			 "connections are steered, and a listener that closes loses nothing" :
			 info.reason);
	return 0;
}

static void check_all(struct report *r)
{
	check_kernel(r);
	check_caps(r);
	check_memlock(r);
	check_btf(r);
	check_sysctls(r);
	places_check(r);
	np_steer_list(NP_OPTS(np_steer_opts, .bpffs = r->n->bpffs), check_service, r);
}

int verb_check(struct npsteer *n)
{
	struct report r = { .n = n };
	char why[NP_STEER_TEXT_MAX] = "";
	int code, level = 0, status;

	code = n->group ? group_of(n, &r.gid) : DONE;
	if (code != DONE)
		return code;
	status = check_find_level(&level, why, sizeof why);
	if (n->json) {
		answer(n);
		json_int(&n->say, "level", level);
		json_string(&n->say, "reason", why);
		json_array(&n->say, "findings");
		check_all(&r);
		json_end_array(&n->say);
		end_answer(n);
	} else {
		table_init(&r.table, 3);
		table_text(&r.table, "FOUND");
		table_text(&r.table, "WHAT");
		table_text(&r.table, "HOW IT IS");
		check_all(&r);
		printf("level %d: %s\n", level, why);
		table_print(&r.table, stdout, "  ");
		table_fini(&r.table);
	}
	return status == 0 ? DONE : status == -EPERM ? DENIED : UNSUPPORTED;
}

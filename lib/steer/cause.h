/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cause: why a call of bpf(2) failed, in one sentence: what was tried, what the kernel said, which
 * cause that is
 *
 * The only place that turns such an errno into words. Neither the errno nor what libbpf says last
 * names the cause. EPERM is also what a seccomp filter and a user namespace say, and libbpf reports
 * memory that ran out as "no BTF". So the causes are looked up, where that can be done.
 */
#ifndef STEER_CAUSE_H
#define STEER_CAUSE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * cause_explain() - the sentence for @err, negative, of what was @tried for @service
 *
 * @why: what libbpf said, "" for nothing.
 */
void cause_explain(char *dst, size_t cap, int err, const char *tried, const char *service,
		   const char *why);
/* cause_open() - the same for a service that is there, which takes no capability: @tried may be a
 * whole sentence. */
void cause_open(char *dst, size_t cap, int err, const char *tried);
/* Why level 4 could not be had where level 3 was: a part of a sentence. */
void cause_not_exact(char *dst, size_t cap, const char *why);
/* What libbpf's @err at the load of a program that needs the kernel's types means: -ENOMEM for the
 * -ESRCH ("no BTF") that it says where memory ran out for these; else the same. */
int cause_of_load(int err);
/* Whether it is of what this process or machine lacks, and no fact about a service or a kernel. */
bool cause_is_lack(int err);

#endif

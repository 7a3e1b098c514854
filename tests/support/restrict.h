/* SPDX-License-Identifier: BSD-2-Clause */
/* restrict: what containers and service managers take from a process, taken from this one. */
#ifndef SUPPORT_RESTRICT_H
#define SUPPORT_RESTRICT_H

/* A seccomp filter under which bpf(2) says @err; children inherit it. */
void deny_bpf(int err);
/* A user namespace of its own, with every capability in it. */
void own_userns(void);
/* Nothing is at /sys from here on. In a mount namespace of the caller's own. */
void empty_sys(void);
/* So much address space, in bytes, as there is and @more. */
void limit_memory(unsigned long more);
/* So many descriptors as there are and @more. */
void limit_fds(unsigned more);

#endif

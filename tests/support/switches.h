/* SPDX-License-Identifier: BSD-2-Clause */
/* switches: how often threads of the library were switched to and from (proc_pid_status(5)). */
#ifndef SUPPORT_SWITCHES_H
#define SUPPORT_SWITCHES_H

struct switches {
	unsigned long long slept;  /* gave up the CPU: each time is a wake-up, or will be */
	unsigned long long forced; /* were sent away from it */
};

/* Of those that there are now, whose names begin with @name: "np-" is all. */
struct switches np_switches(const char *name);
/* Of all, and both kinds, in @ms from now. */
unsigned long long np_switches_within(int ms);

#endif

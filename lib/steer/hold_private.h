/* SPDX-License-Identifier: BSD-2-Clause */
/* hold: what its parts share: the listeners that are kept, and what of them has changed */
#ifndef STEER_HOLD_PRIVATE_H
#define STEER_HOLD_PRIVATE_H

#include "steer/adopt.h"
#include "steer/hold.h"
#include "steer/keeper.h"

#define HOLD_HOLDERS 4u

struct kept {
	uint64_t cookie, inode;
	uint32_t slot;
	int fd;                                  /* -1: watched only */
	struct find_holder holder[HOLD_HOLDERS]; /* as of the last look */
	unsigned holders;
	pid_t acceptor;
	bool seen, theirs;  /* by the last look */
	bool goes;          /* with the next hold_give_up_kept() */
	uint64_t orphan_ns; /* since when; 0: it is not */
	uint64_t shut_ns;   /* since when it does not listen, and is theirs; 0: it does */
};

struct hold {
	struct adopt a;
	struct keeper keeper;
	struct watchdog *watchdog; /* of workers that stand still; NULL: none is asked for */
	struct kept *all;
	unsigned n;
	uint64_t hold_ns;
	int diag_fd, tasks; /* an epoll instance of pidfds */
	int *pidfds;
	unsigned n_pidfds;
	uint64_t list; /* what the kernel's list was, in one word */
	uint64_t looked_ns, changed_ns;
	bool pending; /* the last look left something for the next one */
	bool started; /* there were workers */
};

/* hold_kept.c, after a look: who has what is kept; what of it is to go goes. */
void hold_see_kept(struct hold *h);
void hold_settle_kept(struct hold *h);
/* Those that are marked to go. */
void hold_give_up_kept(struct hold *h);

/* hold_change.c: the kernel's list in one word; whether a look is due. */
uint64_t hold_list(struct hold *h);
bool hold_has_changed(struct hold *h);
/* Whether none of its holders has it any more. */
bool hold_has_lost_holders(const struct kept *k);
/* The end of a task that accepts; where that cannot be had, LOOK_MS has to do. */
int hold_watch_tasks(struct hold *h);
void hold_forget_tasks(struct hold *h);

#endif

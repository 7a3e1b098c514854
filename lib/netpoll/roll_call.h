/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * roll_call: a stop that has run out of time asks a poller which handlers did not return
 *
 * Who answers names them. Who does not answer is inside a handler at this moment, and that one is
 * named instead.
 *
 *   state     leaves it by
 *   idle      roll_call_ask() -> asked
 *   asked     roll_call_wait() got the answer -> idle;  it did not: stays, and is not asked twice
 */
#ifndef NETPOLL_ROLL_CALL_H
#define NETPOLL_ROLL_CALL_H

#include <stdbool.h>

#include "netpoll/event.h"
#include "poll/mailbox.h"

struct poller;
struct roll;

struct roll_call {
	struct poller *poller;
	void (*fill)(struct roll_call *c, struct roll *r); /* on the poller */
	struct mail mail;
	bool asked;
	struct event answered;
	unsigned handlers; /* the answer, once that is set */
};

void roll_call_init(struct roll_call *c, struct poller *p,
		    void (*fill)(struct roll_call *, struct roll *));
/* The rest. Thread: the one that stops; one at a time. */
void roll_call_ask(struct roll_call *c);
/* Return: how many handlers did not return, and have been named; -ETIMEDOUT. */
int roll_call_wait(struct roll_call *c);
/* Its mail is no longer on its way: it may be freed. Waits for as long as that takes. */
void roll_call_settle(struct roll_call *c);
/* Names the one that keeps the thread. Return: 1. */
int roll_call_stuck(struct roll_call *c);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stop_report: a stop that has run out of time asks a poller which handlers did not return
 *
 * A poller that answers names them. One that does not is inside a handler at this moment, and that
 * handler is named instead.
 *
 *   state     leaves it by
 *   idle      stop_report_ask() -> asked
 *   asked     stop_report_wait() got the answer -> idle;  it did not: stays, and is not asked twice
 */
#ifndef NETPOLL_STOP_REPORT_H
#define NETPOLL_STOP_REPORT_H

#include <stdbool.h>

#include "netpoll/event.h"
#include "poll/mailbox.h"

struct poller;
struct handler_count;

struct stop_report {
	struct poller *poller;
	void (*fill)(struct stop_report *report, struct handler_count *n); /* on the poller */
	struct mail mail;
	bool asked;
	struct event answered;
	unsigned handlers; /* the answer, once that is set */
};

void stop_report_init(struct stop_report *report, struct poller *p,
		      void (*fill)(struct stop_report *, struct handler_count *));
/* The rest. Thread: the one that stops; one at a time. */
void stop_report_ask(struct stop_report *report);
/* Return: how many handlers did not return, and have been named; -ETIMEDOUT. */
int stop_report_wait(struct stop_report *report);
/* Its mail is no longer on its way: it may be freed. Waits for as long as that takes. */
void stop_report_settle(struct stop_report *report);
/* Names the one that keeps the thread. Return: 1. */
int stop_report_stuck(struct stop_report *report);

#endif

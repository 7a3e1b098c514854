/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_pair: the handlers of a small proxy, for the processes of handover.h
 *
 * Each client gets a connection to the upstream of the test, and both are a set. Bytes go both ways
 * with np_conn_forward(); a FIN goes through; what breaks one side resets the other.
 */
#ifndef SUPPORT_HANDOVER_PAIR_H
#define SUPPORT_HANDOVER_PAIR_H

#include <netpoll/handlers.h>
#include <stdbool.h>

struct hand_pair {
	char upstream[32];
	bool leaves_mate; /* its on_import does not ask for the dialed one */
	bool binds_other; /* and binds the client's to another one before it asks */
	/* before either side is exported, imported; what < 0 is returned */
	int (*on_export)(void);
	int (*on_import)(void);
	/* after each end */
	void (*on_end)(struct np_conn *c);
};

/* For the clients' server; their arg is a struct hand_pair. */
extern const struct np_handlers hand_pair_handlers;

#endif

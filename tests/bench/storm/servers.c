/* SPDX-License-Identifier: BSD-2-Clause */
/* servers: pollers, two servers that stay, and one that is stopped under its clients. */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/pollers.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <stdlib.h>

#include "storm.h"

#define STOP_MS 10000

struct np_pollers *storm_pollers;
static unsigned long handoffs, refused; /* of the rounds that are over */
static struct np_server *servers[STORM_SERVERS];
static _Atomic(int) ports[STORM_SERVERS];
static pthread_t stopper;

static void start(enum storm_server which)
{
	struct np_server_opts o = {
		.sz = sizeof o, .steer = NP_STEER_OFF, .fresh_ms = 100, .drain_ms = 20
	};
	struct sockaddr_storage ss;
	socklen_t len;

	storm_must("np_server_new",
		   np_server_new(storm_pollers, &storm_handlers[which], NULL, &o, &servers[which]));
	storm_must("np_server_listen", np_server_listen(servers[which], "tcp", "127.0.0.1:0"));
	storm_must("np_server_start", np_server_start(servers[which]));
	storm_must("np_server_addr", np_server_addr(servers[which], 0, &ss, &len));
	ports[which] = ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

/* As late as the machine is busy; but not while nothing runs. */
static void stop(enum storm_server which)
{
	int r;

	ports[which] = 0;
	do
		r = np_server_stop(servers[which], STOP_MS, NULL);
	while (r == -ETIMEDOUT && storm_goes_on());
	storm_must("np_server_stop", r);
	storm_must("np_server_free", np_server_free(&servers[which]));
}

static void *stop_and_start(void *arg)
{
	unsigned seed = storm.seed;

	while (!storm_over) {
		start(STORM_MORTAL);
		storm_sleep_us(20000 + (unsigned)rand_r(&seed) % 200000);
		stop(STORM_MORTAL);
		storm_counts->stops++;
	}
	return NULL;
}

int storm_port(enum storm_server which)
{
	return ports[which];
}

static void log_bug(void *arg, int level, const char *msg)
{
	if (level == NP_LOG_BUG)
		storm_fail("the library says: %s", msg);
}

void storm_servers_start(void)
{
	struct np_pollers_opts o = {
		.sz = sizeof o,
		.count = (int)storm.pollers,
		.handoff_ms = storm.handoff_ms,
		.handoff_threads = storm.threads,
		.hog_ms = -1,
		.log = log_bug,
	};

	storm_must("np_pollers_start", np_pollers_start(&o, &storm_pollers));
	start(STORM_PLAIN);
	start(STORM_FLAGGED);
	storm_must("a thread", -pthread_create(&stopper, NULL, stop_and_start, NULL));
}

static struct np_pollers_stats pollers_stats(void)
{
	struct np_pollers_stats st = { .sz = sizeof st };

	if (storm_pollers)
		storm_must("np_pollers_stats", np_pollers_stats(storm_pollers, &st));
	return st;
}

void storm_count_handoffs(void)
{
	struct np_pollers_stats st = pollers_stats();

	storm_counts->handoffs = handoffs + st.handoffs;
	storm_counts->refused = refused + st.handoffs_refused;
}

void storm_servers_stop(void)
{
	struct np_pollers_stats st;
	int r;

	pthread_join(stopper, NULL);
	stop(STORM_PLAIN);
	stop(STORM_FLAGGED);
	st = pollers_stats();
	if (st.away)
		storm_fail("%u handlers away when all have been stopped", st.away);
	storm_count_handoffs();
	handoffs = storm_counts->handoffs;
	refused = storm_counts->refused;
	do
		r = np_pollers_stop(storm_pollers, STOP_MS);
	while (r == -ETIMEDOUT && storm_goes_on());
	storm_must("np_pollers_stop", r);
	storm_must("np_pollers_free", np_pollers_free(&storm_pollers));
}

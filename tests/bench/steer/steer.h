/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: balance, and what a stalled worker costs others: workers on one address, open-loop
 * arrivals
 *
 *   chooser   who decides which worker gets a connection: the kernel, a policy, the workers, an
 *             acceptor
 *   worker    a thread that serves what it gets, and now and then stalls
 *   client    connections that come at random, whatever became of those before; and what each
 *             waited
 *   main      the mixes, and what is printed of each
 *
 * A reader would get wrong: the workers share the first CPUs and never the clients' one, which is
 * always busy. A worker that waits for a CPU is late whoever has chosen it, and that would be all
 * one could see. What a request costs, the worker sleeps: eight workers then have a core each, as
 * far as one another is concerned.
 */
#ifndef BENCH_STEER_H
#define BENCH_STEER_H

#include <netinet/in.h>
#include <netpoll/steer.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKERS_MAX 64

struct worker {
	pthread_t thread;
	unsigned i;
	struct np_steer_worker *w; /* NULL: nobody of ours has chosen it */
	int ep;
	int listener;                /* -1: connections come from the acceptor */
	uint32_t how;                /* the listener is watched */
	_Atomic(uint64_t) turned_ns; /* when its loop came round: Hermes goes by it */
	_Atomic(unsigned) live __attribute__((aligned(64)));
};

/* What happens in a run. */
struct mix {
	const char *name;
	double long_part; /* of the connections live long_ms, the others 5 ms */
	unsigned long_ms;
	unsigned request_ms; /* the long ones ask that often; 0: never */
	double heavy_part;   /* of the long ones, each of whose requests costs HEAVY_US */
	double rate;         /* of what was asked for */
	unsigned warm_ms;    /* left out */
	unsigned stall_ms;   /* worker 0 sleeps that long once a second, with events in hand */
	unsigned burst;      /* so many connect before anybody accepts, again and again */
	unsigned backlog;    /* for each worker */
};

#define LIGHT_US 100
#define HEAVY_US 4000

extern struct worker worker[WORKERS_MAX];
extern unsigned workers;
extern const struct mix *mix;
extern struct np_steer *steer; /* NULL: no program */
extern struct sockaddr_in address;

void die(const char *what) __attribute__((noreturn));
uint64_t now_ns(void);
void watch(int ep, int fd, uint32_t events);

/* ------------------------------------------------------------------ chooser */
/* Opens the listeners of all workers, by @mode's ways. False: no such mode. */
bool chooser_start(const char *mode, int hang_ms);
/* A worker's turn begins: where workers say who may be chosen, this one does. How long it may then
 * wait, in ms. */
int chooser_turn(struct worker *k);
void chooser_stop(void);

/* ------------------------------------------------------------------ worker */
void workers_start(void);
void workers_stop(void);
/* While it is shut nobody accepts. */
void gate_shut(void);
void gate_open(void);
void gate_pass(void); /* waits while it is shut */
/* A connection is worker @k's from now on: greeted by who calls, or as soon as the worker comes to
 * it. */
void worker_take(struct worker *k, int fd, bool greeted);

/* ------------------------------------------------------------------ client */
struct sample {
	float *v; /* ms */
	size_t n, cap;
};

struct outcome {
	struct sample accepted;   /* from connect() to the worker's greeting */
	struct sample on_stalled; /* requests to worker 0: to the answer */
	struct sample elsewhere;  /* to the others */
	struct sample ratio;      /* live max/mean, each 10 ms, or after each burst */
	struct sample late;       /* of each burst: clients that have no SYN-ACK 300 ms later */
	size_t connections, failed;
};

void client_arrivals(struct outcome *o, double rate, double seconds);
void client_bursts(struct outcome *o, unsigned times);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* endpoint: a server of one poller; SIGINT and SIGTERM end it. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ENDPOINT_CONNS      (4 * DOOR_GUESTS) /* and those that stay, or are leaving */
#define ENDPOINT_REQUEST_MS 5000              /* for a request */
#define ENDPOINT_WRITE_MS   3000              /* for a peer that takes nothing of its answer */
#define ENDPOINT_IDLE_MS    10000             /* for one that asks nothing */
#define ENDPOINT_STOP_MS    2000

/* "9000" is a port of loopback. */
static const char *endpoint_whole(const char *address, char *dst, size_t cap)
{
	if (!*address || address[strspn(address, "0123456789")])
		return address;
	snprintf(dst, cap, "127.0.0.1:%s", address);
	return dst;
}

/* What is no address at all is for np_server_listen() to say. */
static bool endpoint_is_loopback(const char *address)
{
	size_t n = strcspn(address, ":");
	struct in_addr v4;
	char host[16];

	if (!strncmp(address, "[::1]:", 6))
		return true;
	if (n >= sizeof host)
		return false;
	memcpy(host, address, n);
	host[n] = '\0';
	return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static void endpoint_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGTERM);
}

/* Signals are blocked before the first thread is made. */
static int endpoint_pollers(struct endpoint *e)
{
	sigset_t set;
	int r;

	if (e->pollers)
		return DONE;
	endpoint_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF), &e->pollers);
	return r < 0 ? fail(e->n, FAILED, "no thread to serve with: %s", np_strerror(r)) : DONE;
}

int endpoint_open(struct endpoint *e, const char *option, const char *address,
		  const struct np_handlers *h, void *arg)
{
	const struct np_server_opts o = {
		.sz = sizeof o,
		.steer = NP_STEER_OFF,
		.max_conns = ENDPOINT_CONNS,
		.request_timeout_ms = ENDPOINT_REQUEST_MS,
		.write_timeout_ms = ENDPOINT_WRITE_MS,
		.idle_timeout_ms = ENDPOINT_IDLE_MS,
		/* a peer that reads slower than we write is waited for, and nothing piles up */
		.limits = { .in_high = 16 << 10, .in_max = 16 << 10, .out_high = 4 << 10 },
		.drain_ms = 1,
		.fresh_ms = 1,
	};
	struct door *door = &e->doors[e->count];
	struct np_server *s = NULL;
	char whole[64];
	int r, code;

	address = endpoint_whole(address, whole, sizeof whole);
	if (!e->n->allow_remote && !endpoint_is_loopback(address))
		return fail(e->n, MISUSED,
			    "%s %s can be reached from other machines, and whoever reaches it sees "
			    "the service: say --allow-remote if that is meant",
			    option, address);
	code = endpoint_pollers(e);
	if (code != DONE)
		return code;
	*door = (struct door){ .handlers = h, .arg = arg };
	r = np_server_new(e->pollers, &door_handlers, door, &o, &s);
	if (r < 0)
		return fail(e->n, FAILED, "no server can be made: %s", np_strerror(r));
	e->servers[e->count++] = s;
	r = np_server_listen(s, "tcp", address);
	if (r == -EADDRINUSE)
		return fail(e->n, BUSY, "%s %s: another process listens there: take another port",
			    option, address);
	return r < 0 ? fail(e->n, r == -EACCES ? DENIED : MISUSED, "%s %s: %s", option, address,
			    np_server_error(s)) :
		       DONE;
}

static void endpoint_say(const struct endpoint *e, unsigned i, const char *what)
{
	char host[INET6_ADDRSTRLEN] = "", at[INET6_ADDRSTRLEN + 16];
	struct sockaddr_storage ss;
	socklen_t len;

	np_server_addr(e->servers[i], 0, &ss, &len);
	if (ss.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&ss)->sin_addr, host, sizeof host);
	else
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&ss)->sin6_addr, host, sizeof host);
	snprintf(at, sizeof at, ss.ss_family == AF_INET ? "%s:%d" : "[%s]:%d", host,
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
	if (e->n->json) {
		answer(e->n);
		json_string(&e->n->say, "service", service_of(e->n));
		json_string(&e->n->say, "listening", at);
		end_answer(e->n);
	} else {
		printf("%s: %s%s\n", service_of(e->n), what, at);
	}
	fflush(stdout);
}

int endpoint_start(struct endpoint *e, const char *what)
{
	for (unsigned i = 0; i < e->count; i++) {
		int r = np_server_start(e->servers[i]);

		if (r < 0)
			return fail(e->n, FAILED, "cannot serve: %s",
				    np_server_error(e->servers[i]));
	}
	for (unsigned i = 0; i < e->count; i++)
		endpoint_say(e, i, what);
	return DONE;
}

bool endpoint_wait(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds,
			      .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
	sigset_t set;

	endpoint_signals(&set);
	return sigtimedwait(&set, NULL, &t) > 0;
}

void endpoint_close(struct endpoint *e, void (*wake)(void *arg), void *arg)
{
	for (unsigned i = 0; i < e->count; i++)
		np_server_drain(e->servers[i]);
	if (wake)
		wake(arg);
	for (unsigned i = 0; i < e->count; i++) {
		np_server_stop(e->servers[i], ENDPOINT_STOP_MS, NULL);
		np_server_free(&e->servers[i]);
	}
	if (e->pollers) {
		np_pollers_stop(e->pollers, ENDPOINT_STOP_MS);
		np_pollers_free(&e->pollers);
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * echo: sends back the bytes it gets, steered over pinned pollers
 *
 *   echo --listen 127.0.0.1:7000 --listen '[::1]:7000' --listen unix:/run/echo.sock --framed
 *   echo --listen :7443 --tls server.pem,server.key
 *
 * Plain: bytes come back as they arrive. --framed: a 4-byte big-endian length and that many bytes,
 * answered in kind; a length over 16 MiB closes the connection. What signals do says
 * examples/service/service.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/certs/certs.h"
#include "examples/service/addresses.h"
#include "examples/service/arguments.h"
#include "examples/service/service.h"

#define FRAME_MAX (16u << 20)
#define COPY_MAX  (16u << 10)

/* What has come, @n bytes of it, goes back: its blocks move from the input to the output. */
static int move_bytes(struct np_conn *c, size_t n)
{
	struct np_linkbuf *bytes;
	int r = np_conn_slice(c, n, &bytes);

	if (r < 0)
		return r;
	r = np_conn_append(c, &bytes);
	np_linkbuf_free(&bytes); /* NULL, unless append() failed */
	return r < 0 ? r : np_conn_flush(c);
}

/* All there is goes back as it is. */
static int echo_plain(struct np_conn *c, void *arg)
{
	return move_bytes(c, np_conn_len(c));
}

/* What is left of a frame is the connection's data. */
static int pass_frame(struct np_conn *c, void *arg)
{
	size_t left = (uintptr_t)np_conn_data(c), k = np_conn_len(c);

	k = k < left ? k : left;
	np_conn_set_data(c, (void *)(uintptr_t)(left - k));
	if (k == left)
		np_conn_set_on_request(c, NULL, NULL);
	return move_bytes(c, k);
}

/* A frame too large to be worth copying, or waiting for: each piece goes back as it comes. */
static int echo_long_frame(struct np_conn *c, void *arg)
{
	const void *head;
	uint32_t len;
	int r;

	r = np_conn_peek(c, 4, &head);
	if (r < 0)
		return r;
	memcpy(&len, head, 4);
	len = ntohl(len);
	if (len > FRAME_MAX)
		return -EMSGSIZE;
	r = np_conn_set_on_request(c, pass_frame, NULL);
	if (r < 0)
		return r;
	np_conn_set_data(c, (void *)(uintptr_t)(4 + len));
	return pass_frame(c, NULL);
}

/* All of a frame is here. */
static int echo_frame(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	return np_conn_say(c, frame, n);
}

struct options {
	struct addresses listen;
	int framed;
	unsigned flags; /* enum np_handler_flag */
	struct certs certs;
	int cpus[1024], n_cpus;
	struct np_pollers_opts pollers;
	struct np_server_opts server;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: echo --listen ADDR:PORT|unix:PATH [--listen ...] [--pollers N] [--cpus LIST] [--framed]\n"
		"            [--may-block] [--steer auto|required|off] [--service NAME] [--policy NAME]\n"
		"            [--observe[=PATH]] [--metrics] [--stop-ms MS] [--tls CERT,KEY ... [--offload-us US]]\n"
		"  --listen    127.0.0.1:7000, [::1]:7000, :7000 (both), unix:/path, unix:@abstract\n"
		"  --pollers   threads; default: the CPUs this process may use\n"
		"  --cpus      CPUs to pin them to, such as 0,2-3\n"
		"  --framed    4-byte big-endian length + payload, answered in kind\n"
		"  --may-block a handler that keeps its thread does not keep its poller (doc/threads.md)\n"
		"  --tls       TLS with this certificate and key (PEM files); several, for several names\n"
		"  --offload-us a handshake that signs for longer goes to a worker; 1000; -1: none\n"
		"  --service   join this service, made by 'npsteer load NAME'\n"
		"  --policy    how the kernel chooses a poller for a new connection (see npsteer(8))\n"
		"  --stop-ms   how long the end may take; 10000; -1: until the last connection has ended\n"
		"  --metrics   count and time requests for np_metrics_write()\n"
		"  --observe   answer npsteer conns, fibers and top, at /run/netpoll/PID.sock or PATH\n");
}

/* "0,2-3" */
static int parse_cpus(const char *s, struct options *o)
{
	char *end;
	long a, b;

	for (o->n_cpus = 0; *s; s = *end ? end + 1 : end) {
		a = b = strtol(s, &end, 10);
		if (end == s || a < 0 || a > INT_MAX)
			return -1;
		if (*end == '-') {
			s = end + 1;
			b = strtol(s, &end, 10);
			if (end == s || b < a || b > INT_MAX)
				return -1;
		}
		if ((*end && *end != ',') || o->n_cpus + b - a + 1 > 1024)
			return -1;
		while (a <= b)
			o->cpus[o->n_cpus++] = (int)a++;
	}
	return o->n_cpus ? 0 : -1;
}

static int take_cpus(struct options *o)
{
	if (parse_cpus(optarg, o) < 0)
		return argument_bad("not a list of CPUs:", optarg);
	o->pollers.cpus = o->cpus;
	o->pollers.n_cpus = o->n_cpus;
	return 0;
}

static int take(void *arg, int ch)
{
	struct options *o = arg;

	switch (ch) {
	case 'l':
		return addresses_add(&o->listen, optarg);
	case 'n':
		return argument_int("--pollers", optarg, 1, &o->pollers.count);
	case 'c':
		return take_cpus(o);
	case 'f':
		o->framed = 1;
		return 0;
	case 'b':
		o->flags |= NP_MAY_BLOCK;
		return 0;
	case 's':
		return argument_steer(optarg, &o->server.steer);
	case 'S':
		o->server.service = optarg;
		return 0;
	case 'p':
		o->server.policy = optarg;
		return 0;
	case 'o':
		o->pollers.observe = optarg ? optarg : "";
		return 0;
	case 'm':
		o->pollers.metrics = true;
		return 0;
	case 't':
		return certs_add(&o->certs, optarg);
	case 'u':
		return argument_int("--offload-us", optarg, -1, &o->certs.offload_us);
	case 'x':
		return service_set_stop_ms(optarg);
	}
	return -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "framed", no_argument, NULL, 'f' },
		{ "may-block", no_argument, NULL, 'b' },
		{ "steer", required_argument, NULL, 's' },
		{ "service", required_argument, NULL, 'S' },
		{ "policy", required_argument, NULL, 'p' },
		{ "observe", optional_argument, NULL, 'o' },
		{ "metrics", no_argument, NULL, 'm' },
		{ "tls", required_argument, NULL, 't' },
		{ "offload-us", required_argument, NULL, 'u' },
		{ "stop-ms", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { longs, take, usage };

	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	if (arguments_take(&arguments, argc, argv, o) < 0)
		return -1;
	if (!o->listen.n || optind < argc) {
		usage(stderr);
		return -1;
	}
	return 0;
}

/* One line, printed when connections are being served: scripts wait for it. */
static void announce(struct np_server *s)
{
	struct np_steer_info info = { .sz = sizeof info };

	printf("listening on");
	addresses_print(s);
	printf(" pollers=%d", np_pollers_count(np_server_pollers(s)));
	if (np_server_steering(s, &info) == 0)
		printf(" steering=L%d policy=%s%s%s", info.level, info.policy,
		       info.reason[0] ? " why=" : "", info.reason);
	printf("\n");
	fflush(stdout);
}

/* What is left of a frame is all that the library does not carry. */
static int echo_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	uint32_t left = (uint32_t)(uintptr_t)np_conn_data(c);

	return left ? np_linkbuf_write(blob, &left, sizeof left) : 0;
}

static int echo_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	uint32_t left;

	if (!n)
		return 0;
	if (n != sizeof left)
		return -EPROTO;
	memcpy(&left, blob, sizeof left);
	np_conn_set_data(c, (void *)(uintptr_t)left);
	return np_conn_set_on_request(c, pass_frame, NULL);
}

static int serve(struct np_server *s, const struct options *o, char **argv)
{
	int r;

	if (addresses_take_over(&o->listen, s) < 0)
		return EXIT_FAILURE;
	r = np_server_start(s);
	if (r < 0) {
		service_failed(s, r);
		return EXIT_FAILURE;
	}
	announce(s);
	return service_run(s, argv);
}

int main(int argc, char **argv)
{
	struct np_handlers handlers = { .sz = sizeof handlers };
	struct np_pollers *pollers = NULL;
	struct np_server *server = NULL;
	static struct options o;
	int code = EXIT_FAILURE, r;

	if (parse(argc, argv, &o) < 0)
		return 2;
	if (certs_load(&o.certs, NULL, &o.server.tls) < 0)
		return EXIT_FAILURE;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();

	handlers.on_request = echo_plain;
	if (o.framed) {
		handlers.on_frame = echo_frame;
		handlers.framing = (struct np_framing){ .width = 4, .max = COPY_MAX };
		handlers.on_request = echo_long_frame;
		/* for a peer that sends all of a frame before it reads */
		o.server.limits.out_high = FRAME_MAX + 4;
	}
	handlers.on_export = echo_export;
	handlers.on_import = echo_import;
	handlers.flags = o.flags;
	r = np_pollers_start(&o.pollers, &pollers);
	if (r == 0)
		r = np_server_new(pollers, &handlers, NULL, &o.server, &server);
	if (r < 0)
		fprintf(stderr, "echo: cannot start: %s\n", np_strerror(r));
	else
		code = serve(server, &o, argv);
	np_server_free(&server);
	if (pollers) {
		np_pollers_stop(pollers, service_stop_ms());
		np_pollers_free(&pollers);
	}
	certs_free(&o.certs, &o.server.tls);
	return code;
}

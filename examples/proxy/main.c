/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: a TCP proxy, steered over pinned pollers
 *
 *   proxy --listen :8080 --upstream 10.0.0.1:80 --upstream 10.0.0.2:80 \
 *         --balance least --send-proxy 2
 *   proxy --listen :8443 --tls cert.pem,key.pem --upstream 10.0.0.1:443 --upstream-tls system
 *
 * Both connections of a pair live on one poller. Half-close goes through; a side that reads slowly
 * stops the other one; a reset on one side is one on the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/service/service.h"
#include "pair.h"
#include "tls.h"

#define ADDRESSES 16

struct options {
	const char *listen[ADDRESSES];
	int n_listen;
	struct np_pollers_opts pollers;
	struct np_server_opts server;
	struct pair_opts pair;
	char *tls;
	const char *upstream_tls;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: proxy --listen ADDR:PORT|unix:PATH [--listen ...]\n"
		"             --upstream ADDR:PORT|unix:PATH [--upstream ...] [--balance turn|least]\n"
		"             [--accept-proxy [--proxy-from LIST] [--header-ms MS]]\n"
		"             [--send-proxy 1|2] [--connect-ms MS] [--retry-ms MS] [--idle-ms MS] [--pollers N] [--steer auto|required|off]\n"
		"             [--service NAME] [--policy NAME] [--rebalance MOVES]\n"
		"             [--tls CERT,KEY] [--upstream-tls CA|system [--upstream-name HOST]]\n"
		"  --listen        may be left out where systemd hands sockets over (LISTEN_FDS)\n"
		"  --upstream      up to 64; names are resolved for each connection\n"
		"  --balance       in turn (default), or to the one with the fewest connections\n"
		"  --accept-proxy  clients begin with a PROXY header, version 1 or 2\n"
		"  --proxy-from    and come from these only: 10.0.0.0/8, 192.0.2.1, unix; any\n"
		"  --send-proxy    upstream connections begin with one\n"
		"  --header-ms     for the whole of a client's header; 3000\n"
		"  --connect-ms    for an upstream to answer; 5000\n"
		"  --retry-ms      so long one that did not is passed over; 2000\n"
		"  --idle-ms       end a pair on which nothing moves; never\n"
		"  --tls           clients speak TLS; PEM files\n"
		"  --upstream-tls  upstream does; who is trusted: a PEM file, or the system's\n"
		"  --upstream-name whose certificate upstream has; the host of its address\n"
		"  --rebalance     so many pairs a second at most go to an idler poller; none\n");
}

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "proxy: %s '%s'; see proxy --help\n", what, value);
	return -1;
}

static int is_unix(const char **address)
{
	int is = !strncmp(*address, "unix:", 5);

	*address += is ? 5 : 0;
	return is;
}

static int add_upstream(struct options *o, const char *address)
{
	struct upstreams *u = &o->pair.upstreams;

	if (u->n == UPSTREAMS)
		return bad("too many upstreams at", address);
	u->up[u->n].network = is_unix(&address) ? "unix" : "tcp";
	u->up[u->n++].address = address;
	return 0;
}

static int number(const char *option, const char *text, int min, int *ret)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < min || n > 1 << 30) {
		fprintf(stderr, "proxy: %s takes a number from %d on, not '%s'\n", option, min,
			text);
		return -1;
	}
	*ret = (int)n;
	return 0;
}

static int choice(const char *option, const char *text, const char *const *names, int n, int *ret)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(text, names[i]))
			return *ret = i, 0;
	return bad(option, text);
}

static int take(struct options *o, int ch)
{
	static const char *const steer[] = { "auto", "required", "off" };
	static const char *const balance[] = { "turn", "least" };
	static const char *const versions[] = { "none", "1", "2" };
	int mode = NP_STEER_AUTO, r;

	switch (ch) {
	case 'l':
		if (o->n_listen == ADDRESSES)
			return bad("too many addresses at", optarg);
		o->listen[o->n_listen++] = optarg;
		return 0;
	case 'u':
		return add_upstream(o, optarg);
	case 'b':
		return choice("--balance is turn or least, not", optarg, balance, 2,
			      &o->pair.upstreams.by_load);
	case 'a':
		o->server.proxy = NP_PROXY_REQUIRED;
		return 0;
	case 'A':
		o->server.proxy_from = optarg;
		return 0;
	case 'x':
		return choice("--send-proxy is 1 or 2, not", optarg, versions, 3,
			      &o->pair.send_header);
	case 'c':
		return number("--connect-ms", optarg, 1, &o->pair.connect_ms);
	case 'H':
		return number("--header-ms", optarg, 1, &o->server.proxy_header_ms);
	case 'r':
		return number("--retry-ms", optarg, 0, &o->pair.upstreams.retry_ms);
	case 'i':
		return number("--idle-ms", optarg, 1, &o->pair.idle_ms);
	case 'n':
		return number("--pollers", optarg, 1, &o->pollers.count);
	case 's':
		r = choice("--steer is auto, required or off, not", optarg, steer, 3, &mode);
		o->server.steer = (enum np_steer_mode)mode;
		return r;
	case 'R':
		return number("--rebalance", optarg, 1, &o->server.rebalance);
	case 'S':
		o->server.service = optarg;
		return 0;
	case 'p':
		o->server.policy = optarg;
		return 0;
	case 't':
		o->tls = optarg;
		return 0;
	case 'T':
		o->upstream_tls = optarg;
		return 0;
	case 'N':
		o->pair.tls_host = optarg;
		return 0;
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	default:
		usage(stderr);
		return -1;
	}
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "upstream", required_argument, NULL, 'u' },
		{ "balance", required_argument, NULL, 'b' },
		{ "accept-proxy", no_argument, NULL, 'a' },
		{ "proxy-from", required_argument, NULL, 'A' },
		{ "send-proxy", required_argument, NULL, 'x' },
		{ "connect-ms", required_argument, NULL, 'c' },
		{ "retry-ms", required_argument, NULL, 'r' },
		{ "idle-ms", required_argument, NULL, 'i' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "steer", required_argument, NULL, 's' },
		{ "service", required_argument, NULL, 'S' },
		{ "policy", required_argument, NULL, 'p' },
		{ "header-ms", required_argument, NULL, 'H' },
		{ "rebalance", required_argument, NULL, 'R' },
		{ "tls", required_argument, NULL, 't' },
		{ "upstream-tls", required_argument, NULL, 'T' },
		{ "upstream-name", required_argument, NULL, 'N' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int ch;

	np_pollers_opts_init(&o->pollers);
	np_server_opts_init(&o->server);
	o->pair.connect_ms = 5000;
	o->pair.upstreams.retry_ms = 2000;
	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (take(o, ch) < 0)
			return -1;
	if (!o->pair.upstreams.n || optind < argc) {
		usage(stderr);
		return -1;
	}
	if (o->server.proxy_from && !o->server.proxy)
		return bad("--proxy-from wants --accept-proxy beside it:", o->server.proxy_from);
	if (o->upstream_tls && o->pair.send_header)
		return bad("--send-proxy would be within the TLS of --upstream-tls",
			   o->upstream_tls);
	o->server.idle_timeout_ms = o->pair.idle_ms;
	return 0;
}

static int make_tls(struct options *o)
{
	if (o->tls && tls_of_clients(o->tls, &o->server.tls) < 0)
		return -1;
	return o->upstream_tls ? tls_of_upstream(o->upstream_tls, &o->pair.tls) : 0;
}

static int listen_all(struct np_server *s, const struct options *o)
{
	int inherited = np_server_listen_inherited(s);

	if (inherited < 0)
		return inherited;
	for (int i = 0; i < o->n_listen; i++) {
		const char *a = o->listen[i];
		int r = np_server_listen(s, is_unix(&a) ? "unix" : "tcp", a);

		if (r < 0)
			return r;
	}
	if (inherited + o->n_listen == 0)
		fprintf(stderr,
			"proxy: nothing to listen on: --listen ADDR:PORT, or sockets of systemd\n");
	return inherited + o->n_listen ? 0 : -EINVAL;
}

/* One line, printed when connections are being served: scripts wait for it. */
static void announce(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;

	printf("listening on");
	for (int i = 0; np_server_addr(s, i, &ss, &len) == 0; i++)
		if (ss.ss_family == AF_INET || ss.ss_family == AF_INET6)
			printf(" port %d", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	printf(" pollers=%d\n", np_pollers_count(np_server_pollers(s)));
	fflush(stdout);
}

static int serve(struct np_server *s, const struct options *o, char **argv)
{
	int r = listen_all(s, o);

	if (r == 0)
		r = np_server_start(s);
	if (r < 0) {
		fprintf(stderr, "proxy: %s\n",
			np_server_error(s)[0] ? np_server_error(s) : np_strerror(r));
		return EXIT_FAILURE;
	}
	announce(s);
	return service_run(s, argv);
}

int main(int argc, char **argv)
{
	struct np_pollers *pollers = NULL;
	struct np_server *server = NULL;
	static struct options o;
	int code = EXIT_FAILURE, r;

	if (parse(argc, argv, &o) < 0)
		return 2;
	if (make_tls(&o) < 0)
		return EXIT_FAILURE;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();

	r = np_pollers_start(&o.pollers, &pollers);
	if (r == 0)
		r = np_server_new(pollers, &pair_client_handlers, &o.pair, &o.server, &server);
	if (r < 0)
		fprintf(stderr, "proxy: cannot start: %s\n", np_strerror(r));
	else
		code = serve(server, &o, argv);
	np_server_free(&server);
	if (pollers) {
		np_pollers_stop(pollers, SERVICE_STOP_MS);
		np_pollers_free(&pollers);
	}
	tls_end(&o.server.tls);
	tls_end(&o.pair.tls);
	return code;
}

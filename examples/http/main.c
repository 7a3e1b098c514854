/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http: an HTTP/1.1 server, steered over pinned pollers
 *
 *   http --listen :8080 --folder /srv/www --log /var/log/http.log
 *
 * doc/http.md says what it answers. What signals do says examples/service/service.h.
 */
#include <errno.h>
#include <netpoll/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/service/service.h"
#include "files.h"
#include "options.h"
#include "session.h"

/* Said with the name of what could not be had. */
static int failed(const char *what, int r)
{
	fprintf(stderr, "http: %s: %s\n", what, np_strerror(r));
	return r;
}

static int open_site(struct options *o, int pollers)
{
	struct site *site = &o->site;
	const char *what;
	int r;

	site->counts =
		aligned_alloc(_Alignof(struct counts), (size_t)pollers * sizeof *site->counts);
	if (!site->counts)
		return failed("cannot start", -ENOMEM);
	memset(site->counts, 0, (size_t)pollers * sizeof *site->counts);
	r = o->folder ? files_open(&site->files, o->folder, pollers, &what) : 0;
	if (r < 0)
		return failed(what, r);
	r = o->log ? log_open(o->log, pollers, &site->log) : 0;
	return r < 0 ? failed(o->log, r) : 0;
}

static void close_site(struct site *site)
{
	log_close(&site->log);
	files_close(&site->files);
	free(site->counts);
}

static int run(struct options *o, struct np_pollers *pollers, char **argv)
{
	struct np_server *server = NULL;
	struct np_handlers handlers;
	int code = EXIT_FAILURE, r;

	if (open_site(o, np_pollers_count(pollers)) < 0)
		return code;
	handlers = session_handlers;
	handlers.flags |= o->may_block ? NP_MAY_BLOCK : 0;
	r = np_server_new(pollers, &handlers, &o->site, &o->server, &server);
	o->site.server = server;
	o->site.tls = o->server.tls;
	if (r < 0)
		failed("cannot start", r);
	else
		code = addresses_take_over(&o->listen, server) < 0 ? EXIT_FAILURE :
								     service_serve(server, argv);
	np_server_free(&server);
	return code;
}

/* HTTP/1.1 is agreed on with clients that ask, and refused to those that speak HTTP/2 alone. */
static int load_certs(struct options *o)
{
	static const char *const alpn[] = { "http/1.1", "http/1.0", NULL };

	return certs_load(&o->certs, alpn, &o->server.tls);
}

int main(int argc, char **argv)
{
	struct np_pollers *pollers = NULL;
	static struct options o;
	int code = EXIT_FAILURE, r;

	if (options_parse(argc, argv, &o) < 0)
		return 2;
	if (load_certs(&o) < 0)
		return code;
	/* Blocked before the pollers start, so that they inherit it and sigwait() gets them. */
	service_prepare();
	signal(SIGPIPE, SIG_IGN); /* of the log's reader */
	r = np_pollers_start(&o.pollers, &pollers);
	if (r < 0) {
		failed("cannot start", r);
	} else {
		code = run(&o, pollers, argv);
		np_pollers_stop(pollers, service_stop_ms());
		np_pollers_free(&pollers);
		close_site(&o.site);
	}
	certs_free(&o.certs, &o.server.tls);
	return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pg: a handler that calls a database by a driver that blocks, PostgreSQL's libpq
 *
 *   pg --listen 127.0.0.1:7000 --db 'host=/run/postgresql dbname=postgres' --may-block
 *
 *   sleep SECONDS   a query that takes so long: select pg_sleep(SECONDS)
 *   ping            no query
 *
 * A line comes, a line goes back: "slept", "pong", or "error: " and why. PQexecParams() keeps the
 * thread until the database has answered. Without --may-block the other connections of this poller
 * wait for it, too; with it the poller goes on with another thread. Nothing else in here differs.
 *
 * Each thread has a database connection of its own, made when it first needs one. So a handler has
 * one to itself for as long as it keeps the thread, that is between two verbs: a connection that
 * is held over a verb that waits would be met by other handlers of this thread.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 256u
#define STOP_MS        10000

static const char *conninfo = "";
static pthread_key_t thread_db;

/* When its thread ends. */
static void db_close(void *db)
{
	PQfinish(db);
}

/* NULL: no memory. One that the database has ended is made anew. */
static PGconn *db_of_thread(void)
{
	PGconn *db = pthread_getspecific(thread_db);

	if (!db) {
		db = PQconnectdb(conninfo);
		if (!db || pthread_setspecific(thread_db, db)) {
			PQfinish(db);
			return NULL;
		}
	} else if (PQstatus(db) != CONNECTION_OK) {
		PQreset(db);
	}
	return db;
}

/* The first line of what libpq says. */
static int answer_error(struct np_conn *c, const char *why)
{
	return np_conn_printf(c, "error: %.*s\n", (int)strcspn(why, "\n"), why);
}

/* Blocks. What it has to say is not said before the thread is free again. */
static int answer_sleep(struct np_conn *c, const char *seconds)
{
	PGconn *db = db_of_thread();
	PGresult *q;
	int r;

	if (!db)
		return answer_error(c, "no memory");
	q = PQexecParams(db, "select pg_sleep($1::float8)", 1, NULL, &seconds, NULL, NULL, 0);
	r = PQresultStatus(q) == PGRES_TUPLES_OK ? np_conn_write(c, "slept\n", 6) :
						   answer_error(c, PQerrorMessage(db));
	PQclear(q);
	return r;
}

static int on_request(struct np_conn *c, void *arg)
{
	char line[LINE_MAX_BYTES];
	const void *p;
	size_t n;
	int r = np_conn_until(c, '\n', sizeof line, &p, &n);

	if (r < 0)
		return r;
	memcpy(line, p, n - 1);
	line[n - 1] = '\0';
	if (!strncmp(line, "sleep ", 6)) {
		np_conn_set_tag(c, "sleep");
		r = answer_sleep(c, line + 6);
	} else if (!strcmp(line, "ping")) {
		r = np_conn_write(c, "pong\n", 5);
	} else {
		r = answer_error(c, "it is 'sleep SECONDS' or 'ping'");
	}
	return r < 0 ? r : np_conn_flush(c);
}

static void log_line(void *arg, int level, const char *msg)
{
	fprintf(stderr, "pg: %s\n", msg);
}

struct options {
	const char *listen;
	struct np_pollers_opts pollers;
	unsigned flags;
};

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "db", required_argument, NULL, 'd' },
		{ "pollers", required_argument, NULL, 'n' },
		{ "may-block", no_argument, NULL, 'b' },
		{ "log", no_argument, NULL, 'v' },
		{ 0 },
	};
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (ch) {
		case 'l':
			o->listen = optarg;
			break;
		case 'd':
			conninfo = optarg;
			break;
		case 'n':
			o->pollers.count = atoi(optarg);
			break;
		case 'b':
			o->flags |= NP_MAY_BLOCK;
			break;
		case 'v':
			o->pollers.log = log_line;
			break;
		default:
			return -1;
		}
	}
	return o->listen && optind == argc ? 0 : -1;
}

/* One line, printed when it serves: scripts wait for it. */
static int announce(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r = np_server_addr(s, 0, &ss, &len);

	if (r < 0)
		return r;
	printf("listening on port %d\n", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	return fflush(stdout) ? -1 : 0;
}

/* Until SIGTERM or SIGINT. */
static int serve(struct np_server *s, const char *address, const sigset_t *end)
{
	int r = np_server_listen(s, "tcp", address), sig;

	if (r == 0)
		r = np_server_start(s);
	if (r == 0)
		r = announce(s);
	if (r < 0) {
		fprintf(stderr, "pg: %s\n", np_server_error(s));
		return EXIT_FAILURE;
	}
	sigwait(end, &sig);
	return np_server_stop(s, STOP_MS, NULL) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct np_handlers handlers = { .sz = sizeof handlers, .on_request = on_request };
	struct options o = { .pollers = { .sz = sizeof o.pollers } };
	struct np_pollers *pollers = NULL;
	struct np_server *server = NULL;
	int code = EXIT_FAILURE, r;
	sigset_t end;

	if (parse(argc, argv, &o) < 0) {
		fprintf(stderr,
			"usage: pg --listen ADDR:PORT [--db CONNINFO] [--pollers N] [--may-block] [--log]\n");
		return 2;
	}
	/* Blocked before there are threads, which inherit it, so that sigwait() gets them. */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	if (pthread_key_create(&thread_db, db_close)) {
		fprintf(stderr, "pg: no thread-specific key is left\n");
		return EXIT_FAILURE;
	}

	handlers.flags = o.flags;
	r = np_pollers_start(&o.pollers, &pollers);
	if (r == 0)
		r = np_server_new(pollers, &handlers, NULL, NULL, &server);
	if (r < 0)
		fprintf(stderr, "pg: cannot start: %s\n", np_strerror(r));
	else
		code = serve(server, o.listen, &end);
	np_server_free(&server);
	if (pollers) {
		np_pollers_stop(pollers, STOP_MS);
		np_pollers_free(&pollers);
	}
	return code;
}

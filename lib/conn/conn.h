/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: the inside of struct np_conn, shared by the files of lib/conn and read by the facade
 *
 * One thread, the poller's, touches a connection. Other threads reach it through c->post alone
 * (conn_post.c). What a reader would get wrong: nothing frees or closes a connection on the spot.
 * Every path that may end it calls conn_later(); conn_settle() runs once at the end of the turn, on
 * main, when no stack frame holds the connection, and does what is due.
 *
 *   state     meaning                              leaves it by
 *   NEW       on_prepare runs: not registered,     conn_start() -> OPEN;  refused -> GONE;  np_conn_close()
 *             in no list, no timer; no I/O state   -> CLOSING, abort -> DEAD, which conn_start() carries out
 *   OPEN      handlers run, verbs work             conn_begin_close() -> CLOSING;  conn_die() -> DEAD
 *   CLOSING   submitted output is being sent,      drained: FIN -> LINGER, or DEAD when the peer's FIN
 *             input is discarded                   was seen;  the clock of conn_clock.c, send error -> DEAD
 *   LINGER    FIN sent, input is discarded         peer's FIN, that clock or error -> DEAD
 *   DEAD      waits until no fiber is inside       conn_settle(): on_close, RST or close(2) -> GONE
 *   GONE      kept by references; conn_gone() took last np_conn_unref() -> freed
 *             everything else
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "buffer/linkbuf.h"
#include "conn/conn_memory.h"
#include "netpoll/conn.h"
#include "netpoll/handlers.h"
#include "poll/list.h"
#include "poll/mailbox.h"
#include "poll/park.h"
#include "poll/poller.h"
#include "poll/timer.h"
#include "poll/watch.h"

enum conn_state { CONN_NEW, CONN_OPEN, CONN_CLOSING, CONN_LINGER, CONN_DEAD, CONN_GONE };

enum conn_flag {
	CONN_SOCKET = 1 << 0,    /* not a tty, pipe or file */
	CONN_INET = 1 << 1,      /* AF_INET/6 stream: a short read means drained */
	CONN_RX_END = 1 << 2,    /* the peer's FIN, or a receive error, has been read */
	CONN_SERVING = 1 << 3,   /* a handler fiber exists or is queued */
	CONN_CONNECTED = 1 << 4, /* on_connect has ended */
	CONN_LEFT = 1 << 5,      /* the peer left: on_disconnect is due or done */
	CONN_LEFT_TOLD = 1 << 6,
	CONN_LATER = 1 << 7,   /* conn_settle() is queued */
	CONN_WR_SHUT = 1 << 8, /* FIN is due once the output is drained */
	CONN_FIN_SENT = 1 << 9,
	CONN_HALF_OPEN = 1 << 10,
	CONN_REQUEST = 1 << 14,     /* a request has begun, and its timeout runs */
	CONN_CUT = 1 << 16,         /* flushed bytes were lost on this side of the kernel: RST */
	CONN_RESET = 1 << 17,       /* np_conn_abort(): RST */
	CONN_CANCEL = 1 << 18,      /* np_conn_cancel_on_leave() */
	CONN_PAUSED = 1 << 11,      /* np_conn_pause_read() */
	CONN_RX_FULL = 1 << 12,     /* input stands at its limit */
	CONN_END_HANDLED = 1 << 13, /* on_request has been called at EOF and left the rest alone */
	CONN_WANT = 1 << 15,        /* np_conn_want() in this handler call */
};

/* What the connections of one server on one poller share. Owner thread. */
struct conn_group {
	struct poller *poller;
	const struct np_handlers *handlers;
	void *arg;
	struct np_limits limits; /* from conn_limits_init() */
	int read_timeout_ms, write_timeout_ms, idle_timeout_ms;
	struct conn_rules {
		int linger_ms; /* -1: no limit; NP_NOW */
		/* bytes a second that a peer has to take; -1: it may be as slow as it likes */
		int min_rate;
		int request_timeout_ms; /* 0: none */
	} rules;
	bool half_open;
	bool retiring; /* connections close as soon as they have nothing to do */
	struct conn_memory memory;
	struct poller_load *load; /* published counts */
	struct list conns;        /* OPEN up to DEAD */
	unsigned n;
	uint64_t cut;             /* ended with flushed bytes lost; published */
	uint64_t handler_errors;  /* handlers that returned < 0; published */
	uint64_t said_ms, unsaid; /* the log line about them: when, and how many since */
	void (*on_closed)(struct conn_group *g); /* a descriptor came free; may be NULL */
	void (*on_empty)(struct conn_group *g);  /* the last connection is gone; may be NULL */
	/* and so is a connection's memory: its last use of g; may be NULL */
	void (*on_freed)(struct conn_group *g);
	void *owner; /* the facade's */
};

/* What a connection gets where its owner says nothing. */
#define CONN_DEFAULT_LINGER_MS 1000
#define CONN_DEFAULT_MIN_RATE  (10 * 1024)
#define CONN_DEFAULT_RULES                                                             \
	{                                                                              \
		.linger_ms = CONN_DEFAULT_LINGER_MS, .min_rate = CONN_DEFAULT_MIN_RATE \
	}

/* A fiber parked in a verb; lives on that fiber's stack. */
struct conn_wait {
	struct park park;
	struct np_conn *c;
	/* reader: until so many are buffered; writer: until at most so many are unsent */
	size_t n;
	size_t room; /* reader: so many may be buffered meanwhile, if that is more than in_high */
	uint64_t since_ms; /* writer */
};

/* What the peer had taken when the kernel was last asked. */
struct conn_ack {
	uint64_t acked, tx_total;
	size_t queued;
	uint64_t at_ms;  /* when it had last become more; 0 = not seen yet */
	uint32_t window; /* bytes that it took lately: they buy it time */
	uint32_t step;   /* those seen at the last look */
	bool looked;
};

/*
 * What only a busy connection needs; attached while it is busy. The first CONN_IO_WARM of a poller
 * stay attached: a few thousand bytes, and a server with few connections never swaps them.
 */
#define CONN_IO_WARM 256
struct conn_io {
	struct np_linkbuf in;  /* conn_rx() fills, the handler drains */
	struct np_linkbuf out; /* the handler fills; the first `submitted` bytes are flushed */
	struct np_linkbuf txq; /* from np_conn_send(); goes out before `out` */
	size_t submitted;
	/* the last np_conn_reserve() and what was pending behind it, for np_conn_commit() */
	size_t reserved, reserved_at;
	size_t held;       /* bytes in `in`, those read and not yet released included */
	size_t rx_total;   /* bytes ever committed to `in` while this io was attached */
	size_t rx_space;   /* how much room the next read offers; adapts */
	size_t rx_offered; /* and how much the last one did */
	size_t tx_offered; /* what the last send was given */
	size_t call_at;    /* on_request is called from so many buffered bytes on */
	/* serve(): from conn_serve() until it runs */
	struct spawn begin;
	struct fiber *handler;
	struct conn_wait *reader, *writer;
	/* a verb that waits owns the input, or output, until its fiber has run again */
	bool reading, writing;
	struct conn_file *file; /* goes out when nothing is unsent; its fiber is the writer */
	bool warm;
	/* conn_clock.c */
	bool request_judged; /* it was late, and has got its one turn more */
	uint64_t request_ms; /* when its first byte came */
	uint64_t tx_total;   /* bytes ever given to the kernel while this io was attached */
	struct conn_ack ack;
};

/*
 * What a connection that is to be used again was last used for. A byte that moves ends DONE: so
 * what was said of one exchange does not hold for the next.
 *
 *   exchange   leaves it by
 *   RESTING    a byte that moves -> OUT or IN
 *   OUT        a byte that comes -> IN: an answer may be owed
 *   IN         a byte that goes -> OUT;  np_conn_reusable() -> DONE
 *   DONE       a byte that moves -> OUT or IN;  np_pool_get() -> RESTING
 */
enum conn_exchange { CONN_RESTING, CONN_OUT, CONN_IN, CONN_DONE };

/* Settings few connections have. */
struct conn_extra {
	int (*on_request)(struct np_conn *, void *);
	void *on_request_arg;
	struct np_limits limits;
	struct conn_rules rules;
	uint64_t read_deadline_ms, write_deadline_ms; /* of poller_now_ms() */
	struct conn_callback *callbacks;              /* newest first */
	int failed;                                   /* the first verb that failed; 0 = none has */
	enum conn_exchange exchange;
};

enum conn_post_bit {
	CONN_POST_SEND = 1 << 0,
	CONN_POST_CLOSE = 1 << 1,
	CONN_POST_ABORT = 1 << 2,
	CONN_POST_SHUT = 1 << 3,
	CONN_POST_FREE = 1 << 4,
};

struct np_conn {
	/* owner thread */
	struct watch watch;
	struct conn_io *io; /* NULL while idle */
	struct conn_group *group;
	struct conn_extra *extra; /* NULL for most */
	struct list link;         /* in group->conns */
	struct timer timer;       /* idle timeout while OPEN, linger afterwards */
	struct mail later;        /* conn_settle() at the end of the turn */
	void *data;
	uint32_t active_ms; /* when bytes last moved; low half of poller_now_ms() */
	int read_timeout_ms, write_timeout_ms, idle_timeout_ms;
	int why; /* np_conn_error(): what a handler returned, whole */
	/* sticky; 0 or negative: errno and ours fit, and an idle connection is small */
	int16_t rx_err, tx_err;
	uint32_t flags;
	uint32_t holds;
	uint8_t inside; /* fibers that run a handler or are parked in a verb: a handful */

	/* any thread */
	_Atomic(uint8_t) state; /* written by the owner; others take it as a hint */
	/* enum conn_post_bit; whoever sets the first one posts post_mail */
	_Atomic(uint8_t) post;
	_Atomic(uint32_t) refs;
	_Atomic(uint32_t) sendq_bytes;
	_Atomic(uint32_t) send_high;
	struct mail post_mail;
	struct mailbox sendq; /* buffers of np_conn_send(), by their link words */
};

#if defined(__LP64__) && !defined(NP_DEBUG)
_Static_assert(sizeof(struct np_conn) <= 216, "an idle connection costs no more than 256 bytes");
#endif

static inline enum conn_state conn_state(const struct np_conn *c)
{
	return atomic_load_explicit(&c->state, memory_order_relaxed);
}

static inline void conn_set_state(struct np_conn *c, enum conn_state s)
{
	atomic_store_explicit(&c->state, s, memory_order_relaxed);
}

static inline struct poller *conn_poller(const struct np_conn *c)
{
	return c->watch.poller;
}

static inline const struct np_limits *conn_limits(const struct np_conn *c)
{
	return c->extra ? &c->extra->limits : &c->group->limits;
}

static inline const struct conn_rules *conn_rules(const struct np_conn *c)
{
	return c->extra ? &c->extra->rules : &c->group->rules;
}

/* No stamp where nobody will ask for it: behind user code even the coarse clock costs something. */
static inline void conn_touch(struct np_conn *c)
{
	if (c->idle_timeout_ms || conn_state(c) > CONN_OPEN)
		c->active_ms = (uint32_t)poller_stamp_ms(conn_poller(c));
}

/* The fiber that runs on_connect or on_request, NULL where none does. */
static inline struct fiber *conn_handler(const struct np_conn *c)
{
	return c->io ? c->io->handler : NULL;
}

/* A function of the user's is about to run for this connection. */
static inline void conn_note_handler(struct np_conn *c, const void *fn)
{
	poller_note_handler(conn_poller(c), fn);
	poller_note_fd(conn_poller(c), c->watch.fd);
}

#define conn_assert_owner(c) poller_assert_owner(conn_poller(c))

/* ---- conn.c: life */
/*
 * conn_start() - make a connection of @fd (taken) and run its on_connect and on_request
 *
 * @ret, where it is not NULL, gets a reference.
 *
 * Thread: owner. Return: 0; 1 when on_prepare refused it; -ENOMEM, -ENOSPC. In every case *fd is
 * -1.
 */
int conn_start(struct conn_group *g, int *fd, unsigned flags, struct np_conn **ret);

/* ---- conn_end.c: how it ends */
void conn_group_opened(struct conn_group *g);
/* Delivers what was submitted, then FIN, then the peer's FIN; the linger bounds all of it. */
void conn_begin_close(struct np_conn *c, int why);
/* No more is sent or read. RST where submitted bytes are left. */
void conn_die(struct np_conn *c, int why);
/* RST, whatever has been sent. */
void conn_abort(struct np_conn *c, int why);
/* Flushed bytes will not reach the peer: it will see RST, and np_conn_error() says @err. */
void conn_lost(struct np_conn *c, int err);
void conn_send_fin(struct np_conn *c);
void conn_settle_closing(struct np_conn *c);
/* The last act of a connection that was open: callbacks, then conn_gone(). */
void conn_finish(struct np_conn *c);
/*
 * conn_gone() - undo all that a connection holds; the memory stays while somebody has a reference
 *
 * The one way out: of a refusal, a start that failed, an end and a detach. Each has done as much as
 * it came to, so nothing there takes for granted that a thing was attached.
 */
void conn_gone(struct np_conn *c);
/* 0 while the connection can be read and written; else what its verbs return. */
int conn_not_open(const struct np_conn *c);
/* 0 as long as there is a descriptor to set something on, or -NP_ECLOSED. */
static inline int conn_settable(const struct np_conn *c)
{
	return c->watch.fd < 0 ? -NP_ECLOSED : 0;
}
void conn_later(struct np_conn *c);
void conn_enter(struct np_conn *c);
void conn_leave(struct np_conn *c);
/* Bytes went out, or came in. */
static inline void conn_moved(struct np_conn *c, enum conn_exchange way)
{
	conn_touch(c);
	if (c->extra)
		c->extra->exchange = way;
}
/* A verb returns @r: what comes now may answer a caller that has given up. */
static inline int conn_verb_ends(struct np_conn *c, int r)
{
	if (__builtin_expect(r < 0, 0) && c->extra && !c->extra->failed)
		c->extra->failed = r;
	return r;
}
/* For the facade's stop: serve what is there, then close; idle ones close now. */
void conn_retire(struct np_conn *c);

/* ---- conn_clock.c: idle, request and linger; what the peer takes */
void conn_clock_fired(struct timer *t);
/* For what is due next while the connection is open. */
void conn_arm_clock(struct np_conn *c);
void conn_arm_linger(struct np_conn *c);
/*
 * Until when the peer may do nothing, if it has done nothing since @since_ms; asks the kernel.
 * *ret_owes: bytes are with the kernel that the peer has not acknowledged.
 */
uint64_t conn_ack_deadline(struct np_conn *c, uint64_t since_ms, int timeout_ms, bool *ret_owes);
/* When to ask again, at the latest at the deadline. */
uint64_t conn_ack_look_at(struct np_conn *c, uint64_t deadline_ms);
/* Its first byte is here. */
void conn_request_begins(struct np_conn *c);
static inline void conn_request_came(struct np_conn *c)
{
	if (!(c->flags & CONN_REQUEST) && conn_rules(c)->request_timeout_ms)
		conn_request_begins(c);
}
/* Its handler has returned, or its reply is on the way. */
static inline void conn_request_over(struct np_conn *c)
{
	c->flags &= ~(uint32_t)CONN_REQUEST;
}

/* ---- conn_home.c: where connections and their I/O state come from */
struct np_conn *conn_home_get(struct poller *p);
void conn_home_put(struct poller *p, struct np_conn *c);
/* What connections and I/O states take. */
size_t conn_home_bytes(const struct poller *p);
/* -ENOMEM; and of a connection that is not open: what conn_not_open() says. */
int conn_io_attach(struct np_conn *c);
/* The same in any state. */
int conn_io_make(struct np_conn *c);
void conn_io_put(struct np_conn *c);
/* Gives the I/O state back if nothing is in it and nobody uses it. */
void conn_io_shrink(struct np_conn *c);

static inline int conn_io_get(struct np_conn *c, struct conn_io **ret)
{
	int r = c->io ? 0 : conn_io_attach(c);

	*ret = c->io;
	return r;
}

static inline void conn_shrink(struct np_conn *c)
{
	if (c->io && !c->io->warm)
		conn_io_shrink(c);
}

/* ---- conn_rx.c: socket -> in */
enum { CONN_AGAIN = 0, CONN_MORE = 1, CONN_END = 2, CONN_FULL = 3, CONN_HELD = 4 };
int conn_rx(struct np_conn *c, size_t budget);
/* conn_rx() and its consequences for watch and flags; new bytes are not delivered yet. */
void conn_fill(struct np_conn *c, size_t budget);
/* The peer's FIN (@err 0) or a receive error: nothing more will be read. */
void conn_rx_ended(struct np_conn *c, int err);
/* Reading may go on after release, resume or a raised limit. */
void conn_rx_resume(struct np_conn *c);
void conn_discard(struct np_conn *c);

/* ---- conn_tx.c: out and txq -> socket */
static inline void conn_out_init(struct conn_io *io)
{
	linkbuf_init(&io->out);
	io->out.flags = LINKBUF_OUT;
}

static inline size_t conn_unsent(const struct np_conn *c)
{
	return c->io ? linkbuf_len(&c->io->txq) + c->io->submitted : 0;
}

/* Send what is submitted. Return: 0 drained, CONN_AGAIN... see conn_tx.c. */
int conn_tx(struct np_conn *c);
void conn_drop_output(struct np_conn *c);
/*
 * The watch goes on with it; @n is what the last send said: -EAGAIN or a short count: the kernel is
 * full; -ENOMEM, -ENOBUFS, 0 (our budget is spent): it may be tried again. Return: CONN_MORE or
 * -errno.
 */
int conn_tx_later(struct np_conn *c, ssize_t n);
/* A send error: sticky, and the output is dropped. Return: @err. */
int conn_tx_failed(struct np_conn *c, int err);

/* ---- conn_write.c */
/* 0 or why nothing can be written now. */
int conn_unwritable(const struct np_conn *c);
/* All that is built is due now. Return: whether anything is; or why nothing can be written. */
int conn_submit(struct np_conn *c);

/* ---- conn_file.c: a file on its way to the peer */
int conn_file_tx(struct np_conn *c);
/* What is left of it will not be sent. */
void conn_file_cut(struct np_conn *c);
/* Wants the FIN that is due put off until the file is through. */
bool conn_file_puts_off_fin(struct np_conn *c);

/* ---- conn_wait.c: fibers that wait */
/*
 * When a verb that waits has to be back: filled in by its first wait, so that the read timeout
 * holds for all of them together, and a peer that sends a byte now and then does not stretch it. 0
 * in ms: not yet known.
 */
struct conn_limit {
	uint64_t ms;
};
/* Parks until @n bytes are buffered; meanwhile up to @room may be. */
int conn_wait_input(struct np_conn *c, size_t n, size_t room, struct conn_limit *l);
int conn_wait_output(struct np_conn *c, size_t at_most);
void conn_wake_reader(struct np_conn *c, int result);
void conn_wake_writer(struct np_conn *c, int result);
/* Whoever waits for input learns of it: a parked reader or the handler. */
void conn_deliver(struct np_conn *c);
/* 0 or why a read that needs more bytes cannot have them. */
int conn_read_end(const struct np_conn *c);

/* ---- conn_serve.c: the handler fiber */
bool conn_has_request(const struct np_conn *c);
void conn_serve(struct np_conn *c);
/* The handler of a peer that has left for good is cancelled, if that was asked for. */
void conn_cancel_left(struct np_conn *c);
/* The descriptor of the connection whose handler @f runs; -1: it runs none. Async-signal-safe. */
int conn_fd_of_fiber(const struct fiber *f);

/* ---- conn_opts.c: settings and close callbacks */
/*
 * conn_limits_init() - @l with what @base says, or the library, where it says 0
 *
 * @base may be NULL. Return: 0; -EINVAL: in_high is over in_max.
 */
int conn_limits_init(struct np_limits *l, const struct np_limits *base);
/* -ENOMEM; -NP_ECLOSED once the connection is gone. */
int conn_extra(struct np_conn *c, struct conn_extra **ret);
/* Calls each once, LIFO; the state refuses one that is added meanwhile. */
void conn_callbacks_run(struct np_conn *c);
/* Frees what is left, and all other extra settings. */
void conn_extra_drop(struct np_conn *c);

/* ---- conn_post.c: from other threads */
void conn_shut(struct np_conn *c);
void conn_drop_sendq(struct np_conn *c);
/* What was sent until now joins the output. The mail that would do it may come later. */
void conn_take_sendq(struct np_conn *c);

#endif

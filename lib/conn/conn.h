/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: the inside of struct np_conn, shared by the files of lib/conn and read by the facade
 *
 * One thread, the poller's, touches a connection. Other threads reach it through c->post alone
 * (conn_post.c). The way of a byte: conn_event() -> conn_pump() -> stream_read() -> serve ->
 * the handler -> a verb -> conn_pump() -> stream_write().
 *
 * Nothing frees or closes a connection on the spot. Every path that may end it calls conn_later();
 * conn_settle() runs once at the end of the turn, on main, when no stack frame holds the
 * connection, and does what is due; the user's last functions are called from there.
 *
 *   life       meaning                            is left by
 *   NEW        on_prepare runs: not registered,   conn_start() -> OPEN;  refused -> GONE;  close ->
 *              no timer, no I/O state             CLOSING, abort -> ENDED: conn_start() does it
 *   OPEN       handlers run, verbs work           conn_close() -> CLOSING;  conn_end() -> ENDED
 *   CLOSING    what was flushed is being sent,    drained: FIN -> LINGERING, or ENDED where the
 *              input is discarded                 peer's FIN was seen;  linger, an error -> ENDED
 *   LINGERING  FIN sent, input is discarded       the peer's FIN, linger or an error -> ENDED
 *   ENDED      waits until no fiber is inside     conn_settle(): on_close, RST or close(2) -> GONE
 *   GONE       kept by references; conn_gone()    last np_conn_unref() -> freed
 *              took everything else
 *
 *   in         meaning                            is left by
 *   OPEN       read whenever the kernel has some  np_conn_pause_read() -> PAUSED;  the limit ->
 *                                                 FULL;  FIN -> ENDED;  an error -> FAILED
 *   FULL       stands at its limit                released, or more is asked for -> OPEN;  PAUSED
 *   PAUSED     the user reads nothing for now     np_conn_resume_read() -> OPEN or FULL;  close ->
 *                                                 OPEN, to be discarded;  reset -> FAILED
 *   ENDED      the peer's FIN was read
 *   FAILED     c->rx_err says why
 *
 *   out        meaning                            is left by
 *   OPEN       the user may write                 np_conn_shutdown_write() -> DRAINING;  a send
 *                                                 error, the write timeout -> FAILED
 *   DRAINING   what was flushed goes out          drained: FIN -> SHUT;  an error -> FAILED
 *   SHUT       FIN sent
 *   FAILED     c->tx_err says why; the output is dropped
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "conn/conn_extra.h"
#include "conn/conn_group.h"
#include "conn/conn_io.h"
#include "conn/conn_proxy.h"
#include "conn/filter.h"
#include "conn/stream.h"
#include "netpoll/conn.h"
#include "poll/list.h"
#include "poll/mailbox.h"
#include "poll/park.h"
#include "poll/poller.h"
#include "poll/timer.h"
#include "poll/watch.h"

enum conn_life {
	CONN_NEW,
	CONN_OPEN,
	CONN_CLOSING,
	CONN_LINGERING,
	CONN_ENDED,
	CONN_GONE,
};

enum conn_in { CONN_IN_OPEN, CONN_IN_FULL, CONN_IN_PAUSED, CONN_IN_ENDED, CONN_IN_FAILED };
enum conn_out { CONN_OUT_OPEN, CONN_OUT_DRAINING, CONN_OUT_SHUT, CONN_OUT_FAILED };

enum conn_flag {
	CONN_CONNECTED = 1 << 0, /* on_connect has ended */
	CONN_LEFT = 1 << 1,      /* the peer left: on_disconnect is due or done */
	CONN_TOLD = 1 << 2,      /* it was called */
	CONN_LATER = 1 << 3,     /* conn_settle() is queued */
	CONN_HALF_OPEN = 1 << 4,
	CONN_CUT = 1 << 5,         /* flushed bytes were lost on this side of the kernel: RST */
	CONN_RESET = 1 << 6,       /* np_conn_abort(): RST */
	CONN_CANCEL = 1 << 7,      /* np_conn_cancel_on_leave() */
	CONN_EXTRA = 1 << 8,       /* the settings are its own: see conn_extra_of() */
	CONN_TIMED = 1 << 9,       /* somebody asks when bytes moved last */
	CONN_USED = 1 << 10,       /* a request has been served */
	CONN_DRAIN_TOLD = 1 << 11, /* on_drain was called */
	CONN_RETIRED = 1 << 12,    /* closed by a stop while idle: what still comes was raced */
	CONN_MOVES = 1 << 13,      /* to another poller, as soon as it is quiet */
	CONN_STAYS = 1 << 14,   /* not for another process: its handlers, or those there, say so */
	CONN_PROXIED = 1 << 15, /* its PROXY header is awaited: conn_proxy.h */
	/* what moves has to be noted; most connections need not */
	CONN_MINDED = CONN_EXTRA | CONN_TIMED,
};

struct np_conn {
	/* owner thread */
	struct watch watch;
	struct conn_io *io; /* NULL while idle */
	struct conn_group *group;
	const struct conn_settings *set; /* the group's, or an extra's */
	struct list link;                /* in group->conns */
	struct timer timer;              /* idle or request while OPEN, linger afterwards */
	struct mail later;               /* conn_settle() at the end of the turn */
	void *data;
	uint32_t active_ms; /* when bytes last moved; low half of poller_now_ms() */
	int why;            /* np_conn_error(): what a handler returned, whole */
	uint32_t holds : 22;
	uint32_t transport : 2; /* enum transport_kind; never changes */
	uint32_t room : 8;      /* stream_room() of the I/O state that it had last */
	/* sticky; 0 or negative: errno and ours fit, and an idle connection is small */
	int16_t rx_err, tx_err;
	union {
		struct {
			uint16_t flags; /* enum conn_flag */
			uint8_t in;     /* enum conn_in */
			/* enum conn_life; other threads take it as a hint */
			_Atomic(uint8_t) life;
			uint8_t out;         /* enum conn_out */
			uint8_t owned;       /* enum conn_owned */
			uint16_t began_high; /* conn_began_ms(); the low half is watch.note */
		};
		struct conn_state state; /* the first five, in one look */
	};

	/* any thread */
	/*
	 * Where to ring for it. Its thread is the owner once watch.poller is the same: until then
	 * that is NULL, and it is on its way there.
	 */
	_Atomic(struct poller *) at;
	uint8_t inside;        /* owner: fibers that run a handler or are parked in a verb */
	_Atomic(uint8_t) post; /* enum conn_post_bit; the first to set one posts post_mail */
	/*
	 * owner: functions of np_conn_post() that wait in its mailbox; UINT16_MAX: too many to say
	 */
	uint16_t calls;
	_Atomic(uint32_t) refs; /* and CONN_KEPT */
	_Atomic(uint32_t) sendq_bytes;
	_Atomic(uint32_t) send_high;
	struct mail post_mail;
	/* buffers of np_conn_send(), by their link words, and calls of np_conn_post() */
	struct mailbox sendq;
#ifdef NP_DEBUG
	bool pumping; /* owner */
#endif
};

#if defined(__LP64__) && !defined(NP_DEBUG)
_Static_assert(sizeof(struct np_conn) <= 216, "an idle connection costs no more than 256 bytes");
#endif

/* ------------------------------------------------------------------ what it is */

static inline enum conn_life conn_life(const struct np_conn *c)
{
	return atomic_load_explicit(&c->life, memory_order_relaxed);
}

/* Open, and so is its output: two states in one look. */
static inline bool conn_is_writable(const struct np_conn *c)
{
	static const uint8_t both[] = { CONN_OPEN, CONN_OUT_OPEN };

	return memcmp((const char *)c + offsetof(struct np_conn, life), both, sizeof both) == 0;
}

_Static_assert(offsetof(struct np_conn, flags) % 8 == 0 &&
		       offsetof(struct np_conn, in) == offsetof(struct np_conn, flags) + 2 &&
		       offsetof(struct np_conn, life) == offsetof(struct np_conn, flags) + 3 &&
		       offsetof(struct np_conn, out) == offsetof(struct np_conn, flags) + 4 &&
		       offsetof(struct np_conn, owned) == offsetof(struct np_conn, flags) + 5,
	       "flags, in, life, out and owned lie as in struct conn_state");

/*
 * Open, and so are both its halves, which verbs may use, with all flags of @set and none of @unset:
 * all in one look.
 */
static inline bool conn_is_plain(const struct np_conn *c, enum conn_flag set, enum conn_flag unset)
{
	const struct conn_state looked = { (uint16_t)(set | unset), 0xff, 0xff, 0xff, 0xff };
	const struct conn_state plain = { (uint16_t)set, CONN_IN_OPEN, CONN_OPEN, CONN_OUT_OPEN };
	uint64_t a, b, mask;

	memcpy(&a, &c->state, sizeof a);
	memcpy(&b, &plain, sizeof b);
	memcpy(&mask, &looked, sizeof mask);
	return (a & mask) == b;
}

/* Thread: its owner's. */
static inline struct poller *conn_poller(const struct np_conn *c)
{
	return c->watch.poller;
}

/* Whether this is its owner's thread. */
static inline bool conn_is_here(const struct np_conn *c)
{
	struct poller *at = atomic_load_explicit(&c->at, memory_order_acquire);

	return at == poller_self() && at == c->watch.poller;
}

/* When a connection came into this process, by poller_now_ms(): of its two halves. */
static inline uint64_t conn_began_ms(uint16_t high, const struct watch *low)
{
	return (uint64_t)high << 32 | low->note;
}

/* NULL for most. */
static inline struct conn_extra *conn_extra_of(const struct np_conn *c)
{
	return c->flags & CONN_EXTRA ? container_of(c->set, struct conn_extra, settings) : NULL;
}

/* NULL for a plain connection. */
static inline struct conn_filter *conn_filter_of(const struct np_conn *c)
{
	return c->flags & CONN_EXTRA ? conn_extra_of(c)->filter : NULL;
}

/*
 * The pump of a plain one that is open takes little stack. A filter is deep, and so is what throws
 * away input behind a close.
 */
static inline void conn_set_life(struct np_conn *c, enum conn_life s)
{
	atomic_store_explicit(&c->life, s, memory_order_relaxed);
	c->watch.shallow = s == CONN_OPEN && !conn_filter_of(c);
}

/* The poller whose memory it lies in. */
static inline struct poller *conn_home_poller(const struct np_conn *c)
{
	struct poller *moved = c->flags & CONN_EXTRA ? conn_extra_of(c)->home : NULL;

	return moved ? moved : atomic_load_explicit(&c->at, memory_order_relaxed);
}

static inline size_t conn_unsent(const struct np_conn *c)
{
	return c->io ? stream_unsent(&c->io->stream) : 0;
}

static inline size_t conn_len(const struct np_conn *c)
{
	return c->io ? linkbuf_len(&c->io->stream.in) : 0;
}

/* A handler fiber exists or is queued. */
static inline bool conn_is_served(const struct np_conn *c)
{
	return c->io && c->io->service != CONN_UNSERVED;
}

/* Its handler was left alone with its thread, and may have the buffers in hand. */
static inline bool conn_is_aside(const struct np_conn *c)
{
	return c->io && c->io->aside;
}

/* No handler begins: conn_part.c. */
static inline bool conn_is_parting(const struct np_conn *c)
{
	return c->io && (c->io->parting & (CONN_PARTING_ASKED | CONN_PARTING_ANEW));
}

/* To go to another poller, not to another process. */
static inline bool conn_is_parting_to_move(const struct np_conn *c)
{
	return conn_is_parting(c) && (c->io->parting & CONN_PARTING_MOVES);
}

/* The fiber that runs on_connect or on_request, NULL where none does. */
static inline struct fiber *conn_handler(const struct np_conn *c)
{
	return c->io ? c->io->handler : NULL;
}

/* The peer's FIN, or a receive error, has been read. */
static inline bool conn_in_is_over(const struct np_conn *c)
{
	return c->in >= CONN_IN_ENDED;
}

/*
 * No more bytes will come of themselves: input is over; or the peer's end has been reported, and
 * the input in front of it stands at its limit.
 */
static inline bool conn_is_end(enum conn_in in, unsigned flags)
{
	return in >= CONN_IN_ENDED || ((flags & CONN_LEFT) && in == CONN_IN_FULL);
}

static inline bool conn_at_end(const struct np_conn *c)
{
	return conn_is_end(c->in, c->flags);
}

/* 0 as long as there is a descriptor to set something on, or -NP_ECLOSED. */
static inline int conn_settable(const struct np_conn *c)
{
	return c->watch.fd < 0 ? -NP_ECLOSED : 0;
}

/* 0 or why a read that needs more bytes cannot have them. */
int conn_read_end(const struct np_conn *c);
/* 0 or why nothing can be written now. */
int conn_unwritable(const struct np_conn *c);
/* 0 while the connection can be read and written; else what its verbs return. */
int conn_not_open(const struct np_conn *c);
/* Why it ends, 0 while it does not. */
int conn_why(const struct np_conn *c);

#define conn_assert_owner(c) poller_assert_owner(conn_poller(c))

/* ------------------------------------------------------------------ small changes */

/* No stamp where nobody will ask for it: behind user code even the coarse clock costs something. */
static inline void conn_touch(struct np_conn *c)
{
	if (c->set->idle_timeout_ms || conn_life(c) > CONN_OPEN)
		c->active_ms = (uint32_t)poller_stamp_ms(conn_poller(c));
}

/* Bytes went out, or came in. */
static inline void conn_moved(struct np_conn *c, enum conn_exchange way)
{
	conn_touch(c);
	if (c->flags & CONN_EXTRA)
		conn_extra_of(c)->exchange = way;
}

/* A verb returns @r: what comes now may answer a caller that has given up. */
static inline int conn_verb_ends(struct np_conn *c, int r)
{
	if (__builtin_expect(r < 0, 0) && (c->flags & CONN_EXTRA) && !conn_extra_of(c)->failed)
		conn_extra_of(c)->failed = r;
	return r;
}

/* A function of the user's is about to run for this connection. */
static inline void conn_note_handler(struct np_conn *c, const void *fn)
{
	poller_note_handler(conn_poller(c), fn, c->watch.fd);
}

static inline void conn_wake(struct conn_wait **slot, int result)
{
	struct conn_wait *w = *slot;

	*slot = NULL;
	if (w)
		park_wake(&w->park, result);
}

/* ------------------------------------------------------------------ the handler */

/* on_request of one with NP_MAY_BLOCK: the user's, left alone if it keeps the thread. */
int conn_serve_blocking(struct np_conn *c, void *arg);
/* Behind such a one: what is left of its batch is served where the loop is, if it is elsewhere. */
void conn_serve_leave_rest(struct conn_io *io);
/* conn_frame.c. on_request of one whose handlers have on_frame: for the frame that comes next. */
int conn_serve_any_frame(struct np_conn *c, void *arg);
/* Likewise, of the kind that struct conn_framing is for. */
int conn_serve_frame(struct np_conn *c, void *arg);

/* What stands in the place of the user's @fn. */
static inline conn_handler_fn conn_calls(const struct np_handlers *h, conn_handler_fn fn)
{
	return fn && (h->flags & NP_MAY_BLOCK) ? conn_serve_blocking : fn;
}

/* Likewise, of on_frame. */
static inline conn_handler_fn conn_calls_frames(const struct conn_group *g)
{
	return g->framing.head ? conn_serve_frame : conn_serve_any_frame;
}

/*
 * Which on_request is called: its own, the group's; none before on_connect has ended. Where a PROXY
 * header is awaited, what takes it stands in its place: serve_connect() calls it.
 */
static inline void conn_find_handler(struct np_conn *c)
{
	const struct np_handlers *h = c->group->handlers;
	struct conn_extra *x = conn_extra_of(c);
	bool own = x && x->on_request, frames = h->on_frame && !own;

	if (!c->io)
		return;
	if (!(c->flags & CONN_CONNECTED)) {
		c->io->on_request = c->flags & CONN_PROXIED ? conn_proxy_take : NULL;
		return;
	}
	c->io->called = own ? x->on_request : h->on_request;
	if (frames)
		c->io->called = (conn_handler_fn)(void (*)(void))h->on_frame;
	c->io->on_request = frames ? conn_calls_frames(c->group) : conn_calls(h, c->io->called);
	c->io->arg = own ? x->on_request_arg : c->group->arg;
}

/* Whether as much is buffered as on_request is called for, of one that is open. */
static inline bool conn_has_enough(const struct conn_io *io)
{
	return linkbuf_len(&io->stream.in) >= io->call_at && io->on_request;
}

/* Whether on_request is due. @io is its I/O state. What a fiber waits for is that fiber's. */
static inline bool conn_has_request(const struct np_conn *c, const struct conn_io *io)
{
	size_t len = linkbuf_len(&io->stream.in);

	if (len < io->call_at && !(len && conn_is_end(c->in, c->flags) && !io->end_handled))
		return false;
	return io->on_request && c->state.life == CONN_OPEN && !(c->owned & CONN_IN_WAIT);
}

/* ------------------------------------------------------------------ conn.c: how it begins */

/*
 * conn_start() - make a connection of @fd (taken) and run its on_connect and on_request
 *
 * @ret, where it is not NULL, gets a reference.
 *
 * Thread: owner. Return: 0; 1 when on_prepare refused it; -ENOMEM, -ENOSPC. In every case *fd is
 * -1.
 */
int conn_start(struct conn_group *g, int *fd, enum transport_kind kind, struct np_conn **ret);
/* NEW, and nothing more: for one that began elsewhere. NULL: no memory. Thread: owner. */
struct np_conn *conn_new(struct conn_group *g, int fd, enum transport_kind kind);
/* It is open for its handlers: on_connect is due. */
void conn_begin_handlers(struct np_conn *c);

/* ------------------------------------------------------------------ conn_filter.c */

/* Its group's, where on_prepare has set none. Return: as above; 0 also where it is to have none. */
int conn_filter_prepare(struct np_conn *c);
/* The handshake begins, of one that is OPEN and registered. */
void conn_filter_begin(struct np_conn *c);
/*
 * conn_filter_wait() - until the handshake is over
 *
 * @until_ms of poller_after_ms(), 0: as long as a handshake may take. Thread: fiber.
 * Return: 0; why it failed; -ETIMEDOUT, -ECANCELED, -NP_ENOTFIBER.
 */
int conn_filter_wait(struct np_conn *c, uint64_t until_ms);
/* The end of a turn: what the filter has come to. */
void conn_filter_settle(struct np_conn *c);
/* Its last word: before FIN. Return: whether it is out, or cannot go; false: an edge will tell. */
bool conn_filter_ends(struct np_conn *c);
/* Whether it has failed while the connection was open: to be closed so that the peer hears why. */
bool conn_filter_has_failed(const struct np_conn *c);
/* What its filter holds, if it has one, counts on @p from here on; NULL: it leaves its poller. */
void conn_filter_count(struct np_conn *c, struct poller *p);
void conn_filter_free(struct conn_extra *x);
/* Whether its handshake is yet to be begun. */
static inline bool conn_filter_awaits(const struct np_conn *c)
{
	const struct conn_filter *f = conn_filter_of(c);

	return f && f->awaits;
}

/* Until when the handshake has to be over; 0: it is, or there is none. */
static inline uint64_t conn_filter_until(const struct np_conn *c)
{
	const struct conn_filter *f = conn_filter_of(c);

	return f ? f->until_ms : 0;
}

/* ------------------------------------------------------------------ conn_pump.c */

enum conn_pump_bit {
	PUMP_IN = WATCH_IN,     /* the kernel may have bytes, or the peer's end: look */
	PUMP_OUT = WATCH_OUT,   /* the kernel may have room: send */
	PUMP_LEFT = WATCH_GONE, /* the peer has closed, or the connection is broken */
	PUMP_FLUSH = 1 << 8,    /* something is due: send, unless the kernel is known to be full */
	PUMP_ROOM = 1 << 9,     /* more may be read, or less: a release, a limit, a pause */
	PUMP_TELL = 1 << 10,    /* what is buffered may be enough by now */
};

/*
 * conn_pump() - move bytes, and let follow what follows: interest, wake-ups, errors, states
 *
 * The only caller of stream_read(), stream_write() and stream_discard(). Calls no function of the
 * user's but done(); a handler that is due is queued, and begins when the dispatch has returned.
 *
 * Thread: owner, main or fiber. Return: 0, or the sticky error of the output.
 */
int conn_pump(struct np_conn *c, unsigned why);
/* The function of its watch: the pump's other entry. */
void conn_event(struct watch *w, unsigned ready);
/*
 * conn_pump_due() - and the third, for a verb that may write and has submitted something
 *
 * Return: 0: all that is due has left; else not all, or the sticky error is set.
 */
int conn_pump_due(struct np_conn *c, struct conn_io *io);
/* conn_settle() at the end of this turn. */
void conn_later(struct np_conn *c);
/* A fiber leaves that was counted in c->inside. */
static inline void conn_leave(struct np_conn *c)
{
	if (!--c->inside && (conn_life(c) == CONN_ENDED || (c->flags & CONN_MOVES)))
		conn_later(c);
}
/* The output ends with @err, sticky, and what is in it is dropped. Return: @err. */
int conn_out_fails(struct np_conn *c, int err);

/* conn_settle.c. The mail of conn_later(). */
void conn_settle(struct mail *m);

/* ------------------------------------------------------------------ conn_aside.c */

/* struct crew_opts has it. Thread: one that may touch the poller. */
void conn_set_aside(struct fiber *f, bool aside);
/* Likewise, of one that is left alone: what it has flushed goes on its way. */
void conn_send_aside(struct fiber *f);
/* conn_serve.c. The handler that @f runs, if any, is about to leave its poller to others. */
void conn_before_blocking(struct fiber *f);
/* Whether it is aside, @io NULL: no; then what is owed, and @why, is caught up with later. */
bool conn_aside_owes(struct conn_io *io, unsigned owed, int why);
/*
 * For a verb of another fiber: until it may be here again. @timeout_ms 0: no limit.
 *
 * Return: 0: look again; @late; -ETIMEDOUT: the fiber's deadline; -ECANCELED; -NP_ECONCURRENT: not
 * on a fiber.
 */
int conn_await(struct np_conn *c, int timeout_ms, int late);
/* Likewise, for one that writes; conn_write.c. */
int conn_await_output(struct np_conn *c);
/* Attaches the output, behind that wait. Return: 0; or why nothing can be written, which is told
 * the exchange. */
int conn_begin_output(struct np_conn *c);

/* ------------------------------------------------------------------ conn_end.c: how it ends */

/* What was flushed is delivered, then FIN, then the peer's FIN; the linger bounds all of it. */
void conn_close(struct np_conn *c, int why);
/* No more is sent or read. RST where flushed bytes are left. */
void conn_end(struct np_conn *c, int why);
/* RST, whatever has been sent. */
void conn_abort(struct np_conn *c, int why);
/* Flushed bytes will not reach the peer: it will see RST, and np_conn_error() says @err. */
void conn_lost(struct np_conn *c, int err);
/* What np_conn_send() queued until now joins the output; if that fails the connection ends. */
void conn_take_sends(struct np_conn *c);
/* The last act of a connection that was open: callbacks, on_close, then conn_gone(). */
void conn_finish(struct np_conn *c);
/*
 * conn_gone() - undo all that a connection holds; the memory stays while a reference is held
 *
 * The one way out: of a refusal, a start that failed, an end and a detach. Each has done as much as
 * it came to, so nothing there takes for granted that a thing was attached.
 */
void conn_gone(struct np_conn *c);
void conn_group_opened(struct conn_group *g);
/* It has come from another group, or has left for one. */
void conn_group_joined(struct conn_group *g);
void conn_group_left(struct conn_group *g);
/* That group is the next process's, or was the one's before. */
void conn_group_handed_over(struct conn_group *g);
void conn_group_taken_over(struct conn_group *g);

/* ------------------------------------------------------------------ conn_time.c */

/* For what is due next while the connection is open. */
void conn_arm_clock(struct np_conn *c);
void conn_arm_linger(struct np_conn *c);
/*
 * What a timer that fired, and found nothing more to read, is to judge. Arms it anew where nothing
 * is over. Return: whether the connection's time is over.
 */
bool conn_time_is_over(struct np_conn *c);
/*
 * Until when the peer may do nothing, if it has done nothing since @since_ms; asks the kernel.
 * *ret_owes: bytes are with the kernel that the peer has not acknowledged.
 */
uint64_t conn_ack_deadline(struct np_conn *c, uint64_t since_ms, int timeout_ms, bool *ret_owes);
/* When to ask again, at the latest at the deadline. */
uint64_t conn_ack_look_at(struct np_conn *c, uint64_t deadline_ms);
void conn_request_begins(struct np_conn *c);
/*
 * Its handler has returned, or its reply is on the way. Where the handler is not the one that says
 * so, what is left of the input is the beginning of the next one.
 */
void conn_request_over(struct np_conn *c);
/* A request's first byte is here. */
static inline void conn_request_came(struct np_conn *c)
{
	if (c->set->request_timeout_ms && !c->io->request)
		conn_request_begins(c);
}

/* ------------------------------------------------------------------ conn_home.c: memory */

struct np_conn *conn_home_get(struct poller *p);
void conn_home_put(struct poller *p, struct np_conn *c);
/* The poller's. NULL: no memory. */
struct pipes *conn_home_pipes(struct poller *p);
/* What connections, I/O states and filters take. */
size_t conn_home_bytes(const struct poller *p);
/* What the filters there hold. NULL: no memory, and it is counted nowhere. */
size_t *conn_home_filters(struct poller *p);
/* In any state. Return: 0; -ENOMEM. */
int conn_io_attach(struct np_conn *c);
void conn_io_put(struct np_conn *c);
/* Gives the I/O state back if nothing is in it and nobody uses it. */
void conn_io_shrink(struct np_conn *c);

/* For a verb. Return: 0; -ENOMEM; of a connection that is not open, what conn_not_open() says. */
static inline int conn_io_get(struct np_conn *c, struct conn_io **ret)
{
	int r = c->io ? 0 : conn_not_open(c);

	if (!c->io && r == 0)
		r = conn_io_attach(c);
	*ret = c->io;
	return r;
}

/* ------------------------------------------------------------------ the others */

/*
 * How long a verb may wait in all: it may have to wait more than once for the bytes of one message,
 * and a peer that sends a byte now and then does not stretch it. 0 in ms: not yet known.
 */
struct conn_limit {
	uint64_t ms;
};
/* conn_wait.c. Parks until @n bytes are buffered; meanwhile up to @room may be. */
int conn_wait_input(struct np_conn *c, size_t n, size_t room, struct conn_limit *l);
int conn_wait_output(struct np_conn *c, size_t at_most);

/* conn_serve.c. A fiber for on_connect or on_request, as soon as this dispatch has returned. @io is
 * its I/O state. */
void conn_serve(struct np_conn *c, struct conn_io *io);
/* The handler of a peer that has left for good is cancelled, if that was asked for. */
void conn_cancel_left(struct np_conn *c);
/* Whose dispatch fn(arg) is, a watch's or a fiber's: NULL: no connection's. */
struct np_conn *conn_of_dispatch(const void *fn, void *arg);
struct np_conn *conn_of_service(const void *fn, void *arg);
/* The descriptor of the connection whose handler @f runs; -1: none. Async-signal-safe. */
int conn_fd_of_fiber(const struct fiber *f);

/*
 * conn_limits_init() - @l with what @base says, or the library, where it says 0
 *
 * conn_opts.c. @base may be NULL. Return: 0; -EINVAL: in_high is over in_max.
 */
int conn_limits_init(struct np_limits *l, const struct np_limits *base);

/* conn_extra.c. -ENOMEM; -NP_ECLOSED once the connection is gone. */
int conn_extra(struct np_conn *c, struct conn_extra **ret);
/* Calls each once, LIFO; the state refuses one that is added meanwhile. */
void conn_callbacks_run(struct np_conn *c);
/* Frees what is left of them, and the settings; of one that has moved its home stays known. */
void conn_extra_drop(struct np_conn *c);
void conn_extra_free(struct np_conn *c);

/* conn_sendq.c. What was sent until now joins the stream's. Return: 0; -ENOMEM: it is lost. */
int conn_sendq_take(struct np_conn *c);
void conn_sendq_drop(struct np_conn *c);

/* conn_write.c. What was built is due; of one that has an I/O state. */
void conn_submit(struct np_conn *c, struct conn_io *io);

/* conn_file.c. Whether FIN has to wait for a file, and is noted to follow it. */
bool conn_file_puts_off_fin(struct np_conn *c);
/* @file goes out behind what was flushed. Return: as np_conn_sendfile(). */
int conn_send_file(struct np_conn *c, const struct stream_file *file);

/*
 * conn_move.c. To @to once it is quiet, with its set. For one that moves another group has to be
 * there. Return: 0, or as np_conn_move().
 */
int conn_move(struct np_conn *c, struct poller *to);
/* In refs, so that none is given back between a look at how many there are and this one. */
#define CONN_KEPT (1u << 31)

static inline uint32_t conn_refs(const struct np_conn *c)
{
	return atomic_load_explicit(&c->refs, memory_order_acquire) & ~CONN_KEPT;
}

/* The other one of its set, NULL for most. */
static inline struct np_conn *conn_mate(const struct np_conn *c)
{
	return c->flags & CONN_EXTRA ? conn_extra_of(c)->mate : NULL;
}
/* conn_set.c. It is in no set from here on. */
void conn_leave_set(struct np_conn *c);
/* The end of a turn: whether it is off. Nothing may touch it then but by its reference count. */
bool conn_move_off(struct np_conn *c);

/* conn_part.c. Whether nothing is at work but handlers that can be sent home, of its mate, too. */
bool conn_part_may(const struct np_conn *c);
/*
 * conn_part_begin() - they are; both of a set one after the other
 *
 * Return: 0; -ENOMEM, and what read(2) says, of a pipe: nothing was done.
 */
int conn_part_begin(struct np_conn *c);
/* It is served as before; the caller pumps it. Return: whether it was parting. */
bool conn_part_end(struct np_conn *c);
/* The same, and pumped: it does not go after all. One that was not to go is left alone. */
void conn_stay(struct np_conn *c);
/* Its handler is about to wait at such a place. Return: whether it is the one that asks. */
bool conn_at_place(struct np_conn *c, enum conn_place place);

/* conn_post.c. FIN once the output is drained. */
void conn_shut(struct np_conn *c);
/* np_conn_send() fails from now on: its output has an end. */
void conn_refuse_sends(struct np_conn *c);
/*
 * conn_keep()   - it has not ended for the sake of those who have references, more than @but: each
 *                 that is given back is looked at. Return: whether there are.
 * conn_let_go() - what it was kept for may have been read
 */
bool conn_keep(struct np_conn *c, unsigned but);
void conn_let_go(struct np_conn *c);
/* conn_ref.c. np_conn_unref() of what the library has taken for itself. */
void conn_put(struct np_conn *c);
/* Likewise, of somebody's. Return: false: it is kept, and nothing was done. */
bool conn_put_unkept(struct np_conn *c);

/* ------------------------------------------------------------------ conn_drain.c */

/* on_drain is due at the end of this turn, where there is one and the group drains. */
void conn_drain(struct np_conn *c);
/* Calls it, once. */
void conn_drain_tell(struct np_conn *c);
/*
 * conn_retire() - of a group that retires: close, if the time has come and nothing goes on
 *
 * Serves what is there first. Arms the timer where the time has not come. Called at the retiring
 * itself, when the connection has become idle, and by its timer.
 */
void conn_retire(struct np_conn *c);
/* When its timer has to fire for that; 0: never. */
uint64_t conn_retire_at(const struct np_conn *c);
/* Behind the close bytes have come. */
void conn_retire_raced(struct np_conn *c);

#endif

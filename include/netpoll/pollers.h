/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pollers: the pinned threads that servers and connections live on, and what runs on them
 *
 * One set may carry several servers. Nothing here is global: two sets know nothing of each other.
 *
 * Code runs on a poller in one of two ways. On a fiber it may wait: on_connect, on_request, and
 * what np_go() and np_run() were given. On the poller's own stack it must not: the other handlers,
 * the functions of np_post(), np_timer_start() and close callbacks. There every call that may have
 * to park returns -NP_ENOTFIBER, whether or not it would have had to; verbs of a connection alone
 * (conn.h) do what they can do without.
 *
 * Waits end early when a stop has run out of time, of these pollers or of the server whose handler
 * waits: np_sleep(), np_yield(), np_wait_fd() and np_event_wait() then return -ECANCELED, at once
 * and from then on. A loop around them should end at any negative result. np_join() passes that on
 * to the task.
 */
#ifndef NETPOLL_POLLERS_H
#define NETPOLL_POLLERS_H

#include <netpoll/handlers.h>
#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_pollers;

enum np_log_level { NP_LOG_INFO = 0, NP_LOG_WARNING = 1, NP_LOG_ERROR = 2, NP_LOG_BUG = 3 };

/* Zero means the default, which is said here; -1 no limit, see opts.h. */
struct np_pollers_opts {
	size_t sz;

	/* ---- threads */
	/* the CPUs that this process may use: min(affinity mask, cgroup quota rounded up), and 256
	 * at most: a server with more cannot listen on TCP; -1: -EINVAL */
	int count;
	/* to pin to, in order, again from the first when there are more pollers */
	const int *cpus;
	/*
	 * 0: the affinity mask, if there is a poller for each CPU of it. With fewer, because of
	 * @count or of a cgroup's quota, none is pinned, and the log says so: another process would
	 * choose the same CPUs.
	 */
	int n_cpus;
	/* NP_ON: also with fewer pollers than CPUs; NP_OFF: leave the threads to the scheduler */
	enum np_switch pin;

	/* ---- handlers */
	size_t stack_size; /* bytes, of a handler's fiber; 64 KiB; from 16 KiB to 1 GiB */
	int max_fibers;    /* for each poller; 65536 */
	/* a handler that keeps the thread for so many milliseconds is counted and logged, also
	 * while it does; 100 */
	int hog_ms;
	/*
	 * A handler that overruns its stack is named on stderr, with its connection's descriptor
	 * and the size to raise, before the process dies of it. Installs a handler of SIGSEGV and
	 * SIGBUS, for good, which hands on to the one it found.
	 */
	bool report_overflow;

	/*
	 * One line without a newline; @level: enum np_log_level. The library prints nothing itself.
	 * Thread: any poller, one that watches them, or the one that stops them.
	 */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;

	/* ---- np_offload(), for the set */
	int offload_threads;   /* workers at most; started when needed; 4; -1: -EINVAL */
	int offload_queue_max; /* jobs that wait for a worker; 4096 */
	/*
	 * Instead of these workers. Calls job(job_arg) exactly once, on any thread; or returns a
	 * negative code, which np_offload() returns, and never calls it.
	 */
	int (*executor)(void *executor_arg, void (*job)(void *), void *job_arg);
	void *executor_arg;

	/* ---- handlers that may block (NP_MAY_BLOCK, np_blocking()), for the set */
	/* such a handler may keep its poller for so long; 10; -1: for ever */
	int handoff_ms;
	int handoff_threads; /* that take over, at most; started when needed; 16; -1: -EINVAL */

	/*
	 * ---- looking inside: a unix socket, mode 0600, that answers npsteer conns, fibers and top
	 *
	 * Its path; "": /run/netpoll/PID.sock, where npsteer looks; NULL: none. A dead one is
	 * replaced. Of several sets the first one's is the process's. Where it cannot be had the
	 * log says so, and the pollers run without it.
	 */
	const char *observe;
	/* requests are counted, and some timed, for np_metrics_write() */
	bool metrics;
};
NP_OPTS_INIT(np_pollers_opts)

/*
 * np_pollers_start() - threads that wait for work
 *
 * A CPU that cannot be had is logged and lived with. The process's table of descriptors gets room
 * for as many as it may have, 65536 at most: else the kernel makes it larger when an accept needs
 * that, which takes 10 to 25 ms each time. In a program that has threads already this takes as
 * long, once.
 *
 * Thread: setup: one thread at a time, and not a poller. Lifetime: *o is copied; freed by
 *         np_pollers_free().
 * Return: 0; -EINVAL: a number below its least (opts.h), n_cpus without cpus, another stack_size;
 *         -E2BIG, -ENOMEM,
 *         -EMFILE; -EAGAIN: no more threads (pthread_create(3)).
 */
NP_API int np_pollers_start(const struct np_pollers_opts *o, struct np_pollers **ret);

/*
 * np_pollers_stop() - end the threads, once every server on them has been stopped
 *
 * From now on np_go(), np_run() and np_post() to another poller return -ECANCELED. What was posted
 * before still runs, and so do fibers, until @timeout_ms (0, -1: no limit); then their waits are
 * cancelled, and they get another second to return. Timers that are still pending do not fire any
 * more.
 *
 * Thread: setup, which is blocked.
 * Return: 0, also when repeated; -EINVAL: @timeout_ms below -1; -EDEADLK on a poller; -EBUSY: a
 *         server on them runs, and nothing was done; -ETIMEDOUT: handlers do not return, or a
 *         function of np_post() posts itself again and again. They cannot be killed: they are
 *         logged with their addresses and how many they are, and nothing is freed under them; stop
 *         again.
 */
NP_API int np_pollers_stop(struct np_pollers *p, int timeout_ms);

/*
 * np_pollers_free() - after np_pollers_stop() returned 0
 *
 * Timers that were not stopped are freed with it; tasks and events are not.
 *
 * Thread: setup.
 * Return: 0: *p is NULL; -EBUSY: it is not stopped, a fiber is parked, or a reference to a
 *         connection held: *p stays.
 */
NP_API int np_pollers_free(struct np_pollers **p);

/* np_pollers_count() - how many they are. Thread: any. May park: no. */
NP_API int np_pollers_count(const struct np_pollers *p);
struct np_pollers_stats {
	size_t sz;
	unsigned pollers;
	uint64_t slow_turns; /* in which handlers together kept the thread for hog_ms */
	uint64_t hogs;       /* handlers that are known to have done so, alone */
	/* Jobs of np_offload(). Many that wait beside offload_threads that run: there are too few
	 * workers. */
	/* now: they wait for a worker; fn has been called */
	uint64_t offload_queued, offload_running;
	uint64_t offload_done;
	uint64_t offload_refused;  /* -EAGAIN, or by the executor */
	uint64_t offload_given_up; /* deadline or cancel, before fn was called */
	/* a poller went on with another thread; or could not, since none was to be had */
	uint64_t handoffs, handoffs_refused;
	unsigned away; /* now: handlers left alone with their threads */
};
NP_OPTS_INIT(np_pollers_stats)

/*
 * np_pollers_stats() - what all of them have counted
 *
 * A handler is found out when it returns. One that was not alone in its turn makes the turn count,
 * and is not named at once: for a while each handler is timed then, by the kernel's tick.
 *
 * Thread: any. May park: no. Return: 0; -EINVAL: ret->sz is not set.
 */
NP_API int np_pollers_stats(const struct np_pollers *p, struct np_pollers_stats *ret);

/* np_poller_self() - the index of the poller whose thread this is. Thread: any. May park: no.
 * Return: -1 elsewhere. */
NP_API int np_poller_self(void);

/* ------------------------------------------------------------------ work on a poller */

/* Instead of an index. NP_HERE: the poller whose thread this is. NP_SPREAD: each in turn. */
enum { NP_HERE = -1, NP_SPREAD = -2 };

struct np_task;

/*
 * np_go() - run fn(arg) on a fiber of @poller
 *
 * @p NULL is the set of the poller whose thread this is. Those that one thread sends to one poller
 * start in their order. With a @ret the task has to be given to np_join(), once, and has the
 * deadline of the fiber that makes it; without, it frees itself. *ret may be written after fn has
 * begun.
 *
 * Thread: any. May park: no. Lifetime: the task is freed by np_join(), also after its pollers.
 * Return: 0; -EINVAL: no fn, no such poller; -EPERM: NP_HERE, but this is no poller of @p; -ENOMEM;
 *         -ECANCELED: a stop has begun (to another poller) or has run out of time (to this one).
 */
NP_API int np_go(struct np_pollers *p, int poller, int (*fn)(void *), void *arg,
		 struct np_task **ret);

struct np_go_opts {
	size_t sz;
	/*
	 * enum np_handler_flag. NP_MAY_BLOCK: fn may block, or compute for long, as such a handler
	 * may: what it shares with others of its poller is locked or atomic.
	 */
	unsigned flags;
};
NP_OPTS_INIT(np_go_opts)

/*
 * np_go_with() - np_go() of a task that is not as all are
 *
 * @o NULL: it is. Thread: any. May park: no. Lifetime: *o is copied; the task's as with np_go().
 * Return: as np_go(); -EINVAL: also a flag that is not known, or o->sz is not set; -E2BIG: *o has
 *         fields that this library does not know, and they are set.
 */
NP_API int np_go_with(struct np_pollers *p, int poller, int (*fn)(void *), void *arg,
		      const struct np_go_opts *o, struct np_task **ret);

/*
 * np_join() - wait for the end of a task, and free it
 *
 * *ret_result (may be NULL) is what fn returned, or -ECANCELED where fn was not called, because a
 * stop or a cancel came first. The wait itself is neither cancelled nor late: the waits of the task
 * are, when this fiber's would be or its deadline passes. So a task may use memory of its joiner.
 *
 * Thread: any; a thread that is no poller's is blocked. May park: yes.
 * Return: 0: *t is NULL. Otherwise *t stays: -EDEADLK: this is that task; -NP_ENOTFIBER;
 *         -NP_ECONCURRENT: another waits for it; -EINVAL: *t is NULL.
 */
NP_API int np_join(struct np_task **t, int *ret_result);

/*
 * np_join_for() - np_join() that gives up after @ms; 0, -1: no limit
 *
 * The task goes on and stays with the caller: to be cancelled, and joined again. Memory of the
 * caller's that the task uses has to last until then.
 *
 * Thread: any; a thread that is no poller's is blocked. May park: yes.
 * Return: as np_join(); also -ETIMEDOUT: @ms, or the fiber's deadline, has passed; -ECANCELED: this
 *         fiber's waits are cancelled; -EINVAL: @ms below -1. In each of them *t stays.
 */
NP_API int np_join_for(struct np_task **t, int ms, int *ret_result);

/*
 * np_task_cancel() - end the waits of a task with -ECANCELED, this one and those to come
 *
 * And the tasks that it joins. Not yet begun, it ends without a call of fn. It still has to be
 * joined. A task that waits for nothing goes on: cancelling is asking.
 *
 * Thread: any, before its np_join() returns. May park: no. Return: 0, also when repeated or when
 * the task has ended; -EINVAL: NULL.
 */
NP_API int np_task_cancel(struct np_task *t);

/*
 * np_run() - run fn(arg) on a fiber of one of the pollers, and wait for it
 *
 * For a thread that is no poller's, a worker of np_offload() included: it is blocked. Allocates
 * nothing.
 *
 * Thread: any but a poller. May park: no.
 * Return: what fn returned. Or, and then fn was not called: -EDEADLK on a poller's thread;
 *         -ECANCELED: the pollers were stopped; -EINVAL: no @p, no fn.
 */
NP_API int np_run(struct np_pollers *p, int (*fn)(void *), void *arg);

/*
 * np_post() - call fn(arg) on the own stack of @poller, where it may not park
 *
 * For what is over quickly: it takes no stack. What one thread posts to one poller runs in its
 * order.
 *
 * Thread: any. May park: no. Return: as np_go(), and a post to this poller is never refused.
 */
NP_API int np_post(struct np_pollers *p, int poller, void (*fn)(void *), void *arg);

/*
 * np_offload() - run fn(arg) on a worker thread, or by opts.executor, and wait for it
 *
 * For what blocks, or computes for long. Once fn has begun this returns only after it, whatever
 * happens meanwhile: fn may use the caller's stack, and nothing ends it early. A job that still
 * waits for a worker is taken back at the fiber's deadline or when its waits are cancelled; one
 * that an executor has taken is not. What the caller read from a connection and fn is to use needs
 * a slice if anything may release it meanwhile.
 *
 * Thread: fiber. May park: yes.
 * Return: 0. Or, and then fn was not called: -ETIMEDOUT: the fiber's deadline; -ECANCELED; -EAGAIN:
 *         offload_queue_max jobs wait already, or not one thread was to be had; what the executor
 *         returned; -NP_ENOTFIBER; -EINVAL: no fn.
 */
NP_API int np_offload(void (*fn)(void *), void *arg);

/*
 * np_blocking() - call fn(arg) on this thread and stack, while the poller goes on with another
 *
 * For what blocks and is bound to this thread: a driver's handle, a lock, a thread-local. Any
 * handler and task may call it. It counts as a wait: other handlers of the poller run meanwhile,
 * beside fn. Verbs inside fn wait for their turn and then do what they do elsewhere. Fibers that
 * wait on this very thread go on when fn has returned. Where handoff_threads have been taken it
 * waits for one.
 *
 * np_offload() has few threads and a queue, for what is frequent; NP_MAY_BLOCK is for what nobody
 * foresaw.
 *
 * Thread: fiber. May park: yes.
 * Return: 0. Or, and then fn was not called: -ETIMEDOUT: the fiber's deadline; -ECANCELED;
 *         -NP_ENOTFIBER; -EINVAL: no fn.
 */
NP_API int np_blocking(void (*fn)(void *), void *arg);

/* ------------------------------------------------------------------ deadlines */

/*
 * np_deadline() - from now on, each wait of this fiber ends when @ms have passed, with -ETIMEDOUT
 *
 * Every wait: reads and writes, dials, pools, calls, joins (which cancel the task, and wait for its
 * end), jobs of np_offload() that have not begun, events, sleeps, locks. What has come by then is
 * still delivered: the socket is looked at once more, and a wait after the deadline looks without
 * waiting. Limits of a wait's own hold beside it, under their own names. A deadline ends nothing
 * but waits: what was flushed stays submitted, the connection stays as it is.
 *
 * @ms 0, -1: no deadline of its own; NP_NOW: it has passed. A deadline narrows: one that is sooner
 * stays in force. *ret_outer (may be NULL) is what was in force, for np_deadline_restore(). It ends
 * with the call of on_connect or on_request, or with the task. Tasks that are to be joined begin
 * with the deadline of the fiber that makes them.
 *
 *	uint64_t outer;
 *
 *	np_deadline(100, &outer);
 *	r = ask_three_servers();
 *	np_deadline_restore(outer);
 *
 * Thread: fiber. May park: no. Return: 0; -NP_ENOTFIBER; -EINVAL: @ms below NP_NOW.
 */
NP_API int np_deadline(int ms, uint64_t *ret_outer);
/* np_deadline_restore() - what np_deadline() has told of; 0: none. Thread: fiber. May park: no.
 * Return: 0; -NP_ENOTFIBER. */
NP_API int np_deadline_restore(uint64_t outer);
/*
 * np_deadline_left() - milliseconds that are left
 *
 * Not to be handed on as a limit: that it has passed would be none there, and it holds anyway.
 * Thread: any. May park: no. Return: 0: it has passed; -1: there is none, or this is no fiber.
 */
NP_API int np_deadline_left(void);

/* ------------------------------------------------------------------ waiting */

/*
 * np_sleep() - for at least @ms; 0 is np_yield()
 *
 * Thread: fiber. May park: yes.
 * Return: 0; -ECANCELED; -ETIMEDOUT: the fiber's deadline came first; -NP_ENOTFIBER; -EINVAL:
 *         @ms below 0.
 */
NP_API int np_sleep(int ms);

/*
 * np_yield() - let all others that can go on, and the network, have their turn
 *
 * Thread: fiber. May park: yes. Return: 0; -ECANCELED; -ETIMEDOUT: the fiber's deadline;
 * -NP_ENOTFIBER.
 */
NP_API int np_yield(void);

/*
 * np_wait_fd() - for a descriptor that is not the library's: another library's client, a pipe, a
 * timerfd
 *
 * @events and the result are poll(2)'s: POLLIN, POLLOUT, POLLPRI, POLLRDHUP; POLLHUP and POLLERR
 * need not be asked for. POLLIN says that a read will not block; beside urgent data it may find
 * nothing. Nothing stays registered. Do not close @fd while a fiber waits for it.
 *
 * Thread: fiber. May park: yes. @ms 0, -1: no limit.
 * Return: what is ready, > 0; -ETIMEDOUT; -ECANCELED; -NP_ENOTFIBER; -NP_ECONCURRENT: on this
 *         poller it is waited for already, or it is a connection's; -EPERM: it cannot be waited for
 *         (a file); -EBADF, -ENOMEM, -ENOSPC: what epoll_ctl(2) says; -EINVAL: other events,
 *         @ms below -1.
 */
NP_API int np_wait_fd(int fd, unsigned events, int ms);

/* ------------------------------------------------------------------ events */

/*
 * An event is set by anyone and waited for by one. It remembers that it was set until a wait takes
 * it; set twice in between is set once. To let several wait, give each its own.
 */
struct np_event;

/* np_event_new() - not set. Thread: any. May park: no. Lifetime: until np_event_free(); it
 * belongs to no pollers. Return: 0; -ENOMEM. */
NP_API int np_event_new(struct np_event **ret);
/* np_event_free() - free it. Thread: any, once it will not be set any more. May park: no. Return:
 * 0: *e is NULL; -EBUSY: one waits, and *e stays. */
NP_API int np_event_free(struct np_event **e);
/*
 * np_event_set() - end a wait, this one or the next
 *
 * The waiter sees all that the setter wrote before. It may free the event when it goes on.
 * Thread: any. May park: no. Return: 0.
 */
NP_API int np_event_set(struct np_event *e);
/*
 * np_event_wait() - until it is set; it is not set any more then
 *
 * Thread: any; a thread that is no poller's is blocked. May park: yes. @ms 0, -1: no limit.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -NP_ECONCURRENT: another waits; -NP_ENOTFIBER; -EINVAL: @ms
 *         below -1.
 */
NP_API int np_event_wait(struct np_event *e, int ms);

/* ------------------------------------------------------------------ timers */

struct np_timer;

/*
 * np_timer_start() - call fn(arg) once, not before @ms have passed, on this poller's own stack
 *
 * With a @ret the timer lives until np_timer_stop(), also after it has fired; without, it frees
 * itself then. @ms 0: in the next turn.
 *
 * Thread: owner: any code on a poller. May park: no, and neither may fn; it may np_go().
 * Lifetime: *ret until np_timer_stop(), or np_pollers_free().
 * Return: 0; -EPERM: this is no poller; -ENOMEM; -EINVAL: no fn, @ms below 0.
 */
NP_API int np_timer_start(int ms, void (*fn)(void *), void *arg, struct np_timer **ret);

/*
 * np_timer_stop() - fn will not be called any more; frees the timer
 *
 * From inside fn too.
 * Thread: owner. May park: no. Return: 0: *t is NULL; -EPERM: another poller's, or no poller: *t
 *         stays.
 */
NP_API int np_timer_stop(struct np_timer **t);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netpoll.hh: the library for C++17: objects that end what they own, and callables for handlers
 *
 * Header-only, over the same calls. A function here returns what the C call of that name returns;
 * its rules are those of the C header. What has no method is called with get().
 *
 * No exception leaves a callable for the library, whose frames it could not cross:
 *
 *   thrown in                       becomes
 *   on_prepare, on_connect,         the status that it returns (status_of()): the connection is
 *   on_request, on_export/import    refused, closed, or stays, as for every negative one
 *   on_disconnect, on_close,        nothing more; on_exception is told, as it is of the above
 *   on_move, on_drain
 *   run(), offload(), blocking(),   the same exception, on the side that waits for the callable
 *   task::join()
 *   go(), post(), conn::post()      std::terminate(): there is nobody to tell. So does a throw in
 *                                   on_exception
 *
 * Without exceptions (-fno-exceptions) all is the same but for these. A connection that a handler
 * is given is a conn, which owns nothing; one to be kept is a conn_ref.
 */
#ifndef NETPOLL_NETPOLL_HH
#define NETPOLL_NETPOLL_HH

#if __cplusplus < 201703L
#error "netpoll/netpoll.hh needs C++17"
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/handlers.h>
#include <netpoll/linkbuf.h>
#include <netpoll/opts.h>
#include <netpoll/pollers.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <netpoll/sync.h>

namespace netpoll {

/* An options struct with all its defaults: auto o = netpoll::opts<np_server_opts>(); */
template <class T> T opts() noexcept
{
	T o;

	std::memset(&o, 0, sizeof o);
	o.sz = sizeof o;
	return o;
}

/* ------------------------------------------------------------------ exceptions */

/* What an exception is where a status has to stand for it, and none of the below does. */
inline constexpr int threw = -ENOTRECOVERABLE;

/*
 * status_of() - of the exception that is being handled
 *
 * -ENOMEM for std::bad_alloc; the number of a std::system_error of the system or generic category;
 * else threw.
 */
inline int status_of() noexcept
{
#ifdef __cpp_exceptions
	try {
		throw;
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (const std::system_error &e) {
		const std::error_category &c = e.code().category();

		if ((c == std::system_category() || c == std::generic_category()) &&
		    e.code().value() > 0)
			return -e.code().value();
	} catch (...) {
	}
#endif
	return threw;
}

namespace detail {

/* A callable that somebody else runs, and what came of it: for the side that waits. */
template <class F> struct outcome {
	F &fn;
	int result = 0;
	std::exception_ptr thrown = nullptr;

	void call() noexcept
	{
#ifdef __cpp_exceptions
		try {
			once();
		} catch (...) {
			thrown = std::current_exception();
			result = status_of();
		}
#else
		once();
#endif
	}
	void once()
	{
		if constexpr (std::is_void_v<std::invoke_result_t<F &>>)
			fn();
		else
			result = fn();
	}
	void rethrow() const
	{
#ifdef __cpp_exceptions
		if (thrown)
			std::rethrow_exception(thrown);
#endif
	}
};

/* A callable, or what else has to outlive its maker, on the heap. */
template <class F> int heaped(F &&fn, std::unique_ptr<std::decay_t<F>> &ret)
{
	ret.reset(new (std::nothrow) std::decay_t<F>(std::forward<F>(fn)));
	return ret ? 0 : -ENOMEM;
}
template <class F> int heaped_int(void *arg) noexcept
{
	std::unique_ptr<F> fn(static_cast<F *>(arg));

	if constexpr (std::is_void_v<std::invoke_result_t<F &>>)
		return (*fn)(), 0;
	else
		return (*fn)();
}
template <class F> void heaped_void(void *arg) noexcept
{
	std::unique_ptr<F> fn(static_cast<F *>(arg));

	(*fn)();
}

} // namespace detail

/* ------------------------------------------------------------------ buffers */

/* A linkbuf of one's own. What takes it (conn::send(), append()) leaves it empty: false. */
class buffer {
      public:
	buffer() noexcept = default;
	explicit buffer(np_linkbuf *b) noexcept : b_(b) {}
	buffer(buffer &&o) noexcept : b_(std::exchange(o.b_, nullptr)) {}
	buffer &operator=(buffer &&o) noexcept
	{
		if (this != &o) {
			np_linkbuf_free(&b_);
			b_ = std::exchange(o.b_, nullptr);
		}
		return *this;
	}
	~buffer() { np_linkbuf_free(&b_); }

	[[nodiscard]] static int make(buffer &ret, std::size_t hint = 0) noexcept
	{
		np_linkbuf *b;
		int r = np_linkbuf_new(hint, &b);

		if (r == 0)
			ret = buffer(b);
		return r;
	}

	explicit operator bool() const noexcept { return b_ != nullptr; }
	np_linkbuf *get() const noexcept { return b_; }
	/* For a call that takes it, or gives one. */
	np_linkbuf **addr() noexcept { return &b_; }
	np_linkbuf *take() noexcept { return std::exchange(b_, nullptr); }

	std::size_t size() const noexcept { return b_ ? np_linkbuf_len(b_) : 0; }
	[[nodiscard]] int write(std::string_view s) noexcept
	{
		return np_linkbuf_write(b_, s.data(), s.size());
	}
	/* The text's own memory is sent, and freed when it has been. */
	[[nodiscard]] int write_owned(std::string s) noexcept;
	int flush() noexcept { return np_linkbuf_flush(b_); }
	[[nodiscard]] int next(std::size_t n, std::string_view &ret) noexcept
	{
		const void *p;
		int r = np_linkbuf_next(b_, n, &p);

		if (r == 0)
			ret = std::string_view(static_cast<const char *>(p), n);
		return r;
	}
	[[nodiscard]] int slice(std::size_t n, buffer &ret) noexcept
	{
		np_linkbuf *b;
		int r = np_linkbuf_slice(b_, n, &b);

		if (r == 0)
			ret = buffer(b);
		return r;
	}
	void release() noexcept { np_linkbuf_release(b_); }

      private:
	np_linkbuf *b_ = nullptr;
};

namespace detail {
inline void delete_string(void *arg) noexcept
{
	delete static_cast<std::string *>(arg);
}
} // namespace detail

inline int buffer::write_owned(std::string s) noexcept
{
	std::unique_ptr<std::string> own;
	int r = detail::heaped(std::move(s), own);

	if (r == 0)
		r = np_linkbuf_write_ref(b_, own->data(), own->size(), detail::delete_string,
					 own.get());
	if (r == 0)
		(void)own.release();
	return r;
}

/* ------------------------------------------------------------------ connections */

class conn_ref;

/* A connection that somebody else keeps: the handler's, for as long as it runs. Owns nothing. */
class conn {
      public:
	conn() noexcept = default;
	explicit conn(np_conn *c) noexcept : c_(c) {}
	explicit operator bool() const noexcept { return c_ != nullptr; }
	np_conn *get() const noexcept { return c_; }

	/* reading; the views live until release(), or until on_request returns */
	[[nodiscard]] int wait(std::size_t n) noexcept { return np_conn_wait(c_, n); }
	[[nodiscard]] int wait_movable(std::size_t n) noexcept
	{
		return np_conn_wait_movable(c_, n);
	}
	[[nodiscard]] int next(std::size_t n, std::string_view &ret) noexcept
	{
		const void *p;

		return view(np_conn_next(c_, n, &p), p, n, ret);
	}
	[[nodiscard]] int peek(std::size_t n, std::string_view &ret) noexcept
	{
		const void *p;

		return view(np_conn_peek(c_, n, &p), p, n, ret);
	}
	[[nodiscard]] int skip(std::size_t n) noexcept { return np_conn_skip(c_, n); }
	/* With the delimiter. */
	[[nodiscard]] int until(char delim, std::size_t max, std::string_view &ret) noexcept
	{
		const void *p;
		std::size_t n = 0;
		int r = np_conn_until(c_, delim, max, &p, &n);

		return view(r, p, n, ret);
	}
	[[nodiscard]] int until(std::string_view delim, std::size_t max,
				std::string_view &ret) noexcept
	{
		const void *p;
		std::size_t n = 0;
		int r = np_conn_until_str(c_, delim.data(), delim.size(), max, &p, &n);

		return view(r, p, n, ret);
	}
	[[nodiscard]] int slice(std::size_t n, buffer &ret) noexcept
	{
		np_linkbuf *b;
		int r = np_conn_slice(c_, n, &b);

		if (r == 0)
			ret = buffer(b);
		return r;
	}
	[[nodiscard]] ssize_t read(void *dst, std::size_t cap) noexcept
	{
		return np_conn_read(c_, dst, cap);
	}
	void release() noexcept { np_conn_release(c_); }
	std::size_t size() const noexcept { return np_conn_len(c_); }

	/* writing */
	[[nodiscard]] int write(std::string_view s) noexcept
	{
		return np_conn_write(c_, s.data(), s.size());
	}
	[[nodiscard]] int write_owned(std::string s) noexcept
	{
		std::unique_ptr<std::string> own;
		int r = detail::heaped(std::move(s), own);

		if (r == 0)
			r = np_conn_write_ref(c_, own->data(), own->size(), detail::delete_string,
					      own.get());
		if (r == 0)
			(void)own.release();
		return r;
	}
	[[nodiscard]] int append(buffer &b) noexcept { return np_conn_append(c_, b.addr()); }
	int flush() noexcept { return np_conn_flush(c_); }
	int sync() noexcept { return np_conn_sync(c_); }
	/* write() and flush() */
	[[nodiscard]] int say(std::string_view s) noexcept
	{
		return np_conn_say(c_, s.data(), s.size());
	}
	/* any thread */
	[[nodiscard]] int send(buffer &b) noexcept { return np_conn_send(c_, b.addr()); }
	[[nodiscard]] int send(buffer &&b) noexcept { return np_conn_send(c_, b.addr()); }

	/* life */
	int close() noexcept { return np_conn_close(c_); }
	int abort() noexcept { return np_conn_abort(c_); }
	int shutdown_write() noexcept { return np_conn_shutdown_write(c_); }
	int error() const noexcept { return np_conn_error(c_); }
	bool active() const noexcept { return np_conn_is_active(c_); }
	bool draining() const noexcept { return np_conn_draining(c_); }
	conn_ref ref() const noexcept;
	void set_data(void *p) noexcept { np_conn_set_data(c_, p); }
	template <class T = void> T *data() const noexcept
	{
		return static_cast<T *>(np_conn_data(c_));
	}
	/* fn(conn) on the owner's thread, not on a fiber. Thread: any. */
	template <class F> [[nodiscard]] int post(F &&fn) const
	{
		using G = std::decay_t<F>;
		std::unique_ptr<G> own;
		int r = detail::heaped(std::forward<F>(fn), own);

		if (r == 0)
			r = np_conn_post(
				c_,
				[](np_conn *c, void *arg) noexcept {
					std::unique_ptr<G> f(static_cast<G *>(arg));

					(*f)(conn(c));
				},
				own.get());
		if (r == 0)
			(void)own.release();
		return r;
	}

      protected:
	static int view(int r, const void *p, std::size_t n, std::string_view &ret) noexcept
	{
		if (r == 0)
			ret = std::string_view(static_cast<const char *>(p), n);
		return r;
	}
	np_conn *c_ = nullptr;
};

/* One reference. It keeps the object, not the connection. */
class conn_ref : public conn {
      public:
	conn_ref() noexcept = default;
	/* Takes a reference that the caller has: np_conn_ref(), np_dial(). */
	explicit conn_ref(np_conn *taken) noexcept : conn(taken) {}
	conn_ref(conn_ref &&o) noexcept : conn(std::exchange(o.c_, nullptr)) {}
	conn_ref &operator=(conn_ref &&o) noexcept
	{
		if (this != &o) {
			reset();
			c_ = std::exchange(o.c_, nullptr);
		}
		return *this;
	}
	~conn_ref() { reset(); }
	void reset() noexcept
	{
		if (c_)
			np_conn_unref(std::exchange(c_, nullptr));
	}
	np_conn *take() noexcept { return std::exchange(c_, nullptr); }
};

inline conn_ref conn::ref() const noexcept
{
	return conn_ref(np_conn_ref(c_));
}

/* A connection that was dialed: its end closes it. */
class dialed : public conn_ref {
      public:
	using conn_ref::conn_ref;
	dialed(dialed &&) noexcept = default;
	dialed &operator=(dialed &&o) noexcept
	{
		if (this != &o) {
			end();
			conn_ref::operator=(std::move(o));
		}
		return *this;
	}
	~dialed() { end(); }

	/* np_dial(), on this poller. Thread: fiber. */
	[[nodiscard]] static int to(const char *network, const char *address, dialed &ret,
				    const np_dial_opts *o = nullptr) noexcept
	{
		np_conn *c;
		int r = np_dial(nullptr, NP_HERE, network, address, o, &c);

		if (r == 0)
			ret = dialed(c);
		return r;
	}

      private:
	void end() noexcept
	{
		if (c_)
			(void)np_conn_close(c_);
		reset();
	}
};

/* np_conn_hold() for a scope: an answer is to come from elsewhere. Has a reference; ends on the
 * owner's thread. */
class hold {
      public:
	explicit hold(conn c) noexcept : ref_(c.ref()) { np_conn_hold(ref_.get()); }
	hold(hold &&) noexcept = default;
	hold &operator=(hold &&) = delete;
	~hold()
	{
		if (ref_)
			np_conn_unhold(ref_.get());
	}
	conn &operator*() noexcept { return ref_; }
	conn *operator->() noexcept { return &ref_; }

      private:
	conn_ref ref_;
};

/* ------------------------------------------------------------------ handlers */

/* Those that are empty are NULL for the library. */
struct handlers {
	std::function<int(conn)> on_prepare, on_connect, on_request;
	std::function<void(conn)> on_disconnect, on_close, on_drain;
	std::function<void(conn, bool arrived)> on_move;
	std::function<int(conn, np_linkbuf *blob)> on_export;
	std::function<int(conn, std::string_view blob)> on_import;
	/* The view lives until release(), or until it returns. */
	std::function<int(conn, std::string_view frame)> on_frame;
	np_framing framing{}; /* of on_frame */
	/* What a handler above has thrown; it is called while that is handled. */
	std::function<void(conn, std::exception_ptr)> on_exception;
	unsigned flags = 0; /* enum np_handler_flag: NP_MAY_BLOCK */
};

namespace detail {

inline int exception_met(const handlers &h, conn c) noexcept
{
	int status = status_of();

	if (h.on_exception)
		h.on_exception(c, std::current_exception());
	return status;
}

/* handlers' member M as the function of struct np_handlers. */
template <auto M, class R, class... A> struct handler {
	static R call(np_conn *c, void *arg, A... a) noexcept
	{
		const handlers &h = *static_cast<const handlers *>(arg);
#ifdef __cpp_exceptions
		try {
			return (h.*M)(conn(c), a...);
		} catch (...) {
			int status = exception_met(h, conn(c));

			if constexpr (!std::is_void_v<R>)
				return status;
		}
#else
		return (h.*M)(conn(c), a...);
#endif
	}
};
/* Likewise, of one that is given bytes. */
template <auto M>
inline int view_call(np_conn *c, void *arg, const void *p, std::size_t n) noexcept
{
	const handlers &h = *static_cast<const handlers *>(arg);
	std::string_view view(static_cast<const char *>(p), n);
#ifdef __cpp_exceptions
	try {
		return (h.*M)(conn(c), view);
	} catch (...) {
		return exception_met(h, conn(c));
	}
#else
	return (h.*M)(conn(c), view);
#endif
}

inline np_handlers in_c(const handlers &h) noexcept
{
	np_handlers c = opts<np_handlers>();

	if (h.on_prepare)
		c.on_prepare = handler<&handlers::on_prepare, int>::call;
	if (h.on_connect)
		c.on_connect = handler<&handlers::on_connect, int>::call;
	if (h.on_request)
		c.on_request = handler<&handlers::on_request, int>::call;
	if (h.on_disconnect)
		c.on_disconnect = handler<&handlers::on_disconnect, void>::call;
	if (h.on_close)
		c.on_close = handler<&handlers::on_close, void>::call;
	if (h.on_drain)
		c.on_drain = handler<&handlers::on_drain, void>::call;
	if (h.on_move)
		c.on_move = handler<&handlers::on_move, void, bool>::call;
	if (h.on_export)
		c.on_export = handler<&handlers::on_export, int, np_linkbuf *>::call;
	if (h.on_import)
		c.on_import = view_call<&handlers::on_import>;
	if (h.on_frame)
		c.on_frame = view_call<&handlers::on_frame>;
	c.framing = h.framing;
	c.flags = h.flags;
	return c;
}

} // namespace detail

/* ------------------------------------------------------------------ pollers */

/* Its end stops them within stop_ms. Where handlers do not return by then, they are left. */
class pollers {
      public:
	int stop_ms = 10000;

	pollers() noexcept = default;
	pollers(pollers &&o) noexcept : stop_ms(o.stop_ms), p_(std::exchange(o.p_, nullptr)) {}
	pollers &operator=(pollers &&) = delete;
	~pollers()
	{
		if (p_ && np_pollers_stop(p_, stop_ms) == 0)
			(void)np_pollers_free(&p_);
	}
	[[nodiscard]] int start(const np_pollers_opts *o = nullptr) noexcept
	{
		return p_ ? -EALREADY : np_pollers_start(o, &p_);
	}
	np_pollers *get() const noexcept { return p_; }

      private:
	np_pollers *p_ = nullptr;
};

/* ------------------------------------------------------------------ servers */

/*
 * Its end stops it within stop_ms, and waits for that. Where handlers do not return by then it is
 * left, with its callables, as it is: nothing is freed under them.
 */
class server {
      public:
	int stop_ms = 10000;

	server() noexcept = default;
	server(server &&o) noexcept
		: stop_ms(o.stop_ms), s_(std::exchange(o.s_, nullptr)), h_(std::move(o.h_))
	{
	}
	server &operator=(server &&) = delete;
	~server()
	{
		if (s_ && free() != 0)
			(void)h_.release();
	}

	/* np_server_new(); @p: NULL: pollers of its own */
	[[nodiscard]] int make(handlers h, const np_server_opts *o = nullptr,
			       np_pollers *p = nullptr) noexcept
	{
		np_handlers c;
		int r = s_ ? -EALREADY : detail::heaped(std::move(h), h_);

		if (r != 0)
			return r;
		c = detail::in_c(*h_);
		return np_server_new(p, &c, h_.get(), o, &s_);
	}
	[[nodiscard]] int listen(const char *network, const char *address) noexcept
	{
		return np_server_listen(s_, network, address);
	}
	[[nodiscard]] int start() noexcept { return np_server_start(s_); }
	int drain() noexcept { return np_server_drain(s_); }
	int stop(int ms, unsigned *ret_forced = nullptr) noexcept
	{
		return np_server_stop(s_, ms, ret_forced);
	}
	/* np_server_stop(), then np_server_free(). Return: 0; what the first that failed returned. */
	int free() noexcept
	{
		int r = s_ ? np_server_stop(s_, stop_ms, nullptr) : 0;

		return r == 0 ? np_server_free(&s_) : r;
	}
	const char *error() const noexcept { return s_ ? np_server_error(s_) : ""; }
	np_server *get() const noexcept { return s_; }

      private:
	np_server *s_ = nullptr;
	std::unique_ptr<handlers> h_; /* the library has its address */
};

/* ------------------------------------------------------------------ work on a poller */

/*
 * fn() on a fiber of @poller, and nobody waits for it: np_go_with(). It may return an int, which is
 * dropped.
 *
 * A callable that a stop kept from being called is not destroyed.
 */
template <class F>
[[nodiscard]] int go(np_pollers *p, int poller, F &&fn, const np_go_opts *o = nullptr)
{
	using G = std::decay_t<F>;
	std::unique_ptr<G> own;
	int r = detail::heaped(std::forward<F>(fn), own);

	if (r == 0)
		r = np_go_with(p, poller, detail::heaped_int<G>, own.get(), o, nullptr);
	if (r == 0)
		(void)own.release();
	return r;
}

/* fn() on the poller's own stack, where it may not park. */
template <class F> [[nodiscard]] int post(np_pollers *p, int poller, F &&fn)
{
	using G = std::decay_t<F>;
	std::unique_ptr<G> own;
	int r = detail::heaped(std::forward<F>(fn), own);

	if (r == 0)
		r = np_post(p, poller, detail::heaped_void<G>, own.get());
	if (r == 0)
		(void)own.release();
	return r;
}

/*
 * np_run() - from a thread that is no poller's; an int of fn's is returned, and what it throws is
 * thrown here
 */
template <class F> int run(np_pollers *p, F &&fn)
{
	using O = detail::outcome<std::remove_reference_t<F>>;
	O o{ fn };
	int r = np_run(
		p,
		[](void *arg) noexcept {
			O *ran = static_cast<O *>(arg);

			ran->call();
			return ran->result;
		},
		&o);

	o.rethrow();
	return r;
}

/*
 * np_offload() - fn() on a worker thread
 *
 * Return: 0, or what it returned; otherwise what np_offload() says, and then fn was not called.
 * What fn throws is thrown here.
 */
template <class F> [[nodiscard]] int offload(F &&fn)
{
	using O = detail::outcome<std::remove_reference_t<F>>;
	O o{ fn };
	int r = np_offload([](void *arg) noexcept { static_cast<O *>(arg)->call(); }, &o);

	o.rethrow();
	return r == 0 ? o.result : r;
}

/*
 * np_blocking() - fn() on this thread and stack, and the poller goes on without
 *
 * Return: 0, or what it returned; otherwise what np_blocking() says, and then fn was not called.
 * What fn throws is thrown here, once the poller may be touched again.
 */
template <class F> [[nodiscard]] int blocking(F &&fn)
{
	using O = detail::outcome<std::remove_reference_t<F>>;
	O o{ fn };
	int r = np_blocking([](void *arg) noexcept { static_cast<O *>(arg)->call(); }, &o);

	o.rethrow();
	return r == 0 ? o.result : r;
}

/*
 * A task to be joined. Its end cancels it and waits for it, as that of a std::jthread does; on a
 * poller's own stack, where nothing may wait, it is left as it is.
 */
class task {
      public:
	task() noexcept = default;
	task(task &&o) noexcept
		: t_(std::exchange(o.t_, nullptr)), job_(std::exchange(o.job_, nullptr))
	{
	}
	task &operator=(task &&) = delete;
	~task()
	{
		if (!t_)
			return;
		(void)np_task_cancel(t_);
		if (np_join(&t_, nullptr) == 0)
			delete job_;
	}

	/* np_go_with(); @p NULL: the set of this poller. On -EALREADY it has a task. */
	template <class F>
	[[nodiscard]] int go(np_pollers *p, int poller, F &&fn, const np_go_opts *o = nullptr)
	{
		using J = callable<std::decay_t<F>>;
		std::unique_ptr<J> own;
		int r = t_ ? -EALREADY : 0;

		if (r == 0) {
			own.reset(new (std::nothrow) J(std::forward<F>(fn)));
			r = own ? 0 : -ENOMEM;
		}
		if (r == 0)
			r = np_go_with(
				p, poller,
				[](void *arg) noexcept { return static_cast<job *>(arg)->run(); },
				static_cast<job *>(own.get()), o, &t_);
		if (r == 0)
			job_ = own.release();
		return r;
	}
	template <class F> [[nodiscard]] int go(F &&fn)
	{
		return go(nullptr, NP_HERE, std::forward<F>(fn));
	}
	/* np_join(): *ret_result is what fn returned; what it has thrown is thrown here. */
	int join(int *ret_result = nullptr)
	{
		int r = np_join(&t_, ret_result);
		std::unique_ptr<job> done(r == 0 ? std::exchange(job_, nullptr) : nullptr);

#ifdef __cpp_exceptions
		if (done && done->thrown)
			std::rethrow_exception(done->thrown);
#endif
		return r;
	}
	int cancel() noexcept
	{
		return np_task_cancel(t_);
	}
	explicit operator bool() const noexcept
	{
		return t_ != nullptr;
	}

      private:
	struct job {
		std::exception_ptr thrown = nullptr;
		virtual int run() noexcept = 0;
		virtual ~job() = default;
	};
	template <class G> struct callable final : job {
		G fn;

		template <class F> explicit callable(F &&f) : fn(std::forward<F>(f)) {}
		int run() noexcept override
		{
			detail::outcome<G> o{ fn };

			o.call();
			this->thrown = o.thrown;
			return o.result;
		}
	};

	np_task *t_ = nullptr;
	job *job_ = nullptr;
};

/* np_deadline() for a scope. Thread: fiber. */
class deadline {
      public:
	explicit deadline(int ms) noexcept : status_(np_deadline(ms, &outer_)) {}
	deadline(const deadline &) = delete;
	deadline &operator=(const deadline &) = delete;
	~deadline()
	{
		if (status_ == 0)
			(void)np_deadline_restore(outer_);
	}
	/* 0; what np_deadline() said: then there is none. */
	int status() const noexcept { return status_; }

      private:
	std::uint64_t outer_ = 0;
	int status_;
};

/* ------------------------------------------------------------------ waiting for each other */

/* A mutex that parks the fiber. Not held when it ends. */
class mutex {
      public:
	mutex() noexcept = default;
	mutex(const mutex &) = delete;
	mutex &operator=(const mutex &) = delete;
	~mutex()
	{
		if (m_)
			(void)np_mutex_free(&m_);
	}
	[[nodiscard]] int make() noexcept { return m_ ? -EALREADY : np_mutex_new(&m_); }
	np_mutex *get() const noexcept { return m_; }

      private:
	np_mutex *m_ = nullptr;
};

/* Locked for a scope, where status() is 0. */
class lock {
      public:
	explicit lock(mutex &m, int ms = -1) noexcept : m_(m.get()), status_(np_mutex_lock(m_, ms))
	{
	}
	lock(const lock &) = delete;
	lock &operator=(const lock &) = delete;
	~lock()
	{
		if (status_ == 0)
			(void)np_mutex_unlock(m_);
	}
	int status() const noexcept { return status_; }

      private:
	np_mutex *m_;
	int status_;
};

/* Set by anyone, waited for by one. */
class event {
      public:
	event() noexcept = default;
	event(const event &) = delete;
	event &operator=(const event &) = delete;
	~event()
	{
		if (e_)
			(void)np_event_free(&e_);
	}
	[[nodiscard]] int make() noexcept { return e_ ? -EALREADY : np_event_new(&e_); }
	int set() noexcept { return np_event_set(e_); }
	[[nodiscard]] int wait(int ms = -1) noexcept { return np_event_wait(e_, ms); }

      private:
	np_event *e_ = nullptr;
};

} // namespace netpoll

#endif

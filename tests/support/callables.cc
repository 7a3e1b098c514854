/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * callables: a C++ program on netpoll/netpoll.hh; exit 0: each of its promises was kept
 *
 * Built by tests/cxx.c, with exceptions and without.
 */
#include <netpoll/netpoll.hh>

#include <arpa/inet.h>
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

int wrong;

#define MUST(cond)                                                         \
	do {                                                               \
		if (!(cond)) {                                             \
			std::fprintf(stderr, "%d: %s\n", __LINE__, #cond); \
			__atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);   \
		}                                                          \
	} while (0)

/* How many there are. */
struct counted {
	static std::atomic<int> alive;

	counted()
	{
		alive++;
	}
	counted(const counted &)
	{
		alive++;
	}
	counted(counted &&) noexcept
	{
		alive++;
	}
	~counted()
	{
		alive--;
	}
};
std::atomic<int> counted::alive;

std::string address_of(netpoll::server &s)
{
	sockaddr_storage a;
	socklen_t n = sizeof a;

	MUST(np_server_addr(s.get(), 0, &a, &n) == 0);
	return "127.0.0.1:" + std::to_string(ntohs(reinterpret_cast<sockaddr_in *>(&a)->sin_port));
}

/* What a client hears for a line; "" where the server ended the connection. */
std::string ask(netpoll::pollers &clients, const std::string &where, std::string_view line)
{
	std::string heard;

	netpoll::run(clients.get(), [&] {
		netpoll::dialed c;
		std::string_view answer;
		int r = netpoll::dialed::to("tcp", where.c_str(), c);

		MUST(r == 0);
		if (r == 0)
			r = c.say(line);
		MUST(r == 0);
		if (r == 0 && c.until('\n', 1 << 16, answer) == 0)
			heard = answer;
		return r;
	});
	return heard;
}

struct log {
	std::atomic<int> prepared{ 0 }, closed{ 0 }, exceptions{ 0 };
	std::atomic<int> error{ 0 };
	netpoll::event ended;
};

int answer(netpoll::conn c, std::string_view line)
{
	if (line == "owned\n")
		return c.write_owned(std::string(20000, 'x') + "\n");
	if (line == "buffer\n") {
		netpoll::buffer b;
		int r = netpoll::buffer::make(b);

		if (r == 0)
			r = b.write_owned("from a buffer\n");
		if (r == 0)
			r = c.append(b);
		MUST(r != 0 || !b);
		return r;
	}
	if (line == "elsewhere\n") {
		netpoll::hold until_answered(c);

		std::thread([h = std::move(until_answered), ref = c.ref()]() mutable {
			netpoll::buffer b;

			MUST(netpoll::buffer::make(b) == 0 && b.write("from a thread\n") == 0);
			MUST(ref.send(std::move(b)) == 0);
			MUST(ref.post([h = std::make_shared<netpoll::hold>(std::move(h))](
					      netpoll::conn) {}) == 0);
		}).detach();
		return 0;
	}
#ifdef __cpp_exceptions
	if (line == "offload\n") {
		try {
			(void)netpoll::offload([] { throw std::runtime_error("of the worker's"); });
		} catch (const std::runtime_error &e) {
			return c.write(std::string(e.what()) + "\n");
		}
	}
	if (line == "throw\n")
		throw std::runtime_error("on request");
	if (line == "errno\n")
		throw std::system_error(EXDEV, std::generic_category());
#endif
	return c.write(line);
}

netpoll::handlers given_handlers(log &l)
{
	netpoll::handlers h;

	h.on_prepare = [&l, alive = counted()](netpoll::conn c) {
		l.prepared++;
		c.set_data(new std::string("of this connection"));
		return 0;
	};
	h.on_request = [](netpoll::conn c) {
		std::string_view line;
		int r = c.until('\n', 4096, line);

		MUST(*c.data<std::string>() == "of this connection");
		if (r == 0)
			r = answer(c, line);
		return r == 0 ? c.flush() : r;
	};
	h.on_close = [&l](netpoll::conn c) {
		delete c.data<std::string>();
		l.error = c.error();
		l.closed++;
		l.ended.set();
#ifdef __cpp_exceptions
		throw std::logic_error("on close");
#endif
	};
	h.on_exception = [&l](netpoll::conn, std::exception_ptr) { l.exceptions++; };
	return h;
}

void a_server_of_lambdas_serves(netpoll::pollers &clients)
{
	log l;

	MUST(l.ended.make() == 0);
	{
		auto o = netpoll::opts<np_server_opts>();
		netpoll::server s;

		o.steer = NP_STEER_OFF;
		MUST(s.make(given_handlers(l), &o) == 0);
		MUST(s.make(given_handlers(l)) == -EALREADY);
		MUST(s.listen("tcp", "nowhere") < 0 && *s.error());
		MUST(s.listen("tcp", "127.0.0.1:0") == 0 && s.start() == 0);
		const std::string where = address_of(s);

		MUST(ask(clients, where, "hello\n") == "hello\n");
		MUST(ask(clients, where, "owned\n").size() == 20001);
		MUST(ask(clients, where, "buffer\n") == "from a buffer\n");
		MUST(ask(clients, where, "elsewhere\n") == "from a thread\n");
#ifdef __cpp_exceptions
		MUST(ask(clients, where, "offload\n") == "of the worker's\n");
		while (l.closed < 5)
			MUST(l.ended.wait(20000) == 0);
		MUST(ask(clients, where, "throw\n").empty());
		while (l.closed < 6)
			MUST(l.ended.wait(20000) == 0);
		MUST(l.error == netpoll::threw);
		MUST(ask(clients, where, "errno\n").empty());
		while (l.closed < 7)
			MUST(l.ended.wait(20000) == 0);
		MUST(l.error == -EXDEV);
#endif
		netpoll::server moved(std::move(s));
		MUST(!s.get() && moved.get());
		MUST(ask(clients, where, "still\n") == "still\n");
	}
	MUST(l.prepared == l.closed);
#ifdef __cpp_exceptions
	MUST(l.exceptions == l.closed + 2);
#endif
	MUST(counted::alive == 0);
}

int left_alone(std::string_view line, std::promise<void> &release)
{
	if (line == "blocking\n")
		return netpoll::blocking([&] { release.get_future().wait(); });
	release.get_future().wait();
#ifdef __cpp_exceptions
	if (line == "throw\n")
		throw std::runtime_error("left alone");
	if (line == "catch\n")
		try {
			return netpoll::blocking([] { throw std::runtime_error("blocking"); });
		} catch (const std::runtime_error &e) {
			MUST(std::string(e.what()) == "blocking");
		}
#endif
	return 0;
}

/*
 * The one blocks the thread that the other's request comes to; and what it is about to throw then
 * is the same as anywhere.
 */
void a_handler_that_may_block_waits_for_another_of_its_poller(netpoll::pollers &clients,
							      const std::string &first,
							      const std::string &heard)
{
	std::promise<void> release;
	std::atomic<bool> waits{ false };
	std::atomic<int> exceptions{ 0 };
	netpoll::handlers h;
	netpoll::pollers one;
	netpoll::server s;
	auto po = netpoll::opts<np_pollers_opts>();
	auto o = netpoll::opts<np_server_opts>();

	h.flags = NP_MAY_BLOCK;
	h.on_request = [&](netpoll::conn c) {
		std::string_view line;
		int r = c.until('\n', 4096, line);

		if (r == 0 && line != "go\n") {
			waits = true;
			r = left_alone(line, release);
		} else if (r == 0) {
			release.set_value();
		}
		return r == 0 ? c.say(line) : r;
	};
	h.on_exception = [&](netpoll::conn, std::exception_ptr) { exceptions++; };
	po.count = 1;
	o.steer = NP_STEER_OFF;
	MUST(one.start(&po) == 0 && s.make(std::move(h), &o, one.get()) == 0);
	MUST(s.listen("tcp", "127.0.0.1:0") == 0 && s.start() == 0);
	const std::string where = address_of(s);
	std::thread waiter([&] { MUST(ask(clients, where, first) == heard); });

	while (!waits)
		std::this_thread::yield();
	MUST(ask(clients, where, "go\n") == "go\n");
	waiter.join();
	MUST(exceptions == (first == "throw\n"));
}

void frames_reach_their_callable(netpoll::pollers &p)
{
	netpoll::handlers h;
	netpoll::server s;
	auto o = netpoll::opts<np_server_opts>();

	h.framing.width = 1;
	h.on_frame = [alive = counted()](netpoll::conn c, std::string_view frame) {
		return c.say(frame.substr(1));
	};
	o.steer = NP_STEER_OFF;
	MUST(s.make(std::move(h), &o, p.get()) == 0);
	MUST(s.listen("tcp", "127.0.0.1:0") == 0 && s.start() == 0);
	MUST(ask(p, address_of(s), "\6hello\n") == "hello\n");
}

void tasks_carry_their_callables(netpoll::pollers &p)
{
	auto owned = std::make_unique<int>(42);
	std::atomic<int> ran{ 0 };
	netpoll::event done;
	int result = 0;

	MUST(done.make() == 0);
	MUST(netpoll::go(p.get(), NP_SPREAD, [&, alive = counted(), owned = std::move(owned)] {
		     ran = *owned;
		     done.set();
	     }) == 0);
	MUST(done.wait(20000) == 0 && ran == 42);
	MUST(netpoll::post(p.get(), 0, [&, alive = counted()] { done.set(); }) == 0);
	MUST(done.wait(20000) == 0);
	MUST(netpoll::post(p.get(), 4711, [alive = counted()] {}) == -EINVAL);

	netpoll::task t;
	MUST(t.go(p.get(), 1, [alive = counted()] { return np_poller_self(); }) == 0 && t);
	MUST(t.go(p.get(), 1, [] {}) == -EALREADY);
	MUST(t.join(&result) == 0 && result == 1 && !t);

	/* Its end cancels what would sleep for an hour. */
	std::atomic<int> slept{ 0 };
	{
		netpoll::task sleeper;

		MUST(sleeper.go(p.get(), 0, [&] {
			slept = np_sleep(3600000);
			return 0;
		}) == 0);
	}
	MUST(slept == -ECANCELED || slept == 0 /* it had not begun */);

	MUST(netpoll::run(p.get(), [] { return 7; }) == 7);
	MUST(netpoll::run(p.get(), [] {
		     int r = netpoll::offload([] { return 5; });

		     return r;
	     }) == 5);
	MUST(netpoll::run(nullptr, [] {}) == -EINVAL);
	/* A post before it runs after its function has been freed. */
	MUST(netpoll::run(p.get(), [] { return np_yield(); }) == 0);
}

#ifdef __cpp_exceptions
template <class F> std::string thrown_by(F &&f)
{
	try {
		f();
	} catch (const std::runtime_error &e) {
		return e.what();
	}
	return "";
}

void what_is_thrown_comes_out_where_it_is_waited_for(netpoll::pollers &p)
{
	MUST(thrown_by([&] { netpoll::run(p.get(), [] { throw std::runtime_error("run"); }); }) ==
	     "run");
	MUST(thrown_by([&] {
		     netpoll::task t;

		     MUST(t.go(p.get(), 0, [] { throw std::runtime_error("task"); }) == 0);
		     t.join();
	     }) == "task");
	/* Through two stacks and a thread. */
	MUST(thrown_by([&] {
		     netpoll::run(p.get(), [] {
			     netpoll::task t;

			     MUST(t.go([] {
				     return netpoll::offload(
					     [] { throw std::runtime_error("deep"); });
			     }) == 0);
			     t.join();
		     });
	     }) == "deep");
}
#endif

void scopes_end_what_they_began(netpoll::pollers &p)
{
	netpoll::mutex m;

	MUST(m.make() == 0);
	MUST(netpoll::run(p.get(), [&] {
		     {
			     netpoll::deadline d(10000);
			     netpoll::lock held(m);

			     MUST(d.status() == 0 && np_deadline_left() >= 0);
			     MUST(held.status() == 0);
			     MUST(netpoll::lock(m).status() == -EDEADLK);
		     }
		     MUST(np_deadline_left() == -1);
		     return np_mutex_trylock(m.get()) || np_mutex_unlock(m.get());
	     }) == 0);
	MUST(netpoll::deadline(1).status() == -NP_ENOTFIBER);
}

void buffers_move(void)
{
	netpoll::buffer a, b;
	std::string_view v;

	MUST(!a && a.size() == 0);
	MUST(netpoll::buffer::make(a) == 0 && a.write("one two") == 0 && a.flush() == 0);
	MUST(a.slice(4, b) == 0 && b.size() == 4);
	b = std::move(a);
	MUST(!a && b.next(3, v) == 0 && v == "two");
	MUST(b.next(1, v) == -NP_ESHORT && v == "two");
}

} // namespace

int main()
{
	{
		auto o = netpoll::opts<np_pollers_opts>();
		netpoll::pollers p;

		o.count = 2;
		MUST(p.start(&o) == 0 && p.start(&o) == -EALREADY);
		buffers_move();
		frames_reach_their_callable(p);
		tasks_carry_their_callables(p);
#ifdef __cpp_exceptions
		what_is_thrown_comes_out_where_it_is_waited_for(p);
#endif
		scopes_end_what_they_began(p);
		a_server_of_lambdas_serves(p);
		for (const char *line : { "wait\n", "blocking\n", "catch\n" })
			a_handler_that_may_block_waits_for_another_of_its_poller(p, line, line);
#ifdef __cpp_exceptions
		a_handler_that_may_block_waits_for_another_of_its_poller(p, "throw\n", "");
#endif
	}
	MUST(counted::alive == 0);
	return wrong != 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * catching: fibers of a C++ program that wait, or keep their thread, while they handle exceptions;
 * exit 0: each saw its own
 *
 * Built by tests/exceptions.c, against the library as a user has it; also as an object for
 * dlopen(3), with catching() for its main().
 */
#include <netpoll/pollers.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

const int TASKS = 64, ROUNDS = 5, POLLERS = 2;
std::atomic<int> wrong, done;

void must(bool ok, const char *what, int task)
{
	if (ok)
		return;
	std::fprintf(stderr, "task %d: %s\n", task, what);
	wrong++;
}

/* Each third task may block, and does: it is left alone with its thread then. */
bool may_block(int task)
{
	return task % 3 == 0;
}

void keep_thread(int task)
{
	if (may_block(task))
		usleep(4000);
}

/* Runs while an exception of its task's is on its way up, and waits there. */
struct Parks {
	int task;

	~Parks()
	{
#if __cplusplus >= 201703L
		must(std::uncaught_exceptions() == 1, "not one exception on its way", task);
#else
		must(std::uncaught_exception(), "no exception on its way", task);
#endif
		keep_thread(task);
		np_sleep(1 + task % 3);
#if __cplusplus >= 201703L
		must(std::uncaught_exceptions() == 1, "not one exception on its way after a wait",
		     task);
#endif
	}
};

void throws(int task, const std::string &text)
{
	Parks p = { task };

	throw std::runtime_error(text);
}

/* Three deep: caught while another is handled, and that one thrown on. */
void handles(int task, int round)
{
	const std::string outer = "outer of " + std::to_string(task);
	const std::string inner = "inner of " + std::to_string(task);

	try {
		throws(task, outer);
	} catch (const std::exception &e) {
		np_sleep((task + round) % 4);
		must(outer == e.what(), e.what(), task);
		try {
			throw std::logic_error(inner);
		} catch (const std::logic_error &i) {
			keep_thread(task);
			np_yield();
			must(inner == i.what(), i.what(), task);
		}
		np_sleep(task % 2);
		std::exception_ptr kept = std::current_exception();
		try {
			throw;
		} catch (const std::runtime_error &again) {
			np_sleep(task % 3);
			must(outer == again.what(), again.what(), task);
		}
		try {
			std::rethrow_exception(kept);
		} catch (const std::exception &kept_one) {
			np_yield();
			must(outer == kept_one.what(), kept_one.what(), task);
		}
	}
	must(!std::current_exception(), "an exception is left", task);
	must(!std::uncaught_exception(), "an exception is on its way for ever", task);
}

int task(void *arg)
{
	for (int round = 0; round < ROUNDS; round++)
		handles(*static_cast<int *>(arg), round);
	done++;
	return 0;
}

} // namespace

extern "C" int catching()
{
	static int numbers[TASKS];
	np_task *tasks[TASKS];
	np_pollers_opts o = np_pollers_opts();
	np_pollers *pollers;

	o.sz = sizeof o;
	o.count = POLLERS;
	o.handoff_ms = 1;
	if (np_pollers_start(&o, &pollers) < 0)
		return 2;
	for (int i = 0; i < TASKS; i++) {
		np_go_opts g = np_go_opts();

		numbers[i] = i;
		g.sz = sizeof g;
		g.flags = may_block(i) ? NP_MAY_BLOCK : 0;
		if (np_go_with(pollers, i % POLLERS, task, &numbers[i], &g, &tasks[i]) < 0)
			return 2;
	}
	for (int i = 0; i < TASKS; i++)
		np_join(&tasks[i], nullptr);
	struct np_pollers_stats st = {};

	st.sz = sizeof st;
	np_pollers_stats(pollers, &st);
	must(st.handoffs > 0, "nobody was left alone", -1);
	np_pollers_stop(pollers, 10000);
	np_pollers_free(&pollers);
	must(done == TASKS, "not every task ended", -1);
	return wrong ? 1 : 0;
}

#ifndef CATCHING_OBJECT
int main()
{
	return catching();
}
#endif

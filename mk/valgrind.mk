# Suites under valgrind (memcheck), which is told of every fiber's stack (lib/fiber/stack.c). Each test is a fork, and
# fails where its valgrind finds something. What a suite is worth here: it moves bytes, or frees what somebody waits on.
VALGRIND_TESTS := status fiber stack sys timer watch mailbox turn poller offload cpu e2e/task e2e/timers e2e/wait e2e/conn e2e/pool
# A program loaded for each test's server takes valgrind ten times the rest: as root, without the right to.
VALGRIND_AS    := $(if $(filter 0,$(shell id -u)),setpriv --bounding-set=-bpf,-sys_admin,-perfmon)
VALGRIND       := $(VALGRIND_AS) valgrind -q --error-exitcode=9 --suppressions=$(CURDIR)/tests/valgrind.supp --leak-check=full \
	--show-leak-kinds=definite --errors-for-leak-kinds=definite

.PHONY: valgrind
valgrind:                               ## suites of buffers, fibers, pollers, connections under valgrind (some minutes)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug valgrind-buffer
	$(Q)NP_RUNNER='$(VALGRIND)' CK_DEFAULT_TIMEOUT=900 $(MAKE) --no-print-directory FLAVOUR=debug run-tests \
		NP_TESTS='^($(subst $() ,|,$(VALGRIND_TESTS)))$$'

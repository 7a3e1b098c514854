.PHONY: demo
demo: all $(O)/tests/bench/restart ## a steered echo server, real clients, the kernel's counters
	@scripts/demo-run $(O)

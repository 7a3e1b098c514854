.PHONY: demo
demo: all                               ## a steered echo server, real clients, the kernel's counters
	@scripts/demo-run $(O)

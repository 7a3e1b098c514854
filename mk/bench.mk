# Benches with the shipped .so: programs of the public headers alone, against the yardstick of tests/bench.
BENCH_BINS := $(addprefix $(O)/tests/bench/,idle load lean)

$(BENCH_BINS): $(O)/tests/bench/%: tests/bench/%.c $(O)/flags $(O)/libnetpoll-bpf.so
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE -Iinclude -std=gnu11 $(WARN) -pthread $(CFLAGS) -MMD -MP -MF $@.d -MT $@ $< -o $@ \
		$(LDFLAGS) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/../..'

.PHONY: bench-idle
bench-idle: $(BENCH_BINS)               ## bytes of the server's memory for each idle connection
	$(Q)$(O)/tests/bench/idle

-include $(BENCH_BINS:%=%.d)

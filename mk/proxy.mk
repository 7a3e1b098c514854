# The example proxy: several files, so in a folder of its own. Public headers only.
PROXY      := $(O)/examples/proxy/proxy
PROXY_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/proxy/*.c)))

examples: $(PROXY)
$(PROXY_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(PROXY): $(PROXY_OBJS) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(PROXY_OBJS) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/../..'

-include $(PROXY_OBJS:.o=.d)

.PHONY: check-proxy bench-proxy
check-proxy:                            ## curl, iperf3, redis and socat through the example proxy, 10 GB moved
	$(Q)$(MAKE) --no-print-directory all
	$(Q)scripts/check-proxy $(O)

bench-proxy: $(BENCH_BINS) all         ## the example proxy beside haproxy in TCP mode (2 minutes)
	$(Q)scripts/bench-proxy $(O)

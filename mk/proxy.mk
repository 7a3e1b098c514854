# The example proxy: several files, so in a folder of its own. Public headers only.
PROXY      := $(O)/examples/proxy/proxy
PROXY_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/proxy/*.c)))

# How an example lives under a supervisor: signals, sd_notify, the next process.
SERVICE_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/service/*.c)))

$(O)/examples/echo $(PROXY_OBJS): USER_CFLAGS += -iquote .
$(O)/examples/echo: EXAMPLE_LIBS = $(SERVICE_OBJS)
$(O)/examples/echo: $(SERVICE_OBJS)
-include $(SERVICE_OBJS:.o=.d)

examples: $(PROXY)
$(SERVICE_OBJS) $(PROXY_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(PROXY): $(PROXY_OBJS) $(SERVICE_OBJS) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(filter %.o,$^) -L$(O) -lnetpoll-bpf $(EXAMPLE_LIBS) -Wl,-rpath,'$$ORIGIN/../..'

-include $(PROXY_OBJS:.o=.d)

.PHONY: check-proxy check-restart bench-proxy
check-proxy:                            ## curl, iperf3, redis and socat through the example proxy, 10 GB moved
	$(Q)$(MAKE) --no-print-directory all
	$(Q)scripts/check-proxy $(O)

check-restart:                          ## curl, wrk, redis, iperf3 and one who types across an upgrade: kept or lost, and why (root)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)scripts/check-restart $(O)

bench-proxy: $(BENCH_BINS) all         ## the example proxy beside haproxy in TCP mode (2 minutes)
	$(Q)scripts/bench-net scripts/bench-proxy $(O)

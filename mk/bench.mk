# Benches with the shipped .so: programs of the public headers alone, against the yardstick of tests/bench.
BENCH_BINS := $(addprefix $(O)/tests/bench/,churn fleet floor gate handoff hold idle load lean neighbours paced rebalance restart runtime \
	visitors)

$(BENCH_BINS): $(O)/tests/bench/%: tests/bench/%.c $(O)/flags $(O)/libnetpoll-bpf.so
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $@.d -MT $@ $< -o $@ \
		$(LDFLAGS_EXE) -L$(O) -lnetpoll-bpf -lm -Wl,-rpath,'$$ORIGIN/../..'

# What a bench prints becomes doc/NAME-figures.md once it has come to its end: $(call figures,COMMAND,NAME)
figures = rm -f $(O)/$(2).whole; { $(1) && touch $(O)/$(2).whole; } | tee $(O)/$(2)-figures.md; \
	rm $(O)/$(2).whole 2>/dev/null || { echo "doc/$(2)-figures.md stays as it was" >&2; exit 1; }; \
	cp $(O)/$(2)-figures.md doc/$(2)-figures.md

.PHONY: bench-adopt bench-echo bench-gate bench-gate-cpu bench-handoff bench-instructions bench-idle bench-metrics bench-metrics-cpu bench-rebalance \
	bench-restart bench-runtime
bench-echo: $(BENCH_BINS) all           ## server CPU for each request, against tests/bench/lean.c (5 minutes)
	$(Q)scripts/bench-net scripts/bench-echo $(O)

bench-instructions: $(BENCH_BINS) all   ## user-space instructions for each request (callgrind)
	$(Q)scripts/bench-instructions $(O)

.PHONY: check-instructions
check-instructions: $(BENCH_BINS) all   ## the same, of 64 bytes: at most 600 and 200, and as doc/architecture.md has them (callgrind)
	$(Q)scripts/bench-instructions $(O) --check

bench-metrics: $(BENCH_BINS) all        ## instructions for each request without and with metrics: their ratio, at most 1.01 (callgrind)
	$(Q)scripts/bench-instructions $(O) --metrics

bench-gate: $(O)/tests/bench/gate       ## instructions that a verb takes to pass the gate, off and on (callgrind)
	$(Q)$(MAKE) --no-print-directory O=$(O)/ungated CPPFLAGS='$(CPPFLAGS) -DNP_UNGATED' $(O)/ungated/tests/bench/gate
	$(Q)scripts/bench-gate $(O) $(O)/ungated

ROUNDS ?= 15

bench-gate-cpu: $(BENCH_BINS) all       ## CPU of a request: gates beside none, NP_MAY_BLOCK beside without, in pairs, with A/A (20 minutes)
	$(Q)$(MAKE) --no-print-directory O=$(O)/ungated CPPFLAGS='$(CPPFLAGS) -DNP_UNGATED' $(O)/ungated/examples/echo
	@echo "off: A has no gates; B has them, and a handler without NP_MAY_BLOCK"
	$(Q)scripts/bench-abba $(O)/ungated $(O) $(ROUNDS)
	@echo "on: A has gates, and a handler without NP_MAY_BLOCK; B has one with it"
	$(Q)scripts/bench-abba $(O) $(O) $(ROUNDS) --may-block

bench-metrics-cpu: $(BENCH_BINS) all    ## CPU of a request: metrics beside none, in pairs, with A/A (10 minutes; ROUNDS=15)
	@echo "A: np_server_opts.metrics is off, as it is by default; B: it is on"
	$(Q)scripts/bench-abba $(O) $(O) $(ROUNDS) --metrics

PEER_HEADER_libev    := /usr/include/ev.h
PEER_HEADER_libevent := /usr/include/event2/bufferevent.h
PEER_HEADER_libuv    := /usr/include/uv.h
PEER_LIBS_libev      := -lev
PEER_LIBS_libevent   := -levent_core
PEER_LIBS_libuv      := -luv

# Go's net beside ours, where there is a Go.
GO       ?= $(firstword $(wildcard /usr/bin/go /usr/local/go/bin/go))
GO_STALL := $(if $(GO),$(O)/tests/bench/go/stall)

GO_ECHO  := $(if $(GO),$(O)/tests/bench/go/echo)

$(GO_STALL) $(GO_ECHO): $(O)/%: %.go
	$(call say,GO,$<)
	@mkdir -p $(@D)
	$(Q)GO111MODULE=off $(GO) build -o $@ $<

# Echo servers over other libraries, of those that are installed, and one over none.
PEERS      := $(foreach p,libev libevent libuv,$(if $(wildcard $(PEER_HEADER_$(p))),$(p))) bare
PEER_BINS  := $(PEERS:%=$(O)/tests/bench/peers/%)

$(PEER_BINS): $(O)/tests/bench/peers/%: tests/bench/peers/%.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -iquote tests/bench -MMD -MP -MF $@.d -MT $@ $< -o $@ $(LDFLAGS_EXE) $(PEER_LIBS_$(*F))

-include $(PEER_BINS:%=%.d)

.PHONY: bench
bench: $(BENCH_BINS) $(PEER_BINS) $(GO_ECHO) $(GO_STALL) all ## ours beside libev, libevent, libuv, Go, nginx, haproxy, Redis; doc/benchmarks.md (13 minutes; BENCH=echo,churn: parts)
	$(Q)scripts/bench-net scripts/bench $(O)

bench-handoff: $(BENCH_BINS) $(GO_STALL) ## requests beside a handler that blocks: off, handed off, and Go's; doc/handoff-figures.md (6 minutes)
	$(Q)$(call figures,$(O)/tests/bench/handoff $(GO_STALL),handoff)

bench-idle: $(BENCH_BINS)               ## bytes of the server's memory for each idle connection
	$(Q)$(O)/tests/bench/idle

bench-rebalance: $(BENCH_BINS)          ## hot connections on one poller, with and without rebalance; doc/rebalance-figures.md (2 minutes)
	$(Q)$(call figures,$(O)/tests/bench/rebalance,rebalance)

bench-restart: $(BENCH_BINS) all        ## what rolling restarts lose, beside a plain server; doc/operations-figures.md (root)
	$(Q)scripts/bench-restart $(O)

bench-adopt: $(BENCH_BINS) all          ## nginx, haproxy and others, plain and adopted: stalls, restarts; doc/adopt-figures.md (root, 15 minutes)
	$(Q)scripts/bench-adopt $(O)

bench-runtime: $(BENCH_BINS)            ## ns and bytes for a handler that waits
	$(Q)$(O)/tests/bench/runtime

-include $(BENCH_BINS:%=%.d)

# Several files, so in a folder of its own.
BENCH_STEER      := $(O)/tests/bench/steer/steer
BENCH_STEER_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/bench/steer/*.c)))

$(BENCH_STEER): $(BENCH_STEER_OBJS) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(BENCH_STEER_OBJS) -L$(O) -lnetpoll-bpf -lm -Wl,-rpath,'$$ORIGIN/../../..'

-include $(BENCH_STEER_OBJS:.o=.d)

.PHONY: bench-steer
bench-steer: $(BENCH_STEER)             ## balance and stalls, against the kernel's hash and shared listeners (root, half an hour)
	$(Q)scripts/bench-steer $(O)

# Likewise.
BENCH_SCALE      := $(O)/tests/bench/scale/scale
BENCH_SCALE_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/bench/scale/*.c)))

$(BENCH_SCALE_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(BENCH_SCALE): $(BENCH_SCALE_OBJS) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(BENCH_SCALE_OBJS) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/../../..'

-include $(BENCH_SCALE_OBJS:.o=.d)

.PHONY: bench-scale
bench-scale: $(BENCH_SCALE)             ## 1 to 100 000 established connections, and 100 that ask; doc/scale-figures.md (1 minute)
	$(Q)$(call figures,$(BENCH_SCALE),scale)

# With OpenSSL: the yardstick of TLS and its client.
ifeq ($(TLS),yes)
TLS_BENCH := $(addprefix $(O)/tests/bench/,lean_tls load_tls)

$(TLS_BENCH): $(O)/tests/bench/%: tests/bench/%.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) $(TLS_CFLAGS) -MMD -MP -MF $@.d -MT $@ $< -o $@ $(LDFLAGS_EXE) $(TLS_LIBS)

-include $(TLS_BENCH:%=%.d)

bench: $(TLS_BENCH)

.PHONY: bench-tls
bench-tls: $(TLS_BENCH) $(O)/tests/bench/floor all ## TLS: CPU for each request and handshake, beside OpenSSL alone, nginx and haproxy; doc/tls-figures.md (6 minutes)
	$(Q)$(call figures,scripts/bench-net scripts/bench-tls $(O),tls)
endif

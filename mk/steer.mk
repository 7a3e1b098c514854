# Spilled values may not share stack slots: with CAP_BPF alone the verifier takes a number stored
# over a dead pointer for an attempt to corrupt it. Level 4 has CAP_PERFMON.
$(O)/bpf/steer.bpf.o $(O)/bpf/steer_l2.bpf.o: BPF_CFLAGS += -mllvm -no-stack-slot-sharing

# replay.c has every header that userspace has.
.PHONY: lint-bpf-headers
lint-bpf-headers:
	$(Q)scripts/check-bpf-headers '$(CLANG) $(BPF_CFLAGS)' '$(CC) $(INCLUDES) $(ALL_CFLAGS)' lib/steer/replay.c
lint: lint-bpf-headers

.PHONY: lint-adopt
lint-adopt:
	$(Q)scripts/check-named-tests doc/adopt.md
lint: lint-adopt

STEER_COST := $(O)/tests/bench/steer_cost

COUNT_COST := $(O)/tests/bench/count_cost

$(STEER_COST) $(COUNT_COST): %: %.o $(TEST_SUPPORT) $(LIB_ALL)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_EXE) -o $@ $^ $(OUR_LIBS) $(CHECK_LIBS)

.PHONY: bpf-info bench-steer-ns bench-count-ns
bpf-info: $(STEER_COST)                 ## the steering program: instructions, stack, jited bytes
	$(Q)$(STEER_COST) info

bench-steer-ns: $(STEER_COST)           ## ns for each run of the steering program, into doc/steering-cost.txt (root)
	$(Q)$(STEER_COST) ns > $(O)/steering-cost.txt && mv $(O)/steering-cost.txt doc/steering-cost.txt
	$(Q)cat doc/steering-cost.txt

bench-count-ns: $(COUNT_COST)           ## ns for a connection that is counted in the kernel, into doc/counting-cost.txt (root)
	$(Q)$(COUNT_COST) > $(O)/counting-cost.txt && mv $(O)/counting-cost.txt doc/counting-cost.txt
	$(Q)cat doc/counting-cost.txt

-include $(STEER_COST:%=%.d) $(COUNT_COST:%=%.d)

# A server of Go's net/http for tests/e2e/npsteer_adopt.c: that is compiled for half a minute, and kept in Go's cache.
ifneq ($(GO),)
GO_PAGES := $(O)/tests/e2e/pages
$(GO_PAGES): tests/e2e/pages.go
	$(call say,GO,$<)
	@mkdir -p $(@D)
	$(Q)$(if $(HOME)$(XDG_CACHE_HOME)$(GOCACHE),,GOCACHE='$(abspath $(O))/go-cache') GOFLAGS=-trimpath GO111MODULE=off \
		$(GO) build -o $@ $<

tests: $(GO_PAGES)
endif

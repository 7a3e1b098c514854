# Fuzzing: tests/fuzz/NOUN.c is a target of libFuzzer's, tests/fuzz/corpus/NOUN what it has found so far, in the
# smallest set of inputs that reaches every edge. A target is named in FUZZERS and says which sources it needs
# beside lib/sys. Inputs that showed a fault are kept by the test of the same noun, which runs with every check.
FUZZ_SECONDS ?= 60
FUZZERS      := linkbuf proxy addr params decision shapes conn_message http kv

FUZZ_linkbuf := tests/support/linkbuf_model.c $(wildcard lib/buffer/*.c)
FUZZ_proxy   := lib/conn/proxy_header.c examples/proxy/header.c
FUZZ_FLAGS_proxy := -iquote examples/proxy
FUZZ_http    := $(addprefix examples/http/,clock.c condition.c head.c path.c range.c request.c)
FUZZ_FLAGS_http := -iquote examples/http
FUZZ_LIBS_http  := -lhttp_parser
FUZZ_kv      := examples/kv/reader.c examples/kv/number.c
FUZZ_FLAGS_kv := -iquote examples/kv
FUZZ_conn_message := lib/conn/conn_message.c
# What steers calls itself all over: all of it, and libbpf.
FUZZ_params   := $(wildcard lib/steer/*.c)
FUZZ_decision := $(wildcard lib/steer/*.c)
FUZZ_shapes   := $(wildcard lib/steer/*.c)
FUZZ_LIBS_params   := $(BPF_LIBS)
FUZZ_LIBS_decision := $(BPF_LIBS)
FUZZ_LIBS_shapes   := $(BPF_LIBS) $(addprefix -Wl$(comma)--wrap=,folder_get sys_close bpf_obj_get_info_by_fd bpf_map_lookup_elem)

FUZZ_BINS    := $(FUZZERS:%=$(O)/tests/fuzz/%)
# Each target gets its share of the seconds, one second at least.
FUZZ_SHARE   := $(shell n=$$(( $(FUZZ_SECONDS) / $(words $(FUZZERS)) )); echo $$(( n ? n : 1 )))

# $(1): the noun
define fuzz_target
$(O)/tests/fuzz/$(1): tests/fuzz/$(1).c $(FUZZ_$(1)) $(wildcard lib/*/*.[ch] examples/*/*.h include/netpoll/*.h bpf/*.h tests/support/*.h) | $(SKELS)
	$$(call say,FUZZ,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(INCLUDES) $$(CPPFLAGS) -iquote tests -std=gnu11 -O1 -g -fno-omit-frame-pointer -pthread -DNP_DEBUG \
		-fno-strict-aliasing -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$$(FUZZ_FLAGS_$(1)) tests/fuzz/$(1).c $(FUZZ_$(1)) $(wildcard lib/sys/*.c) -o $$@ $$(FUZZ_LIBS_$(1))
endef
$(foreach n,$(FUZZERS),$(eval $(call fuzz_target,$(n))))

.PHONY: fuzz fuzz-keep $(FUZZERS:%=fuzz-%) $(FUZZERS:%=fuzz-keep-%)
fuzz: $(FUZZERS:%=fuzz-%)               ## FUZZ_SECONDS (60) of random input, shared by all targets; fuzz-NOUN: one of them

$(FUZZERS:%=fuzz-%): fuzz-%: $(O)/tests/fuzz/%
	@mkdir -p $(O)/tests/fuzz/found/$*
	$(Q)cd $(O)/tests/fuzz && $(CURDIR)/$< -max_total_time=$(FUZZ_SHARE) -max_len=4096 -timeout=20 \
		-print_final_stats=1 -artifact_prefix=$*- found/$* $(CURDIR)/tests/fuzz/corpus/$*

fuzz-keep: $(FUZZERS:%=fuzz-keep-%)     ## tests/fuzz/corpus anew: the smallest inputs that reach every edge reached

$(FUZZERS:%=fuzz-keep-%): fuzz-keep-%: $(O)/tests/fuzz/%
	$(Q)rm -rf $(O)/tests/fuzz/kept/$* && mkdir -p $(O)/tests/fuzz/kept/$* $(O)/tests/fuzz/found/$*
	$(Q)$< -merge=1 -use_counters=0 -max_len=256 $(O)/tests/fuzz/kept/$* tests/fuzz/corpus/$* $(O)/tests/fuzz/found/$*
	$(Q)rm -f tests/fuzz/corpus/$*/* && cp $(O)/tests/fuzz/kept/$*/* tests/fuzz/corpus/$*

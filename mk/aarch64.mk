# Another architecture on this machine: the layers that need no libbpf of the target's are cross-built, and
# their tests run under qemu-user. scripts/deps --aarch64 installs what this takes.
#
# What is above them (conn, the facade) is compiled all the same, so that nothing of x86 gets in there.

A64      := $(O)/aarch64
A64_CC   ?= aarch64-linux-gnu-gcc
A64_QEMU ?= qemu-aarch64
# pointers in registers are checked by BTI and PAC where the CPU has them, and qemu's has
A64_CFLAGS := -std=gnu11 $(WARN) -fPIC -fvisibility=hidden -fno-strict-aliasing -ftls-model=initial-exec -pthread \
	-mbranch-protection=standard -fstack-protector-strong -fstack-clash-protection -DNP_DEBUG -DNP_FAULT -O2 -g

A64_RUN  := sys buffer fiber poll
A64_ONLY := conn netpoll
A64_OBJS := $(foreach l,$(A64_RUN),$(patsubst %.c,$(A64)/%.o,$(sort $(wildcard lib/$(l)/*.c)))) \
	$(A64)/lib/fiber/switch_aarch64.o
A64_COMPILED := $(foreach l,$(A64_ONLY),$(patsubst %.c,$(A64)/%.o,$(sort $(wildcard lib/$(l)/*.c))))
A64_TESTS := status fiber stack linkbuf linkbuf_read linkbuf_write linkbuf_space linkbuf_model linkbuf_corpus block bufio steady mailbox timer watch turn poller offload
A64_TESTS := $(foreach t,$(A64_TESTS),$(if $(wildcard tests/$(t).c),$(A64)/tests/$(t)))
A64_SUPPORT := $(addprefix $(A64)/tests/support/,main.o test.o run.o child.o linkbuf_model.o)

$(A64)/%.o: %.c Makefile mk/aarch64.mk
	$(call say,CC64,$<)
	@mkdir -p $(@D)
	$(Q)$(A64_CC) -D_GNU_SOURCE -Iinclude -iquote lib -iquote bpf -iquote tests $(A64_CFLAGS) -Wno-missing-prototypes \
		-MMD -MP -c $< -o $@

$(A64)/%.o: %.S Makefile mk/aarch64.mk
	$(call say,AS64,$<)
	@mkdir -p $(@D)
	$(Q)$(A64_CC) $(A64_CFLAGS) -c $< -o $@

$(A64)/layers.a: $(A64_OBJS)
	$(Q)rm -f $@ && aarch64-linux-gnu-ar rcs $@ $^

$(A64_TESTS): $(A64)/tests/%: $(A64)/tests/%.o $(A64_SUPPORT) $(A64)/layers.a
	$(call say,LD64,$@)
	$(Q)$(A64_CC) -pthread -o $@ $^ -lcheck -lsubunit -lrt -lm

.PHONY: check-aarch64
check-aarch64: $(A64_TESTS) $(A64_COMPILED) ## the layers below conn, cross-built, their tests under qemu-user
	$(Q)CK_TIMEOUT_MULTIPLIER=5 NP_RUNNER='$(A64_QEMU)' scripts/run-tests $(A64) $(A64_TESTS)

-include $(A64_OBJS:%.o=%.d) $(A64_COMPILED:%.o=%.d) $(A64_SUPPORT:%.o=%.d) $(A64_TESTS:%=%.d)

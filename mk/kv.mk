# The example key-value server: several files, so in a folder of its own. Public headers only.
KV      := $(O)/examples/kv/kv
KV_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/kv/*.c)))

$(KV_OBJS): USER_CFLAGS += -iquote .

examples: $(KV)
$(KV_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

# mk/proxy.mk builds what is in examples/service
$(KV): $(KV_OBJS) $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/service/*.c))) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(filter %.o,$^) -L$(O) -lnetpoll-bpf -lm -Wl,-rpath,'$$ORIGIN/../..'

-include $(KV_OBJS:.o=.d)

.PHONY: bench-kv
bench-kv: all                           ## the example kv beside redis-server, by redis-benchmark; JSON (20 minutes)
	$(Q)scripts/bench-kv $(O)

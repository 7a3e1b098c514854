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

# A client of hiredis': only where that is installed.
KV_CLIENT := $(O)/tests/clients/hiredis
KV_HIREDIS := $(shell $(PKG_CONFIG) --exists hiredis 2>/dev/null && echo yes)

$(KV_CLIENT): tests/clients/hiredis.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) $(shell $(PKG_CONFIG) --cflags hiredis) $< -o $@ $(LDFLAGS_EXE) $(shell $(PKG_CONFIG) --libs hiredis)

.PHONY: check-kv bench-kv
check-kv: all $(if $(KV_HIREDIS),$(KV_CLIENT)) ## redis-cli, redis-benchmark and hiredis against the example kv
	$(Q)scripts/check-kv $(O)

bench-kv: all                           ## the example kv beside redis-server, by redis-benchmark; JSON (20 minutes)
	$(Q)scripts/bench-net scripts/bench-kv $(O)

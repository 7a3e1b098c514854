# The example calls: several files, so in a folder of its own. Public headers only.
RPC      := $(O)/examples/rpc/rpc
RPC_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/rpc/*.c)))

$(RPC_OBJS): USER_CFLAGS += -iquote .

examples: $(RPC)
$(RPC_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

# mk/proxy.mk builds what is in examples/service
$(RPC): $(RPC_OBJS) $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/service/*.c))) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(filter %.o,$^) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/../..'

-include $(RPC_OBJS:.o=.d)

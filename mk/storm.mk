# Random requests against handlers that block: several files, so in a folder of its own.
STORM      := $(O)/tests/bench/storm/storm
STORM_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/bench/storm/*.c)))

$(STORM): $(STORM_OBJS) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(STORM_OBJS) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/../../..'

-include $(STORM_OBJS:.o=.d)

.PHONY: storm storm-here storm-long
storm-here: $(STORM)
	$(Q)scripts/storm $(O)

storm-long: $(STORM)                    ## ten million, in the build of FLAVOUR=asan or tsan (a quarter of an hour each), with a line every 10 s
	$(Q)scripts/storm --long $(O)

storm:                                  ## a million random requests to handlers that block, in each of debug, asan and tsan; and sparse ones
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug storm-here
	$(Q)$(MAKE) --no-print-directory FLAVOUR=asan storm-here
	$(Q)$(MAKE) --no-print-directory FLAVOUR=tsan storm-here

# The fiber layer alone, without sockets.
FIBER_COST := $(O)/tests/bench/fiber_cost

$(FIBER_COST): %: %.o $(LIB_ALL)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_EXE) -o $@ $^ $(OUR_LIBS)

.PHONY: bench-fiber
bench-fiber: $(FIBER_COST)              ## ns of a switch and a start, bytes of a parked fiber
	$(Q)$(FIBER_COST)

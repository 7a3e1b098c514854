.PHONY: demo
demo: all $(O)/tests/bench/restart ## a steered echo server, real clients, the kernel's counters
	@scripts/demo-run $(O)

.PHONY: demo-blocking
demo-blocking:                          ## a handler that blocks in a database's driver, without and with NP_MAY_BLOCK
	$(Q)scripts/demo-blocking

# In a folder of its own, since not everybody has libpq: nothing else needs it.
ifneq ($(shell $(PKG_CONFIG) --exists libpq && echo yes),)
examples: $(O)/examples/pg/pg
$(O)/examples/pg/pg: USER_CFLAGS += $(shell $(PKG_CONFIG) --cflags libpq)
$(O)/examples/pg/pg: EXAMPLE_LIBS = $(shell $(PKG_CONFIG) --libs libpq) -Wl,-rpath,'$$ORIGIN/../..'
-include $(O)/examples/pg/pg.d
endif

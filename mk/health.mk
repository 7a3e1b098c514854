.PHONY: check-steer-long bench-steer-idle
bench-steer-idle:                             ## context switches and CPU time of 8 idle pollers in 10 s (root)
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)NP_BUILD=$(O) NP_IDLE_MS=10000 CK_DEFAULT_TIMEOUT=60 CK_RUN_CASE=idle $(O)/tests/e2e/rescue

check-steer-long:                       ## 10 000 rounds of a worker that is back at the instant it is rescued (root)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug tests
	$(Q)NP_ROUNDS=10000 CK_DEFAULT_TIMEOUT=1800 CK_RUN_CASE=instant $(O)/debug/tests/steer_rescue
	$(Q)NP_EACH_STEP=1 CK_DEFAULT_TIMEOUT=1800 $(O)/debug/tests/steer_killed
	$(Q)NP_EACH_STEP=1 CK_RUN_CASE=killed $(O)/debug/tests/steer_adopt
	$(Q)NP_LIVES=100000 $(O)/debug/tests/steer_count
	$(Q)NP_DISTURB_MS=30000 $(O)/debug/tests/steer_disturbed
	$(Q)NP_ROUNDS=20 $(O)/debug/tests/e2e/npsteer_adopt

# In a folder of its own, since not everybody has libevent.
ifneq ($(shell $(PKG_CONFIG) --exists libevent_core && echo yes),)
examples: $(O)/examples/libevent/steer_libevent
$(O)/examples/libevent/steer_libevent: EXAMPLE_LIBS = $(shell $(PKG_CONFIG) --libs libevent_core) -Wl,-rpath,'$$ORIGIN/../..'
-include $(O)/examples/libevent/steer_libevent.d
endif

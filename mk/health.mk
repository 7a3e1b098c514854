.PHONY: check-steer-long
check-steer-long:                       ## 10 000 rounds of a worker that is back at the instant it is rescued (root)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug tests
	$(Q)NP_ROUNDS=10000 CK_RUN_CASE=instant $(O)/debug/tests/steer_rescue

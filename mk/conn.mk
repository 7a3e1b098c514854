# The long run of tests/e2e/lives.c; `make check` lives a tenth of it. NP_SEED=S begins at S.
.PHONY: lives
lives:                                  ## ten thousand random connection lives against the oracle
	$(Q)NP_LIVES=$${NP_LIVES:-10000} $(MAKE) --no-print-directory FLAVOUR=$(if $(filter release,$(FLAVOUR)),debug,$(FLAVOUR)) run-tests NP_TESTS='^e2e/lives$$'
	$(Q)cat $(if $(filter release,$(FLAVOUR)),$(O)/debug,$(O))/logs/e2e-lives.log

.PHONY: lives-tls
lives-tls:                              ## ten thousand random lives with TLS on; FLAVOUR=asan, FLAVOUR=tsan likewise
	$(Q)CK_RUN_CASE=tls CK_DEFAULT_TIMEOUT=600 NP_TIMEOUT=600 $(MAKE) --no-print-directory lives

.PHONY: lint-behaviours
lint-behaviours:
	$(Q)scripts/check-named-tests doc/behaviours.md
lint: lint-behaviours

.PHONY: check-siege
check-siege:                            ## 16 000 peers that hold memory, against memory_max; prints memory and latencies
	$(Q)NP_SIEGE=1 $(MAKE) --no-print-directory run-tests NP_TESTS='^e2e/memory_max$$'
	$(Q)grep siege: $(O)/logs/e2e-memory_max.log

.PHONY: check-steady
check-steady:                           ## clients of 10, 100 and 640 KiB/s against clocks of 200 ms; minutes
	$(Q)NP_STEADY=1 CK_DEFAULT_TIMEOUT=500 $(MAKE) --no-print-directory FLAVOUR=$(if $(filter release,$(FLAVOUR)),debug,$(FLAVOUR)) run-tests NP_TESTS='^e2e/patience$$'

.PHONY: check-upgrades
check-upgrades: $(O)/tests/e2e/upgrades $(O)/tests/e2e/moves ## 10 000 connections through 20 upgrades, a million moves, 200 kills, every byte compared; doc/upgrades-figures.md (3 minutes)
ifeq ($(FLAVOUR),release)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug $(O)/debug/tests/handover_faults $(O)/debug/tests/e2e/handover_set
endif
	$(Q)FIGURES=$(filter release,$(FLAVOUR)) scripts/check-upgrades $(O)

.PHONY: byte-way byte-way-check lengths
byte-way: lib                           ## the calls from an epoll event of a connection to the reply, and their numbers
	$(Q)NP_BUILD=$(O) scripts/byte-way

lint: byte-way-check
byte-way-check: lib                     ## fails where those numbers are over their limits
	$(Q)NP_BUILD=$(O) scripts/byte-way --check

lengths:                                ## how long the functions of lib/ are, and lib/
	$(Q)scripts/byte-way --lengths

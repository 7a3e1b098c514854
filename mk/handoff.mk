# The end-to-end tests once more, with every handler of a user's left alone after a millisecond. The few that cannot
# hold there skip themselves, each with its reason: who is named as keeping a poller.
.PHONY: check-handoff lint-threads
check-handoff:                          ## the end-to-end tests, each handler handed off after 1 ms (5 minutes)
	$(Q)NP_HANDOFF_MS=1 $(MAKE) --no-print-directory FLAVOUR=debug NP_TESTS='^(baton|e2e/)' run-tests

lint-threads:
	$(Q)scripts/check-named-tests doc/threads.md
lint: lint-threads

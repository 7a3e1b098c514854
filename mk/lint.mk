# Parts of make lint. Each prints one line, with what it looked at.
.PHONY: check-names check-used check-gates check-doc-names
check-names:                            ## static functions of lib/ without their file's noun
	$(Q)scripts/check-names
lint: check-names

check-used:                             ## public functions that are in no example and no test
	$(Q)scripts/check-used
lint: check-used

check-gates:                            ## verbs of conn and netpoll that neither pass the gate nor say why they need not
	$(Q)scripts/check-gates
lint: check-gates

check-doc-names:                        ## functions and files that a document names and the tree has not
	$(Q)scripts/check-doc-names $(wildcard doc/*.md) README.md CONTRIBUTING.md
lint: check-doc-names

.PHONY: check-units
check-units: all                        ## the units of examples/service, by systemd-analyze verify
	$(Q)scripts/check-units $(O)

.PHONY: check-nspawn
check-nspawn: all                       ## the units of examples/service under a systemd that runs, in a root of its own (root, 1 minute; 3 at first)
	$(Q)scripts/check-nspawn $(O)

lint: check-units

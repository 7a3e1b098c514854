# Parts of make lint. Each prints one line, with what it looked at.
.PHONY: check-names check-used
check-used:                             ## public functions that are in no example and no test
	$(Q)scripts/check-used
lint: check-used

# Not in lint before the folders are renamed.
check-names:                            ## static functions of lib/ without their file's noun
	$(Q)scripts/check-names

# Parts of make lint that are ready before the tree is; `make lint` takes each in with a line "lint: NAME".
.PHONY: check-names
check-names:                            ## static functions of lib/ without their file's noun
	$(Q)scripts/check-names

# What programs are linked with: the names (lib/netpoll/libnetpoll-bpf.map), and what is behind them
# (lib/netpoll/abi-*.xml, by libabigail). A change that is meant renews both, in the commit that makes it.
.PHONY: symbol-map check-abi abi-baseline
symbol-map:                             ## the map of exported names anew, from the public headers
	$(Q)scripts/symbol-map

check-abi:                              ## what changed in the ABI since its baseline (abigail-tools)
	$(Q)scripts/check-abi $(O)

abi-baseline:                           ## that baseline anew, from the public headers
	$(Q)scripts/check-abi --renew $(O)
lint: check-abi

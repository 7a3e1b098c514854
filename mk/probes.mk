.PHONY: check-probes
check-probes: all $(BENCH_BINS)         ## USDT probes: each a nop; what tools/bpftrace says of a server under load (root)
	$(Q)scripts/check-probes $(O)/libnetpoll-bpf.so
	$(Q)scripts/check-probes-live $(O)

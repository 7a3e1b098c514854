# Spilled values may not share stack slots: with CAP_BPF alone the verifier takes a number stored
# over a dead pointer for an attempt to corrupt it.
$(O)/bpf/steer.bpf.o: BPF_CFLAGS += -mllvm -no-stack-slot-sharing

# Two 8-byte stores made into one 16-byte store are reloaded as 8 bytes a few instructions later,
# and that forwarding costs more than the whole cycle: 10.9 ns against 6.4 for reserve, flush, next, release.
$(O)/lib/buffer/%.o: OBJ_CFLAGS += -fno-tree-slp-vectorize

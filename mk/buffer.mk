# Two 8-byte stores made into one 16-byte store are reloaded as 8 bytes a few instructions later,
# and that forwarding costs more than the whole cycle: 10.9 ns against 6.4 for reserve, flush, next, release.
# A verb is a handful of instructions and three branches: where one starts in its cache line is worth 0.8 ns of 5.
$(O)/lib/buffer/%.o: OBJ_CFLAGS += -fno-tree-slp-vectorize -falign-functions=64

# ------------------------------------------------------------------ bench
# Of the public headers alone and with the shipped .so, beside libevent's. Loops aligned, so that where the
# compiler happens to put one is no advantage to either side.
LINKBUF_BENCH := $(O)/tests/bench/linkbuf

$(LINKBUF_BENCH): tests/bench/linkbuf.c $(O)/flags $(O)/libnetpoll-bpf.so
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -falign-functions=64 -falign-loops=64 \
		-MMD -MP -MF $@.d -MT $@ $< -o $@ $(LDFLAGS_EXE) -L$(O) -lnetpoll-bpf -levent_core -Wl,-rpath,'$$ORIGIN/../..'

-include $(LINKBUF_BENCH).d

.PHONY: bench-linkbuf
bench-linkbuf: $(LINKBUF_BENCH)         ## ns of each verb of a buffer beside libevent's evbuffer, into doc/buffer-figures.md
	$(Q)$(LINKBUF_BENCH) > $(O)/bench-linkbuf.md && cp $(O)/bench-linkbuf.md doc/buffer-figures.md
	$(Q)cat $(O)/bench-linkbuf.md

# ------------------------------------------------------------------ coverage, valgrind
BUFFER_TESTS := linkbuf linkbuf_read linkbuf_write linkbuf_space linkbuf_model block bufio steady

.PHONY: cov-buffer valgrind-buffer
cov-buffer:                             ## lines of lib/buffer that its own tests reach (gcovr)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=cov run-tests NP_TESTS='^($(subst $() ,|,$(BUFFER_TESTS)))$$'
	$(Q)gcovr -r . --object-directory $(O)/cov -f lib/buffer/ $(O)/cov/lib/buffer

# Each test is a fork, and fails where its valgrind finds something. Apart (1), so that it sees the blocks; those of
# block and steady set that themselves.
valgrind-buffer: $(BUFFER_TESTS:%=$(O)/tests/%) ## the buffer's tests under valgrind
	$(Q)for t in $(BUFFER_TESTS); do \
		case $$t in block|steady) debug=0 ;; *) debug=1 ;; esac; \
		NP_BLOCK_DEBUG=$$debug CK_DEFAULT_TIMEOUT=600 valgrind -q --error-exitcode=9 --leak-check=full \
			--errors-for-leak-kinds=definite --show-leak-kinds=definite $(O)/tests/$$t || exit 1; done

# ------------------------------------------------------------------ doc/buffer.md
.PHONY: lint-buffer-doc
lint-buffer-doc:
	$(Q)scripts/check-named-tests doc/buffer.md
lint: lint-buffer-doc

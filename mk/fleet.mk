# npsteer agent and serve, and the fleet that they are for.

# How a percentage is made is tested without a service.
$(O)/tests/npsteer_health: $(O)/tools/npsteer/health.o
$(O)/tests/npsteer_health.o: OBJ_CFLAGS += -iquote .

# The page of `npsteer serve` as numbers for a C array.
PAGE_INCS := $(patsubst %,$(O)/tools/npsteer/%.inc,page.html page.css page.js)
$(PAGE_INCS): $(O)/tools/npsteer/%.inc: tools/npsteer/%
	$(call say,PAGE,$<)
	@mkdir -p $(@D)
	$(Q)od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g' > $@

$(O)/tools/npsteer/page.o: $(PAGE_INCS)
$(O)/tools/npsteer/page.o: OBJ_CFLAGS += -iquote $(O)/tools/npsteer

.PHONY: check-questions
check-questions: all                    ## the five questions of doc/observing.md, asked of a service in trouble: the transcript there (root)
	$(Q)scripts/check-questions $(O)

.PHONY: check-page
check-page: $(BENCH_BINS) all           ## the page of npsteer serve in a headless browser, and its picture (root; npm)
	$(Q)scripts/check-page $(O)

.PHONY: bench-fleet
bench-fleet: $(BENCH_BINS) all          ## four machines behind haproxy with and without agent-check, and behind ECMP: drain, kill, hang, add; doc/fleet-figures.md (root, 4 minutes)
	$(Q)$(call figures,scripts/bench-fleet $(O),fleet)

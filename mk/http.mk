# The example HTTP server: public headers and Debian's http_parser, without which it is left out.
HTTP_PARSER ?= $(if $(wildcard /usr/include/http_parser.h /usr/local/include/http_parser.h),yes)
HTTP      := $(O)/examples/http/http
HTTP_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard examples/http/*.c)))

$(HTTP_OBJS): USER_CFLAGS += -iquote .
ifeq ($(HTTP_PARSER),yes)
examples: $(HTTP)
endif
$(HTTP_OBJS): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(HTTP): $(HTTP_OBJS) $(patsubst %.c,$(O)/%.o,$(wildcard examples/service/*.c)) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(USER_CFLAGS) $(LDFLAGS_EXE) -o $@ $(filter %.o,$^) -L$(O) -lnetpoll-bpf -lhttp_parser \
		-Wl,-rpath,'$$ORIGIN/../..' $(EXAMPLE_LIBS)

-include $(HTTP_OBJS:.o=.d)

.PHONY: check-http bench-http
check-http:                             ## curl, ab, h2load, wrk, slow clients and 100 000 random requests to the example HTTP server (root)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(MAKE) --no-print-directory FLAVOUR=asan examples
	$(Q)scripts/check-http $(O) $(O)/asan

bench-http: $(O)/tests/bench/floor all  ## the example HTTP server beside nginx; doc/http-figures.md (4 minutes)
	$(Q)$(call figures,scripts/bench-net scripts/bench-http $(O),http)

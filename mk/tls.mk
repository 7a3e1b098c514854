# tls: libnetpoll-bpf-tls, a library of its own over OpenSSL 3, so that the core links none.
# Made only where libssl-dev is; TLS=no leaves it out.

TLS_SRCS := $(sort $(wildcard lib/tls/*.c))
TLS_MAP  := lib/tls/libnetpoll-bpf-tls.map
TLS_OBJS := $(TLS_SRCS:%.c=$(O)/%.o)
TLS_A    := $(O)/libnetpoll-bpf-tls.a
TLS_SO   := $(O)/libnetpoll-bpf-tls.so.$(VERSION)

# The examples that have --tls; a build without the library says so.
TLS_EXAMPLES := $(O)/examples/echo $(O)/examples/http/http $(O)/examples/proxy/proxy
CERTS_OBJ    := $(O)/examples/certs/certs.o
$(TLS_EXAMPLES): $(CERTS_OBJ)
$(O)/examples/echo: EXAMPLE_LIBS += $(CERTS_OBJ)
$(CERTS_OBJ): USER_CFLAGS += -iquote .
$(CERTS_OBJ): $(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

ifeq ($(TLS),yes)
TLS_CFLAGS := -DNP_HAVE_TLS $(shell $(PKG_CONFIG) --cflags libssl)
TLS_LIBS   := $(shell $(PKG_CONFIG) --libs libssl libcrypto)

lib: $(TLS_A) $(O)/libnetpoll-bpf-tls.so

$(TLS_OBJS): OBJ_CFLAGS = $(TLS_CFLAGS)

# The names are the headers' NP_TLS_API; what it needs of the core is exported there.
$(TLS_SO): $(TLS_OBJS) $(TLS_MAP) $(O)/libnetpoll-bpf.so
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -shared -Wl,-soname,libnetpoll-bpf-tls.so.$(SOVERSION) -Wl,-Bsymbolic-functions \
		-Wl,--version-script=$(TLS_MAP) $(filter -Wl$(comma)-z$(comma)defs,$(LDFLAGS_SO)) $(RELRO) $(STAYS) $(LDFLAGS) \
		-o $@ $(TLS_OBJS) -L$(O) -lnetpoll-bpf $(TLS_LIBS)

$(O)/libnetpoll-bpf-tls.so: $(TLS_SO)
	$(Q)ln -sf $(notdir $<) $(O)/libnetpoll-bpf-tls.so.$(SOVERSION)
	$(Q)ln -sf libnetpoll-bpf-tls.so.$(SOVERSION) $@

$(TLS_A): $(TLS_OBJS)
	$(call say,AR,$@)
	$(Q)$(CC) $(LTO) -nostdlib -r -o $(O)/libnetpoll-bpf-tls.o $(TLS_OBJS)
	$(Q)$(OBJCOPY) --localize-hidden $(O)/libnetpoll-bpf-tls.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(O)/libnetpoll-bpf-tls.o

# Tests link objects, as those of the core do.
TLS_TESTS := $(filter $(O)/tests/tls% $(O)/tests/e2e/tls% $(O)/tests/e2e/lives,$(TEST_BINS))
$(TLS_TESTS): $(TLS_OBJS)
$(TLS_TESTS): TEST_LIBS = $(TLS_LIBS)
$(TLS_TESTS:%=%.o): TEST_CFLAGS = $(TLS_CFLAGS)

$(TLS_EXAMPLES): $(O)/libnetpoll-bpf-tls.so
$(TLS_EXAMPLES): EXAMPLE_LIBS += -lnetpoll-bpf-tls
$(CERTS_OBJ): USER_CFLAGS += -DNP_HAVE_TLS
endif

-include $(TLS_OBJS:.o=.d) $(CERTS_OBJ:.o=.d)

.PHONY: check-tls
check-tls: all                          ## testssl.sh and openssl s_time against servers with TLS on loopback (minutes)
	$(Q)scripts/check-tls $(O)

.PHONY: check-tls-lives
check-tls-lives:                        ## ten thousand random lives with TLS under ThreadSanitizer, and as many under AddressSanitizer
	$(Q)for f in tsan asan; do \
		$(MAKE) --no-print-directory FLAVOUR=$$f $(O)/$$f/tests/e2e/lives && \
		NP_LIVES=$${NP_LIVES:-10000} CK_RUN_CASE=tls CK_DEFAULT_TIMEOUT=3000 NP_TIMEOUT=3000 \
			scripts/run-tests $(O)/$$f $(O)/$$f/tests/e2e/lives && cat $(O)/$$f/logs/e2e-lives.log || exit 1; \
	done

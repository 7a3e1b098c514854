# libnetpoll-bpf: `make help` lists the targets. Everything is built under $(O).
#
# FLAVOUR picks how: release (default, build/), debug (asserts that the owner thread is the
# owner), asan (ASan + UBSan), tsan (clang), cov. Each has its own folder below build/.

# of include/netpoll/version.h
VERSION   := $(shell awk '/define NP_VERSION_(MAJOR|MINOR|PATCH) / { printf "%s%s", dot, $$3; dot = "." }' \
             include/netpoll/version.h)
SOVERSION := 0

CC        ?= cc
AR        ?= ar
CLANG     ?= clang
LLVM_STRIP ?= llvm-strip
BPFTOOL   ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool /sbin/bpftool /usr/bin/bpftool) bpftool)
OBJCOPY   ?= objcopy
PKG_CONFIG ?= pkg-config

FLAVOUR   ?= release
O         ?= build
ifneq ($(FLAVOUR),release)
# override: O=DIR given to the outer make reaches the inner one too, and must not lose its flavour
override O := $(O)/$(FLAVOUR)
endif
ifeq ($(FLAVOUR)$(findstring clang,$(CC)),tsan)
# gcc 12's TSan keeps about 850 KB for each fiber; clang's does not.
override CC := clang
endif

IS_CLANG  := $(findstring clang,$(shell $(CC) --version))
ARCH      := $(shell $(CC) -dumpmachine | cut -d- -f1)
comma     := ,

Q := @
ifeq ($(V),1)
Q :=
endif
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
ifeq ($(V),1)
say = @:
endif

# ------------------------------------------------------------------ flags
WARN      = -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
            -Wno-unused-parameter -Wno-missing-field-initializers
# Inlined further than at -O2, gcc no longer sees that an error is negative and its output then not read.
WARN     += $(if $(filter -O3 -Ofast -flto%,$(CFLAGS)),$(if $(IS_CLANG),,-Wno-maybe-uninitialized))
# CPPFLAGS, CFLAGS and LDFLAGS are the user's alone: on make's command line they replace what a makefile
# gives them, so nothing that the build needs is in there. They come last and win.
CFLAGS   ?= -O2 -g
INCLUDES   = -D_GNU_SOURCE -Iinclude -iquote lib -iquote bpf -iquote $(O)/bpf
LIB_CPPFLAGS = $(INCLUDES) $(CARES_CPPFLAGS) $(FORTIFY) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARN) -fPIC -fvisibility=hidden -fno-semantic-interposition -fno-strict-aliasing \
            -ftls-model=initial-exec -pthread $(WHOLE) $(DIRECT) $(HARDEN) $(PATH_MAP) $(FLAVOUR_FLAGS) $(CFLAGS)
SYMBOL_MAP := lib/netpoll/libnetpoll-bpf.map
LDFLAGS_SO := -shared -Wl,-soname,libnetpoll-bpf.so.$(SOVERSION) -Wl,-Bsymbolic-functions \
            -Wl,--version-script=$(SYMBOL_MAP) -Wl,-z,defs
# Programs of the public headers alone: the examples and the benches.
USER_CFLAGS = -D_GNU_SOURCE -Iinclude $(FORTIFY) $(CPPFLAGS) -std=gnu11 $(WARN) -fPIE -pthread $(DIRECT) $(HARDEN) \
            $(PATH_MAP) $(FLAVOUR_FLAGS) $(CFLAGS)

# Hardening, by name: what a compiler has by default differs from one distribution to the next. The shadow
# stack (-fcf-protection=return, =full) is not asked for: stacks change under it.
cc_has    = $(shell for f in $(1); do $(CC) -Werror $$f -c -xc /dev/null -o /dev/null 2>/dev/null && echo $$f; done)
HARDEN   := $(call cc_has,-fstack-protector-strong -fstack-clash-protection \
            $(if $(filter x86_64,$(ARCH)),-fcf-protection=branch) $(if $(filter aarch64,$(ARCH)),-mbranch-protection=standard))
# gcc cuts what is seldom gone through off a small verb, and then its way through the gate is longer (make bench-gate).
WHOLE    := $(call cc_has,-fno-partial-inlining)
# No path of this folder in what is released; a debugger finds the sources from the top folder.
PATH_MAP := $(if $(filter release,$(FLAVOUR)),-ffile-prefix-map=$(CURDIR)=.)
# glibc's checks need an optimiser, and the sanitizers do not see into them. One level only: the user's, where given.
FORTIFY   = $(if $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS)))),$(if \
            $(filter asan tsan,$(FLAVOUR))$(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
# -flto in CFLAGS: the archive is machine code all the same, since objcopy knows no other.
LTO       = $(if $(filter -flto%,$(CFLAGS)),$(filter-out -pthread,$(ALL_CFLAGS)) $(filter -fuse-ld=%,$(LDFLAGS)) \
            $(if $(IS_CLANG),,-flinker-output=nolto-rel))
RELRO    := -Wl,-z,relro,-z,now
# Behind dlclose(3) threads of the program still end, with what they keep for the library.
STAYS    := -Wl,-z,nodelete
# Every function of another library is found before main(): a call goes there without a stub on the way.
DIRECT   := $(call cc_has,-fno-plt)
LDFLAGS_EXE = $(if $(filter -static -no-pie,$(LDFLAGS) $(CFLAGS)),,-pie) $(RELRO) $(LDFLAGS)

ifeq ($(FLAVOUR),debug)
FLAVOUR_FLAGS := -DNP_DEBUG -DNP_FAULT
else ifeq ($(FLAVOUR),asan)
FLAVOUR_FLAGS := -DNP_DEBUG -DNP_FAULT -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(FLAVOUR),tsan)
FLAVOUR_FLAGS := -DNP_DEBUG -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(FLAVOUR),cov)
FLAVOUR_FLAGS := -DNP_DEBUG -DNP_FAULT --coverage -O0
else ifneq ($(FLAVOUR),release)
$(error FLAVOUR=$(FLAVOUR) is unknown: release, debug, asan, tsan, cov)
endif
ifneq ($(filter asan tsan,$(FLAVOUR)),)
# the sanitizer's own symbols are in the program, not in a library we could name
LDFLAGS_SO := $(filter-out -Wl$(comma)-z$(comma)defs,$(LDFLAGS_SO))
endif

# Optional: without it (not installed, or CARES=no) each lookup of a name has a thread, for getaddrinfo(3).
CARES     ?= $(shell $(PKG_CONFIG) --exists libcares 2>/dev/null && echo yes)
ifeq ($(CARES),yes)
CARES_CPPFLAGS := -DNP_HAVE_CARES $(shell $(PKG_CONFIG) --cflags libcares)
CARES_LIBS     := $(shell $(PKG_CONFIG) --libs libcares)
endif
# Optional as well: libnetpoll-bpf-tls, its tests, and what the examples do with it (mk/tls.mk).
TLS       ?= $(shell $(PKG_CONFIG) --exists 'libssl >= 3' 2>/dev/null && echo yes)
BPF_LIBS  := $(shell $(PKG_CONFIG) --libs libbpf 2>/dev/null || echo -lbpf) -lelf -lz
OUR_LIBS  := $(BPF_LIBS) $(CARES_LIBS)
CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check)
CHECK_CFLAGS = $(shell $(PKG_CONFIG) --cflags check)

# ------------------------------------------------------------------ what there is
# lib/tls is a library of its own: mk/tls.mk.
LIB_SRCS  := $(sort $(filter-out lib/tls/%,$(wildcard lib/*/*.c)))
LIB_ASM   := $(wildcard lib/fiber/switch_$(ARCH).S)
LIB_OBJS  := $(LIB_SRCS:%.c=$(O)/%.o) $(LIB_ASM:%.S=$(O)/%.o)
BPF_SRCS  := $(sort $(wildcard bpf/*.bpf.c))
SKELS     := $(BPF_SRCS:bpf/%.bpf.c=$(O)/bpf/%.skel.h)

TEST_SUPPORT_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/support/*.c)))
TEST_SUPPORT := $(O)/tests/support.a
# One program for each noun: tests/foo.c, and the end-to-end ones in tests/e2e/foo.c
TEST_SRCS := $(sort $(wildcard tests/*.c) $(wildcard tests/e2e/*.c))
ifneq ($(TLS),yes)
TEST_SRCS := $(filter-out tests/e2e/tls%,$(TEST_SRCS))
endif
TEST_BINS := $(TEST_SRCS:%.c=$(O)/%)
TOOL_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tools/npsteer/*.c)))
EXAMPLES  := $(patsubst %.c,$(O)/%,$(sort $(wildcard examples/*.c)))

LIB_A     := $(O)/libnetpoll-bpf.a
LIB_SO    := $(O)/libnetpoll-bpf.so.$(VERSION)
# Tests reach into the layers, so they link the objects before their symbols are made local.
LIB_ALL   := $(O)/internal.a

.PHONY: all help lib tools examples clean FORCE
.DEFAULT_GOAL := all

all: lib tools examples                 ## the library, npsteer and the examples (default)
lib: $(LIB_A) $(O)/libnetpoll-bpf.so
tools: $(if $(TOOL_OBJS),$(O)/npsteer)
examples: $(EXAMPLES)

help:                                   ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' Makefile $(wildcard mk/*.mk)
	@echo "  variables: V=1, CC=clang, FLAVOUR=release|debug|asan|tsan|cov, O=DIR, PREFIX, DESTDIR,"
	@echo "             NP_TESTS=REGEX and NP_REPEAT=N with check and run-tests"

# ------------------------------------------------------------------ objects
# Changes when the compiler or its flags do, so that CC=clang after a gcc build builds anew.
$(O)/flags: FORCE | $(O)/
	$(file >$@.now,$(CC) $(LIB_CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS_EXE) TLS=$(TLS))
	@cmp -s $@.now $@ && rm $@.now || mv $@.now $@

$(O)/:
	@mkdir -p $@

$(O)/%.o: %.c $(O)/flags | $(SKELS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CPPFLAGS) $(ALL_CFLAGS) $(OBJ_CFLAGS) -MMD -MP -c $< -o $@

$(O)/%.o: %.S $(O)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(O)/tests/%.o: OBJ_CFLAGS = -iquote tests $(CHECK_CFLAGS) $(TEST_CFLAGS) -Wno-missing-prototypes

# ------------------------------------------------------------------ BPF
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -D__TARGET_ARCH_$(if $(filter aarch64,$(ARCH)),arm64,x86) \
              -ffile-prefix-map=$(CURDIR)=. -iquote bpf $(addprefix -idirafter ,$(wildcard /usr/include/$(shell uname -m)-linux-gnu))

$(O)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h) $(BPF_SRCS) # one includes another
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

# A static pattern: what only a pattern rule names is an intermediate file, which make may delete,
# or not miss.
$(SKELS): $(O)/bpf/%.skel.h: $(O)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf > $@.tmp && mv $@.tmp $@

# ------------------------------------------------------------------ the library
$(LIB_ALL): $(LIB_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The headers' NP_API and the map are one list of names, or nothing is linked.
$(LIB_SO): $(LIB_OBJS) $(SYMBOL_MAP)
	$(call say,LD,$@)
	$(Q)scripts/symbol-map --check
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_SO) $(RELRO) $(STAYS) $(LDFLAGS) -o $@ $(LIB_OBJS) $(OUR_LIBS)

$(O)/libnetpoll-bpf.so: $(LIB_SO)
	$(Q)ln -sf $(notdir $<) $(O)/libnetpoll-bpf.so.$(SOVERSION)
	$(Q)ln -sf libnetpoll-bpf.so.$(SOVERSION) $@

# One relocatable object in which all but the map's names is made local: the archive exports what the .so does.
$(LIB_A): $(LIB_OBJS) $(SYMBOL_MAP)
	$(call say,AR,$@)
	$(Q)scripts/symbol-map --names > $(O)/libnetpoll-bpf.names
	$(Q)$(CC) $(LTO) -nostdlib -r -o $(O)/libnetpoll-bpf.o $(LIB_OBJS)
	$(Q)$(OBJCOPY) --localize-hidden --keep-global-symbols=$(O)/libnetpoll-bpf.names $(O)/libnetpoll-bpf.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(O)/libnetpoll-bpf.o

# ------------------------------------------------------------------ tools, examples: public headers only
$(O)/npsteer: $(TOOL_OBJS) $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_EXE) -o $@ $^ $(OUR_LIBS)

$(O)/examples/%: examples/%.c $(O)/flags $(O)/libnetpoll-bpf.so
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $@.d -MT $@ $< -o $@ \
		$(LDFLAGS_EXE) -L$(O) -lnetpoll-bpf -Wl,-rpath,'$$ORIGIN/..' $(EXAMPLE_LIBS)

# ------------------------------------------------------------------ tests
$(TEST_SUPPORT): $(TEST_SUPPORT_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(TEST_BINS): $(O)/tests/%: $(O)/tests/%.o $(TEST_SUPPORT) $(LIB_ALL)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS_EXE) -o $@ $(filter %.o,$^) $(filter %.a,$^) \
		$(OUR_LIBS) $(CHECK_LIBS) $(TEST_LIBS)

.PHONY: tests run-tests check debug-tests asan tsan lint
tests: $(TEST_BINS) all                 ## the programs of tests/, in this FLAVOUR
run-tests: tests                        ## the same, and runs them
	$(Q)scripts/run-tests $(O) $(TEST_BINS)

# Both builds and the lint are one make of all CPUs: what the one waits for, the others have. -jN says another number.
check:                                  ## lint, then every test, in a build with asserts on; prints what it skipped
	$(Q)$(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) --no-print-directory lint all debug-tests
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug run-tests

debug-tests:
	$(Q)$(MAKE) --no-print-directory FLAVOUR=debug tests

asan:                                   ## the same tests under AddressSanitizer and UBSan
	$(Q)$(MAKE) --no-print-directory FLAVOUR=asan run-tests

tsan:                                   ## the same tests under ThreadSanitizer (clang)
	$(Q)$(MAKE) --no-print-directory FLAVOUR=tsan run-tests

# Each part is a target of its own and prints one line: `make -k lint` goes on behind one that fails.
.PHONY: lint-layers lint-exports
lint-layers:
	$(Q)scripts/check-layers

lint-exports: lib
	$(Q)scripts/check-exports $(O)

lint: lint-layers lint-exports          ## layers, exported names, ABI, names, documents: what the tree has to be

clean:                                  ## remove build/
	$(Q)rm -rf build

-include mk/*.mk
-include $(patsubst %.o,%.d,$(LIB_OBJS) $(TOOL_OBJS) $(TEST_SUPPORT_OBJS) $(TEST_SRCS:%.c=$(O)/%.o)) $(EXAMPLES:%=%.d)

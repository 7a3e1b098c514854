# install: headers, the .so and its links, the archive, pkg-config, CMake, npsteer, its units, man pages, completion.
# What holds PREFIX, VERSION and the like (*.in, units) is filled in here, not in the build: only install knows them.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
SBINDIR    ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
UNITDIR    ?= $(PREFIX)/lib/systemd/system
MANDIR     ?= $(PREFIX)/share/man
SCDOC      ?= $(shell command -v scdoc)
SHAREDIR   ?= $(PREFIX)/share/netpoll
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
INSTALL    ?= install
CMAKEDIR    = $(LIBDIR)/cmake/netpoll-bpf

# What those look with who look inside: doc/observing.md.
SHARED  := tools/gdb/netpoll-gdb.py doc/grafana-dashboard.json $(sort $(wildcard tools/bpftrace/*.bt))
HEADERS := $(sort $(filter-out $(if $(filter yes,$(TLS)),,include/netpoll/tls.h),$(wildcard include/netpoll/*.h include/netpoll/*.hh)))
MANS    := $(patsubst doc/man/%.scd,$(O)/man/%,$(sort $(wildcard doc/man/*.scd)))
# Section 3, made from the headers by awk alone; their names are asked for where they are needed.
MAN3     = $(addsuffix .3,$(shell scripts/man3 --names))
MAN3_MADE := $(O)/man/man3/made
UNITS   := $(sort $(wildcard examples/service/npsteer-*.service))
section  = man$(subst .,,$(suffix $(1)))
BPF_OBJS = $(BPF_SRCS:bpf/%.bpf.c=$(O)/bpf/%.bpf.o)
CMAKES  := netpoll-bpf-config.cmake netpoll-bpf-config-version.cmake
# $(1): a template, $(2): where it goes, readable whatever the umask is
fill     = umask 022 && sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' -e 's|@SOVERSION@|$(SOVERSION)|' -e 's|@CARES@|$(if $(CARES_LIBS), libcares)|' \
		-e "s|@INCLUDE@|$$(realpath -m --relative-to='$(CMAKEDIR)' '$(INCLUDEDIR)')|" \
		-e 's|@STATIC_LIBS@|bpf;elf;z;$(if $(CARES_LIBS),cares;)-pthread|' \
		-e 's|/usr/local/sbin|$(SBINDIR)|' '$(1)' > '$(DESTDIR)$(2)'

$(O)/man/%: doc/man/%.scd
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)$(SCDOC) < $< > $@.tmp && mv $@.tmp $@

$(MAN3_MADE): scripts/man3 $(HEADERS)
	$(call say,MAN,$(@D))
	$(Q)rm -rf $(@D) && scripts/man3 $(@D) && touch $@

# The overview lists the headers as they say themselves what they are.
$(O)/man/libnetpoll-bpf.7: doc/man/libnetpoll-bpf.7.scd scripts/man3 $(HEADERS)
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)scripts/man3 --headers > $@.headers
	$(Q)sed -e '/^@HEADERS@$$/{r $@.headers' -e 'd;}' $< | $(SCDOC) > $@.tmp && mv $@.tmp $@ && rm $@.headers

.PHONY: man install uninstall
man: $(if $(SCDOC),$(MANS)) $(MAN3_MADE) ## the man pages: 3, from the headers; 7 and 8 (scdoc)

install: all man                        ## below $(DESTDIR)$(PREFIX), default /usr/local
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)$(INSTALL) -d '$(DESTDIR)$(INCLUDEDIR)/netpoll' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(SBINDIR)'
	$(Q)$(INSTALL) -m 644 $(HEADERS) '$(DESTDIR)$(INCLUDEDIR)/netpoll'
	$(Q)$(INSTALL) -m 644 $(LIB_A) '$(DESTDIR)$(LIBDIR)'
	$(Q)$(INSTALL) -m 755 $(LIB_SO) '$(DESTDIR)$(LIBDIR)'
	$(Q)ln -sf $(notdir $(LIB_SO)) '$(DESTDIR)$(LIBDIR)/libnetpoll-bpf.so.$(SOVERSION)'
	$(Q)ln -sf libnetpoll-bpf.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/libnetpoll-bpf.so'
	$(Q)$(call fill,lib/netpoll/libnetpoll-bpf.pc.in,$(LIBDIR)/pkgconfig/libnetpoll-bpf.pc)
	$(Q)$(INSTALL) -d '$(DESTDIR)$(CMAKEDIR)'
	$(Q)$(foreach f,$(CMAKES),$(call fill,lib/netpoll/$(f).in,$(CMAKEDIR)/$(f)) &&) :
ifeq ($(TLS),yes)
	$(Q)$(INSTALL) -m 644 $(TLS_A) '$(DESTDIR)$(LIBDIR)'
	$(Q)$(INSTALL) -m 755 $(TLS_SO) '$(DESTDIR)$(LIBDIR)'
	$(Q)ln -sf $(notdir $(TLS_SO)) '$(DESTDIR)$(LIBDIR)/libnetpoll-bpf-tls.so.$(SOVERSION)'
	$(Q)ln -sf libnetpoll-bpf-tls.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/libnetpoll-bpf-tls.so'
	$(Q)$(call fill,lib/tls/libnetpoll-bpf-tls.pc.in,$(LIBDIR)/pkgconfig/libnetpoll-bpf-tls.pc)
endif
	$(Q)$(if $(TOOL_OBJS),$(INSTALL) -m 755 $(O)/npsteer '$(DESTDIR)$(SBINDIR)')
	$(Q)$(INSTALL) -d '$(DESTDIR)$(LIBEXECDIR)/npsteer/bpf' '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(COMPLETIONDIR)'
	$(Q)$(INSTALL) -m 644 $(BPF_OBJS) '$(DESTDIR)$(LIBEXECDIR)/npsteer/bpf'
	$(Q)$(INSTALL) -m 644 tools/npsteer/completion.bash '$(DESTDIR)$(COMPLETIONDIR)/npsteer'
	$(Q)$(INSTALL) -d '$(DESTDIR)$(SHAREDIR)'
	$(Q)$(INSTALL) -m 644 $(SHARED) '$(DESTDIR)$(SHAREDIR)'
	$(Q)$(INSTALL) -m 755 $(O)/npsteer-preload.so '$(DESTDIR)$(LIBEXECDIR)/npsteer'
	$(Q)$(foreach u,$(UNITS),$(call fill,$(u),$(UNITDIR)/$(notdir $(u))) &&) :
	$(Q)$(INSTALL) -d '$(DESTDIR)$(MANDIR)/man3' && $(INSTALL) -m 644 $(MAN3:%=$(O)/man/man3/%) '$(DESTDIR)$(MANDIR)/man3'
ifneq ($(SCDOC),)
	$(Q)$(foreach m,$(MANS),$(INSTALL) -D -m 644 $(m) '$(DESTDIR)$(MANDIR)/$(call section,$(m))/$(notdir $(m))' &&) :
else ifneq ($(MANS),)
	@echo "  no man pages of sections 7 and 8: scdoc is not installed"
endif
	$(if $(DESTDIR),,-@[ "$$(id -u)" != 0 ] || ldconfig)

uninstall:                              ## what install put there
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	$(Q)rm -f $(foreach h,$(HEADERS),'$(DESTDIR)$(INCLUDEDIR)/netpoll/$(notdir $(h))') \
		$(foreach l,a so so.$(SOVERSION) so.$(VERSION),'$(DESTDIR)$(LIBDIR)/libnetpoll-bpf.$(l)') \
		$(foreach l,a so so.$(SOVERSION) so.$(VERSION),'$(DESTDIR)$(LIBDIR)/libnetpoll-bpf-tls.$(l)') \
		$(foreach l,libnetpoll-bpf libnetpoll-bpf-tls,'$(DESTDIR)$(LIBDIR)/pkgconfig/$(l).pc') '$(DESTDIR)$(SBINDIR)/npsteer' \
		$(foreach f,$(CMAKES),'$(DESTDIR)$(CMAKEDIR)/$(f)') \
		'$(DESTDIR)$(LIBEXECDIR)/npsteer/npsteer-preload.so' '$(DESTDIR)$(COMPLETIONDIR)/npsteer' \
		$(foreach b,$(BPF_OBJS),'$(DESTDIR)$(LIBEXECDIR)/npsteer/bpf/$(notdir $(b))') \
		$(foreach u,$(UNITS),'$(DESTDIR)$(UNITDIR)/$(notdir $(u))') \
		$(foreach f,$(SHARED),'$(DESTDIR)$(SHAREDIR)/$(notdir $(f))') \
		$(foreach m,$(MAN3),'$(DESTDIR)$(MANDIR)/man3/$(m)') \
		$(foreach m,$(MANS),'$(DESTDIR)$(MANDIR)/$(call section,$(m))/$(notdir $(m))')
	$(Q)rmdir '$(DESTDIR)$(LIBEXECDIR)/npsteer/bpf' '$(DESTDIR)$(LIBEXECDIR)/npsteer' '$(DESTDIR)$(CMAKEDIR)' 2>/dev/null || :
	$(Q)rmdir '$(DESTDIR)$(SHAREDIR)' 2>/dev/null || :
	$(Q)rmdir '$(DESTDIR)$(INCLUDEDIR)/netpoll' 2>/dev/null || :

.PHONY: check-reproducible
check-reproducible:                     ## two builds in two folders, time zones and umasks: the same bytes (minutes)
	$(Q)scripts/check-reproducible $(O)

.PHONY: check-deb
check-deb:                              ## Debian packages: built, linted, installed and used in a chroot, removed (root, minutes)
	$(Q)scripts/check-deb $(O)

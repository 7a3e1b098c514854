# install: headers, the .so and its links, the archive, pkg-config, npsteer, its units, man pages.
# The .pc is written here, not in the build: it holds PREFIX, which only install knows.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
SBINDIR    ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
UNITDIR    ?= $(PREFIX)/lib/systemd/system
MANDIR     ?= $(PREFIX)/share/man
SCDOC      ?= $(shell command -v scdoc)
INSTALL    ?= install

HEADERS := $(sort $(wildcard include/netpoll/*.h include/netpoll/*.hh))
MANS    := $(patsubst doc/man/%.scd,$(O)/man/%,$(sort $(wildcard doc/man/*.scd)))
# Section 3, made from the headers by awk alone; their names are asked for where they are needed.
MAN3     = $(addsuffix .3,$(shell scripts/man3 --names))
MAN3_MADE := $(O)/man/man3/made
UNITS   := $(sort $(wildcard examples/service/npsteer-*.service))
section  = man$(subst .,,$(suffix $(1)))

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
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' -e 's|@CARES@|$(if $(CARES_LIBS), libcares)|' \
		lib/netpoll/libnetpoll-bpf.pc.in > '$(DESTDIR)$(LIBDIR)/pkgconfig/libnetpoll-bpf.pc'
	$(Q)$(if $(TOOL_OBJS),$(INSTALL) -m 755 $(O)/npsteer '$(DESTDIR)$(SBINDIR)')
	$(Q)$(INSTALL) -d '$(DESTDIR)$(LIBEXECDIR)/npsteer' '$(DESTDIR)$(UNITDIR)'
	$(Q)$(INSTALL) -m 755 $(O)/npsteer-preload.so '$(DESTDIR)$(LIBEXECDIR)/npsteer'
	$(Q)$(foreach u,$(UNITS),sed 's|/usr/local/sbin|$(SBINDIR)|' $(u) > '$(DESTDIR)$(UNITDIR)/$(notdir $(u))' &&) :
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
		'$(DESTDIR)$(LIBDIR)/pkgconfig/libnetpoll-bpf.pc' '$(DESTDIR)$(SBINDIR)/npsteer' \
		'$(DESTDIR)$(LIBEXECDIR)/npsteer/npsteer-preload.so' \
		$(foreach u,$(UNITS),'$(DESTDIR)$(UNITDIR)/$(notdir $(u))') \
		$(foreach m,$(MAN3),'$(DESTDIR)$(MANDIR)/man3/$(m)') \
		$(foreach m,$(MANS),'$(DESTDIR)$(MANDIR)/$(call section,$(m))/$(notdir $(m))')
	$(Q)rmdir '$(DESTDIR)$(LIBEXECDIR)/npsteer' 2>/dev/null || :
	$(Q)rmdir '$(DESTDIR)$(INCLUDEDIR)/netpoll' 2>/dev/null || :

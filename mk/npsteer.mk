# npsteer says its version; nothing else of the build reaches it.
$(O)/tools/npsteer/%.o: OBJ_CFLAGS = -DNP_VERSION='"$(VERSION)"'

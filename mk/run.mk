# The shared object of `npsteer run --preload`: beside npsteer, where npsteer looks first.
PRELOAD := $(O)/npsteer-preload.so

$(PRELOAD): tools/preload/preload.c $(O)/flags
	$(call say,LD,$@)
	$(Q)$(CC) $(INCLUDES) $(FORTIFY) $(CPPFLAGS) $(filter-out -fsanitize=% -ftls-model=%,$(ALL_CFLAGS)) -shared $(RELRO) -o $@ $< -ldl

tools: $(PRELOAD)

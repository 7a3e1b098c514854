# What is known of the baton apart from its code: a model of the protocol, and its two words on this processor.
.PHONY: check-model litmus
check-model:                            ## Spin on the model of the baton, whole, and on broken ones (minutes, 8 GB)
	$(Q)scripts/check-model

LITMUS := $(O)/tests/model/litmus

$(LITMUS): tests/model/litmus.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(USER_CFLAGS) -MMD -MP -MF $@.d -MT $@ $< -o $@ $(LDFLAGS_EXE)

litmus: $(LITMUS)                       ## the baton's two words without a fence, which has to fail, and with one
	$(Q)scripts/litmus $(O)

-include $(LITMUS).d

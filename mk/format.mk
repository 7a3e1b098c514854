.PHONY: format-check
format-check:                           ## files that are not as .clang-format has them, lines past 100 columns
	$(Q)CLANG_FORMAT='$(or $(CLANG_FORMAT),clang-format)' scripts/check-format
lint: format-check

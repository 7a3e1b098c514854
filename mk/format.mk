# Formatting is advice: tables in comments and macros are set by hand where that reads better.
CLANG_FORMAT ?= clang-format

.PHONY: format-check
format-check:                           ## where clang-format would write it otherwise
	@for f in $$(find bpf include lib tools examples tests -name '*.[ch]' | sort); do \
		$(CLANG_FORMAT) $$f | diff -u --label $$f --label $$f.formatted $$f - ; done || :

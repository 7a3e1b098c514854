# Other compilers, optimisers and flags than ours. `make check` looks at some objects of each
# (tests/hardening.c); this builds everything, for about two minutes.
.PHONY: check-builds
check-builds:                           ## with -O0, -O3, LTO, clang, ThinLTO, a packager's flags; the headers as C99 and C++11
	$(Q)scripts/check-builds $(O)

/* SPDX-License-Identifier: BSD-2-Clause */
/* pattern: "*", "?", "[a-z]", "[^a]" and "\" as KEYS, SCAN and PSUBSCRIBE know them */
#ifndef KV_PATTERN_H
#define KV_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* In time of the product of the two lengths at most, however many stars there are. */
bool pattern_matches(const char *pattern, size_t n_pattern, const char *s, size_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* number: integers and floats as text, by the letter: no spaces, no "+", no zeroes before */
#ifndef KV_NUMBER_H
#define KV_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define NUMBER_MAX 24 /* bytes of the longest integer, and some */

/* Return: 0; -EINVAL: it is none, or out of range. */
int number_parse(const char *p, size_t n, int64_t *ret);
/* @dst has NUMBER_MAX bytes. Return: how many were written; there is no NUL. */
size_t number_write(char *dst, int64_t v);
/* As strtold(3), all of it, and no NaN. Return: 0; -EINVAL. */
int number_parse_float(const char *p, size_t n, long double *ret);

#endif

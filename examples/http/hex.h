/* SPDX-License-Identifier: BSD-2-Clause */
/* hex: a digit of an escape in a path, or of a chunk's size. */
#ifndef HTTP_HEX_H
#define HTTP_HEX_H

/* Return: its value; -1: it is none. */
static inline int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

#endif

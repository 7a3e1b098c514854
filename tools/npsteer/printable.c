/* SPDX-License-Identifier: BSD-2-Clause */
/* printable: the locale decides what can be shown, a table what must not. */
#define _XOPEN_SOURCE 700
#include "printable.h"

#include <string.h>
#include <wchar.h>
#include <wctype.h>

bool printable_is_control(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x00, 0x1f },     { 0x7f, 0x9f },     { 0xad, 0xad },     { 0x61c, 0x61c },
		{ 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xd800, 0xdfff },
		{ 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb }, { 0xe0000, 0x10ffff },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

/* One of the locale's characters. False: it cannot be shown, and is one byte. */
static bool printable_shown(const char *text, size_t *ret_bytes, int *ret_width)
{
	mbstate_t state;
	wchar_t c = 0;
	size_t n;

	memset(&state, 0, sizeof state);
	n = mbrtowc(&c, text, strlen(text), &state);
	*ret_bytes = 1;
	*ret_width = 1;
	if (n == 0 || n > (size_t)-3 || printable_is_control((uint32_t)c) || !iswprint((wint_t)c) ||
	    wcwidth(c) < 0)
		return false;
	*ret_bytes = n;
	*ret_width = wcwidth(c);
	return true;
}

void printable(char *text)
{
	size_t bytes;
	int width;

	for (; *text; text += bytes)
		if (!printable_shown(text, &bytes, &width))
			*text = '?';
}

size_t printable_width(const char *text)
{
	size_t bytes, sum = 0;
	int width;

	for (; *text; text += bytes) {
		printable_shown(text, &bytes, &width);
		sum += (size_t)width;
	}
	return sum;
}

/* Bytes of a character by its first one, 0: none begins so; and the bits of the character in it. */
static size_t printable_begin(unsigned char first, uint32_t *ret_bits)
{
	size_t n = first < 0x80 ? 1 :
		   first < 0xc2 ? 0 :
		   first < 0xe0 ? 2 :
		   first < 0xf0 ? 3 :
		   first < 0xf5 ? 4 :
				  0;

	*ret_bits = n == 1 ? first : first & (0x7fu >> n);
	return n;
}

size_t printable_next(const char *text, uint32_t *ret_code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)text;
	uint32_t code;
	size_t n, i;

	if (!*s)
		return 0;
	n = printable_begin(*s, &code);
	for (i = 1; i < n && (s[i] & 0xc0) == 0x80; i++)
		code = code << 6 | (s[i] & 0x3f);
	if (!n || i < n || code < least[n] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff)) {
		*ret_code = 0xfffd;
		return 1;
	}
	*ret_code = code;
	return n;
}

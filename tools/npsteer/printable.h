/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * printable: text of other processes, made fit for a terminal or for JSON
 *
 * Names of workers are bytes that any member of a service has chosen. That a character is printable
 * for the C library does not make it harmless; those that turn the direction of a line around are.
 */
#ifndef NPSTEER_PRINTABLE_H
#define NPSTEER_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * In place, for a terminal: what the locale cannot print becomes '?', byte by byte. Never longer.
 */
void printable(char *text);
/* Columns on a terminal of what printable() has left. */
size_t printable_width(const char *text);

/*
 * printable_next() - the next character of UTF-8, whatever the locale
 *
 * Return: its bytes, 0 at the end. *ret_code is U+FFFD where they are no character: one byte then.
 */
size_t printable_next(const char *text, uint32_t *ret_code);
/* A control character, one that has no shape, or one that turns the direction around. */
bool printable_is_control(uint32_t code);

#endif

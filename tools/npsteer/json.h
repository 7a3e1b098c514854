/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * json: writes one JSON value to a stream; commas, quotes and indentation are its business
 *
 * @key is NULL inside an array and for the outermost value, and only there. the end of the
 * outermost value puts a newline: one value is one line unless pretty.
 */
#ifndef NPSTEER_JSON_H
#define NPSTEER_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *to;
	bool pretty;
	unsigned depth;
	bool empty; /* nothing has been written in the innermost object or array */
};

void json_init(struct json *j, FILE *to, bool pretty);
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_end_array(struct json *j);
void json_string(struct json *j, const char *key, const char *value); /* NULL: null */
void json_uint(struct json *j, const char *key, uint64_t value);
void json_int(struct json *j, const char *key, int64_t value);
void json_real(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);

#endif

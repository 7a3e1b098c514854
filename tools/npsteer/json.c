/* SPDX-License-Identifier: BSD-2-Clause */
/* json: a writer with no memory but how deep it is and whether a comma is due. */
#include "json.h"

#include <inttypes.h>

void json_init(struct json *j, FILE *to, bool pretty)
{
	*j = (struct json){ .to = to, .pretty = pretty, .empty = true };
}

static void newline(struct json *j)
{
	if (!j->pretty)
		return;
	fputc('\n', j->to);
	for (unsigned i = 0; i < j->depth; i++)
		fputc('\t', j->to);
}

/* Bytes above 0x7f one by one: the names are other processes' bytes, and need not be UTF-8. */
static void quoted(struct json *j, const char *value)
{
	fputc('"', j->to);
	for (const unsigned char *s = (const unsigned char *)value; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(j->to, "\\%c", *s);
		else if (*s < 0x20 || *s >= 0x7f)
			fprintf(j->to, "\\u%04x", *s);
		else
			fputc(*s, j->to);
	}
	fputc('"', j->to);
}

/* Comma, line, key: what comes before every value. */
static void before(struct json *j, const char *key)
{
	if (!j->empty)
		fputc(',', j->to);
	if (j->depth)
		newline(j);
	j->empty = false;
	if (key) {
		quoted(j, key);
		fputs(j->pretty ? ": " : ":", j->to);
	}
}

static void open_with(struct json *j, const char *key, int bracket)
{
	before(j, key);
	fputc(bracket, j->to);
	j->depth++;
	j->empty = true;
}

static void close_with(struct json *j, int bracket)
{
	j->depth--;
	if (!j->empty)
		newline(j);
	fputc(bracket, j->to);
	j->empty = false;
	if (j->depth)
		return;
	fputc('\n', j->to);
	fflush(j->to);
	j->empty = true; /* the next outermost value is a document of its own */
}

void json_object(struct json *j, const char *key)
{
	open_with(j, key, '{');
}

void json_array(struct json *j, const char *key)
{
	open_with(j, key, '[');
}

void json_end_object(struct json *j)
{
	close_with(j, '}');
}

void json_end_array(struct json *j)
{
	close_with(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
	before(j, key);
	if (value)
		quoted(j, value);
	else
		fputs("null", j->to);
}

void json_uint(struct json *j, const char *key, uint64_t value)
{
	before(j, key);
	fprintf(j->to, "%" PRIu64, value);
}

void json_int(struct json *j, const char *key, int64_t value)
{
	before(j, key);
	fprintf(j->to, "%" PRId64, value);
}

void json_real(struct json *j, const char *key, double value)
{
	before(j, key);
	fprintf(j->to, "%.3f", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	before(j, key);
	fputs(value ? "true" : "false", j->to);
}

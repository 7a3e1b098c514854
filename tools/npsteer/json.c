/* SPDX-License-Identifier: BSD-2-Clause */
/* json: a writer with no memory but how deep it is and whether a comma is due. */
#include "json.h"

#include <inttypes.h>

#include "printable.h"

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

static void escaped(struct json *j, uint32_t code)
{
	if (code >= 0x10000) /* a surrogate pair */
		fprintf(j->to, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
	else
		fprintf(j->to, "\\u%04x", code);
}

/* UTF-8, whatever the bytes were. What acts on a terminal is escaped: JSON gets looked at, too. */
static void quoted(struct json *j, const char *value)
{
	uint32_t code;
	size_t n;

	fputc('"', j->to);
	for (; (n = printable_next(value, &code)) > 0; value += n) {
		if (code == '"' || code == '\\')
			fprintf(j->to, "\\%c", (int)code);
		else if (code == 0xfffd || printable_is_control(code))
			escaped(j, code);
		else
			fwrite(value, 1, n, j->to);
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

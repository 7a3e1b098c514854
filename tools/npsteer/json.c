/* SPDX-License-Identifier: BSD-2-Clause */
/* json: a writer with no memory but how deep it is and whether a comma is due. */
#include "json.h"

#include <inttypes.h>

#include "printable.h"

void json_init(struct json *j, FILE *to, bool pretty)
{
	*j = (struct json){ .to = to, .pretty = pretty, .empty = true };
}

static void json_newline(struct json *j)
{
	if (!j->pretty)
		return;
	fputc('\n', j->to);
	for (unsigned i = 0; i < j->depth; i++)
		fputc('\t', j->to);
}

static void json_escape(struct json *j, uint32_t code)
{
	if (code >= 0x10000) /* a surrogate pair */
		fprintf(j->to, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
	else
		fprintf(j->to, "\\u%04x", code);
}

/* UTF-8, whatever the bytes were. Control characters are escaped: JSON gets looked at, too. */
static void json_quote(struct json *j, const char *value)
{
	uint32_t code;
	size_t n;

	fputc('"', j->to);
	for (; (n = printable_next(value, &code)) > 0; value += n) {
		if (code == '"' || code == '\\')
			fprintf(j->to, "\\%c", (int)code);
		else if (code == 0xfffd || printable_is_control(code))
			json_escape(j, code);
		else
			fwrite(value, 1, n, j->to);
	}
	fputc('"', j->to);
}

/* Comma, line, key: what comes before every value. */
static void json_before(struct json *j, const char *key)
{
	if (!j->empty)
		fputc(',', j->to);
	if (j->depth)
		json_newline(j);
	j->empty = false;
	if (key) {
		json_quote(j, key);
		fputs(j->pretty ? ": " : ":", j->to);
	}
}

static void json_open(struct json *j, const char *key, int bracket)
{
	json_before(j, key);
	fputc(bracket, j->to);
	j->depth++;
	j->empty = true;
}

static void json_close(struct json *j, int bracket)
{
	j->depth--;
	if (!j->empty)
		json_newline(j);
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
	json_open(j, key, '{');
}

void json_array(struct json *j, const char *key)
{
	json_open(j, key, '[');
}

void json_end_object(struct json *j)
{
	json_close(j, '}');
}

void json_end_array(struct json *j)
{
	json_close(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
	json_before(j, key);
	if (value)
		json_quote(j, value);
	else
		fputs("null", j->to);
}

void json_uint(struct json *j, const char *key, uint64_t value)
{
	json_before(j, key);
	fprintf(j->to, "%" PRIu64, value);
}

void json_int(struct json *j, const char *key, int64_t value)
{
	json_before(j, key);
	fprintf(j->to, "%" PRId64, value);
}

void json_real(struct json *j, const char *key, double value)
{
	json_before(j, key);
	fprintf(j->to, "%.3f", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	json_before(j, key);
	fputs(value ? "true" : "false", j->to);
}

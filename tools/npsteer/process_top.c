/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process_top: a process's pollers and servers, live
 *
 * What it counts comes as tables of words; what has come to them since the last look is added here,
 * as so many a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npsteer.h"
#include "process.h"
#include "table.h"

/* Of these the table shows how many a second. */
static const char *const rates[] = { "turns", "events", "mails", "accepted", "closed" };

struct look {
	char *text; /* every word ends with a zero */
	char **words;
	size_t n, cap;
	double at;
};

/* A table in it: its heads, and the rows behind them. */
struct part {
	const char *name;
	char **heads;
	size_t columns, rows;
};

static void look_add(struct look *l, char *word)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 256;
		l->words = realloc(l->words, l->cap * sizeof *l->words);
		if (!l->words)
			fail_without_memory();
	}
	l->words[l->n++] = word;
}

/*
 * A head is NAME, TAB, heads; a row begins with a TAB. Words: NAME, heads, and those of the rows;
 * NULL ends a line.
 */
static void look_split(struct look *l)
{
	char *line, *rest = l->text;

	while ((line = strsep(&rest, "\n"))) {
		char *word;

		if (!*line)
			continue;
		while ((word = strsep(&line, "\t")))
			look_add(l, word);
		look_add(l, NULL);
	}
}

static void look_free(struct look *l)
{
	free(l->text);
	free(l->words);
}

static int look_take(struct npsteer *n, struct look *ret)
{
	struct look l = { .at = seconds_now() };
	int code = process_ask(n, "top tsv", &l.text);

	if (code != DONE)
		return code;
	look_split(&l);
	*ret = l;
	return DONE;
}

static size_t look_line(const struct look *l, size_t at)
{
	size_t n = 0;

	while (at + n < l->n && l->words[at + n])
		n++;
	return n;
}

/* The table that begins at *at, which goes to what follows it. */
static bool look_next(const struct look *l, size_t *at, struct part *ret)
{
	if (*at >= l->n)
		return false;
	*ret = (struct part){ .name = l->words[*at],
			      .heads = l->words + *at + 1,
			      .columns = look_line(l, *at) - 1 };
	*at += ret->columns + 2;
	while (*at < l->n && l->words[*at] && !*l->words[*at]) {
		ret->rows++;
		*at += ret->columns + 2;
	}
	return true;
}

static const char *part_word(const struct part *p, size_t row, size_t column)
{
	return p->heads[(row + 1) * (p->columns + 2) + column];
}

static bool part_is_rate(const struct part *p, size_t column)
{
	for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
		if (!strcmp(rates[i], p->heads[column]))
			return true;
	return false;
}

/* What came a second; below 0: not known. */
static double part_rate(const struct part *now, const struct part *was, size_t row, size_t column,
			double seconds)
{
	double a, b;
	char *end;

	if (row >= was->rows || column >= was->columns || seconds <= 0)
		return -1;
	a = strtod(part_word(now, row, column), &end);
	if (*end)
		return -1;
	b = strtod(part_word(was, row, column), &end);
	return *end || b > a ? -1 : (a - b) / seconds;
}

/* ------------------------------------------------------------------ shown */

static void part_show_text(const struct part *now, const struct part *was, double seconds)
{
	struct table t;

	table_init(&t, now->columns < TABLE_COLUMNS ? now->columns : TABLE_COLUMNS);
	for (size_t c = 0; c < t.columns; c++)
		table_text(&t, "%s%s", now->heads[c], part_is_rate(now, c) ? "/s" : "");
	for (size_t r = 0; r < now->rows; r++)
		for (size_t c = 0; c < t.columns; c++) {
			double rate = part_is_rate(now, c) ? part_rate(now, was, r, c, seconds) : 0;

			if (!part_is_rate(now, c))
				table_text(&t, "%s", part_word(now, r, c));
			else if (rate < 0)
				table_text(&t, "-");
			else
				table_text(&t, "%.1f", rate);
		}
	printf("%s:\n", now->name);
	table_print(&t, stdout, "  ");
	table_fini(&t);
}

static void part_json_word(struct json *j, const char *key, const char *word)
{
	char *end;
	unsigned long long v = strtoull(word, &end, 10);

	if (!strcmp(word, "-"))
		json_string(j, key, NULL);
	else if (*end)
		json_string(j, key, word);
	else
		json_uint(j, key, v);
}

static void part_show_json(struct json *j, const struct part *now, const struct part *was,
			   double seconds)
{
	char key[64];

	json_array(j, now->name);
	for (size_t r = 0; r < now->rows; r++) {
		json_object(j, NULL);
		for (size_t c = 0; c < now->columns; c++) {
			double rate = part_is_rate(now, c) ? part_rate(now, was, r, c, seconds) :
							     -1;

			part_json_word(j, now->heads[c], part_word(now, r, c));
			if (rate < 0)
				continue;
			snprintf(key, sizeof key, "%s_per_second", now->heads[c]);
			json_real(j, key, rate);
		}
		json_end_object(j);
	}
	json_end_array(j);
}

static void process_top_show(struct npsteer *n, const struct look *now, const struct look *was)
{
	double seconds = now->at - was->at;
	struct part a, b = { 0 };
	size_t at = 0, was_at = 0;

	if (n->json) {
		answer(n);
		json_string(&n->say, "process", n->service);
		json_real(&n->say, "seconds", seconds);
	} else if (isatty(STDOUT_FILENO)) {
		fputs("\033[H\033[J", stdout);
	}
	while (look_next(now, &at, &a)) {
		look_next(was, &was_at, &b);
		if (n->json)
			part_show_json(&n->say, &a, &b, seconds);
		else
			part_show_text(&a, &b, seconds);
	}
	if (n->json)
		end_answer(n);
	fflush(stdout);
}

int process_top(struct npsteer *n, double every, long count)
{
	struct look was, now;
	int code = look_take(n, &was);

	if (code != DONE)
		return code;
	for (long i = 0; (count == 0 || i < count) && !ferror(stdout); i++) {
		pause_for(every);
		code = look_take(n, &now);
		if (code != DONE)
			break;
		process_top_show(n, &now, &was);
		look_free(&was);
		was = now;
	}
	look_free(&was);
	return code;
}

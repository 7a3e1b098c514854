/* SPDX-License-Identifier: BSD-2-Clause */
/* condition: entity tags first; dates count where there are none. */
#include "condition.h"

#include <stdio.h>
#include <string.h>

void version_init(struct version *v, const struct stat *st)
{
	time_t now = clock_now();

	v->mtime = st->st_mtim.tv_sec < now ? st->st_mtim.tv_sec : now;
	snprintf(v->etag, sizeof v->etag, "%s\"%llx-%llx-%llx\"",
		 st->st_mtim.tv_sec >= now - 1 ? "W/" : "", (unsigned long long)st->st_ino,
		 (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec * 1000000000u +
			 (unsigned long long)st->st_mtim.tv_nsec);
	date_write(v->modified, v->mtime);
	v->modified[DATE_LEN] = '\0';
}

static bool is_weak(const char *tag)
{
	return *tag == 'W';
}

/* Without what says that it is weak. */
static const char *opaque(const char *tag)
{
	return is_weak(tag) ? tag + 2 : tag;
}

bool version_is_weak(const struct version *v)
{
	return is_weak(v->etag);
}

/* The next tag of a list, which @t goes on behind. Return: whether there is one. */
static bool next_tag(struct text *t, bool *ret_weak, struct text *ret)
{
	const char *p = t->p, *end = p + t->n, *quote;

	while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
		p++;
	*ret_weak = end - p > 2 && !memcmp(p, "W/", 2);
	p += *ret_weak ? 2 : 0;
	if (p == end || *p != '"' || !(quote = memchr(p + 1, '"', (size_t)(end - p - 1))))
		return false;
	*ret = (struct text){ p, (size_t)(quote + 1 - p) };
	*t = (struct text){ quote + 1, (size_t)(end - quote - 1) };
	return true;
}

/* Whether @etag is in the list; @strong: two weak ones are not the same. */
static bool has_tag(struct text list, const char *etag, bool strong)
{
	struct text tag;
	bool weak;

	if (list.n == 1 && *list.p == '*')
		return true;
	while (next_tag(&list, &weak, &tag)) {
		if (strong && (weak || is_weak(etag)))
			continue;
		if (tag.n == strlen(opaque(etag)) && !memcmp(tag.p, opaque(etag), tag.n))
			return true;
	}
	return false;
}

int condition_status(const struct request *rq, const struct version *v)
{
	time_t t;

	if (rq->if_match.p) {
		if (!has_tag(rq->if_match, v->etag, true))
			return 412;
	} else if (rq->if_unmodified_since.p && date_read(rq->if_unmodified_since, &t) == 0 &&
		   v->mtime > t) {
		return 412;
	}
	if (rq->if_none_match.p)
		return has_tag(rq->if_none_match, v->etag, false) ? 304 : 0;
	if (rq->if_modified_since.p && date_read(rq->if_modified_since, &t) == 0 && v->mtime <= t)
		return 304;
	return 0;
}

bool condition_range(const struct request *rq, const struct version *v)
{
	time_t t;

	if (!rq->if_range.p)
		return true;
	if (memchr(rq->if_range.p, '"', rq->if_range.n))
		return has_tag(rq->if_range, v->etag, true);
	return !is_weak(v->etag) && date_read(rq->if_range, &t) == 0 && t == v->mtime;
}

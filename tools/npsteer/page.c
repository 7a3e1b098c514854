/* SPDX-License-Identifier: BSD-2-Clause */
/* page: page.html, page.css and page.js, which the Makefile turns into numbers. */
#include "page.h"

#include <string.h>

static const unsigned char page_html[] = {
#include "page.html.inc"
};

static const unsigned char page_css[] = {
#include "page.css.inc"
};

static const unsigned char page_js[] = {
#include "page.js.inc"
};

static const struct page pages[] = {
	{ "/", "text/html; charset=utf-8", page_html, sizeof page_html },
	{ "/page.css", "text/css; charset=utf-8", page_css, sizeof page_css },
	{ "/page.js", "text/javascript; charset=utf-8", page_js, sizeof page_js },
};

const struct page *page_find(const char *path)
{
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		if (!strcmp(pages[i].path, path))
			return &pages[i];
	return NULL;
}

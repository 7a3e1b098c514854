/* SPDX-License-Identifier: BSD-2-Clause */
/* media: what is not known is bytes, and "nosniff" keeps a browser from guessing. */
#include "media.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *end, *type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".css", "text/css; charset=utf-8" },
	{ ".js", "text/javascript; charset=utf-8" },
	{ ".txt", "text/plain; charset=utf-8" },
	{ ".md", "text/plain; charset=utf-8" },
	{ ".json", "application/json" },
	{ ".svg", "image/svg+xml" },
	{ ".png", "image/png" },
	{ ".jpg", "image/jpeg" },
	{ ".gif", "image/gif" },
	{ ".webp", "image/webp" },
	{ ".ico", "image/x-icon" },
	{ ".pdf", "application/pdf" },
	{ ".wasm", "application/wasm" },
	{ ".mp4", "video/mp4" },
	{ ".gz", "application/gzip" },
};

const char *media_type(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
		if (!strcasecmp(dot, types[i].end))
			return types[i].type;
	return "application/octet-stream";
}

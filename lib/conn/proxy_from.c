/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy_from: prefixes, looked through one by one; a list has a handful. */
#include "conn/proxy_from.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define FROM_SEPARATORS ", \t\n"
#define FROM_WORD_MAX   64 /* an IPv6 address and its length have 49 */

struct from_prefix {
	int family;
	unsigned bits; /* of addr; the others are zero */
	unsigned char addr[16];
};

struct proxy_from {
	unsigned n;
	struct from_prefix prefix[];
};

/* "0" to @max. */
static int from_parse_bits(const char *s, unsigned max, unsigned *ret)
{
	unsigned long n;
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	n = strtoul(s, &end, 10);
	if (*end || n > max)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

/* Whether @n leading bits of both are the same. */
static bool from_bits_agree(const unsigned char *a, const unsigned char *b, unsigned n)
{
	unsigned bytes = n / 8, rest = n % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || !((a[bytes] ^ b[bytes]) >> (8 - rest));
}

/* Behind the prefix nothing may be set. */
static bool from_is_prefix(const struct from_prefix *p)
{
	unsigned char cut[16] = { 0 };
	unsigned bytes = p->bits / 8, rest = p->bits % 8;

	memcpy(cut, p->addr, bytes);
	if (rest)
		cut[bytes] = (unsigned char)(p->addr[bytes] & (0xff << (8 - rest)));
	return !memcmp(cut, p->addr, sizeof cut);
}

/* ::ffff:192.0.2.0/120 is 192.0.2.0/24: an IPv4 source is never seen in the form of IPv6. */
static void from_unmap(struct from_prefix *p)
{
	static const unsigned char mapped[16] = { [10] = 0xff, [11] = 0xff };

	if (p->family != AF_INET6 || p->bits < 96 || !from_bits_agree(p->addr, mapped, 96))
		return;
	p->family = AF_INET;
	p->bits -= 96;
	memcpy(p->addr, p->addr + 12, 4);
}

static int from_parse_word(char *word, struct from_prefix *ret)
{
	struct from_prefix p = { .family = strchr(word, ':') ? AF_INET6 : AF_INET };
	char *slash = strchr(word, '/');
	unsigned max = p.family == AF_INET ? 32 : 128;

	if (!strcmp(word, "unix")) {
		*ret = (struct from_prefix){ .family = AF_UNIX };
		return 0;
	}
	p.bits = max;
	if (slash) {
		*slash = '\0';
		if (from_parse_bits(slash + 1, max, &p.bits) < 0)
			return -EINVAL;
	}
	if (inet_pton(p.family, word, p.addr) != 1 || !from_is_prefix(&p))
		return -EINVAL;
	from_unmap(&p);
	*ret = p;
	return 0;
}

/* The next word of *@text to @word; *@text is behind it. Return: its length, 0: there is none. */
static size_t from_next_word(const char **text, char word[FROM_WORD_MAX])
{
	const char *at = *text + strspn(*text, FROM_SEPARATORS);
	size_t n = strcspn(at, FROM_SEPARATORS), kept = n < FROM_WORD_MAX ? n : FROM_WORD_MAX - 1;

	memcpy(word, at, kept);
	word[kept] = '\0';
	*text = at + n;
	return n;
}

int proxy_from_parse(const char *text, struct proxy_from **ret)
{
	/* each word but the last has a separator behind it */
	size_t most = strlen(text) / 2 + 1, n;
	struct proxy_from *f = calloc(1, sizeof *f + most * sizeof f->prefix[0]);
	char word[FROM_WORD_MAX];
	int r = 0;

	if (!f)
		return -ENOMEM;
	while (r == 0 && (n = from_next_word(&text, word)))
		r = n < FROM_WORD_MAX ? from_parse_word(word, &f->prefix[f->n++]) : -EINVAL;
	if (r < 0 || !f->n) {
		free(f);
		return -EINVAL;
	}
	*ret = f;
	return 0;
}

void proxy_from_free(struct proxy_from *f)
{
	free(f);
}

static const unsigned char *from_address(const struct sockaddr_storage *ss)
{
	static const unsigned char none[16];

	if (ss->ss_family == AF_INET)
		return (const void *)&((const struct sockaddr_in *)ss)->sin_addr;
	if (ss->ss_family == AF_INET6)
		return ((const struct sockaddr_in6 *)ss)->sin6_addr.s6_addr;
	return none;
}

bool proxy_from_has(const struct proxy_from *f, const struct sockaddr_storage *ss)
{
	const unsigned char *addr = from_address(ss);

	for (unsigned i = 0; i < f->n; i++)
		if (f->prefix[i].family == ss->ss_family &&
		    from_bits_agree(f->prefix[i].addr, addr, f->prefix[i].bits))
			return true;
	return false;
}

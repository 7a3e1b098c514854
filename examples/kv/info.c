/* SPDX-License-Identifier: BSD-2-Clause */
/* info: all sections, whichever were asked for. */
#include "info.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "shard.h"
#include "version.h"

#define TEXT_MAX 8192

void info_take(struct shard *s, struct info_counts *ret)
{
	*ret = (struct info_counts){
		.clients = s->counts.clients,
		.connections = s->counts.connections,
		.commands = s->counts.commands,
		.refused = s->counts.refused_for_memory,
		.dropped = s->counts.dropped_subscribers,
		.expired = s->keys.expired,
		.hits = s->keys.hits,
		.misses = s->keys.misses,
		.memory = memory_used,
		.channels = s->pubsub.channels.count,
		.patterns = s->pubsub.patterns.count,
	};

	for (int i = 0; i < DATABASES; i++) {
		ret->keys[i] = s->keys.db[i].count;
		ret->ending[i] = s->keys.expiry.in_db[i];
	}
}

void info_give(struct shard *s, struct writer *w)
{
	struct info_counts c;

	info_take(s, &c);
	writer_raw(w, &c, sizeof c);
}

int info_add(struct info_counts *sum, const char *answer, size_t n)
{
	uint64_t c[sizeof *sum / sizeof(uint64_t)], all[sizeof *sum / sizeof(uint64_t)];

	memcpy(c, answer, sizeof c);
	memcpy(all, sum, sizeof all);
	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		all[i] += c[i];
	memcpy(sum, all, sizeof all);
	return 0;
}

struct info_text {
	char p[TEXT_MAX];
	size_t n;
};

static void info_say(struct info_text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void info_say(struct info_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, sizeof t->p - t->n, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof t->p - t->n)
		t->n += (size_t)n;
}

static void info_say_server(struct info_text *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	info_say(t,
		 "# Server\r\nredis_version:%s\r\nserver_name:kv\r\nredis_mode:standalone\r\n"
		 "process_id:%d\r\ntcp_port:%d\r\nuptime_in_seconds:%lld\r\nshards:%d\r\n",
		 KV_REDIS_VERSION, (int)getpid(), shards.port,
		 (long long)(now.tv_sec - shards.started_ms / 1000), shards.n);
}

static void info_say_counts(struct info_text *t, const struct info_counts *c)
{
	info_say(t, "\r\n# Clients\r\nconnected_clients:%llu\r\n", (unsigned long long)c->clients);
	info_say(t,
		 "\r\n# Memory\r\nused_memory:%llu\r\nmaxmemory:%zu\r\n"
		 "maxmemory_policy:noeviction\r\n",
		 (unsigned long long)c->memory, shards.total_memory_max);
	info_say(t,
		 "\r\n# Stats\r\ntotal_connections_received:%llu\r\n"
		 "total_commands_processed:%llu\r\nexpired_keys:%llu\r\nkeyspace_hits:%llu\r\n"
		 "keyspace_misses:%llu\r\npubsub_channels:%llu\r\npubsub_patterns:%llu\r\n"
		 "refused_for_memory:%llu\r\nclient_output_buffer_limit_disconnections:%llu\r\n",
		 (unsigned long long)c->connections, (unsigned long long)c->commands,
		 (unsigned long long)c->expired, (unsigned long long)c->hits,
		 (unsigned long long)c->misses, (unsigned long long)c->channels,
		 (unsigned long long)c->patterns, (unsigned long long)c->refused,
		 (unsigned long long)c->dropped);
}

void info_write(const struct info_counts *c, struct writer *w)
{
	struct info_text t = { .n = 0 };

	info_say_server(&t);
	info_say_counts(&t, c);
	info_say(&t, "\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
	info_say(&t, "\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n");
	for (int i = 0; i < DATABASES; i++)
		if (c->keys[i])
			info_say(&t, "db%d:keys=%llu,expires=%llu,avg_ttl=0\r\n", i,
				 (unsigned long long)c->keys[i], (unsigned long long)c->ending[i]);
	if (w->resp3) {
		writer_head(w, '=', (int64_t)t.n + 4);
		writer_text(w, "txt:");
		writer_raw(w, t.p, t.n);
		writer_text(w, "\r\n");
	} else {
		writer_bulk(w, t.p, t.n);
	}
}

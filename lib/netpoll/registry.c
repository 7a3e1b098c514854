/* SPDX-License-Identifier: BSD-2-Clause */
/* registry: a list for each kind. The only state of the library that belongs to the process. */
#include "netpoll/registry.h"

#include <pthread.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER;
/* Zeroed until one is noted. tools/gdb knows it by its name. */
static struct list registry_lists[REGISTRY_KINDS];
static unsigned registry_made[REGISTRY_KINDS];

void registry_note(enum registry_kind kind, struct noted *n)
{
	pthread_mutex_lock(&registry_lock);
	if (!registry_lists[kind].next)
		list_init(&registry_lists[kind]);
	list_append(&registry_lists[kind], &n->link);
	if (!n->nth)
		n->nth = ++registry_made[kind];
	pthread_mutex_unlock(&registry_lock);
}

void registry_forget(struct noted *n)
{
	pthread_mutex_lock(&registry_lock);
	if (n->link.next)
		list_remove(&n->link);
	n->link.next = NULL;
	pthread_mutex_unlock(&registry_lock);
}

void registry_each(enum registry_kind kind, void (*fn)(void *arg, struct noted *n), void *arg)
{
	const struct list *head = &registry_lists[kind];

	pthread_mutex_lock(&registry_lock);
	for (struct list *l = head->next; l && l != head; l = l->next)
		fn(arg, container_of(l, struct noted, link));
	pthread_mutex_unlock(&registry_lock);
}

void registry_hold_sets(void)
{
	pthread_mutex_lock(&sets_lock);
}

void registry_release_sets(void)
{
	pthread_mutex_unlock(&sets_lock);
}

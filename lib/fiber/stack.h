/* SPDX-License-Identifier: BSD-2-Clause */
/* stack: memory for a fiber, with a guard below it in which every access faults */
#ifndef FIBER_STACK_H
#define FIBER_STACK_H

#include <stdbool.h>
#include <stddef.h>

#define STACK_GUARD (64u * 1024)

struct stack {
	char *map;   /* the guard begins here */
	size_t size; /* usable bytes, above the guard */
	unsigned valgrind;
};

/* Return: 0; -ENOMEM or what mmap(2), mprotect(2) say. */
int stack_map(struct stack *s, size_t size);
void stack_unmap(struct stack *s);

static inline char *stack_bottom(const struct stack *s)
{
	return s->map + STACK_GUARD;
}

static inline char *stack_top(const struct stack *s)
{
	return s->map + STACK_GUARD + s->size;
}

#endif

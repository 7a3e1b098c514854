/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * owner: the service that a steering program is of
 *
 * It is one whose pins this user may open; of a private service, and of a program that a server has
 * brought along, none is found.
 */
#ifndef STEER_OWNER_H
#define STEER_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "netpoll/steer.h"

#define OWNER_NAME (NP_STEER_NAME_MAX + 1)

/* Whether the program number @id, 0: not known, is a service's, and which one's. */
bool owner_find(uint32_t id, char ret_name[OWNER_NAME]);

#endif

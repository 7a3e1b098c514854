/* SPDX-License-Identifier: BSD-2-Clause */
/* session: a client's connection, request after request */
#ifndef HTTP_SESSION_H
#define HTTP_SESSION_H

#include <netpoll/handlers.h>

/* For the server; their arg is a struct site. */
extern const struct np_handlers session_handlers;

#endif

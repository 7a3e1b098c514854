/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * routes: which path is answered by what
 *
 *   /hello    GET, HEAD   a short text
 *   /echo     POST, PUT   the body of the request
 *   /upload   POST, PUT   how many bytes it had
 *   /metrics  GET, HEAD   with --metrics
 *   else      GET, HEAD   a file of the folder
 *
 * OPTIONS says which methods there are.
 */
#ifndef HTTP_ROUTES_H
#define HTTP_ROUTES_H

#include "body.h"
#include "request.h"
#include "response.h"
#include "site.h"

/* routes_answer() - all of the answer but response_end(). May park. Releases the connection's input
 * where there is a body. */
void routes_answer(struct site *site, const struct request *rq, struct body *body,
		   struct response *rs);

#endif

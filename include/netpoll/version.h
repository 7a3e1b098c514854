/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * version: of the headers a program was compiled with, and of the library it runs with
 *
 * The build takes the version from here. Structs carry their size (opts.h), so that the two may
 * differ; what a program needs of a newer library it can ask for.
 */
#ifndef NETPOLL_VERSION_H
#define NETPOLL_VERSION_H

#include <netpoll/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NP_VERSION_MAJOR 0
#define NP_VERSION_MINOR 1
#define NP_VERSION_PATCH 0

/* 1.2.3 is 10203, for comparisons. */
#define NP_VERSION_NUMBER (NP_VERSION_MAJOR * 10000 + NP_VERSION_MINOR * 100 + NP_VERSION_PATCH)

#define NP_VERSION_TEXT_(n) #n
#define NP_VERSION_TEXT(n)  NP_VERSION_TEXT_(n)
#define NP_VERSION                        \
	NP_VERSION_TEXT(NP_VERSION_MAJOR) \
	"." NP_VERSION_TEXT(NP_VERSION_MINOR) "." NP_VERSION_TEXT(NP_VERSION_PATCH)

/*
 * np_version() - what NP_VERSION and NP_VERSION_NUMBER were when this library was built
 *
 * *ret_number (@ret_number may be NULL) gets the number.
 * Thread: any. May park: no. Lifetime: static text. Return: "1.2.3".
 */
NP_API const char *np_version(int *ret_number);

#ifdef __cplusplus
}
#endif
#endif

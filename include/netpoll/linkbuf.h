/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NETPOLL_LINKBUF_H
#define NETPOLL_LINKBUF_H
struct np_linkbuf;
#endif

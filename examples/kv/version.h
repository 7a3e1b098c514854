/* SPDX-License-Identifier: BSD-2-Clause */
/* version: the Redis whose commands these are: clients ask for it, to know what they may send */
#ifndef KV_VERSION_H
#define KV_VERSION_H

#define KV_REDIS_VERSION "7.0.15"

#endif

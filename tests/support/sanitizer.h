/* SPDX-License-Identifier: BSD-2-Clause */
/* sanitizer: TSAN, ASAN: the one that a program is built with. Each has a malloc(3) of its own. */
#ifndef SUPPORT_SANITIZER_H
#define SUPPORT_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define TSAN 1
#endif
#ifdef __SANITIZE_ADDRESS__
#define ASAN 1
#endif

#if defined(TSAN) || defined(ASAN)
#define OTHERS_MALLOC 1
#endif

#endif

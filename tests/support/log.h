/* SPDX-License-Identifier: BSD-2-Clause */
/* log: what the library said to np_pollers_opts.log, kept for questions. */
#ifndef SUPPORT_LOG_H
#define SUPPORT_LOG_H

/* For opts.log. Lines as "LEVEL:TEXT". */
void keep_log(void *arg, int level, const char *msg);
/* How often @text occurs. */
unsigned in_log(const char *text);
/* How often "handler @fn" occurs: a line names it by its address. */
unsigned log_names(const void *fn);

#endif

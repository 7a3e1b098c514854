/* SPDX-License-Identifier: BSD-2-Clause */
/* text: what stdio writes into memory, open_memstream(3). */
#ifndef SYS_TEXT_H
#define SYS_TEXT_H

#include <stdio.h>

/* fclose(3) of @to. 0, and *text is all of it; or -ENOMEM, and *text is freed, and NULL. */
int sys_text_close(FILE *to, char **text);

#endif

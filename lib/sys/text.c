/* SPDX-License-Identifier: BSD-2-Clause */
/* text: an end that tells whether all of it is there. */
#include "sys/text.h"

#include <errno.h>
#include <stdlib.h>

/* glibc gives the text its final size here; where that fails fclose() says 0, and there is none. */
int sys_text_close(FILE *to, char **text)
{
	if (fclose(to) == 0 && *text)
		return 0;
	free(*text);
	*text = NULL;
	return -ENOMEM;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* version: of this library; in lib/sys as status is. */
#include "netpoll/version.h"

const char *np_version(int *ret_number)
{
	if (ret_number)
		*ret_number = NP_VERSION_NUMBER;
	return NP_VERSION;
}

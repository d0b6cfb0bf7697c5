/* SPDX-License-Identifier: Apache-2.0 */
/* A netrc file: what comes of it is one header line. */
#include "fuzz.h"

#include <rouse/mem.h>
#include <rouse/netrc.h>

FUZZ(netrc)
{
	auto_free char *text = rouse_strndup((const char *)data, size);
	char *header = rouse_netrc_header(text, "https://cache.example:8443/x");

	HOLDS(!header ||
	      (strncmp(header, "Authorization: Basic ", 21) == 0 && fuzz_is_one_line(header)));
	rouse_secret_free(header);
	return 0;
}

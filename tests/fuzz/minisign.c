/* SPDX-License-Identifier: Apache-2.0 */
/* A signature of minisign: whatever it is, without the key it is not believed. */
#include "fuzz.h"

#include <rouse/mem.h>

#include "../../agent/minisign.h"

FUZZ(minisign)
{
	/* That of the corpus signs "x" by another key of this name. */
	struct rouse_key key = { .name = "minisign 79F1D536EF86D306" }, parsed;
	auto_free char *text = rouse_calloc(size + 1, 1);
	struct rouse_err e = { 0 };

	if (size)
		memcpy(text, data, size);
	if (rouse_minisign_key(&parsed, text))
		HOLDS(rouse_is_minisign_key(&parsed) && !rouse_is_key(text));
	HOLDS(rouse_minisign_check(text, &key, 1, "x", 1, NULL, &e) < 0);
	HOLDS(e.kind == ROUSE_UNTRUSTED && fuzz_is_one_line(e.text));
	return 0;
}

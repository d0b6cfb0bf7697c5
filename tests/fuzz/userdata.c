/* SPDX-License-Identifier: Apache-2.0 */
/* user-data as a cloud delivers it: gzip, base64, a pointer or a document; bounded, and never both. */
#include "fuzz.h"

#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/source.h>

FUZZ(userdata)
{
	struct rouse_found f = { .user_data = rouse_calloc(size + 1, 1), .user_data_len = size };
	struct rouse_err e = { 0 };

	if (size)
		memcpy(f.user_data, data, size);
	if (rouse_userdata_unwrap(&f, &e) < 0) {
		HOLDS(e.kind != ROUSE_OK && fuzz_is_one_line(e.text));
	} else {
		HOLDS(!f.url || !f.user_data);
		HOLDS(!f.url || rouse_is_url(f.url));
		HOLDS(!f.sha256 || (f.url && rouse_is_sha256_hex(f.sha256)));
		HOLDS(!f.user_data || f.user_data_len <= ROUSE_MAX_USERDATA);
	}
	rouse_found_done(&f);
	return 0;
}

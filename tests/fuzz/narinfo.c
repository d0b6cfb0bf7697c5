/* SPDX-License-Identifier: Apache-2.0 */
/* A narinfo: what is accepted is within its bounds, and is never believed without a key. */
#include "fuzz.h"

#include <rouse/limits.h>

#include "../../modules/closure/narinfo.h"
#include "../../modules/closure/path.h"

FUZZ(narinfo)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_buf struct rouse_buf print = { 0 };
	struct rouse_narinfo n = { 0 };
	static const struct rouse_cache caches[] = {
		{ .name = "a", .url = "https://cache" },
		{ .name = "b", .url = "s3://bucket?region=x" },
	};
	uint8_t contents[ROUSE_SHA256_LEN];
	struct rouse_err e = { 0 };

	if (rouse_narinfo_parse(&n, "x.narinfo", caches, ARRAY_SIZE(caches), 0, (const char *)data,
				size, &arena, &e) < 0) {
		HOLDS((e.kind == ROUSE_UNTRUSTED || e.kind == ROUSE_DOCUMENT) &&
		      fuzz_is_one_line(e.text));
		return 0;
	}
	HOLDS(rouse_is_store_name(n.name, strlen(n.name)) && rouse_is_nar_url(n.url));
	HOLDS(n.nar_size <= ROUSE_MAX_NAR_SIZE && n.n_references <= ROUSE_MAX_REFERENCES);
	HOLDS((unsigned)n.compression < ROUSE_COMPRESSIONS_);
	for (size_t i = 0; i < n.n_references; i++) {
		HOLDS(rouse_is_store_name(n.references[i], strlen(n.references[i])));
		HOLDS(!i || strcmp(n.references[i - 1], n.references[i]) < 0);
	}
	rouse_narinfo_fingerprint(&n, &print);
	HOLDS(print.len && fuzz_is_one_line(print.data));
	HOLDS(n.base < ARRAY_SIZE(caches) && n.file_size <= rouse_narinfo_most(n.nar_size));
	(void)rouse_narinfo_certified(&n, contents);
	HOLDS(rouse_narinfo_verify(&n, "x.narinfo", NULL, 0, &e) < 0 && e.kind == ROUSE_UNTRUSTED);
	return 0;
}

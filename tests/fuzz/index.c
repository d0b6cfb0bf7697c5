/* SPDX-License-Identifier: Apache-2.0 */
/* What channels publish: a list of store paths and what is found in it; after a first byte 'j', the
 * packages of an index; after 'b', 'x' or 'z', compressed data. */
#include "fuzz.h"

#include <rouse/closure.h>
#include <rouse/decompress.h>
#include <rouse/json.h>
#include <rouse/limits.h>

#include "../../agent/resolve.h"

static void packages(const char *text, size_t size)
{
	static const struct rouse_wanted wanted = { .version = "1*" };
	struct rouse_err e = { 0 };
	auto_json json_t *json = rouse_json_parse("packages.json", text, size, &e);
	const char *attribute = NULL;

	if (rouse_resolve_attribute(json, &wanted, "a", &attribute, &e) < 0)
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
	else
		HOLDS(json_object_get(json, attribute));
}

static void list(char *text)
{
	static const struct rouse_wanted wanted = { .version = "1*" };
	struct rouse_store_list l = { 0 };
	struct rouse_err e = { 0 };
	const char *path = NULL;

	if (rouse_store_list_parse(&l, "store-paths", text, &e) < 0) {
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
		return;
	}
	for (size_t i = 0; i < l.n; i++)
		HOLDS(rouse_store_path_label(l.paths[i]) && rouse_store_list_has(&l, l.paths[i]));
	if (rouse_resolve_listed(&l, "store-paths", &wanted, "a", &path, &e) < 0 ||
	    rouse_resolve_listed(&l, "store-paths", &wanted, NULL, &path, &e) < 0)
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
	else
		HOLDS(rouse_store_list_has(&l, path));
	rouse_store_list_done(&l);
}

static void unpack(const char *name, const uint8_t *data, size_t size)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_decompress(name, data, size, 64 * KIB, &out, &e) < 0)
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
	HOLDS(out.len <= 64 * KIB);
}

FUZZ(index)
{
	char kind = size ? (char)data[0] : '\0';
	auto_free char *text = NULL;

	if (kind == 'b' || kind == 'x' || kind == 'z') {
		unpack(kind == 'b' ? "i.br" : kind == 'x' ? "i.xz" : "i.zst", data + 1, size - 1);
		return 0;
	}
	text = rouse_calloc(size + 1, 1);
	if (size)
		memcpy(text, data, size);
	if (kind == 'j')
		packages(text + 1, size - 1);
	else
		list(take(text, NULL));
	return 0;
}

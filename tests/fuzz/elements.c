/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a profile, which its user may have written: what is accepted keeps its bounds, and
 * survives being merged with what a document wants. */
#include "fuzz.h"

#include <rouse/json.h>
#include <rouse/limits.h>

#include "../../modules/closure/conf.h"
#include "../../modules/closure/elements.h"

#define STORE "/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-"

FUZZ(elements)
{
	static struct closure_pin wanted[] = { { .key = "a", .path = STORE "a-2" },
					       { .key = "c", .path = STORE "c" } };
	static struct rouse_pair made[] = { { STORE "a", "a" }, { STORE "b", "b" } };
	const struct rouse_list wants = { 2, wanted }, ours = { 2, made };
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *json = NULL, *again = NULL;
	struct rouse_elements m = { 0 }, next, read = { 0 };
	struct rouse_element_step *steps;
	auto_free char *text = NULL;
	struct rouse_err e = { 0 };
	size_t n = 0;

	if (rouse_elements_parse(&m, "manifest.json", (const char *)data, size, &arena, &json, &e) <
	    0) {
		HOLDS(e.kind == ROUSE_SYSTEM && fuzz_is_one_line(e.text));
		return 0;
	}
	HOLDS(m.version >= 1 && m.version <= 3 && m.n <= ROUSE_MAX_ELEMENTS);
	next = rouse_elements_merge(&m, &ours, &wants, &arena, &steps, &n);
	HOLDS(next.n <= m.n + 2 && n <= m.n + 2);
	text = rouse_elements_print(&next);
	if (next.n > ROUSE_MAX_ELEMENTS)
		return 0;
	HOLDS(rouse_elements_parse(&read, "again", text, strlen(text), &arena, &again, &e) == 0);
	HOLDS(read.n == next.n && read.version == next.version);
	return 0;
}

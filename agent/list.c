/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of strings, as documents and facts hold them. */
#include <rouse/schema.h>

#include <rouse/text.h>

const char *rouse_list_join(struct rouse_arena *arena, const struct rouse_list *list,
			    const char *between)
{
	const char *const *item = list->items;
	auto_buf struct rouse_buf out = { 0 };

	for (size_t i = 0; i < list->n; i++)
		rouse_buf_printf(&out, "%s%s", i ? between : "", item[i]);
	return out.len ? rouse_arena_strdup(arena, out.data) : NULL;
}

bool rouse_list_has(const struct rouse_list *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++)
		if (rouse_streq(((const char *const *)list->items)[i], text))
			return true;
	return false;
}

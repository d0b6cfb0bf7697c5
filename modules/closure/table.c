/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "path.h"

void rouse_paths_done(struct rouse_paths *p)
{
	free(p->items);
	free(p->slots);
	rouse_arena_done(&p->arena);
	*p = (struct rouse_paths){ 0 };
}

/* FNV-1a, begun at a random number. */
static uint64_t hash(const struct rouse_paths *p, const char *name)
{
	uint64_t h = p->seed;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

/* The slot that holds `name`, or the free one where it belongs. */
static size_t slot_of(const struct rouse_paths *p, const char *name)
{
	size_t i = (size_t)hash(p, name) & (p->n_slots - 1);

	while (p->slots[i] && strcmp(p->items[p->slots[i] - 1]->name, name) != 0)
		i = (i + 1) & (p->n_slots - 1);
	return i;
}

struct rouse_path *rouse_paths_find(const struct rouse_paths *p, const char *name)
{
	uint32_t slot = p->n_slots ? p->slots[slot_of(p, name)] : 0;

	return slot ? p->items[slot - 1] : NULL;
}

bool rouse_paths_index(const struct rouse_paths *p, const char *name, size_t *ret)
{
	uint32_t slot = p->n_slots ? p->slots[slot_of(p, name)] : 0;

	if (slot)
		*ret = slot - 1;
	return slot != 0;
}

static void grow(struct rouse_paths *p)
{
	if (!p->size)
		p->seed = rouse_jitter(UINT64_MAX);
	p->size = p->size ? 2 * p->size : 256;
	p->items = rouse_realloc(p->items, p->size, sizeof(struct rouse_path *));
	free(p->slots);
	p->n_slots = 2 * p->size; /* a power of two; at most half full */
	p->slots = rouse_calloc(p->n_slots, sizeof(*p->slots));
	for (size_t i = 0; i < p->n; i++)
		p->slots[slot_of(p, p->items[i]->name)] = (uint32_t)(i + 1);
}

struct rouse_path *rouse_paths_add(struct rouse_paths *p, const char *name)
{
	struct rouse_path *path = rouse_paths_find(p, name);

	if (path)
		return path;
	if (p->n == p->size)
		grow(p);
	path = rouse_arena_alloc(&p->arena, sizeof(*path));
	path->name = rouse_arena_strdup(&p->arena, name);
	p->slots[slot_of(p, name)] = (uint32_t)(p->n + 1);
	p->items[p->n++] = path;
	return path;
}

void rouse_path_copy(struct rouse_paths *p, struct rouse_path *to, const struct rouse_path *from)
{
	to->known = true;
	memcpy(to->nar_hash, from->nar_hash, sizeof(to->nar_hash));
	to->nar_size = from->nar_size;
	to->deriver = from->deriver ? rouse_arena_strdup(&p->arena, from->deriver) : NULL;
	to->n_references = from->n_references;
	to->references = rouse_arena_alloc(&p->arena,
					   (from->n_references + 1) * sizeof(*to->references));
	for (size_t i = 0; i < from->n_references; i++)
		to->references[i] = rouse_arena_strdup(&p->arena, from->references[i]);
}

void rouse_path_print(const struct rouse_path *path, struct rouse_buf *out)
{
	char hex[2 * ROUSE_SHA256_LEN + 1];

	rouse_hex(hex, path->nar_hash, sizeof(path->nar_hash));
	rouse_buf_printf(out, ROUSE_STORE_PREFIX "%s\n%s\n%llu\n%s%s\n%zu\n", path->name, hex,
			 (unsigned long long)path->nar_size,
			 path->deriver ? ROUSE_STORE_PREFIX : "",
			 path->deriver ? path->deriver : "", path->n_references);
	for (size_t i = 0; i < path->n_references; i++)
		rouse_buf_printf(out, ROUSE_STORE_PREFIX "%s\n", path->references[i]);
}

/* The next line without its newline; NULL at the end of the text. */
static char *next_line(char **text)
{
	char *line = *text, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return line;
}

static bool parse_references(struct rouse_paths *p, struct rouse_path *path, uint64_t n,
			     char **text)
{
	path->references = rouse_arena_alloc(&p->arena, (n + 1) * sizeof(*path->references));
	for (uint64_t i = 0; i < n; i++) {
		char *line = next_line(text);
		const char *name = line ? rouse_store_name(line) : NULL;

		if (!name)
			return false;
		path->references[i] = rouse_arena_strdup(&p->arena, name);
	}
	path->n_references = n;
	return true;
}

static bool parse_one(struct rouse_paths *p, char **text)
{
	const char *store_path = next_line(text), *hex = next_line(text), *size = next_line(text),
		   *deriver = next_line(text), *count = next_line(text);
	const char *name = store_path ? rouse_store_name(store_path) : NULL;
	struct rouse_path *path;
	uint64_t n = 0;

	if (!name || !count || !rouse_parse_u64(count, ROUSE_MAX_REFERENCES, &n))
		return false;
	path = rouse_paths_add(p, name);
	if (!rouse_unhex(path->nar_hash, sizeof(path->nar_hash), hex) ||
	    !rouse_parse_u64(size, ROUSE_MAX_NAR_SIZE, &path->nar_size))
		return false;
	deriver = *deriver ? rouse_store_name(deriver) : NULL;
	path->deriver = deriver ? rouse_arena_strdup(&p->arena, deriver) : NULL;
	path->known = parse_references(p, path, n, text);
	return path->known;
}

int rouse_paths_parse(struct rouse_paths *p, const char *where, char *text, struct rouse_err *e)
{
	while (*text)
		if (!parse_one(p, &text))
			return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is damaged", where);
	return 0;
}

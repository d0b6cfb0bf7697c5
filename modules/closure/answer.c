/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#include "nix32.h"
#include "path.h"

/* What a root must hash to; NULL when the path is no pinned root. */
static const char *pin_of(const struct rouse_closure *c, const char *name)
{
	for (size_t i = 0; i < c->spec->n_roots; i++)
		if (rouse_streq(rouse_store_name(c->spec->roots[i].path), name) &&
		    c->spec->roots[i].nar_hash)
			return c->spec->roots[i].nar_hash;
	return NULL;
}

bool rouse_pin_matches(const struct rouse_pin *pin, const uint8_t hash[static ROUSE_SHA256_LEN])
{
	uint8_t want[ROUSE_SHA256_LEN];

	return !pin->nar_hash ||
	       (rouse_nar_hash_parse(pin->nar_hash, want) && memcmp(want, hash, sizeof(want)) == 0);
}

bool rouse_answer_is_pinned(const struct rouse_closure *c, const char *name,
			    const uint8_t hash[static ROUSE_SHA256_LEN])
{
	const struct rouse_pin pin = { .nar_hash = pin_of(c, name) };

	return rouse_pin_matches(&pin, hash);
}

static int check(struct rouse_answer *a, const char *where)
{
	const struct rouse_closure_spec *spec = a->spec;
	const struct rouse_narinfo *n = &a->info;

	a->result = ROUSE_ANSWER_WRONG;
	if (rouse_narinfo_parse(&a->info, where, spec->caches, spec->n_caches, a->cache,
				a->text.data ? a->text.data : "", a->text.len, &a->arena,
				&a->why) < 0)
		return -1;
	if (!rouse_streq(n->name, a->name))
		return rouse_fail(&a->why, ROUSE_UNTRUSTED, 0,
				  "'%s' answers for '%s%s' with '%s%s'", where, ROUSE_STORE_PREFIX,
				  a->name, ROUSE_STORE_PREFIX, n->name);
	a->result = ROUSE_ANSWER_UNSIGNED;
	if (rouse_narinfo_verify(n, where, spec->keys, spec->n_keys, &a->why) < 0)
		return -1;
	a->result = ROUSE_ANSWER_GOOD;
	return 0;
}

void rouse_answer_check(struct rouse_answer *a)
{
	char where[1024];

	(void)check(a, rouse_print_url(where, sizeof(where), a->url));
	rouse_buf_done(&a->text);
}

void rouse_answer_done(struct rouse_answer *a)
{
	rouse_buf_done(&a->text);
	rouse_arena_done(&a->arena);
}

/* Who answers for what is said of a path. */
struct origin {
	bool claimed; /* one cache alone: nothing but the name of the path was certified */
	const uint8_t *contents; /* the SHA-256 of its one file, by its name; else NULL */
};

/* Demands a signature, or a name that is the content's address: then what else is said of it is the word
 * of this cache alone. */
static int verify_origin(struct rouse_closure *c, const struct rouse_answer *a, const char *where,
			 struct origin *ret, struct rouse_err *e)
{
	const struct rouse_narinfo *n = &a->info;
	uint8_t hash[ROUSE_SHA256_LEN];
	enum rouse_certified how;

	*ret = (struct origin){ 0 };
	if (a->result == ROUSE_ANSWER_GOOD)
		return 0;
	how = rouse_narinfo_certified(n, hash);
	if (how == ROUSE_NOT_CERTIFIED) {
		*e = a->why;
		return -1;
	}
	if (c->bytes + n->nar_size > ROUSE_MAX_CLOSURE_SIZE)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'%s' claims a size beyond all bounds for '%s%s'", where,
				  ROUSE_STORE_PREFIX, n->name);
	ret->claimed = true;
	if (how == ROUSE_CERTIFIED_FILE) {
		uint8_t *copy = rouse_arena_alloc(&c->paths.arena, sizeof(hash));

		memcpy(copy, hash, sizeof(hash));
		ret->contents = copy;
	}
	return 0;
}

static int verify(struct rouse_closure *c, struct rouse_path *p, const struct rouse_answer *a,
		  const char *where, struct rouse_err *e)
{
	const struct rouse_narinfo *n = &a->info;
	struct origin origin;

	if (verify_origin(c, a, where, &origin, e) < 0)
		return -1;
	if (!rouse_answer_is_pinned(c, p->name, n->nar_hash)) {
		char hash[ROUSE_NAR_HASH_TEXT];

		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'%s%s' in '%s' has the hash '%s', and '%s' is pinned",
				  ROUSE_STORE_PREFIX, p->name, where,
				  rouse_nar_hash_print(hash, n->nar_hash), pin_of(c, p->name));
	}
	p->claimed = origin.claimed;
	p->contents = origin.contents;
	return 0;
}

static bool same_content(const struct rouse_path *p, const struct rouse_narinfo *n)
{
	return p->nar_size == n->nar_size &&
	       memcmp(p->nar_hash, n->nar_hash, sizeof(p->nar_hash)) == 0;
}

static bool same_references(const struct rouse_path *p, const struct rouse_narinfo *n)
{
	if (p->n_references != n->n_references)
		return false;
	for (size_t i = 0; i < n->n_references; i++)
		if (!rouse_streq(p->references[i], n->references[i]))
			return false;
	return true;
}

/* Keeps what is of use and no more: a narinfo may be padded to a megabyte, and there are thousands. */
static void accept(struct rouse_closure *c, struct rouse_path *p, const struct rouse_narinfo *n)
{
	struct rouse_paths *paths = &c->paths;
	struct rouse_path from = {
		.nar_size = n->nar_size,
		.deriver = n->deriver,
		.references = n->references,
		.n_references = n->n_references,
	};

	memcpy(from.nar_hash, n->nar_hash, sizeof(from.nar_hash));
	rouse_path_copy(paths, p, &from);
	p->url = rouse_arena_strdup(&paths->arena, n->url);
	p->base = (unsigned)n->base;
	p->compression = n->compression;
	p->file_size = n->file_size;
	p->file_hash = NULL;
	/* Nobody vouches for it, and a pull does without. Who asks whether a cache is right wants to know. */
	if (c->spec->all_problems && n->file_hash) {
		uint8_t *copy = rouse_arena_alloc(&paths->arena, ROUSE_SHA256_LEN);

		memcpy(copy, n->file_hash, ROUSE_SHA256_LEN);
		p->file_hash = copy;
	}
}

/* "StoreDir: /x" in a cache that was made for another store. */
int rouse_answer_info(const struct rouse_cache *cache, const struct rouse_buf *text,
		      struct rouse_err *e)
{
	const char *p = text->data ? text->data : "";

	while (*p) {
		size_t len = strcspn(p, "\n");
		const char *value = rouse_strip_prefix(p, "StoreDir:");

		if (value) {
			size_t n;

			value += strspn(value, " \t");
			n = strcspn(value, " \t\r\n");
			if (n != strlen(ROUSE_STORE_DIR) ||
			    strncmp(value, ROUSE_STORE_DIR, n) != 0) {
				char url[256];

				return rouse_fail(e, ROUSE_DOCUMENT, 0,
						  "the cache '%s' is for the store '%.*s'",
						  rouse_print_url(url, sizeof(url), cache->url),
						  (int)(n < 200 ? n : 200), value);
			}
		}
		p += len + (p[len] == '\n');
	}
	return 0;
}

int rouse_answer_take(struct rouse_closure *c, struct rouse_path *p, const struct rouse_answer *a,
		      struct rouse_err *e)
{
	const struct rouse_narinfo *n = &a->info;
	char where[1024];

	if (a->result == ROUSE_ANSWER_WRONG) {
		*e = a->why;
		return -1;
	}
	(void)rouse_print_url(where, sizeof(where), a->url);
	/* Of a path that is known, another cache may have another build, signed as well; the rest of the closure
	 * stays as it is. What is the same needs no signature of its own. */
	if (p->known && (!same_references(p, n) || (!same_content(p, n) && p->exact)))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s%s' is another build in '%s'",
				  ROUSE_STORE_PREFIX, p->name, where);
	if ((!p->known || p->claimed || !same_content(p, n)) && verify(c, p, a, where, e) < 0)
		return -1;
	accept(c, p, n);
	return 0;
}

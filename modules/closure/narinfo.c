/* SPDX-License-Identifier: Apache-2.0 */
#include "narinfo.h"

#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#include "nix32.h"
#include "path.h"

static const char *const compressions[] = {
	[ROUSE_COMPRESSION_NONE] = "none",   [ROUSE_COMPRESSION_ZSTD] = "zstd",
	[ROUSE_COMPRESSION_XZ] = "xz",       [ROUSE_COMPRESSION_GZIP] = "gzip",
	[ROUSE_COMPRESSION_BZIP2] = "bzip2", [ROUSE_COMPRESSION_BROTLI] = "br",
};
_Static_assert(ARRAY_SIZE(compressions) == ROUSE_COMPRESSIONS_, "a word for each compression");

const char *rouse_compression_word(enum rouse_compression c)
{
	return compressions[c];
}

enum key {
	KEY_STORE_PATH,
	KEY_URL,
	KEY_COMPRESSION,
	KEY_FILE_HASH,
	KEY_FILE_SIZE,
	KEY_NAR_HASH,
	KEY_NAR_SIZE,
	KEY_REFERENCES,
	KEY_DERIVER,
	KEY_CA,
	KEY_SIG,
	KEYS_,
};
static const char *const keys_text[] = {
	[KEY_STORE_PATH] = "StorePath",
	[KEY_URL] = "URL",
	[KEY_COMPRESSION] = "Compression",
	[KEY_FILE_HASH] = "FileHash",
	[KEY_FILE_SIZE] = "FileSize",
	[KEY_NAR_HASH] = "NarHash",
	[KEY_NAR_SIZE] = "NarSize",
	[KEY_REFERENCES] = "References",
	[KEY_DERIVER] = "Deriver",
	[KEY_CA] = "CA",
	[KEY_SIG] = "Sig",
};
_Static_assert(ARRAY_SIZE(keys_text) == KEYS_, "a word for each key");

struct parser {
	struct rouse_narinfo *n;
	const char *where;
	const struct rouse_cache *caches;
	size_t n_caches, own;
	struct rouse_arena *arena;
	bool seen[KEYS_];
};

static int malformed(const struct parser *p, struct rouse_err *e, const char *what,
		     const char *value)
{
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' is no valid narinfo: %s '%.100s'", p->where,
			  what, value);
}

static bool is_visible(unsigned char c)
{
	return c > ' ' && c < 0x7f;
}

/* "%2e", "%2f": a ".." or a "/" that is hidden from us, and not from the server. */
static bool hides(const char *escape)
{
	static const char *const hiding[] = { "%2e", "%2f", "%5c", "%00" };

	for (size_t i = 0; i < ARRAY_SIZE(hiding); i++)
		if (strncasecmp(escape, hiding[i], 3) == 0)
			return true;
	return false;
}

static bool is_plain_segment(const char *s, size_t n)
{
	if (n == 2 && memcmp(s, "..", 2) == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_visible((unsigned char)s[i]) || strchr("\\#:@<>\"{}|^`", s[i]) ||
		    hides(s + i))
			return false;
	return true;
}

/* A relative path, and maybe a query, of which only the server knows what it means. */
bool rouse_is_nar_url(const char *url)
{
	const char *s = url;
	size_t n;

	if (!*url || strlen(url) > 1024 || *url == '/')
		return false;
	do {
		n = strcspn(s, "/?");
		if (!is_plain_segment(s, n))
			return false;
		s += n + 1;
	} while (s[-1] == '/');
	if (s[-1] == '\0')
		return true;
	while (is_visible((unsigned char)*s) && *s != '#')
		s++;
	return *s == '\0';
}

/* What an absolute URL is relative to a cache; NULL when it is not below it. */
static const char *below(const char *url, const char *cache)
{
	size_t n = strcspn(cache, "?");

	while (n && cache[n - 1] == '/')
		n--;
	return strncmp(url, cache, n) == 0 && url[n] == '/' ? url + n + 1 : NULL;
}

/* An absolute URL may lead to a cache that the document has, and nowhere else. */
static int take_url(struct parser *p, const char *v, struct rouse_err *e)
{
	const char *rest = v;

	p->n->base = p->own;
	if (strstr(v, "://")) {
		rest = below(v, p->caches[p->own].url);
		for (size_t i = 0; !rest && i < p->n_caches; i++)
			if ((rest = below(v, p->caches[i].url)))
				p->n->base = i;
	}
	if (!rest || !rouse_is_nar_url(rest))
		return malformed(p, e, "a URL outside of the caches or not a plain one,", v);
	p->n->url = rest;
	return 0;
}

bool rouse_compression_parse(const char *word, enum rouse_compression *ret)
{
	for (size_t i = 0; i < ROUSE_COMPRESSIONS_; i++)
		if (rouse_streq(word, compressions[i])) {
			*ret = (enum rouse_compression)i;
			return true;
		}
	return false;
}

/* An absent or empty one means bzip2, as it did when Nix knew no other. */
static int take_compression(struct parser *p, const char *v, struct rouse_err *e)
{
	if (rouse_compression_parse(*v ? v : "bzip2", &p->n->compression))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "'%s': the archive is compressed with '%.40s'; only zstd, xz, gzip, "
			  "bzip2, br and none are read",
			  p->where, v);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int take_references(struct parser *p, char *v, struct rouse_err *e)
{
	size_t n = 0, kept = 0;
	const char **refs;
	char *save = NULL;

	for (const char *c = v; *c; c++)
		n += *c == ' ';
	if (n >= ROUSE_MAX_REFERENCES)
		return malformed(p, e, "more references than", "16384");
	refs = rouse_arena_alloc(p->arena, (n + 1) * sizeof(*refs));
	n = 0;
	for (char *r = strtok_r(v, " ", &save); r; r = strtok_r(NULL, " ", &save)) {
		if (!rouse_is_store_name(r, strlen(r)))
			return malformed(p, e, "not the name of a store path:", r);
		refs[n++] = r;
	}
	qsort(refs, n, sizeof(*refs), by_bytes);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(refs[kept - 1], refs[i]) != 0)
			refs[kept++] = refs[i];
	p->n->references = refs;
	p->n->n_references = kept;
	return 0;
}

static int take_signature(struct parser *p, const char *v, struct rouse_err *e)
{
	/* Every path has a handful; growing by one keeps this simple. */
	const char **more;

	if (p->n->n_signatures >= ROUSE_MAX_SIGNATURES)
		return malformed(p, e, "too many signatures, at", v);
	more = rouse_arena_alloc(p->arena, (p->n->n_signatures + 1) * sizeof(*more));
	for (size_t i = 0; i < p->n->n_signatures; i++)
		more[i] = p->n->signatures[i];
	more[p->n->n_signatures++] = v;
	p->n->signatures = more;
	return 0;
}

static int take_number(struct parser *p, const char *v, uint64_t max, uint64_t *ret,
		       struct rouse_err *e)
{
	return rouse_parse_u64(v, max, ret) ? 0 : malformed(p, e, "not a size within bounds:", v);
}

static int take_deriver(struct parser *p, const char *v, struct rouse_err *e)
{
	if (!*v || rouse_streq(v, "unknown-deriver"))
		return 0;
	if (!rouse_is_store_name(v, strlen(v)))
		return malformed(p, e, "not the name of a deriver:", v);
	p->n->deriver = v;
	return 0;
}

/* "text:sha256:…", "fixed:[r:|git:]ALGORITHM:…": whether it is true is seen elsewhere. */
static int take_ca(struct parser *p, const char *v, struct rouse_err *e)
{
	static const char *const methods[] = { "text:",         "fixed:r:sha", "fixed:r:md5:",
					       "fixed:git:sha", "fixed:sha",   "fixed:md5:" };
	bool known = !*v;

	for (size_t i = 0; i < ARRAY_SIZE(methods) && !known; i++)
		known = rouse_strip_prefix(v, methods[i]) != NULL;
	if (!known)
		return malformed(p, e, "CA is not a content address:", v);
	p->n->ca = *v ? v : NULL;
	return 0;
}

static int take_value(struct parser *p, enum key key, char *v, struct rouse_err *e)
{
	uint8_t *hash;

	switch (key) {
	case KEY_STORE_PATH:
		p->n->name = rouse_store_name(v);
		return p->n->name ? 0 : malformed(p, e, "not a store path:", v);
	case KEY_URL:
		return take_url(p, v, e);
	case KEY_COMPRESSION:
		return take_compression(p, v, e);
	case KEY_FILE_HASH:
		p->n->file_hash = hash = rouse_arena_alloc(p->arena, ROUSE_SHA256_LEN);
		return rouse_nar_hash_parse(v, hash)
			       ? 0
			       : malformed(p, e, "FileHash is not a SHA-256:", v);
	case KEY_FILE_SIZE:
		return take_number(p, v, UINT64_MAX, &p->n->file_size, e);
	case KEY_NAR_HASH:
		return rouse_nar_hash_parse(v, p->n->nar_hash)
			       ? 0
			       : malformed(p, e, "not a SHA-256:", v);
	case KEY_NAR_SIZE:
		return take_number(p, v, ROUSE_MAX_NAR_SIZE, &p->n->nar_size, e);
	case KEY_REFERENCES:
		return take_references(p, v, e);
	case KEY_DERIVER:
		return take_deriver(p, v, e);
	case KEY_CA:
		return take_ca(p, v, e);
	case KEY_SIG:
		return take_signature(p, v, e);
	case KEYS_:
		break;
	}
	return 0;
}

static int take_line(struct parser *p, char *line, struct rouse_err *e)
{
	char *colon = strchr(line, ':');
	char *value;

	if (!colon)
		return malformed(p, e, "a line without a colon,", line);
	*colon = '\0';
	value = colon + 1;
	if (*value && *value != ' ')
		return malformed(p, e, "no blank behind the colon of", line);
	if (*value)
		value++;
	for (enum key k = 0; k < KEYS_; k++) {
		if (strcmp(line, keys_text[k]) != 0)
			continue;
		if (p->seen[k] && k != KEY_SIG)
			return malformed(p, e, "two lines of", line);
		p->seen[k] = true;
		return take_value(p, k, value, e);
	}
	return 0;
}

uint64_t rouse_narinfo_most(uint64_t nar_size)
{
	return nar_size + nar_size / 64 + MIB;
}

int rouse_narinfo_parse(struct rouse_narinfo *ret, const char *where,
			const struct rouse_cache *caches, size_t n_caches, size_t own,
			const char *text, size_t len, struct rouse_arena *arena,
			struct rouse_err *e)
{
	struct rouse_narinfo n = { 0 };
	struct parser p = { .n = &n,
			    .where = where,
			    .caches = caches,
			    .n_caches = n_caches,
			    .own = own,
			    .arena = arena };
	static const enum key required[] = { KEY_STORE_PATH, KEY_URL, KEY_NAR_HASH, KEY_NAR_SIZE };
	char *copy, *line, *end;

	if (len > ROUSE_MAX_NARINFO)
		return malformed(&p, e, "larger than", "1 MiB");
	if (!len || text[len - 1] != '\n' || memchr(text, '\0', len))
		return malformed(&p, e,
				 "cut off or not text:", len ? "no newline at the end" : "empty");
	copy = rouse_arena_strndup(arena, text, len);
	for (line = copy; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (take_line(&p, line, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (!p.seen[required[i]])
			return malformed(&p, e, "there is no", keys_text[required[i]]);
	if (!n.nar_size)
		return malformed(&p, e, "NarSize is", "0");
	if (n.file_size > rouse_narinfo_most(n.nar_size))
		return malformed(&p, e, "FileSize is far beyond", "NarSize");
	if (!p.seen[KEY_COMPRESSION] && take_compression(&p, "", e) < 0)
		return -1;
	*ret = n;
	return 0;
}

void rouse_narinfo_fingerprint(const struct rouse_narinfo *n, struct rouse_buf *out)
{
	char hash[ROUSE_NAR_HASH_TEXT];

	rouse_buf_printf(out, "1;" ROUSE_STORE_PREFIX "%s;%s;%llu;", n->name,
			 rouse_nar_hash_print(hash, n->nar_hash), (unsigned long long)n->nar_size);
	for (size_t i = 0; i < n->n_references; i++)
		rouse_buf_printf(out, "%s" ROUSE_STORE_PREFIX "%s", i ? "," : "", n->references[i]);
}

/* Appends ":/nix/store/…" for each reference; false when it references itself. */
static bool add_references(const struct rouse_narinfo *n, struct rouse_buf *type)
{
	for (size_t i = 0; i < n->n_references; i++) {
		if (rouse_streq(n->references[i], n->name))
			return false;
		rouse_buf_printf(type, ":" ROUSE_STORE_PREFIX "%s", n->references[i]);
	}
	return true;
}

static bool is_named(const struct rouse_narinfo *n, const char *type,
		     const uint8_t hash[static ROUSE_SHA256_LEN])
{
	char name[ROUSE_STORE_NAME_SIZE];

	rouse_store_name_of(name, type, hash, n->name + ROUSE_HASH_PART + 1);
	return rouse_streq(name, n->name);
}

/* A file as fetchurl makes it: its name is made of the hash of a text that has its hash. */
static bool is_named_flat(const struct rouse_narinfo *n,
			  const uint8_t hash[static ROUSE_SHA256_LEN])
{
	char hex[2 * ROUSE_SHA256_LEN + 1];
	auto_free char *text = NULL;
	uint8_t outer[ROUSE_SHA256_LEN];

	rouse_hex(hex, hash, ROUSE_SHA256_LEN);
	text = rouse_asprintf("fixed:out:sha256:%s:", hex);
	rouse_sha256_of(text, strlen(text), outer);
	return !n->n_references && is_named(n, "output:out", outer);
}

enum rouse_certified rouse_narinfo_certified(const struct rouse_narinfo *n,
					     uint8_t ret_contents[static ROUSE_SHA256_LEN])
{
	auto_buf struct rouse_buf type = { 0 };
	const char *tree = n->ca ? rouse_strip_prefix(n->ca, "fixed:r:") : NULL;
	const char *text = n->ca ? rouse_strip_prefix(n->ca, "text:") : NULL;
	const char *flat = n->ca && !tree ? rouse_strip_prefix(n->ca, "fixed:") : NULL;
	const char *hash = tree ? tree : text ? text : flat;

	if (!hash || !rouse_nar_hash_parse(hash, ret_contents))
		return ROUSE_NOT_CERTIFIED;
	if (flat)
		return is_named_flat(n, ret_contents) ? ROUSE_CERTIFIED_FILE : ROUSE_NOT_CERTIFIED;
	rouse_buf_printf(&type, tree ? "source" : "text");
	if (!add_references(n, &type) || !is_named(n, type.data, ret_contents))
		return ROUSE_NOT_CERTIFIED;
	if (text)
		return ROUSE_CERTIFIED_FILE;
	return memcmp(ret_contents, n->nar_hash, ROUSE_SHA256_LEN) == 0 ? ROUSE_CERTIFIED_TREE
									: ROUSE_NOT_CERTIFIED;
}

int rouse_narinfo_verify(const struct rouse_narinfo *n, const char *where,
			 const struct rouse_key *keys, size_t n_keys, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (!n->n_signatures)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'" ROUSE_STORE_PREFIX "%s' is not signed in '%s'", n->name,
				  where);
	rouse_narinfo_fingerprint(n, &text);
	if (rouse_signature_check(n->signatures, n->n_signatures, keys, n_keys, text.data, text.len,
				  NULL, e) < 0)
		return rouse_wrap(e, "'" ROUSE_STORE_PREFIX "%s' in '%s'", n->name, where);
	return 0;
}

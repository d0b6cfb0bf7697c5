/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/limits.h>

#include "../../modules/closure/pinned.h"

#define A "0123456789abcdfghijklmnpqrsvwxyz-a"
#define B "1123456789abcdfghijklmnpqrsvwxyz-b"
#define HASH "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* Two paths, of which the first may be said otherwise. */
#define ENTRY(path_, hash_, size_, references_, url_, compression_, more_)                         \
	"{\"path\": \"/nix/store/" path_ "\", \"narHash\": \"" hash_ "\", \"narSize\": " size_     \
	", \"references\": [" references_ "], \"url\": \"" url_                                    \
	"\", \"compression\": \"" compression_ "\"" more_ "}"
#define SECOND ENTRY(B, HASH, "7", "", "nar/b.nar.xz", "xz", "")
#define TEXT(store_, caches_, entries_)                                                            \
	"{\"rouseManifest\": 1, \"storeDir\": \"" store_ "\", \"roots\": [\"/nix/store/" A         \
	"\"], \"caches\": [" caches_ "], \"paths\": [" entries_ "]}"
#define GOOD                                                                                       \
	TEXT("/nix/store", "\"https://a\", \"https://b\"",                                         \
	     ENTRY(A, HASH, "120", "\"/nix/store/" B "\"", "nar/a.nar", "none",                    \
		   ", \"cache\": 1, \"fileSize\": 9") ", " SECOND)

struct fixture {
	struct rouse_arena arena;
	struct rouse_paths paths;
	const char *const *caches;
	size_t n;
	struct rouse_err e;
};

static void fixture_auto(struct fixture *f)
{
	rouse_arena_done(&f->arena);
	rouse_paths_done(&f->paths);
}
#define auto_fixture __attribute__((cleanup(fixture_auto)))

static int parse(struct fixture *f, const char *text)
{
	return rouse_pinned_parse(&f->paths, "test", text, strlen(text), &f->arena, &f->caches,
				  &f->n, &f->e);
}

static void manifest_reads_every_field(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	const struct rouse_path *p;

	T_CHECK(t, parse(&f, GOOD) == 0);
	T_CHECK(t, f.n == 2 && f.paths.n == 2);
	T_STR(t, f.caches[1], "https://b");
	p = rouse_paths_find(&f.paths, A);
	T_CHECK(t, p && p->known && p->nar_size == 120 && p->file_size == 9 && p->cache == 1);
	T_CHECK(t, p->compression == ROUSE_COMPRESSION_NONE && p->n_references == 1);
	T_STR(t, p->references[0], B);
	T_STR(t, p->url, "nar/a.nar");
	p = rouse_paths_find(&f.paths, B);
	T_CHECK(t, p && p->compression == ROUSE_COMPRESSION_XZ && p->cache == 0);
}

static void manifest_refuses_what_is_not_one(struct t *t)
{
	static const char *const texts[][2] = {
		{ "", "test" },
		{ "{}", "rouseManifest" },
		{ TEXT("/gnu/store", "", SECOND), "/gnu/store" },
		{ "{\"rouseManifest\": 2, \"storeDir\": \"/nix/store\", \"roots\": [], \"paths\": "
		  "[]}",
		  "rouseManifest" },
		{ TEXT("/nix/store", "", SECOND ", " SECOND), "out of order" },
		{ TEXT("/nix/store", "", SECOND ", " ENTRY(A, HASH, "1", "", "u", "none", "")),
		  "out of order" },
		{ TEXT("/nix/store", "",
		       ENTRY(A, HASH, "1", "\"/nix/store/" B "\"", "u", "none", "")),
		  "not listed" },
		{ TEXT("/nix/store", "",
		       ENTRY(A, HASH, "1", "\"/nix/store/" B "\", \"/nix/store/" A "\"", "u",
			     "none", "") ", " SECOND),
		  "out of order" },
		{ TEXT("/nix/store", "\"https://a\"",
		       ENTRY(A, HASH, "1", "", "u", "none", ", \"cache\": 1")),
		  "not listed" },
		{ TEXT("/nix/store", "", ENTRY("../../etc", HASH, "1", "", "u", "none", "")),
		  "store path" },
		{ TEXT("/nix/store", "", ENTRY(A, "md5-AAAA", "1", "", "u", "none", "")),
		  "narHash" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "0", "", "u", "none", "")), "narSize" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "68719476737", "", "u", "none", "")),
		  "narSize" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "1", "", "../../x", "none", "")), "url" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "1", "", "file:///etc/shadow", "none", "")),
		  "url" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "1", "", "u", "rot13", "")),
		  "compression" },
		{ TEXT("/nix/store", "", ENTRY(A, HASH, "1", "", "u", "none", ", \"x\": 1")), "x" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_fixture struct fixture f = { 0 };

		T_CHECK(t, parse(&f, texts[i][0]) < 0);
		T_CHECK(t, f.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, f.e.text, texts[i][1]);
	}
}

static void manifest_allows_the_largest_archive(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, parse(&f, TEXT("/nix/store", "",
				  ENTRY(A, HASH, "68719476736", "", "u", "none", ""))) == 0);
	T_CHECK(t, f.paths.items[0]->nar_size == ROUSE_MAX_NAR_SIZE);
}

static void manifests_that_disagree_are_refused(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, parse(&f, GOOD) == 0);
	T_CHECK(t, parse(&f, GOOD) == 0);
	T_CHECK(t, parse(&f, TEXT("/nix/store", "",
				  ENTRY(A, "sha256-AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
					"1", "", "u", "none", ""))) < 0);
	T_HAS(t, f.e.text, "another build");
}

T_MAIN(T(manifest_reads_every_field), T(manifest_refuses_what_is_not_one),
       T(manifest_allows_the_largest_archive), T(manifests_that_disagree_are_refused))

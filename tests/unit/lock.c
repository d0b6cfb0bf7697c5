/* SPDX-License-Identifier: Apache-2.0 */
/* What is meant by a name and a version in an index; tests/cache/lock.sh does it with a channel. */
#include "../../agent/resolve.h"

#include "../lib/tap.h"

#include <rouse/decompress.h>
#include <rouse/json.h>
#include <rouse/limits.h>

#define H "/nix/store/00000000000000000000000000000000-"

static json_t *packages_of(const char *text)
{
	struct rouse_err e = { 0 };

	return rouse_json_parse("packages", text, strlen(text), &e);
}

#define PACKAGE(attribute, pname, version)                                                         \
	"\"" attribute "\": { \"pname\": \"" pname "\", \"version\": \"" version "\" }"

static void attributes_are_found_by_name_and_version(struct t *t)
{
	auto_json json_t *packages = packages_of(
		"{" PACKAGE("htop", "htop", "3.3.0") "," PACKAGE("pg", "postgresql", "1") "," PACKAGE("postgresql", "postgresql", "15.7") "," PACKAGE(
			"postgresql_16", "postgresql",
			"16.3") "," PACKAGE("postgresql_16_jit", "postgresql",
					    "16.3") "," PACKAGE("postgresql_9", "postgresql",
								"9.6") "," PACKAGE("set.postgresql_"
										   "17",
										   "postgresql",
										   "17.0") "," PACKAGE("x1",
												       "x",
												       "1") "," PACKAGE("x2",
															"x",
															"1") "}");
	static const struct {
		const char *name, *attribute, *version, *want, *error;
	} cases[] = {
		{ "htop", NULL, "*", "htop", NULL },
		{ "htop", NULL, "3.*", "htop", NULL },
		{ "htop", NULL, "2.*", NULL, "no version of 'htop' is '2.*'; there is: 3.3.0" },
		/* The attribute of this name comes first, whatever is newer. */
		{ "postgresql", NULL, "*", "postgresql", NULL },
		{ "postgresql", NULL, "16.*", "postgresql_16", NULL },
		{ "postgresql", NULL, "9.*", "postgresql_9", NULL },
		{ "postgresql", NULL, "17.*", NULL, "15.7, 16.3, 16.3, 9.6" },
		{ "db", "set.postgresql_17", "17.*", "set.postgresql_17", NULL },
		{ "db", "postgresql_16", "17.*", NULL,
		  "'postgresql_16' is 16.3, and '17.*' is wanted" },
		{ "db", "postgresql_18", "*", NULL, "no package 'postgresql_18'" },
		{ "x", NULL, "1", NULL,
		  "2 packages are 'x' 1: say which with \"attribute\": x1, x2" },
		{ "vim", NULL, "*", NULL, "no package 'vim'" },
	};

	T_CHECK(t, packages);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct rouse_wanted w = { .attribute = cases[i].attribute,
						.version = cases[i].version };
		struct rouse_err e = { 0 };
		const char *got = NULL;

		if (rouse_resolve_attribute(packages, &w, cases[i].name, &got, &e) == 0) {
			T_STR(t, got, cases[i].want);
			continue;
		}
		T_CHECK(t, e.kind == ROUSE_DOCUMENT && !cases[i].want);
		T_HAS(t, e.text, cases[i].error);
	}
}

static bool parse(struct rouse_store_list *l, const char *text, struct rouse_err *e)
{
	return rouse_store_list_parse(l, "list", rouse_strdup(text), e) == 0;
}

static void lists_hold_store_paths_and_nothing_else(struct t *t)
{
	struct rouse_store_list l = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, parse(&l, H "b-1\r\n\n  \n" H "a-1", &e) && l.n == 2);
	T_STR(t, l.paths[0], H "a-1");
	T_CHECK(t, rouse_store_list_has(&l, H "b-1") && !rouse_store_list_has(&l, H "c-1"));
	rouse_store_list_done(&l);
	T_CHECK(t, parse(&l, "", &e) && !l.n && !rouse_store_list_has(&l, H "a"));
	rouse_store_list_done(&l);
	T_CHECK(t, !parse(&l, H "a-1\n/nix/store/x\n", &e) && e.kind == ROUSE_DOCUMENT);
	T_STR(t, e.text, "'list': line 2 is not a store path, \"/nix/store/…\"");
	T_CHECK(t, !parse(&l, H "a-1 " H "b-1\n", &e));
}

static void paths_are_found_by_name_version_and_output(struct t *t)
{
	static const struct {
		const char *name, *version, *output, *want, *error;
	} cases[] = {
		{ "a", "*", NULL, H "a-1.10", NULL },
		{ "a", "1.9", NULL, H "a-1.9", NULL },
		{ "a", "*", "bin", H "a-1.9-bin", NULL },
		{ "a", "2", NULL, NULL, "lists no 'a' with a version '2'; there is: 1.10, 1.9" },
		{ "a", "*", "dev", NULL, "lists no 'a' with an output 'dev'" },
		{ "plain", "*", NULL, H "plain", NULL },
		{ "plain", "1", NULL, NULL, "lists no 'plain' with a version '1'" },
		{ "twice", "*", NULL, NULL, "a list cannot tell which is meant" },
		{ NULL, "*", NULL, H "nixos-system-web-24.05", NULL },
		{ "c", NULL, NULL, NULL, "lists no 'c'" },
	};
	struct rouse_store_list l = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, parse(&l,
			 H "a-1.9\n" H "a-1.10\n" H "a-1.9-bin\n" H "plain\n" H "twice-1\n"
			   "/nix/store/11111111111111111111111111111111-twice-1\n" H
			   "nixos-system-web-24.05\n" H "nixos-system-web-23.11",
			 &e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct rouse_wanted w = { .version = cases[i].version,
						.output = cases[i].output };
		const char *got = NULL;

		if (rouse_resolve_listed(&l, "list", &w, cases[i].name, &got, &e) == 0) {
			T_STR(t, got, cases[i].want);
			continue;
		}
		T_CHECK(t, e.kind == ROUSE_DOCUMENT && !cases[i].want);
		T_HAS(t, e.text, cases[i].error);
	}
	rouse_store_list_done(&l);
}

static void several_systems_are_told_apart_by_name(struct t *t)
{
	const struct rouse_wanted w = { 0 };
	struct rouse_store_list l = { 0 };
	struct rouse_err e = { 0 };
	const char *got = NULL;

	T_CHECK(t, parse(&l, H "nixos-system-web-1\n" H "nixos-system-db-2\n" H "htop-1\n", &e));
	T_CHECK(t, rouse_resolve_listed(&l, "list", &w, NULL, &got, &e) < 0);
	T_HAS(t, e.text,
	      "several systems: say which with \"attribute\": nixos-system-db, "
	      "nixos-system-web");
	T_CHECK(t, rouse_resolve_listed(&l, "list", &w, "nixos-system-db", &got, &e) == 0);
	T_STR(t, got, H "nixos-system-db-2");
	rouse_store_list_done(&l);
	T_CHECK(t, parse(&l, H "htop-1\n", &e));
	T_CHECK(t, rouse_resolve_listed(&l, "list", &w, NULL, &got, &e) < 0);
	T_HAS(t, e.text, "lists no path named 'nixos-system-");
	rouse_store_list_done(&l);
}

static void what_is_written_has_its_form(struct t *t)
{
	T_CHECK(t, rouse_is_channel("nixos-24.05") && rouse_is_channel("https://a.example/b"));
	T_CHECK(t, rouse_is_channel("file:///srv/channel"));
	T_CHECK(t, !rouse_is_channel("http://a.example/b") && !rouse_is_channel("s3://a/b"));
	T_CHECK(t, !rouse_is_channel("https://a.example/b?x") && !rouse_is_channel("../x"));
	T_CHECK(t, rouse_is_index_url("s3://a/b") && !rouse_is_index_url("http://a.example/b"));
	T_CHECK(t, rouse_is_attribute("python3.11") && rouse_is_attribute("nixos.closures.ec2"));
	T_CHECK(t,
		!rouse_is_attribute("") && !rouse_is_attribute("a/b") && !rouse_is_attribute(".a"));
	T_CHECK(t, rouse_is_platform("x86_64-linux") && !rouse_is_platform("x86_64"));
	T_CHECK(t, !rouse_is_platform("x86-64-linux") && !rouse_is_platform("-linux"));
}

/* Begins like brotli, and ends too early. */
static const uint8_t packed[] = { 0x0b, 0x07, 0x80 };

static void compressed_texts_stay_within_their_bound(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_decompress("a", "abc", 3, 3, &out, &e) == 0);
	T_STR(t, out.data, "abc");
	T_CHECK(t, rouse_decompress("a", "abc", 3, 5, &out, &e) < 0 && e.sys == EFBIG);
	e = (struct rouse_err){ 0 };
	T_CHECK(t, rouse_decompress("a.br?x=.xz", packed, sizeof(packed), MIB, &out, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "brotli data");
	T_CHECK(t, rouse_decompress("a.xz", "no xz at all", 12, MIB, &out, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	T_CHECK(t, rouse_decompress("a.zst", "", 0, MIB, &out, &e) < 0);
	T_HAS(t, e.text, "cut off");
}

T_MAIN(T(attributes_are_found_by_name_and_version), T(lists_hold_store_paths_and_nothing_else),
       T(paths_are_found_by_name_version_and_output), T(several_systems_are_told_apart_by_name),
       T(what_is_written_has_its_form), T(compressed_texts_stay_within_their_bound))

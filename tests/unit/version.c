/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/version.h>

#include "../lib/tap.h"

#include <rouse/auto.h>

static void a_version_begins_behind_a_dash_without_a_letter(struct t *t)
{
	static const struct {
		const char *text;
		size_t name;
		const char *version;
	} cases[] = {
		{ "htop-3.3.0", 4, "3.3.0" },
		{ "nixos-system-web-24.05.20240601.abc", 16, "24.05.20240601.abc" },
		{ "openssl-3.0.13-bin", 7, "3.0.13-bin" },
		{ "python3.11-requests-2.31.0", 19, "2.31.0" },
		{ "cracklib", 8, "" },
		{ "source-", 7, "" },
		{ "-1", 2, "" },
		{ "", 0, "" },
		{ "a-_1", 1, "_1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = 99;

		T_STR(t, rouse_version_in(cases[i].text, &n), cases[i].version);
		T_CHECK(t, n == cases[i].name || !cases[i].version[0]);
	}
}

/* What `nix-env --compare-versions` and its documentation say. */
static void versions_are_ordered_as_nix_does(struct t *t)
{
	static const char *const rising[][2] = {
		{ "1.0", "2.3" },
		{ "2.1", "2.3" },
		{ "2.3", "2.3.1" },
		{ "2.3a", "2.3.1" },
		{ "2.3pre1", "2.3" },
		{ "2.3pre3", "2.3pre12" },
		{ "2.3a", "2.3c" },
		{ "2.3pre1", "2.3c" },
		{ "2.3pre1", "2.3q" },
		{ "9", "10" },
		{ "1.9999999999999999999", "1.20000000000000000000" },
		{ "", "1" },
		{ "1-a", "1-b" },
	};
	static const char *const same[][2] = {
		{ "2.3", "2.3" }, { "01", "1" }, { "1.2", "1-2" }, { "", "" }, { "1.", "1" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(rising); i++) {
		T_CHECK(t, rouse_version_compare(rising[i][0], rising[i][1]) < 0);
		T_CHECK(t, rouse_version_compare(rising[i][1], rising[i][0]) > 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		T_CHECK(t, rouse_version_compare(same[i][0], same[i][1]) == 0);
}

static void patterns_match_what_they_say(struct t *t)
{
	static const struct {
		const char *pattern, *version;
		bool want;
	} cases[] = {
		{ "*", "1", true },           { "*", "", true },
		{ "16.*", "16.4", true },     { "16.*", "16", true },
		{ "16.*", "16.4.1", true },   { "16.*", "160.1", false },
		{ "16.*", "15.4", false },    { "3.3.0", "3.3.0", true },
		{ "3.3.0", "3.3.01", false }, { "3.3.0", "3x3.0", false },
		{ "1*2*3", "1.2.3", true },   { "1*2*3", "1.22.23", true },
		{ "1*2*3", "1.2.4", false },  { "*.5", "1.4.5", true },
		{ "16*", "16", true },        { ".*", "", false },
		{ "**", "x", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		T_CHECK(t,
			rouse_version_matches(cases[i].pattern, cases[i].version) == cases[i].want);
}

static void a_pattern_is_short_and_plain(struct t *t)
{
	char longest[66];

	T_CHECK(t, rouse_version_is_pattern("*") && rouse_version_is_pattern("16.*"));
	T_CHECK(t, rouse_version_is_pattern("1.0-rc1+git~2_b"));
	T_CHECK(t, !rouse_version_is_pattern(""));
	T_CHECK(t, !rouse_version_is_pattern(">=16"));
	T_CHECK(t, !rouse_version_is_pattern("16 "));
	T_CHECK(t, !rouse_version_is_pattern("1/2"));
	memset(longest, '1', sizeof(longest));
	longest[64] = '\0';
	T_CHECK(t, rouse_version_is_pattern(longest));
	longest[64] = '1';
	longest[65] = '\0';
	T_CHECK(t, !rouse_version_is_pattern(longest));
}

T_MAIN(T(a_version_begins_behind_a_dash_without_a_letter), T(versions_are_ordered_as_nix_does),
       T(patterns_match_what_they_say), T(a_pattern_is_short_and_plain))

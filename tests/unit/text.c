/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/text.h>

#include "../lib/tap.h"

static void size_knows_decimal_and_binary_units(struct t *t)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0B", 0 },
		{ "1B", 1 },
		{ "200MB", 200000000 },
		{ "1GiB", 1 << 30 },
		{ "4K", 4096 },
		{ "3kB", 3000 },
		{ "8EiB", 0 },
		{ "8191PiB", UINT64_C(8191) << 50 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t n = 0;
		bool ok = rouse_parse_size(good[i].text, &n);

		T_CHECK(t, ok == (strcmp(good[i].text, "8EiB") != 0)); /* no such unit */
		T_CHECK(t, n == good[i].bytes);
	}
}

static void size_refuses_everything_else(struct t *t)
{
	static const char *const bad[] = { "",      "MB",    "1",       "-1MB",
					   "+1MB",  " 1MB",  "1 MB",    "1MBx",
					   "0x1MB", "1.5GB", "8192PiB", "99999999999999999999MB",
					   "1mb" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t n = 7;

		T_CHECK(t, !rouse_parse_size(bad[i], &n));
		T_CHECK(t, n == 7);
	}
}

static void number_ends_at_its_bound(struct t *t)
{
	uint64_t n = 0;

	T_CHECK(t, rouse_parse_u64("18446744073709551615", UINT64_MAX, &n) && n == UINT64_MAX);
	T_CHECK(t, !rouse_parse_u64("18446744073709551616", UINT64_MAX, &n));
	T_CHECK(t, rouse_parse_u64("255", 255, &n) && n == 255);
	T_CHECK(t, !rouse_parse_u64("256", 255, &n));
	T_CHECK(t, !rouse_parse_u64("5", 4, &n));
	T_CHECK(t, rouse_parse_u64("007", 10, &n) && n == 7);
}

static void duration_and_percent_and_mode(struct t *t)
{
	uint64_t ms = 0;
	unsigned n = 0;

	T_CHECK(t, rouse_parse_duration("250ms", &ms) && ms == 250);
	T_CHECK(t, rouse_parse_duration("5m", &ms) && ms == 300000);
	T_CHECK(t, rouse_parse_duration("7d", &ms) && ms == UINT64_C(604800000));
	T_CHECK(t, !rouse_parse_duration("5", &ms) && !rouse_parse_duration("m", &ms));
	T_CHECK(t, rouse_parse_percent("25%", &n) && n == 25);
	T_CHECK(t, !rouse_parse_percent("0%", &n) && !rouse_parse_percent("101%", &n));
	T_CHECK(t, rouse_parse_mode("0644", &n) && n == 0644);
	T_CHECK(t, rouse_parse_mode("7777", &n) && n == 07777);
	T_CHECK(t, !rouse_parse_mode("0888", &n) && !rouse_parse_mode("17777", &n));
	T_CHECK(t, !rouse_parse_mode("64", &n));
}

static void base64_goes_both_ways(struct t *t)
{
	static const char *const words[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" };
	static const char *const codes[] = {
		"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"
	}; /* RFC 4648, 10 */

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		auto_free char *code = rouse_base64((const uint8_t *)words[i], strlen(words[i]));
		uint8_t back[16];

		T_STR(t, code, codes[i]);
		T_CHECK(t, rouse_unbase64(back, sizeof(back), code, strlen(code)) ==
				   (int64_t)strlen(words[i]));
		T_CHECK(t, memcmp(back, words[i], strlen(words[i])) == 0);
	}
}

static void base64_is_strict(struct t *t)
{
	static const char *const bad[] = { "Z",    "Zg",   "Zg=",    "Zg= ",     "Z===", "====",
					   "Zh==", "Zm9=", "Zm9v\n", "Zg==Zg==", "Zm_v" };
	uint8_t back[16];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		T_CHECK(t, rouse_unbase64(back, sizeof(back), bad[i], strlen(bad[i])) == -1);
	T_CHECK(t, rouse_unbase64(back, 2, "Zm9v", 4) == -1);
}

static void utf8_refuses_overlong_surrogates_and_nul(struct t *t)
{
	T_CHECK(t, rouse_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
	T_CHECK(t, !rouse_utf8_valid("\xc0\xaf", 2));
	T_CHECK(t, !rouse_utf8_valid("\xe0\x80\xaf", 3));
	T_CHECK(t, !rouse_utf8_valid("\xed\xa0\x80", 3));
	T_CHECK(t, !rouse_utf8_valid("\xf4\x90\x80\x80", 4));
	T_CHECK(t, !rouse_utf8_valid("a\0b", 3));
	T_CHECK(t, !rouse_utf8_valid("\xe2\x82", 2));
}

static void url_is_printed_without_secrets(struct t *t)
{
	char buf[64];

	T_STR(t, rouse_print_url(buf, sizeof(buf), "https://u:p@h/a/b?X-Amz-Signature=1#f"),
	      "https://h/a/b");
	T_STR(t, rouse_print_url(buf, sizeof(buf), "https://h/a@b"), "https://h/a@b");
	T_STR(t, rouse_print_url(buf, sizeof(buf), "https://h/a\n[forged]"),
	      "https://h/a?[forged]");
}

static const char *nth(const void *ctx, size_t i)
{
	return ((const char *const *)ctx)[i];
}

static void nearest_word_is_near(struct t *t)
{
	static const char *const words[] = { "size", "filesystem", "label" };

	T_STR(t, rouse_nearest("sizee", 3, nth, words), "size");
	T_STR(t, rouse_nearest("fileystem", 3, nth, words), "filesystem");
	T_STR(t, rouse_nearest("lable", 3, nth, words), "label");
	T_CHECK(t, !rouse_nearest("mount", 3, nth, words));
	T_CHECK(t, !rouse_nearest("", 3, nth, words));
}

static void sizes_and_durations_read_well(struct t *t)
{
	char size[16], duration[24];

	T_STR(t, rouse_print_size(size, 512), "512 B");
	T_STR(t, rouse_print_size(size, UINT64_C(8) << 30), "8.0 GiB");
	T_STR(t, rouse_print_size(size, UINT64_MAX), "16.0 EiB");
	T_STR(t, rouse_print_duration(duration, 340), "340 ms");
	T_STR(t, rouse_print_duration(duration, 12345), "12.3 s");
	T_STR(t, rouse_print_duration(duration, 302000), "5 m 02 s");
}

static void one_line_is_utf8_without_controls(struct t *t)
{
	char text[] = "a\nb\x7f"
		      "c\xff\xc3\xa9\xc2\x9b"
		      "d\xe2\x82";

	rouse_one_line(text);
	T_STR(t, text, "a b c?\xc3\xa9  d??");
}

T_MAIN(T(size_knows_decimal_and_binary_units), T(size_refuses_everything_else),
       T(number_ends_at_its_bound), T(duration_and_percent_and_mode), T(base64_goes_both_ways),
       T(base64_is_strict), T(utf8_refuses_overlong_surrogates_and_nul),
       T(one_line_is_utf8_without_controls), T(url_is_printed_without_secrets),
       T(nearest_word_is_near), T(sizes_and_durations_read_well))

/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, durations, modes, encodings, URLs, names and keys: what is accepted is within its bounds,
 * and what was encoded decodes to itself. */
#include "fuzz.h"

#include <rouse/accounts.h>
#include <rouse/schema.h>
#include <rouse/sshkey.h>
#include <rouse/text.h>
#include <rouse/trust.h>

static void numbers(const char *s)
{
	uint64_t v = 0;
	unsigned u = 0;
	char size[16], duration[24];

	if (rouse_parse_u64(s, 1000, &v))
		HOLDS(v <= 1000);
	if (rouse_parse_size(s, &v)) {
		HOLDS(v <= INT64_MAX);
		HOLDS(strlen(rouse_print_size(size, v)) < sizeof(size));
	}
	if (rouse_parse_duration(s, &v))
		HOLDS(strlen(rouse_print_duration(duration, v)) < sizeof(duration));
	if (rouse_parse_percent(s, &u))
		HOLDS(u >= 1 && u <= 100);
	if (rouse_parse_mode(s, &u))
		HOLDS(u <= 07777);
}

static void encodings(const uint8_t *data, size_t size)
{
	auto_free char *base64 = rouse_base64(data, size), *hex = rouse_calloc(size + 1, 2);
	auto_free uint8_t *back = rouse_calloc(size + 3, 1);

	HOLDS(rouse_unbase64(back, size, base64, strlen(base64)) == (int64_t)size);
	HOLDS(memcmp(back, data, size) == 0);
	rouse_hex(hex, data, size);
	HOLDS(rouse_unhex(back, size, hex) && memcmp(back, data, size) == 0);
	/* strict: what decodes is the one spelling of its bytes */
	int64_t n = rouse_unbase64(back, size, (const char *)data, size);
	if (n >= 0) {
		auto_free char *same = rouse_base64(back, (size_t)n);

		HOLDS(strlen(same) == size && memcmp(same, data, size) == 0);
	}
}

static void names(const char *s)
{
	struct rouse_key key;
	struct rouse_err e = { 0 };
	char url[64];

	HOLDS(fuzz_is_one_line(rouse_print_url(url, sizeof(url), s)));
	if (rouse_is_url(s))
		HOLDS(!strpbrk(s, " \n\t") && !strchr(rouse_print_url(url, sizeof(url), s), '?'));
	if (rouse_is_absolute_path(s))
		HOLDS(*s == '/' && !strstr(s, "//") && !strstr(s, "/../"));
	if (rouse_is_hostname(s) || rouse_is_label(s) || rouse_is_account_name(s) ||
	    rouse_is_store_path(s) || rouse_is_ssh_key(s) || rouse_is_sha256_hex(s))
		HOLDS(*s && fuzz_is_one_line(s));
	if (rouse_key_parse(&key, s, &e) < 0)
		HOLDS(fuzz_is_one_line(e.text));
	else
		HOLDS(rouse_is_key(s) && strlen(key.name) < sizeof(key.name));
}

FUZZ(values)
{
	auto_free char *s = rouse_strndup((const char *)data, size);

	numbers(s);
	names(s);
	encodings(data, size);
	if (rouse_utf8_valid((const char *)data, size))
		HOLDS(!size || !memchr(data, '\0', size));
	return 0;
}

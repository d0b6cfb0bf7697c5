/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/closure.h>
#include <rouse/text.h>

#include "../../modules/closure/nix32.h"
#include "../../modules/closure/path.h"

/* sha256 of "", as `nix-hash --to-base32 --type sha256` prints it. */
static const char empty_hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char empty_nix32[] = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
static const char empty_base64[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

static void nix32_prints_what_nix_prints(struct t *t)
{
	uint8_t hash[32];
	char text[53];

	T_CHECK(t, rouse_unhex(hash, 32, empty_hex));
	rouse_nix32(text, hash, 32);
	T_STR(t, text, empty_nix32);
}

static void nix32_decodes_what_it_encodes(struct t *t)
{
	uint8_t in[20], out[20];
	char text[33];

	for (unsigned k = 0; k < 256; k++) {
		for (unsigned i = 0; i < sizeof(in); i++)
			in[i] = (uint8_t)(i * 37 + k * 11);
		rouse_nix32(text, in, sizeof(in));
		T_CHECK(t, strlen(text) == 32);
		T_CHECK(t, rouse_unnix32(out, sizeof(out), text, 32));
		T_CHECK(t, memcmp(in, out, sizeof(in)) == 0);
	}
}

static void nix32_refuses_other_spellings(struct t *t)
{
	uint8_t h[32];
	char text[53];

	memcpy(text, empty_nix32, sizeof(text));
	T_CHECK(t, rouse_unnix32(h, 32, text, 52));
	T_CHECK(t, !rouse_unnix32(h, 32, text, 51));
	T_CHECK(t, !rouse_unnix32(h, 31, text, 52));
	text[0] = '1';
	T_CHECK(t, rouse_unnix32(h, 32, text, 52));
	text[0] = '2'; /* spare bits */
	T_CHECK(t, !rouse_unnix32(h, 32, text, 52));
	text[0] = '0';
	text[5] = 'e';
	T_CHECK(t, !rouse_unnix32(h, 32, text, 52));
	text[5] = 'A';
	T_CHECK(t, !rouse_unnix32(h, 32, text, 52));
	text[5] = '\0';
	T_CHECK(t, !rouse_unnix32(h, 32, text, 52));
}

static void nar_hash_takes_every_spelling(struct t *t)
{
	const char *const forms[] = { "sha256:", empty_nix32,  "sha256:", empty_hex,
				      "sha256:", empty_base64, "sha256-", empty_base64 };
	uint8_t want[32], got[32];
	char text[128];

	T_CHECK(t, rouse_unhex(want, 32, empty_hex));
	for (size_t i = 0; i < ARRAY_SIZE(forms); i += 2) {
		(void)snprintf(text, sizeof(text), "%s%s", forms[i], forms[i + 1]);
		T_CHECK(t, rouse_nar_hash_parse(text, got));
		T_CHECK(t, memcmp(want, got, 32) == 0);
	}
}

static void nar_hash_refuses_what_is_no_sha256(struct t *t)
{
	T_CHECK(t, !rouse_is_nar_hash(""));
	T_CHECK(t, !rouse_is_nar_hash("sha256:"));
	T_CHECK(t, !rouse_is_nar_hash("sha256-"));
	T_CHECK(t, !rouse_is_nar_hash(empty_nix32));
	T_CHECK(t, !rouse_is_nar_hash("md5:d41d8cd98f00b204e9800998ecf8427e"));
	T_CHECK(t, !rouse_is_nar_hash("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
	T_CHECK(t, !rouse_is_nar_hash("sha512-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="));
}

#define HASH "0123456789abcdfghijklmnpqrsvwxyz"

static bool name(const char *s)
{
	return rouse_is_store_name(s, strlen(s));
}

static void store_name_takes_what_nix_takes(struct t *t)
{
	char longest[256] = HASH "-";

	T_CHECK(t, name(HASH "-a"));
	T_CHECK(t, name(HASH "-A+b._?=-9"));
	T_CHECK(t, name(HASH "-.hidden"));
	T_CHECK(t, name(HASH "-..hidden"));
	memset(longest + 33, 'x', 211);
	T_CHECK(t, name(longest));
	longest[33 + 211] = 'x';
	T_CHECK(t, !name(longest));
}

static void store_name_refuses_the_rest(struct t *t)
{
	T_CHECK(t, !name(""));
	T_CHECK(t, !name(HASH));
	T_CHECK(t, !name(HASH "-"));
	T_CHECK(t, !name(HASH "xfoo")); /* byte 33 is a dash */
	T_CHECK(t, !name("e123456789abcdfghijklmnpqrsvwxyz-foo"));
	T_CHECK(t, !name(HASH "-."));
	T_CHECK(t, !name(HASH "-.."));
	T_CHECK(t, !name(HASH "-.-x"));
	T_CHECK(t, !name(HASH "-..-x"));
	T_CHECK(t, !name(HASH "-a/b"));
	T_CHECK(t, !name(HASH "-a b"));
	T_CHECK(t, !name(HASH "-a\n"));
}

static void store_path_needs_the_store(struct t *t)
{
	T_STR(t, rouse_store_name("/nix/store/" HASH "-a"), HASH "-a");
	T_CHECK(t, !rouse_store_name("/nix/storf/" HASH "-a"));
	T_CHECK(t, !rouse_store_name("/nix/store//" HASH "-a"));
	T_CHECK(t, !rouse_store_name("/nix/store/" HASH "-a/"));
	T_CHECK(t, !rouse_store_name("/nix/store"));
}

T_MAIN(T(nix32_prints_what_nix_prints), T(nix32_decodes_what_it_encodes),
       T(nix32_refuses_other_spellings), T(nar_hash_takes_every_spelling),
       T(nar_hash_refuses_what_is_no_sha256), T(store_name_takes_what_nix_takes),
       T(store_name_refuses_the_rest), T(store_path_needs_the_store))

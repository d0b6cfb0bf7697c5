/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/trust.h>

#include <stdlib.h>

#include <rouse/text.h>

#include "../lib/tap.h"

/* A real narinfo fingerprint, signed by the public Nix cache (store path of curl 7.82.0). */
#define CURL_FINGERPRINT                                                                           \
	"1;/nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin;"                           \
	"sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0;196040;"                      \
	"/nix/store/0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0,"                                 \
	"/nix/store/6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115,"                              \
	"/nix/store/j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12,"                                 \
	"/nix/store/yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n"
#define CURL_SIGNATURE                                                                             \
	"cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+"                                   \
	"vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ=="
#define NIXOS_KEY "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

static void sha256_of_the_empty_text_and_of_abc_is_the_published_one(struct t *t)
{
	char hex[65];

	rouse_sha256_hex(NULL, 0, hex);
	T_STR(t, hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	rouse_sha256_hex("abc", 3, hex);
	T_STR(t, hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void sha256_in_pieces_equals_sha256_at_once(struct t *t)
{
	struct rouse_sha256 *h auto_of(sha256) = rouse_sha256_new();
	uint8_t pieces[ROUSE_SHA256_LEN], whole[ROUSE_SHA256_LEN], data[1000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0, n; i < sizeof(data); i += n) {
		n = i % 63 + 1 < sizeof(data) - i ? i % 63 + 1 : sizeof(data) - i;
		rouse_sha256_update(h, data + i, n);
	}
	rouse_sha256_update(h, NULL, 0);
	rouse_sha256_final(h, pieces);
	rouse_sha256_of(data, sizeof(data), whole);
	T_CHECK(t, memcmp(pieces, whole, sizeof(whole)) == 0);
	for (int i = 0; i < 2; i++) { /* after its end, and in the middle */
		rouse_sha256_reset(h);
		rouse_sha256_update(h, data, 99);
	}
	rouse_sha256_final(h, pieces);
	rouse_sha256_of(data, 99, whole);
	T_CHECK(t, memcmp(pieces, whole, sizeof(whole)) == 0);
}

/* RFC 4231 sections 4.2, 4.3 and 4.7 (a key longer than a block). */
static void hmac_agrees_with_rfc_4231(struct t *t)
{
	uint8_t key[131], mac[ROUSE_SHA256_LEN];
	char hex[65];
	static const char large[] = "Test Using Larger Than Block-Size Key - Hash Key First";

	memset(key, 0x0b, 20);
	rouse_hmac_sha256(key, 20, "Hi There", 8, mac);
	rouse_hex(hex, mac, sizeof(mac));
	T_STR(t, hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

	rouse_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	rouse_hex(hex, mac, sizeof(mac));
	T_STR(t, hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

	memset(key, 0xaa, sizeof(key));
	rouse_hmac_sha256(key, sizeof(key), large, sizeof(large) - 1, mac);
	rouse_hex(hex, mac, sizeof(mac));
	T_STR(t, hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_takes_an_empty_key_and_an_empty_text(struct t *t)
{
	uint8_t mac[ROUSE_SHA256_LEN];
	char hex[65];

	rouse_hmac_sha256(NULL, 0, NULL, 0, mac);
	rouse_hex(hex, mac, sizeof(mac));
	T_STR(t, hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 8032 section 7.1, tests 1 and 2. */
static const struct {
	const char *key, *data, *signature;
	size_t n;
} rfc_8032[] = {
	{ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
	  "1cf9b46bd25bf5f0595bbe24655141438e7a100b",
	  0 },
	{ "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72",
	  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
	  "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
	  1 },
};

static void ed25519_agrees_with_rfc_8032(struct t *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(rfc_8032); i++) {
		uint8_t key[32], signature[64];

		T_CHECK(t, rouse_unhex(key, 32, rfc_8032[i].key));
		T_CHECK(t, rouse_unhex(signature, 64, rfc_8032[i].signature));
		T_CHECK(t, rouse_ed25519_verify(key, signature, rfc_8032[i].data, rfc_8032[i].n));
	}
}

static void ed25519_refuses_each_changed_bit_of_key_and_signature(struct t *t)
{
	uint8_t key[32], signature[64];

	T_CHECK(t, rouse_unhex(key, 32, rfc_8032[1].key));
	T_CHECK(t, rouse_unhex(signature, 64, rfc_8032[1].signature));
	for (unsigned i = 0; i < 512; i++) {
		signature[i / 8] ^= (uint8_t)(1u << i % 8);
		T_CHECK(t, !rouse_ed25519_verify(key, signature, "\x72", 1));
		signature[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (unsigned i = 0; i < 256; i++) {
		key[i / 8] ^= (uint8_t)(1u << i % 8);
		T_CHECK(t, !rouse_ed25519_verify(key, signature, "\x72", 1));
		key[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	T_CHECK(t, !rouse_ed25519_verify(key, signature, "\x73", 1));
	T_CHECK(t, !rouse_ed25519_verify(key, signature, "\x72", 0));
}

/* RFC 8032 section 5.1.7: S + L is the same point, and must be refused. */
static void ed25519_refuses_a_malleable_signature(struct t *t)
{
	static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a,       0x63,
					   0x12, 0x58, 0xd6, 0x9c, 0xf7,       0xa2,
					   0xde, 0xf9, 0xde, 0x14, [31] = 0x10 };
	uint8_t key[32], signature[64];
	unsigned carry = 0;

	T_CHECK(t, rouse_unhex(key, 32, rfc_8032[1].key));
	T_CHECK(t, rouse_unhex(signature, 64, rfc_8032[1].signature));
	for (unsigned i = 0; i < 32; i++) {
		carry += signature[32 + i] + order[i];
		signature[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	T_CHECK(t, carry == 0);
	T_CHECK(t, !rouse_ed25519_verify(key, signature, "\x72", 1));
}

static void a_real_narinfo_signature_is_accepted(struct t *t)
{
	const char *signatures[] = { CURL_SIGNATURE }, *name = NULL;
	struct rouse_err e = { 0 };
	struct rouse_key key;

	T_CHECK(t, rouse_key_parse(&key, NIXOS_KEY, &e) == 0);
	T_STR(t, key.name, "cache.nixos.org-1");
	T_CHECK(t, rouse_signature_check(signatures, 1, &key, 1, CURL_FINGERPRINT,
					 strlen(CURL_FINGERPRINT), &name, &e) == 0);
	T_STR(t, name, "cache.nixos.org-1");
	T_CHECK(t, rouse_signature_check(signatures, 1, &key, 1, CURL_FINGERPRINT,
					 strlen(CURL_FINGERPRINT) - 1, NULL, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	T_STR(t, e.text, "the signature by 'cache.nixos.org-1' is wrong");
}

static void a_key_is_a_name_and_32_bytes_and_nothing_else(struct t *t)
{
	static const char *const bad[] = {
		"",
		":6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
		"cache.nixos.org-1",
		"cache.nixos.org-1:",
		"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShj==",
		"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=\n",
		"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY",
		"cache.nixos.org-1: 6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
		"a b:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
		"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY!",
	};
	struct rouse_err e;
	struct rouse_key key;

	T_CHECK(t, rouse_is_key(NIXOS_KEY));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		e = (struct rouse_err){ 0 };
		T_CHECK(t, !rouse_is_key(bad[i]));
		T_CHECK(t, rouse_key_parse(&key, bad[i], &e) < 0);
		T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	}
}

static void a_secret_key_in_the_place_of_a_public_one_is_not_printed(struct t *t)
{
	auto_free char *public = NULL, *secret = NULL;
	struct rouse_err e = { 0 };
	struct rouse_key key;

	T_CHECK(t, rouse_key_generate("fleet-1", &public, &secret, &e) == 0);
	T_CHECK(t, rouse_key_parse(&key, secret, &e) < 0);
	T_STR(t, e.text, "'fleet-1' is a secret key; the public key belongs here");
}

static void a_generated_pair_signs_and_verifies(struct t *t)
{
	auto_free char *public = NULL, *secret = NULL, *signature = NULL;
	struct rouse_err e = { 0 };
	struct rouse_key key;
	const char *list[1];

	T_CHECK(t, rouse_key_generate("fleet-1", &public, &secret, &e) == 0);
	T_CHECK(t, strlen(secret) == strlen("fleet-1:") + 88);
	T_CHECK(t, rouse_key_parse(&key, public, &e) == 0);
	T_CHECK(t, rouse_sign(secret, "text", 4, &signature, &e) == 0);
	list[0] = signature;
	T_CHECK(t, rouse_signature_check(list, 1, &key, 1, "text", 4, NULL, &e) == 0);
	T_CHECK(t, rouse_signature_check(list, 1, &key, 1, "texT", 4, NULL, &e) < 0);
}

static void a_known_secret_key_signs_as_nix_does(struct t *t)
{
	/* RFC 8032 test 2 as a Nix secret key: seed, then public key. */
	static const char seed_and_key[] =
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
	auto_free char *base64 = NULL, *secret = NULL, *signature = NULL;
	uint8_t bytes[64], want[64], got[64];
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_unhex(bytes, 64, seed_and_key));
	T_CHECK(t, rouse_unhex(want, 64, rfc_8032[1].signature));
	base64 = rouse_base64(bytes, 64);
	secret = rouse_asprintf("k:%s", base64);
	T_CHECK(t, rouse_sign(secret, "\x72", 1, &signature, &e) == 0);
	T_CHECK(t, strncmp(signature, "k:", 2) == 0);
	T_CHECK(t, rouse_unbase64(got, 64, signature + 2, strlen(signature + 2)) == 64);
	T_CHECK(t, memcmp(got, want, 64) == 0);
}

static void a_secret_key_whose_halves_differ_does_not_sign(struct t *t)
{
	auto_free char *p1 = NULL, *s1 = NULL, *base64 = NULL, *secret = NULL, *signature = NULL;
	struct rouse_err e = { 0 };
	uint8_t bytes[64];

	T_CHECK(t, rouse_key_generate("a", &p1, &s1, &e) == 0);
	T_CHECK(t, rouse_unbase64(bytes, 64, s1 + 2, strlen(s1 + 2)) == 64);
	bytes[63] ^= 1;
	base64 = rouse_base64(bytes, 64);
	secret = rouse_asprintf("a:%s", base64);
	T_CHECK(t, rouse_sign(secret, "x", 1, &signature, &e) < 0);
	T_CHECK(t, signature == NULL);
}

static void a_key_name_with_a_colon_or_a_blank_is_refused(struct t *t)
{
	auto_free char *public = NULL, *secret = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_key_generate("a:b", &public, &secret, &e) < 0);
	T_CHECK(t, rouse_key_generate("a b", &public, &secret, &e) < 0);
	T_CHECK(t, rouse_key_generate("", &public, &secret, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_USAGE && !public && !secret);
}

static void one_good_signature_among_strangers_is_enough(struct t *t)
{
	const char *signatures[] = { "stranger:!!!", "nonsense",
				     "other-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+"
				     "vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ==",
				     CURL_SIGNATURE };
	struct rouse_err e = { 0 };
	struct rouse_key key;

	T_CHECK(t, rouse_key_parse(&key, NIXOS_KEY, &e) == 0);
	T_CHECK(t, rouse_signature_check(signatures, 4, &key, 1, CURL_FINGERPRINT,
					 strlen(CURL_FINGERPRINT), NULL, &e) == 0);
}

static void the_first_key_of_a_name_counts(struct t *t)
{
	const char *signatures[] = { CURL_SIGNATURE };
	struct rouse_err e = { 0 };
	struct rouse_key keys[2];

	T_CHECK(t, rouse_key_parse(&keys[1], NIXOS_KEY, &e) == 0);
	keys[0] = keys[1];
	keys[0].bytes[0] ^= 1;
	T_CHECK(t, rouse_signature_check(signatures, 1, keys, 2, CURL_FINGERPRINT,
					 strlen(CURL_FINGERPRINT), NULL, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
}

static void an_unknown_signer_and_no_signature_are_told_apart(struct t *t)
{
	const char *signatures[] = { CURL_SIGNATURE };
	struct rouse_err e = { 0 };
	struct rouse_key key;

	T_CHECK(t, rouse_key_parse(&key,
				   "mine-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", &e) == 0);
	T_CHECK(t, rouse_signature_check(signatures, 1, &key, 1, "x", 1, NULL, &e) < 0);
	T_STR(t, e.text,
	      "signed by 'cache.nixos.org-1', which is not a trusted key (trusted: 'mine-1')");
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	T_CHECK(t, rouse_signature_check(NULL, 0, &key, 1, "x", 1, NULL, &e) < 0);
	T_STR(t, e.text, "it is not signed");
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	T_CHECK(t, rouse_signature_check(signatures, 1, NULL, 0, "x", 1, NULL, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
}

T_MAIN(T(sha256_of_the_empty_text_and_of_abc_is_the_published_one),
       T(sha256_in_pieces_equals_sha256_at_once), T(hmac_agrees_with_rfc_4231),
       T(hmac_takes_an_empty_key_and_an_empty_text), T(ed25519_agrees_with_rfc_8032),
       T(ed25519_refuses_each_changed_bit_of_key_and_signature),
       T(ed25519_refuses_a_malleable_signature), T(a_real_narinfo_signature_is_accepted),
       T(a_key_is_a_name_and_32_bytes_and_nothing_else),
       T(a_secret_key_in_the_place_of_a_public_one_is_not_printed),
       T(a_generated_pair_signs_and_verifies), T(a_known_secret_key_signs_as_nix_does),
       T(a_secret_key_whose_halves_differ_does_not_sign),
       T(a_key_name_with_a_colon_or_a_blank_is_refused),
       T(one_good_signature_among_strangers_is_enough), T(the_first_key_of_a_name_counts),
       T(an_unknown_signer_and_no_signature_are_told_apart))

/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../../modules/closure/narinfo.h"
#include "../../modules/closure/nix32.h"

/* Served and signed by cache.nixos.org. */
static const char curl[] =
	"StorePath: /nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin\n"
	"URL: nar/05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56.nar.xz\n"
	"Compression: xz\n"
	"FileHash: sha256:05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56\n"
	"FileSize: 68852\n"
	"NarHash: sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0\n"
	"NarSize: 196040\n"
	"References: 0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0 "
	"6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115 "
	"j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12 "
	"yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n\n"
	"Deriver: 5rwxzi7pal3qhpsyfc16gzkh939q1np6-curl-7.82.0.drv\n"
	"Sig: "
	"cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+"
	"vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ==\n";
static const char nixos_key[] = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

struct fixture {
	struct rouse_arena arena;
	struct rouse_narinfo n;
	struct rouse_err e;
};

static void fixture_auto(struct fixture *f)
{
	rouse_arena_done(&f->arena);
}
#define auto_fixture __attribute__((cleanup(fixture_auto)))

static const struct rouse_cache caches[] = {
	{ .name = "own", .url = "https://cache.example" },
	{ .name = "other", .url = "s3://bucket/deep?region=eu-west-1" },
};

static int parse(struct fixture *f, const char *text)
{
	return rouse_narinfo_parse(&f->n, "test", caches, ARRAY_SIZE(caches), 0, text, strlen(text),
				   &f->arena, &f->e);
}

/* The text with the line of `key` replaced by `line` (NULL: removed). Freed by the caller. */
static char *with(const char *key, const char *line)
{
	auto_free char *head = rouse_asprintf("%s: ", key);
	const char *p = strstr(curl, head), *end = strchr(p, '\n') + 1;

	return rouse_asprintf("%.*s%s%s", (int)(p - curl), curl, line ? line : "", end);
}

static void narinfo_reads_every_field(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, parse(&f, curl) == 0);
	T_STR(t, f.n.name, "syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin");
	T_STR(t, f.n.url, "nar/05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56.nar.xz");
	T_STR(t, f.n.deriver, "5rwxzi7pal3qhpsyfc16gzkh939q1np6-curl-7.82.0.drv");
	T_CHECK(t, f.n.compression == ROUSE_COMPRESSION_XZ);
	T_CHECK(t, f.n.nar_size == 196040 && f.n.file_size == 68852);
	T_CHECK(t, f.n.n_references == 4 && f.n.n_signatures == 1);
}

static void narinfo_accepts_the_signature_of_cache_nixos_org(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct rouse_key key;

	T_CHECK(t, rouse_key_parse(&key, nixos_key, &f.e) == 0);
	T_CHECK(t, parse(&f, curl) == 0);
	T_CHECK(t, rouse_narinfo_verify(&f.n, "test", &key, 1, &f.e) == 0);
}

static void narinfo_refuses_a_signature_for_other_values(struct t *t)
{
	static const char *const changes[][2] = {
		{ "NarSize", "NarSize: 196041\n" },
		{ "NarHash",
		  "NarHash: sha256:0b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0\n" },
		{ "References", "References: \n" },
		{ "StorePath",
		  "StorePath: /nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bim\n" },
		{ "Sig", NULL },
	};
	struct rouse_key key;
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_key_parse(&key, nixos_key, &e) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		auto_fixture struct fixture f = { 0 };
		auto_free char *text = with(changes[i][0], changes[i][1]);

		T_CHECK(t, parse(&f, text) == 0);
		T_CHECK(t, rouse_narinfo_verify(&f.n, "test", &key, 1, &f.e) < 0);
		T_CHECK(t, f.e.kind == ROUSE_UNTRUSTED);
		T_HAS(t, f.e.text, "curl-7.82.0");
	}
}

static void narinfo_signature_does_not_depend_on_order(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *text = with("References",
				    "References: yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n "
				    "j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12 "
				    "6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115 "
				    "0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0 "
				    "j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12\n");
	struct rouse_key key;

	T_CHECK(t, rouse_key_parse(&key, nixos_key, &f.e) == 0);
	T_CHECK(t, parse(&f, text) == 0);
	T_CHECK(t, f.n.n_references == 4);
	T_CHECK(t, rouse_narinfo_verify(&f.n, "test", &key, 1, &f.e) == 0);
}

static void narinfo_refuses_malformed(struct t *t)
{
	static const char *const changes[][2] = {
		{ "StorePath", NULL },
		{ "StorePath", "StorePath: /nix/storf/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl\n" },
		{ "StorePath", "StorePath: /nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr\n" },
		{ "URL", NULL },
		{ "URL", "URL: \n" },
		{ "NarHash", NULL },
		{ "NarHash", "NarHash: md5:d41d8cd98f00b204e9800998ecf8427e\n" },
		{ "NarSize", NULL },
		{ "NarSize", "NarSize: 0\n" },
		{ "NarSize", "NarSize: +196040\n" },
		{ "NarSize", "NarSize: 18446744073709551616\n" },
		{ "NarSize", "NarSize: 18446744073709551615\n" },
		{ "References", "References: ../x\n" },
		{ "References",
		  "References: 0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl\nReferences: \n" },
		{ "Deriver", "Deriver: x\n" },
		{ "FileSize", "FileSize: many\n" },
		{ "FileSize", "FileSize: 18446744073709551615\n" },
		{ "FileHash", "no colon\n" },
		{ "FileHash", "FileHash: sha256:x\n" },
		{ "FileHash", "CA: sha256:05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56\n" },
		{ "Compression", "Compression: rot13\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		auto_fixture struct fixture f = { 0 };
		auto_free char *text = with(changes[i][0], changes[i][1]);

		T_CHECK(t, parse(&f, text) < 0);
		T_HAS(t, f.e.text, "'test'");
	}
}

static void narinfo_refuses_truncation_and_nul(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *text = rouse_strdup(curl);
	size_t len = strlen(text);

	T_CHECK(t,
		rouse_narinfo_parse(&f.n, "test", caches, 1, 0, text, len - 1, &f.arena, &f.e) < 0);
	T_CHECK(t, rouse_narinfo_parse(&f.n, "test", caches, 1, 0, text, 0, &f.arena, &f.e) < 0);
	text[20] = '\0';
	T_CHECK(t, rouse_narinfo_parse(&f.n, "test", caches, 1, 0, text, len, &f.arena, &f.e) < 0);
}

static void narinfo_ignores_unknown_keys(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *text = with("FileHash", "System: x86_64-linux\nNew-Key: x\n");

	T_CHECK(t, parse(&f, text) == 0);
}

static void narinfo_url_stays_in_the_cache(struct t *t)
{
	static const char *const bad[] = { "file:///etc/shadow",
					   "http://169.254.169.254/latest",
					   "https://evil.example/x.nar",
					   "//evil.example/x",
					   "/etc/passwd",
					   "../x.nar",
					   "nar/../../x",
					   "nar/..",
					   "..",
					   "nar/%2e%2e/x",
					   "nar%2F..%2fx",
					   "nar\\..\\x",
					   "a:b",
					   "nar/x y",
					   "nar/x#y",
					   "user@host/x",
					   "" };
	static const char *const good[] = { "nar/x.nar.xz", "nar/x.nar?hash=abc", "x", "nar/a..b",
					    "nar/...",      "nar/x%2By.nar" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		T_CHECK(t, !rouse_is_nar_url(bad[i]));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		T_CHECK(t, rouse_is_nar_url(good[i]));
}

static void narinfo_url_may_repeat_the_cache(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *same = with("URL", "URL: https://cache.example/nar/x.nar.xz\n");
	auto_free char *other = with("URL", "URL: https://cache.example.org/nar/x.nar.xz\n");

	T_CHECK(t, parse(&f, same) == 0);
	T_STR(t, f.n.url, "nar/x.nar.xz");
	T_CHECK(t, f.n.base == 0);
	T_CHECK(t, parse(&f, other) < 0);
}

static void narinfo_url_may_lead_to_a_cache_of_the_document(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *in = with("URL", "URL: s3://bucket/deep/nar/x.nar.xz\n");
	auto_free char *above = with("URL", "URL: s3://bucket/nar/x.nar.xz\n");
	auto_free char *out = with("URL", "URL: s3://bucket/deep/../x.nar.xz\n");

	T_CHECK(t, parse(&f, in) == 0);
	T_STR(t, f.n.url, "nar/x.nar.xz");
	T_CHECK(t, f.n.base == 1);
	T_CHECK(t, parse(&f, above) < 0);
	T_CHECK(t, parse(&f, out) < 0);
}

static void narinfo_reads_every_compression(struct t *t)
{
	static const char *const lines[] = {
		[ROUSE_COMPRESSION_NONE] = "Compression: none\n",
		[ROUSE_COMPRESSION_ZSTD] = "Compression: zstd\n",
		[ROUSE_COMPRESSION_XZ] = "Compression: xz\n",
		[ROUSE_COMPRESSION_GZIP] = "Compression: gzip\n",
		[ROUSE_COMPRESSION_BZIP2] = "", /* as it was when Nix knew no other */
		[ROUSE_COMPRESSION_BROTLI] = "Compression: br\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_fixture struct fixture f = { 0 };
		auto_free char *text = with("Compression", lines[i]);

		T_CHECK(t, parse(&f, text) == 0);
		T_CHECK(t, f.n.compression == i);
	}
}

/* `nix-store --add` of a file with "hello\n", as Nix 2.8 names and describes it. */
static const char added[] =
	"StorePath: /nix/store/gwina1sjk7g95wq6fxc6b7s1hza53h74-hello\n"
	"URL: nar/x.nar\nCompression: none\n"
	"NarHash: sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw\nNarSize: "
	"120\nReferences: \nCA: "
	"fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw\n";

static void narinfo_content_address_needs_no_signature(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	uint8_t contents[ROUSE_SHA256_LEN];

	T_CHECK(t, parse(&f, added) == 0);
	T_CHECK(t, rouse_narinfo_certified(&f.n, contents) == ROUSE_CERTIFIED_TREE);
	f.n.nar_hash[0] ^= 1;
	T_CHECK(t, rouse_narinfo_certified(&f.n, contents) == ROUSE_NOT_CERTIFIED);
	T_CHECK(t, rouse_narinfo_verify(&f.n, "test", NULL, 0, &f.e) < 0);
	T_CHECK(t, f.e.kind == ROUSE_UNTRUSTED);
}

/* `nix-store --add-fixed sha256` and builtins.toFile, as Nix 2.8 names and describes them. */
static void narinfo_content_address_of_a_file(struct t *t)
{
	static const char rest[] =
		"URL: nar/x.nar\nCompression: none\nNarSize: 120\n"
		"NarHash: sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw\n";
	static const char *const heads[] = {
		"StorePath: /nix/store/6knq949b53ya3z1rs5ips7h7xkb8mw3a-flat.txt\n"
		"CA: fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq\n",
		"StorePath: /nix/store/7lmww5ks62qvwklysqlsfbn6p4yl2ijr-u\n"
		"CA: text:sha256:1mha3hgpyv8cq0qvn27049a8pyd21h6wwxgw7b5cf8f3f1g97zhb\n",
		"StorePath: /nix/store/8yi142g61hdclh17wpf7a7xa1xqnxcxh-t.txt\n"
		"References: 7lmww5ks62qvwklysqlsfbn6p4yl2ijr-u\n"
		"CA: text:sha256:02r916d4w3i4rbv7qf0wlwa0ignghzmgfgifc5wscsz5pgdwq072\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		auto_fixture struct fixture f = { 0 };
		auto_free char *text = rouse_asprintf("%s%s", heads[i], rest);
		uint8_t contents[ROUSE_SHA256_LEN], want[ROUSE_SHA256_LEN];

		T_CHECK(t, parse(&f, text) == 0);
		T_CHECK(t, rouse_narinfo_certified(&f.n, contents) == ROUSE_CERTIFIED_FILE);
		T_CHECK(t, rouse_nar_hash_parse(strchr(f.n.ca, ':') + 1, want) &&
				   memcmp(contents, want, sizeof(want)) == 0);
		f.n.name = "6knq949b53ya3z1rs5ips7h7xkb8mw3a-other";
		T_CHECK(t, rouse_narinfo_certified(&f.n, contents) == ROUSE_NOT_CERTIFIED);
	}
}

T_MAIN(T(narinfo_reads_every_field), T(narinfo_accepts_the_signature_of_cache_nixos_org),
       T(narinfo_refuses_a_signature_for_other_values),
       T(narinfo_signature_does_not_depend_on_order), T(narinfo_refuses_malformed),
       T(narinfo_refuses_truncation_and_nul), T(narinfo_ignores_unknown_keys),
       T(narinfo_url_stays_in_the_cache), T(narinfo_url_may_repeat_the_cache),
       T(narinfo_url_may_lead_to_a_cache_of_the_document), T(narinfo_reads_every_compression),
       T(narinfo_content_address_needs_no_signature), T(narinfo_content_address_of_a_file))

/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../../modules/closure/checker.h"

/* Served and signed by cache.nixos.org. */
static const char name[] = "syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin";
static const char curl[] =
	"StorePath: /nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin\n"
	"URL: nar/05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56.nar.xz\n"
	"NarHash: sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0\n"
	"NarSize: 196040\n"
	"References: 0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0 "
	"6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115 "
	"j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12 "
	"yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n\n"
	"Sig: cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+"
	"vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ==\n";

enum { ANSWERS = 200 };

static struct rouse_key key;
static const struct rouse_cache cache = { .name = "own", .url = "https://cache.example" };
static const struct rouse_closure_spec spec = {
	.caches = &cache, .n_caches = 1, .keys = &key, .n_keys = 1
};

/* Of three in turn: good, with another size than the one that is signed, and cut off. */
static void make(struct rouse_answer *a, int i)
{
	size_t n = sizeof(curl) - 1 - (i % 3 == 2);

	*a = (struct rouse_answer){ .spec = &spec, .url = "https://cache.example/x", .name = name };
	if (rouse_buf_add(&a->text, curl, n, n) < 0)
		abort();
	if (i % 3 == 1)
		*strstr(a->text.data, "196040") = '2';
}

static bool is_right(const struct rouse_answer *a, int i)
{
	if (i % 3 == 0)
		return a->result == ROUSE_ANSWER_GOOD && a->info.nar_size == 196040;
	return a->why.kind == ROUSE_UNTRUSTED &&
	       a->result == (i % 3 == 1 ? ROUSE_ANSWER_UNSIGNED : ROUSE_ANSWER_WRONG);
}

/* Gives them in bunches, takes what there is, and in the end waits for the rest. */
static int count_right(unsigned processors)
{
	static struct rouse_answer answers[ANSWERS];
	struct rouse_fetcher *f auto_of(fetcher) = rouse_fetcher_new();
	struct rouse_checker k;
	int taken = 0, right = 0;

	rouse_checker_begin(&k, f, processors);
	for (int i = 0; i <= ANSWERS; i++) {
		struct rouse_answer *a;

		if (i < ANSWERS) {
			make(&answers[i], i);
			rouse_checker_give(&k, &answers[i]);
		}
		if (i % 17 && i < ANSWERS)
			continue;
		while ((a = rouse_checker_take(&k, i == ANSWERS))) {
			taken++;
			right += is_right(a, (int)(a - answers));
			rouse_answer_done(a);
		}
	}
	rouse_checker_end(&k);
	return taken == ANSWERS ? right : -taken;
}

static void checker_finds_the_same_with_one_processor_and_with_two(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_key_parse(&key,
				   "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
				   &e) == 0);
	for (unsigned processors = 1; processors <= 2; processors++)
		T_CHECK(t, count_right(processors) == ANSWERS);
}

/* A walk that fails leaves answers behind. */
static void checker_ends_with_answers_that_nobody_takes(struct t *t)
{
	struct rouse_fetcher *f auto_of(fetcher) = rouse_fetcher_new();
	struct rouse_answer answers[20];
	struct rouse_checker k;

	rouse_checker_begin(&k, f, 2);
	for (int i = 0; i < 20; i++) {
		make(&answers[i], i);
		rouse_checker_give(&k, &answers[i]);
	}
	rouse_checker_end(&k);
	for (int i = 0; i < 20; i++)
		rouse_answer_done(&answers[i]);
	T_CHECK(t, true);
}

T_MAIN(T(checker_finds_the_same_with_one_processor_and_with_two),
       T(checker_ends_with_answers_that_nobody_takes))

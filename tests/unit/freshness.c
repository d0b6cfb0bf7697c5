/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/freshness.h"

#include "../lib/tap.h"

#include <unistd.h>

#include <rouse/fs.h>

#define NOW INT64_C(1795000000) /* 2026-11-18T11:06:40Z */

static void add(struct rouse_document *d, const char *text, bool override)
{
	struct rouse_err e = { 0 };

	if (rouse_document_add(d, override ? "override" : "doc", text, strlen(text), false, &e) < 0)
		abort();
	d->layers[d->n_layers - 1].is_override = override;
}

static void times_are_moments_or_days(struct t *t)
{
	static const char *const wrong[] = { "",
					     "2027",
					     "2027-1-31",
					     "2027-02-31",
					     "2027-13-01",
					     "2027-01-31T12:00:00",
					     "2027-01-31T12:00:00+01",
					     "2027-01-31 12:00:00Z",
					     "2027-01-31T25:00:00Z",
					     " 027-01-31" };
	int64_t at = 0;

	T_CHECK(t, rouse_parse_time("2026-11-18T11:06:40Z", &at) && at == NOW);
	T_CHECK(t, rouse_parse_time("1970-01-01", &at) && at == 86399);
	T_CHECK(t, rouse_parse_time("2028-02-29", &at));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		T_CHECK(t, !rouse_is_time(wrong[i]));
}

static void a_document_is_good_until_its_time_is_over(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	add(&d, "{ \"notAfter\": \"2026-11-18\" }", false);
	add(&d, "{ \"notAfter\": \"2030-01-01T00:00:00Z\" }", false);
	T_CHECK(t, rouse_freshness_check(&d, 0, NOW, &e) == 0);
	/* A base's own time counts, whatever is above it. */
	T_CHECK(t, rouse_freshness_check(&d, 0, NOW + 86400, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, e.text, "doc: the document may be used until 2026-11-18, and it is 2026-11-19T");
}

static void a_generation_is_at_least_the_images(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	add(&d, "{ \"generation\": 7 }", false);
	add(&d, "{ \"generation\": 99 }", true); /* an override does not count */
	T_CHECK(t, rouse_freshness_check(&d, 7, NOW, &e) == 0);
	T_CHECK(t, rouse_freshness_check(&d, 8, NOW, &e) < 0 && e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, e.text, "generation is 7, and this image takes none below 8");
}

static void the_highest_generation_is_remembered(struct t *t)
{
	char root[] = "/tmp/rouse-fresh-XXXXXX";
	auto_document struct rouse_document seven = { 0 }, six = { 0 }, none = { 0 };
	auto_free char *file = NULL, *remove = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, mkdtemp(root));
	file = rouse_asprintf("%s/var/lib/rouse/seen.json", root);
	add(&seven, "{ \"generation\": 7 }", false);
	add(&six, "{ \"generation\": 6 }", false);
	add(&none, "{}", false);
	T_CHECK(t, rouse_freshness_check_seen(&none, root, &e) == 0);
	T_CHECK(t, rouse_freshness_remember(&none, root, &e) == 0 && access(file, F_OK) < 0);
	T_CHECK(t, rouse_freshness_remember(&seven, root, &e) == 0 && access(file, F_OK) == 0);
	T_CHECK(t, rouse_freshness_check_seen(&seven, root, &e) == 0);
	T_CHECK(t, rouse_freshness_check_seen(&six, root, &e) < 0 && e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, e.text, "generation is 6, and this machine was provisioned with 7");
	T_CHECK(t, rouse_freshness_check_seen(&none, root, &e) < 0);
	T_CHECK(t, rouse_freshness_remember(&six, root, &e) == 0);
	T_CHECK(t, rouse_freshness_check_seen(&six, root, &e) < 0);
	T_CHECK(t, rouse_freshness_control(root) == 0);
	T_CHECK(t, rouse_freshness_remember_control(4, root, &e) == 0);
	T_CHECK(t, rouse_freshness_remember_control(3, root, &e) == 0);
	T_CHECK(t, rouse_freshness_control(root) == 4);
	T_CHECK(t, rouse_freshness_check_seen(&six, root, &e) < 0);
	T_CHECK(t, unlink(file) == 0);
	for (size_t n = strlen(file); n > strlen(root); n--)
		if (file[n] == '/') {
			file[n] = '\0';
			T_CHECK(t, rmdir(file) == 0);
		}
	T_CHECK(t, rmdir(root) == 0);
}

T_MAIN(T(times_are_moments_or_days), T(a_document_is_good_until_its_time_is_over),
       T(a_generation_is_at_least_the_images), T(the_highest_generation_is_remembered))

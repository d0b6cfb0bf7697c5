/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/document.h>

#include "../lib/tap.h"

static int add(struct rouse_document *d, const char *name, const char *text, bool below,
	       struct rouse_err *e)
{
	return rouse_document_add(d, name, text, strlen(text), below, e);
}

static const char *string_at(const struct rouse_document *d, const char *key)
{
	return json_string_value(json_object_get(d->merged, key));
}

static void layers_merge_upwards(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&d, "doc", "{\"rouse\":1,\"hostname\":\"doc\"}", false, &e) == 0);
	T_CHECK(t, add(&d, "over", "{\"hostname\":\"over\"}", false, &e) == 0);
	T_CHECK(t,
		add(&d, "base", "{\"rouse\":1,\"hostname\":\"base\",\"files\":{}}", true, &e) == 0);
	T_STR(t, d.layers[0].name, "base");
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) == 0);
	T_STR(t, string_at(&d, "hostname"), "over");
	T_CHECK(t, json_object_get(d.merged, "files"));
}

static void null_in_a_layer_deletes(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&d, "doc", "{\"rouse\":1,\"hostname\":\"doc\"}", false, &e) == 0);
	T_CHECK(t, add(&d, "over", "{\"hostname\":null}", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) == 0);
	T_CHECK(t, !json_object_get(d.merged, "hostname"));
}

static void problem_names_the_layer_whose_value_counts(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&d, "base", "{\"rouse\":1,\n\"hostname\":\"fine\"}", false, &e) == 0);
	T_CHECK(t, add(&d, "over", "{\n  \"hostname\": 7 }", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "over:2:15: hostname: expected ");
}

static void missing_value_is_reported_where_its_object_is(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&d, "doc", "{\"rouse\":1,\n \"caches\": {\"a\": {}}}", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) < 0);
	T_HAS(t, e.text, "doc:2:18: caches.a: \"url\" is missing");
}

static void version_is_demanded_and_known(struct t *t)
{
	auto_document struct rouse_document d = { 0 }, two = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&d, "doc", "{}", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) < 0);
	T_HAS(t, e.text, "\"rouse\" is missing");
	T_CHECK(t, add(&two, "doc", "{\"rouse\":2}", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&two, NULL, &e) < 0);
	T_HAS(t, e.text, "rouse: expected 1, found 2");
}

static void base_is_pinned_or_refused(struct t *t)
{
	static const char good[] =
		"{\"rouse\":1,\"from\":{\"url\":\"s3://b/k\",\"sha256\":"
		"\"0000000000000000000000000000000000000000000000000000000000000000\"}}";
	auto_document struct rouse_document d = { 0 }, bare = { 0 };
	struct rouse_err e = { 0 };
	const char *url = NULL, *sha256 = NULL;

	T_CHECK(t, add(&d, "doc", good, false, &e) == 0);
	T_CHECK(t, rouse_document_from(&d, &url, &sha256, &e) == 0);
	T_STR(t, url, "s3://b/k");
	T_CHECK(t, strlen(sha256) == 64);
	T_CHECK(t, add(&bare, "doc", "{\"rouse\":1,\"from\":{\"url\":\"https://h/k\"}}", false,
		       &e) == 0);
	T_CHECK(t, rouse_document_from(&bare, &url, &sha256, &e) < 0);
	T_HAS(t, e.text, "doc:1:19: from: \"sha256\" is missing");
}

static void layers_are_objects_and_bounded(struct t *t)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };
	char *big = rouse_calloc(ROUSE_MAX_DOCUMENT + 2, 1);
	int r;

	T_CHECK(t, add(&d, "doc", "[1]", false, &e) < 0);
	T_HAS(t, e.text, "doc:1:1: expected an object");
	memset(big, ' ', ROUSE_MAX_DOCUMENT + 1);
	memcpy(big, "{}", 2);
	r = rouse_document_add(&d, "big", big, ROUSE_MAX_DOCUMENT, false, &e);
	T_CHECK(t, r == 0);
	r = rouse_document_add(&d, "big", big, ROUSE_MAX_DOCUMENT + 1, false, &e);
	free(big);
	T_CHECK(t, r < 0);
	T_HAS(t, e.text, "larger than");
}

static void digest_is_of_what_it_says_not_of_how(struct t *t)
{
	auto_document struct rouse_document a = { 0 }, b = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, add(&a, "a", "{\"rouse\":1,\"hostname\":\"x\"}", false, &e) == 0);
	T_CHECK(t, add(&b, "b", "{ \"hostname\" : \"x\",\n\"rouse\":1 }", false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&a, NULL, &e) == 0 &&
			   rouse_document_finish(&b, NULL, &e) == 0);
	T_STR(t, a.sha256, b.sha256);
	T_CHECK(t, strcmp(a.layers[0].sha256, b.layers[0].sha256) != 0);
}

T_MAIN(T(layers_merge_upwards), T(null_in_a_layer_deletes),
       T(problem_names_the_layer_whose_value_counts),
       T(missing_value_is_reported_where_its_object_is), T(version_is_demanded_and_known),
       T(base_is_pinned_or_refused), T(layers_are_objects_and_bounded),
       T(digest_is_of_what_it_says_not_of_how))

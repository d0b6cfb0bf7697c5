/* SPDX-License-Identifier: Apache-2.0 */
#include "freshness.h"

#include <string.h>
#include <time.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/text.h>

#define SEEN "/var/lib/rouse/seen.json"

bool rouse_parse_time(const char *text, int64_t *ret)
{
	struct tm tm = { 0 }, normal;
	bool day = strlen(text) == strlen("2027-01-31");
	const char *form = day ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%SZ", *end;
	time_t t;

	/* strptime(3) also takes blanks and days like the 31st of February. */
	if (strspn(text, "0123456789-T:Z") != strlen(text) ||
	    (!day && strlen(text) != strlen("2027-01-31T12:00:00Z")))
		return false;
	end = strptime(text, form, &tm);
	if (!end || *end)
		return false;
	normal = tm;
	t = timegm(&normal);
	if (normal.tm_mday != tm.tm_mday)
		return false;
	*ret = (int64_t)t + (day ? 24 * 60 * 60 - 1 : 0);
	return true;
}

bool rouse_is_time(const char *text)
{
	int64_t ignored;

	return rouse_parse_time(text, &ignored);
}

/* What the author says, whatever this machine's own layers are. */
static int64_t generation_of(const struct rouse_document *d)
{
	size_t n = 0;
	auto_json json_t *merged = NULL;

	while (n < d->n_layers && !d->layers[n].is_override)
		n++;
	merged = rouse_document_merge(d, n);
	return json_integer_value(json_object_get(merged, "generation"));
}

static int check_time(const struct rouse_layer *l, int64_t now, struct rouse_err *e)
{
	const char *text = json_string_value(json_object_get(l->json, "notAfter"));
	time_t t = (time_t)now;
	struct tm tm = { 0 };
	char today[32] = "";
	int64_t end;

	if (!text || l->is_override)
		return 0;
	/* A layer's own text: the table has seen the merged one. */
	if (!rouse_parse_time(text, &end))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s: notAfter: '%s' is not a time", l->name,
				  text);
	if (now <= end)
		return 0;
	if (gmtime_r(&t, &tm))
		(void)strftime(today, sizeof(today), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return rouse_fail(
		e, ROUSE_UNTRUSTED, 0,
		"%s: the document may be used until %s, and it is %s: make it anew, with a "
		"later \"notAfter\"",
		l->name, text, today);
}

int rouse_freshness_check(const struct rouse_document *d, int64_t least, int64_t now,
			  struct rouse_err *e)
{
	int64_t generation = generation_of(d);

	for (size_t i = 0; i < d->n_layers; i++)
		if (check_time(&d->layers[i], now, e) < 0)
			return -1;
	if (generation < least)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the document's generation is %lld, and this image takes none "
				  "below %lld",
				  (long long)generation, (long long)least);
	return 0;
}

/* The highest of each, 0 when the machine has seen none. */
struct seen {
	int64_t generation, control;
};

static int read_seen(const struct rouse_root *root, struct seen *ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;

	*ret = (struct seen){ 0 };
	if (rouse_fs_read(root, SEEN, ROUSE_MAX_METADATA, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	json = rouse_json_parse(SEEN, text.data, text.len, e);
	if (!json)
		return -1;
	ret->generation = json_integer_value(json_object_get(json, "generation"));
	ret->control = json_integer_value(json_object_get(json, "control"));
	return 0;
}

int rouse_freshness_check_seen(const struct rouse_document *d, const char *root_path,
			       struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	int64_t generation = generation_of(d);
	struct seen seen = { 0 };

	if (rouse_root_open(&root, root_path, e) < 0 || read_seen(&root, &seen, e) < 0)
		return -1;
	if (generation >= seen.generation)
		return 0;
	return rouse_fail(
		e, ROUSE_UNTRUSTED, 0,
		"the document's generation is %lld, and this machine was provisioned with "
		"%lld: an old document is refused (remove '" SEEN "' to allow it)",
		(long long)generation, (long long)seen.generation);
}

int64_t rouse_freshness_control(const char *root_path)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct seen seen = { 0 };
	struct rouse_err ignored = { 0 };

	if (rouse_root_open(&root, root_path, &ignored) < 0 ||
	    read_seen(&root, &seen, &ignored) < 0)
		return 0;
	return seen.control;
}

static int remember(struct seen now, const char *root_path, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = json_object();
	auto_free char *text = NULL;
	struct seen seen = { 0 };

	if (!now.generation && !now.control)
		return 0;
	if (rouse_root_open(&root, root_path, e) < 0 || read_seen(&root, &seen, e) < 0)
		return -1;
	if (now.generation <= seen.generation && now.control <= seen.control)
		return 0;
	if (now.generation > seen.generation)
		seen.generation = now.generation;
	if (now.control > seen.control)
		seen.control = now.control;
	rouse_json_set_int(json, "generation", (uint64_t)seen.generation);
	if (seen.control)
		rouse_json_set_int(json, "control", (uint64_t)seen.control);
	text = rouse_json_print(json);
	if (rouse_fs_mkdirs(&root, SEEN, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, SEEN, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, e);
}

int rouse_freshness_remember(const struct rouse_document *d, const char *root, struct rouse_err *e)
{
	return remember((struct seen){ .generation = generation_of(d) }, root, e);
}

int rouse_freshness_remember_control(int64_t gen, const char *root, struct rouse_err *e)
{
	return remember((struct seen){ .control = gen }, root, e);
}

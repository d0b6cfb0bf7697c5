/* SPDX-License-Identifier: Apache-2.0 */
/* How many generations are kept, as documents and images say it. */
#include <rouse/generations.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/settings.h>

const struct rouse_field rouse_keep_fields[ROUSE_KEEP_FIELDS] = {
	ROUSE_FIELD(struct rouse_keep, keep, "keep", "So many of the newest generations stay; 3.",
		    .type = ROUSE_INT, .min = 1, .max = UINT32_MAX),
	ROUSE_FIELD(struct rouse_keep, older_than, "olderThan",
		    "Those that are younger stay as well.", .type = ROUSE_DURATION),
	ROUSE_FIELD(struct rouse_keep, max_size, "maxSize",
		    "For `rouse gc`: older ones go until the rest is this small.",
		    .type = ROUSE_SIZE),
};

static const struct rouse_shape shape = {
	.type = ROUSE_OBJECT,
	.fields = rouse_keep_fields,
	.n_fields = ROUSE_KEEP_FIELDS,
	.size = sizeof(struct rouse_keep),
};

struct rouse_gc_policy rouse_keep_policy(const struct rouse_keep *k, int64_t now)
{
	return (struct rouse_gc_policy){
		.keep = k->keep ? (uint64_t)k->keep : ROUSE_KEEP_DEFAULT,
		.younger = k->older_than ? now - (int64_t)(k->older_than / 1000) : INT64_MAX,
		.max_size = k->max_size.bytes,
	};
}

static void merge(struct rouse_keep *k, const struct rouse_keep *below)
{
	if (!k->keep)
		k->keep = below->keep;
	if (!k->older_than)
		k->older_than = below->older_than;
	if (!k->max_size.bytes)
		k->max_size = below->max_size;
}

/* A document was valid when it was kept; what is broken since then says nothing. */
static int read_document(const char *root_path, struct rouse_keep *ret, struct rouse_err *e)
{
	static const char path[] = "/var/lib/rouse/document.json";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_problems problems = { 0 };
	const json_t *section;

	if (rouse_root_open(&root, root_path, e) < 0 ||
	    rouse_fs_read(&root, path, ROUSE_MAX_FACTS, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	j = rouse_json_parse(path, text.data, text.len, e);
	section = json_object_get(j, "generations");
	if (section && rouse_schema_read(&shape, section, NULL, ret, &arena, &problems))
		*ret = (struct rouse_keep){ 0 };
	rouse_problems_done(&problems);
	return 0;
}

int rouse_keep_read(const char *root, struct rouse_keep *ret, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/etc/rouse/agent.json", root);
	struct rouse_settings settings = { 0 };

	*ret = (struct rouse_keep){ 0 };
	if (read_document(root, ret, e) < 0 || rouse_settings_load(&settings, path, e) < 0)
		return -1;
	if (settings.generations)
		merge(ret, settings.generations);
	rouse_settings_done(&settings);
	return 0;
}

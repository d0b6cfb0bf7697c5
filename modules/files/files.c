/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <string.h>

#include <rouse/limits.h>
#include <rouse/made.h>
#include <rouse/text.h>
#include <rouse/trust.h>

static bool is_mode(const char *s)
{
	unsigned mode = 0;

	return rouse_parse_mode(s, &mode);
}

static bool is_file_path(const char *s)
{
	return rouse_is_absolute_path(s) && s[1];
}

static const struct rouse_field file_fields[] = {
	ROUSE_FIELD(struct file, contents, "contents", "The text of the file.",
		    .type = ROUSE_STRING, .secret = true),
	ROUSE_FIELD(struct file, base64, "base64", "The bytes of the file, base64 (RFC 4648).",
		    .type = ROUSE_STRING, .secret = true),
	ROUSE_FIELD(struct file, mode, "mode", "Octal mode; \"0644\", or \"0600\" for a secret.",
		    .type = ROUSE_STRING, .format = "an octal mode such as \"0644\"",
		    .valid = is_mode, .pattern = "^[0-7]{3,5}$"),
	ROUSE_FIELD(struct file, user, "user", "Owner, a name or a number; root.",
		    .type = ROUSE_STRING, .format = "a user name or number",
		    .valid = rouse_is_account),
	ROUSE_FIELD(struct file, group, "group", "Group, a name or a number; root.",
		    .type = ROUSE_STRING, .format = "a group name or number",
		    .valid = rouse_is_account),
	ROUSE_FIELD(struct file, secret, "secret",
		    "The plan does not say how large the file is, and its mode is 0600 by default.",
		    .type = ROUSE_BOOL),
};

static const struct rouse_shape file_shape = { ROUSE_OBJECT_OF(struct file, file_fields) };

static const struct rouse_field directory_fields[] = {
	ROUSE_FIELD(struct directory, mode, "mode", "Octal mode; \"0755\".", .type = ROUSE_STRING,
		    .format = "an octal mode such as \"0755\"", .valid = is_mode,
		    .pattern = "^[0-7]{3,5}$"),
	ROUSE_FIELD(struct directory, user, "user", "Owner, a name or a number; root.",
		    .type = ROUSE_STRING, .format = "a user name or number",
		    .valid = rouse_is_account),
	ROUSE_FIELD(struct directory, group, "group", "Group, a name or a number; root.",
		    .type = ROUSE_STRING, .format = "a group name or number",
		    .valid = rouse_is_account),
};

static const struct rouse_shape directory_shape = {
	ROUSE_OBJECT_OF(struct directory, directory_fields),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, files, "files", "Files of the machine, by absolute path.",
		    .type = ROUSE_MAP, .format = "the absolute path of a file",
		    .valid = is_file_path, .item = &file_shape),
	ROUSE_FIELD(struct conf, directories, "directories",
		    "Directories of the machine (also mount points), by absolute path: their owner "
		    "and mode, not what they hold.",
		    .type = ROUSE_MAP, .format = "the absolute path of a directory",
		    .valid = is_file_path, .item = &directory_shape),
};

static const struct rouse_field found_fields[] = {
	ROUSE_FIELD(struct found, type, "type", "What stands there.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct found, mode, "mode", "Octal mode.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct found, size, "size", "Bytes.", .type = ROUSE_INT),
	ROUSE_FIELD(struct found, uid, "uid", "Owner.", .type = ROUSE_INT),
	ROUSE_FIELD(struct found, gid, "gid", "Group.", .type = ROUSE_INT),
	ROUSE_FIELD(struct found, user, "user", "Name of the owner.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct found, group, "group", "Name of the group.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct found, sha256, "sha256", "Digest of the contents.",
		    .type = ROUSE_STRING),
};

static const struct rouse_shape found_shape = { ROUSE_OBJECT_OF(struct found, found_fields) };

static const struct rouse_shape name_shape = { .type = ROUSE_STRING };

static const struct rouse_field former_fields[] = {
	ROUSE_FIELD(struct former, is, "is", "What rouse left there.", .type = ROUSE_LIST,
		    .item = &name_shape),
	ROUSE_FIELD(struct former, was, "was", "What was there before.", .type = ROUSE_STRING,
		    .words = rouse_made_was_words),
	ROUSE_FIELD(struct former, now, "now", "What is there.", .type = ROUSE_STRING),
};

static const struct rouse_shape former_shape = { ROUSE_OBJECT_OF(struct former, former_fields) };

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, privileged, "privileged", "Whether the agent is root.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, uid, "uid", "User of the agent.", .type = ROUSE_INT),
	ROUSE_FIELD(struct facts, gid, "gid", "Group of the agent.", .type = ROUSE_INT),
	ROUSE_FIELD(struct facts, files, "files", "What stands at the paths.", .type = ROUSE_MAP,
		    .item = &found_shape),
	ROUSE_FIELD(struct facts, no_users, "noUsers", "Wanted owners that do not exist.",
		    .type = ROUSE_LIST, .item = &name_shape),
	ROUSE_FIELD(struct facts, no_groups, "noGroups", "Wanted groups that do not exist.",
		    .type = ROUSE_LIST, .item = &name_shape),
	ROUSE_FIELD(struct facts, former, "former", "Files of earlier documents.",
		    .type = ROUSE_MAP, .item = &former_shape),
	ROUSE_FIELD(struct facts, directories, "directories", "What stands at directories.",
		    .type = ROUSE_MAP, .item = &found_shape),
};

const struct rouse_shape files_facts_shape = { ROUSE_OBJECT_OF(struct facts, fact_fields) };

/* Why rouse does not write at `path`, or NULL. */
static const char *refusal(const char *path)
{
	static const struct {
		const char *dir, *why;
	} refused[] = {
		{ "/nix/store", "store paths come with a closure" },
		{ "/proc", "it is the kernel's" },
		{ "/sys", "it is the kernel's" },
		{ "/dev", "it is the kernel's" },
		{ "/run/rouse", "it holds rouse's own state" },
		{ "/var/lib/rouse", "it holds rouse's own state" },
		{ "/etc/rouse", "it holds the image's rules, and overrides" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const char *rest = rouse_strip_prefix(path, refused[i].dir);

		if (rest && (!*rest || *rest == '/'))
			return refused[i].why;
	}
	return NULL;
}

static int compare_paths(const void *a, const void *b)
{
	const char *const *left = a, *const *right = b;

	return strcmp(*left, *right);
}

/* All paths in order, so that thousands of files are checked against each other in no time. */
static const char **sorted_paths(const struct rouse_list *files)
{
	const char **paths = rouse_calloc(files->n, sizeof(*paths));

	for (size_t i = 0; i < files->n; i++)
		paths[i] = ((const struct file *)files->items)[i].path;
	qsort(paths, files->n, sizeof(*paths), compare_paths);
	return paths;
}

/* The path of the list that stands as a directory in `path`, or NULL. */
static const char *file_above(const char *const *paths, size_t n, const char *path)
{
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		auto_free char *above = rouse_strndup(path, (size_t)(slash - path));
		const char *key = above;
		const char *const *found = bsearch(&key, paths, n, sizeof(*paths), compare_paths);

		if (found)
			return *found;
	}
	return NULL;
}

static bool base64_valid(const char *text)
{
	size_t len = strlen(text);
	auto_free uint8_t *bytes = rouse_calloc(len / 4 + 1, 3);

	return rouse_unbase64(bytes, len / 4 * 3, text, len) >= 0;
}

static void check_directories(const struct conf *want, struct rouse_problems *problems)
{
	auto_free const char **files = sorted_paths(&want->files);

	for (size_t i = 0; i < want->directories.n; i++) {
		const struct directory *d = (const struct directory *)want->directories.items + i;
		const char *const keys[] = { "directories", d->path, NULL };
		const char *above = file_above(files, want->files.n, d->path);
		const char *why = refusal(d->path);

		if (why)
			rouse_problem(problems, keys, "refused: rouse makes nothing there, %s",
				      why);
		if (bsearch(&d->path, files, want->files.n, sizeof(*files), compare_paths))
			above = d->path;
		if (above)
			rouse_problem(problems, keys, "\"%s\" is a file in \"files\"", above);
	}
}

static void check(const void *conf, struct rouse_problems *problems)
{
	const struct conf *want = conf;
	auto_free const char **paths = sorted_paths(&want->files);

	for (size_t i = 0; i < want->files.n; i++) {
		const struct file *f = (const struct file *)want->files.items + i;
		const char *const keys[] = { "files", f->path, NULL };
		const char *const base64[] = { "files", f->path, "base64", NULL };
		const char *why = refusal(f->path);
		const char *above = file_above(paths, want->files.n, f->path);

		if (why)
			rouse_problem(problems, keys, "refused: rouse writes no file there, %s",
				      why);
		if (above)
			rouse_problem(problems, keys,
				      "\"%s\" is a file, so it cannot hold this one", above);
		if (f->contents && f->base64)
			rouse_problem(problems, keys,
				      "\"contents\" and \"base64\" exclude each other");
		if (!f->contents && !f->base64)
			rouse_problem(problems, keys, "\"contents\" or \"base64\" is missing");
		if (f->base64 && !base64_valid(f->base64))
			rouse_problem(problems, base64,
				      "expected base64 (RFC 4648, padded, without blanks)");
	}
	check_directories(want, problems);
}

const struct rouse_module rouse_module_files = {
	.name = "files",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.check = check,
	.observe = files_observe,
	.plan = files_plan,
	.prepare = files_prepare,
	.apply = files_apply,
	.state_free = free,
};

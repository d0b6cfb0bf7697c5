/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/made.h>
#include <rouse/parent.h>
#include <rouse/text.h>
#include <rouse/trust.h>

static const char *type_word(mode_t mode)
{
	return S_ISREG(mode)   ? "file"
	       : S_ISLNK(mode) ? "symlink"
	       : S_ISDIR(mode) ? "directory"
			       : "special";
}

static int add_digest(const struct rouse_root *root, const char *path, json_t *entry,
		      struct rouse_err *e)
{
	auto_buf struct rouse_buf bytes = { 0 };
	char hex[65];

	if (rouse_fs_read(root, path, ROUSE_MAX_DOCUMENT, &bytes, e) < 0)
		return -1;
	rouse_sha256_hex(bytes.data, bytes.len, hex);
	explicit_bzero(bytes.data, bytes.len);
	rouse_json_set_string(entry, "sha256", hex);
	return 0;
}

/* Adds what stands at `path` to the object `files`; nothing when nothing does. */
static int observe_one(const struct rouse_root *root, const struct rouse_accounts *accounts,
		       const char *path, json_t *files, struct rouse_err *e)
{
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	auto_json json_t *entry = NULL;
	auto_free char *user = NULL, *group = NULL;
	const char *name = NULL;
	struct stat st = { 0 };
	char mode[8];

	if (rouse_open_parent(root, path, false, &parent, &name, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (fstatat(parent.fd, name + 1, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0;
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at '%s'", path);
	}
	user = rouse_lines_name_of(&accounts->files[ROUSE_PASSWD], ROUSE_PW_UID, st.st_uid);
	group = rouse_lines_name_of(&accounts->files[ROUSE_GROUP], ROUSE_GR_GID, st.st_gid);
	(void)snprintf(mode, sizeof(mode), "%04o", st.st_mode & 07777);
	entry = json_object();
	rouse_json_set_string(entry, "type", type_word(st.st_mode));
	rouse_json_set_string(entry, "mode", mode);
	rouse_json_set_int(entry, "size", (uint64_t)st.st_size);
	rouse_json_set_int(entry, "uid", st.st_uid);
	rouse_json_set_int(entry, "gid", st.st_gid);
	rouse_json_set_string(entry, "user", user);
	rouse_json_set_string(entry, "group", group);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= ROUSE_MAX_DOCUMENT &&
	    add_digest(&parent, name, entry, e) < 0)
		return rouse_wrap(e, "'%s'", path);
	rouse_json_set(files, path, take(entry, NULL));
	return 0;
}

static bool is_wanted(const struct conf *want, const char *path)
{
	const struct file *f = want->files.items;

	for (size_t i = 0; i < want->files.n; i++)
		if (rouse_streq(f[i].path, path))
			return true;
	return false;
}

static int observe_former(const struct conf *want, const struct rouse_root *root, json_t *facts,
			  struct rouse_err *e)
{
	json_t *former = rouse_made_read(root, SECTION, e), *entry;
	const char *path;
	void *next;

	if (!former)
		return -1;
	rouse_json_set(facts, "former", former);
	json_object_foreach_safe(former, next, path, entry)
	{
		auto_free char *now = NULL;

		if (is_wanted(want, path)) {
			(void)json_object_del(former, path);
			continue;
		}
		now = rouse_made_state(root, path, e);
		if (!now)
			return -1;
		rouse_json_set_string(entry, "now", now);
	}
	return 0;
}

static bool is_empty(const struct conf *want)
{
	return !want->files.n && !want->directories.n;
}

int files_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		  struct rouse_err *e)
{
	const struct conf *want = conf;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts accounts = { 0 };
	const struct directory *d = want->directories.items;
	json_t *files = json_object(), *directories = json_object();

	rouse_json_set(facts, "files", files);
	rouse_json_set(facts, "directories", directories);
	rouse_json_set_bool(facts, "privileged", geteuid() == 0);
	rouse_json_set_int(facts, "uid", geteuid());
	rouse_json_set_int(facts, "gid", getegid());
	if (rouse_root_open(&root, c->root, e) < 0)
		return e->sys == ENOENT && (c->initramfs || is_empty(want)) ? 0 : -1;
	if (observe_former(want, &root, facts, e) < 0)
		return -1;
	if (is_empty(want))
		return 0;
	if (rouse_accounts_load(&accounts, &root, false, e) < 0)
		return -1;
	files_observe_owners(want, &accounts, facts);
	for (size_t i = 0; i < want->files.n; i++) {
		const struct file *f = (const struct file *)want->files.items + i;

		if (observe_one(&root, &accounts, f->path, files, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < want->directories.n; i++)
		if (observe_one(&root, &accounts, d[i].path, directories, e) < 0)
			return -1;
	return 0;
}

const struct found *files_find(const struct rouse_list *found, const char *path)
{
	const struct found *f = found->items;

	for (size_t i = 0; i < found->n; i++)
		if (rouse_streq(f[i].path, path))
			return &f[i];
	return NULL;
}

int files_look(const struct rouse_root *root, const struct rouse_accounts *accounts,
	       const char *path, struct rouse_arena *arena, json_t **ret_json,
	       const struct found **ret, struct rouse_err *e)
{
	struct rouse_problems problems = { 0 };
	json_t *facts = json_object(), *files = json_object();
	struct facts is = { 0 };

	*ret_json = facts;
	rouse_json_set(facts, "files", files);
	if (observe_one(root, accounts, path, files, e) < 0)
		return -1;
	if (rouse_schema_read(&files_facts_shape, facts, NULL, &is, arena, &problems)) {
		rouse_problems_done(&problems);
		return rouse_fail(e, ROUSE_BUG, 0, "facts about '%s' do not read back", path);
	}
	*ret = files_find(&is.files, path);
	return 0;
}

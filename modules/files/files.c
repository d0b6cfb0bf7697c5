/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `files`: whole files of the root, by absolute path. Contents are compared by digest, so that
 * neither facts nor plan nor log ever hold them. A file is replaced in one rename; a symlink in
 * its place is replaced, not followed.
 */
#include <fcntl.h>
#include <string.h>

#include <rouse/accounts.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/made.h>
#include <rouse/module.h>
#include <rouse/parent.h>
#include <rouse/text.h>
#include <rouse/trust.h>

struct file {
	const char *path;
	const char *contents, *base64; /* exactly one */
	const char *mode;              /* NULL: "0644", or "0600" for a secret */
	const char *user, *group;      /* NULL: root */
	bool secret;
};

struct conf {
	struct rouse_list files; /* struct file */
};

/* What stands at a path; absent paths have no entry. */
struct found {
	const char *path;
	const char *type; /* "file", "symlink", "directory", "special" */
	const char *mode; /* octal */
	int64_t size, uid, gid;
	const char *user, *group; /* names in the root's own files, NULL when it has none */
	const char *sha256;       /* NULL when larger than any document's file */
};

/* A file of an earlier document. */
struct former {
	const char *path;
	struct rouse_list is; /* const char *: states that are ours (rouse/made.h) */
	const char *was;
	const char *now; /* the state of today */
};

extern const struct rouse_module rouse_module_files;

struct facts {
	bool privileged;                       /* files can be given to others */
	int64_t uid, gid;                      /* of the agent */
	struct rouse_list files;               /* struct found */
	struct rouse_list no_users, no_groups; /* const char *: wanted, and not on this machine */
	struct rouse_list former;              /* struct former: recorded, and not wanted */
};

enum { OP_WRITE, OP_UNDO };
#define SECTION "files" /* of the record of what was made */

/* A file to write, bytes decoded. */
struct work {
	const char *path, *user, *group; /* user and group NULL: not ours to set */
	unsigned mode;
	const char *data;
	size_t len;
};

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

static const struct rouse_shape file_shape = {
	.type = ROUSE_OBJECT,
	.fields = file_fields,
	.n_fields = ARRAY_SIZE(file_fields),
	.size = sizeof(struct file),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, files, "files", "Files of the machine, by absolute path.",
		    .type = ROUSE_MAP, .format = "the absolute path of a file",
		    .valid = is_file_path, .item = &file_shape),
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

static const struct rouse_shape found_shape = {
	.type = ROUSE_OBJECT,
	.fields = found_fields,
	.n_fields = ARRAY_SIZE(found_fields),
	.size = sizeof(struct found),
};

static const struct rouse_shape name_shape = { .type = ROUSE_STRING };

static const struct rouse_field former_fields[] = {
	ROUSE_FIELD(struct former, is, "is", "What rouse left there.", .type = ROUSE_LIST,
		    .item = &name_shape),
	ROUSE_FIELD(struct former, was, "was", "What was there before.", .type = ROUSE_STRING,
		    .words = rouse_made_was_words),
	ROUSE_FIELD(struct former, now, "now", "What is there.", .type = ROUSE_STRING),
};

static const struct rouse_shape former_shape = {
	.type = ROUSE_OBJECT,
	.fields = former_fields,
	.n_fields = ARRAY_SIZE(former_fields),
	.size = sizeof(struct former),
};

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
};

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
}

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

static int observe_file(const struct rouse_root *root, const struct rouse_accounts *accounts,
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

static bool is_account(const struct rouse_accounts *a, enum rouse_account_file file,
		       const char *name)
{
	uint32_t id = 0;

	/* root is 0 everywhere; a root without accounts has yet to get them, or is out of sight */
	return !name || strcmp(name, "root") == 0 || !a->files[file].exists ||
	       rouse_account_resolve(&a->files[file], name, &id);
}

static void observe_owners(const struct conf *want, const struct rouse_accounts *a, json_t *facts)
{
	json_t *users = json_array(), *groups = json_array();

	rouse_json_set(facts, "noUsers", users);
	rouse_json_set(facts, "noGroups", groups);
	for (size_t i = 0; i < want->files.n; i++) {
		const struct file *f = (const struct file *)want->files.items + i;

		if (!is_account(a, ROUSE_PASSWD, f->user))
			rouse_json_append_string(users, f->user);
		if (!is_account(a, ROUSE_GROUP, f->group))
			rouse_json_append_string(groups, f->group);
	}
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

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	const struct conf *want = conf;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts accounts = { 0 };
	json_t *files = json_object();

	rouse_json_set(facts, "files", files);
	rouse_json_set_bool(facts, "privileged", geteuid() == 0);
	rouse_json_set_int(facts, "uid", geteuid());
	rouse_json_set_int(facts, "gid", getegid());
	if (rouse_root_open(&root, c->root, e) < 0)
		return e->sys == ENOENT && (c->initramfs || !want->files.n) ? 0 : -1;
	if (observe_former(want, &root, facts, e) < 0)
		return -1;
	if (!want->files.n)
		return 0;
	if (rouse_accounts_load(&accounts, &root, false, e) < 0)
		return -1;
	observe_owners(want, &accounts, facts);
	for (size_t i = 0; i < want->files.n; i++) {
		const struct file *f = (const struct file *)want->files.items + i;

		if (observe_file(&root, &accounts, f->path, files, e) < 0)
			return -1;
	}
	return 0;
}

static const struct found *find_found(const struct facts *is, const char *path)
{
	for (size_t i = 0; i < is->files.n; i++) {
		const struct found *f = (const struct found *)is->files.items + i;

		if (rouse_streq(f->path, path))
			return f;
	}
	return NULL;
}

static bool owner_is(const char *want, const char *name, int64_t id)
{
	uint64_t number = 0;

	if (rouse_parse_u64(want, UINT32_MAX, &number))
		return (int64_t)number == id;
	/* root is 0 everywhere, also in a root that has no /etc/passwd yet */
	return rouse_streq(want, name) || (id == 0 && rouse_streq(want, "root"));
}

static bool same_file(const struct work *w, const struct found *is)
{
	char sha256[65];
	unsigned mode = 0;

	rouse_sha256_hex(w->data, w->len, sha256);
	return rouse_streq(is->type, "file") && rouse_streq(is->sha256, sha256) && is->mode &&
	       rouse_parse_mode(is->mode, &mode) && mode == w->mode &&
	       (!w->user || owner_is(w->user, is->user, is->uid)) &&
	       (!w->group || owner_is(w->group, is->group, is->gid));
}

/* The bytes and attributes that `f` asks for; what is long-lived is in the arena. */
static struct work *make_work(struct rouse_arena *arena, const struct file *f, bool privileged)
{
	struct work *w = rouse_arena_alloc(arena, sizeof(*w));
	const char *root = privileged ? "root" : NULL;

	w->path = f->path;
	w->user = f->user ? f->user : root;
	w->group = f->group ? f->group : root;
	w->mode = f->secret ? 0600 : 0644;
	if (f->mode && !rouse_parse_mode(f->mode, &w->mode))
		w->mode = 0600; /* the schema has refused it */
	w->data = f->contents ? f->contents : "";
	w->len = strlen(w->data);
	if (f->base64) {
		size_t max = strlen(f->base64) / 4 * 3;
		uint8_t *bytes = rouse_arena_alloc(arena, max);
		int64_t n = rouse_unbase64(bytes, max, f->base64, strlen(f->base64));

		w->data = (char *)bytes;
		w->len = n < 0 ? 0 : (size_t)n; /* check() has refused it */
	}
	return w;
}

static int refuse_account(const char *path, const char *kind, const char *name, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "'%s' is to belong to %s '%s', which this machine does not have; "
			  "declare it in \"users\" or give a number",
			  path, kind, name);
}

static bool holds(const struct rouse_list *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (rouse_streq(((const char *const *)names->items)[i], name))
			return true;
	return false;
}

static int check_owner(const struct file *f, const struct facts *is, const struct rouse_plan *p,
		       struct rouse_err *e)
{
	if (f->user && holds(&is->no_users, f->user) && !rouse_plan_has_account(p, false, f->user))
		return refuse_account(f->path, "user", f->user, e);
	if (f->group && holds(&is->no_groups, f->group) &&
	    !rouse_plan_has_account(p, true, f->group))
		return refuse_account(f->path, "group", f->group, e);
	return 0;
}

static int plan_file(const struct file *f, const struct facts *is, struct rouse_plan *p,
		     struct rouse_err *e)
{
	const struct found *there = find_found(is, f->path);
	struct work *w = make_work(&p->arena, f, is->privileged);
	const char *type = there && there->type ? there->type : "file";
	char size[40];

	if (strcmp(type, "directory") == 0 || strcmp(type, "special") == 0)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"refused: '%s' is %s on this machine; only a file or a "
			"symlink is replaced",
			f->path, strcmp(type, "directory") == 0 ? "a directory" : "a special file");
	if (!is->privileged && ((f->user && !owner_is(f->user, NULL, is->uid)) ||
				(f->group && !owner_is(f->group, NULL, is->gid))))
		return rouse_fail(e, ROUSE_SYSTEM, EPERM, "only root can give '%s' to '%s'",
				  f->path, f->user ? f->user : f->group);
	if (check_owner(f, is, p, e) < 0)
		return -1;
	if (there && same_file(w, there))
		return 0;
	(void)snprintf(size, sizeof(size), "%zu byte%s", w->len, w->len == 1 ? "" : "s");
	rouse_plan_add(p, there ? ROUSE_CHANGE : ROUSE_CREATE, OP_WRITE, w,
		       "write %s%s (%s, %04o%s%s%s%s)", f->path,
		       strcmp(type, "symlink") == 0 ? " in place of a symlink" : "",
		       f->secret ? "secret" : size, w->mode, f->user ? ", user " : "",
		       f->user ? f->user : "", f->group ? ", group " : "",
		       f->group ? f->group : "");
	return 0;
}

/* What no document asks for any more is as it was before the first that did. */
static void plan_former(const struct former *f, struct rouse_plan *p)
{
	const char *path = rouse_arena_strdup(&p->arena, f->path);

	if (rouse_streq(f->now, "absent"))
		rouse_plan_add(p, ROUSE_CHANGE, OP_UNDO, path, "forget %s, which is gone", path);
	else if (!holds(&f->is, f->now))
		rouse_plan_add(p, ROUSE_CHANGE, OP_UNDO, path,
			       "forget %s, and leave it as others have changed it", path);
	else if (rouse_streq(f->was, rouse_made_was_words[ROUSE_WAS_KEPT]))
		rouse_plan_add(p, ROUSE_CHANGE, OP_UNDO, path,
			       "restore %s as it was before a document had it", path);
	else if (rouse_streq(f->was, rouse_made_was_words[ROUSE_WAS_LOST]))
		rouse_plan_add(p, ROUSE_CHANGE, OP_UNDO, path,
			       "forget %s, and leave it: what was there before was not kept", path);
	else
		rouse_plan_add(p, ROUSE_CHANGE, OP_UNDO, path,
			       "remove %s, which no document has any more", path);
}

static int plan(const void *conf, const void *facts, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct conf *want = conf;
	const struct facts *is = facts;

	for (size_t i = 0; i < is->former.n; i++)
		plan_former((const struct former *)is->former.items + i, p);

	for (size_t i = 0; i < want->files.n; i++)
		if (plan_file((const struct file *)want->files.items + i, facts, p, e) < 0)
			return -1;
	return 0;
}

static int resolve(const struct rouse_lines *lines, const char *name, const char *kind,
		   const char *path, uint32_t *ret, struct rouse_err *e)
{
	if (!name)
		return 0; /* stays (uid_t)-1 */
	if (strcmp(name, "root") == 0) {
		*ret = 0;
		return 0;
	}
	if (rouse_account_resolve(lines, name, ret))
		return 0;
	return refuse_account(path, kind, name, e);
}

/* In an initramfs the root was out of sight when the plan was made: is the file right already? */
static int already(const struct work *w, const struct rouse_root *root,
		   const struct rouse_accounts *accounts, bool *ret, struct rouse_err *e)
{
	static const struct rouse_shape shape = {
		.type = ROUSE_OBJECT,
		.fields = fact_fields,
		.n_fields = ARRAY_SIZE(fact_fields),
		.size = sizeof(struct facts),
	};
	auto_json json_t *facts = json_object();
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_problems problems = { 0 };
	struct facts is = { 0 };
	const struct found *there;
	json_t *files = json_object();

	rouse_json_set(facts, "files", files);
	if (observe_file(root, accounts, w->path, files, e) < 0)
		return -1;
	if (rouse_schema_read(&shape, facts, NULL, &is, &arena, &problems)) {
		rouse_problems_done(&problems);
		return rouse_fail(e, ROUSE_BUG, 0, "facts about '%s' do not read back", w->path);
	}
	there = find_found(&is, w->path);
	if (there && (rouse_streq(there->type, "directory") || rouse_streq(there->type, "special")))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "refused: '%s' is a directory or special file on this machine",
				  w->path);
	*ret = there && same_file(w, there);
	return 0;
}

struct state {
	const struct rouse_plan *plan;
	bool recorded; /* all that is written in this run */
};

static int prepare(const void *conf unused_arg, const struct rouse_plan *p,
		   const struct rouse_context *c unused_arg, void **ret_state,
		   struct rouse_err *e unused_arg)
{
	struct state *s = rouse_calloc(1, sizeof(*s));

	s->plan = p;
	*ret_state = s;
	return 0;
}

/* Once for all files, before the first is written. */
static int record(struct state *s, const struct rouse_root *root, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_made_change *changes;
	size_t n = 0;

	if (!s || s->recorded)
		return 0;
	changes = rouse_arena_alloc(&arena, s->plan->n_steps * sizeof(*changes));
	for (size_t i = 0; i < s->plan->n_steps; i++) {
		const struct rouse_step *step = &s->plan->steps[i];
		const struct work *w = step->arg;
		char sha256[65];

		if (step->module != &rouse_module_files || step->op != OP_WRITE)
			continue;
		rouse_sha256_hex(w->data, w->len, sha256);
		changes[n++] = (struct rouse_made_change){
			w->path, rouse_arena_printf(&arena, "file:%s", sha256)
		};
	}
	if (rouse_made_record(root, SECTION, changes, n, e) < 0)
		return -1;
	s->recorded = true;
	return 0;
}

static int undo(const char *path, const struct rouse_context *c, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	return rouse_made_undo(&root, SECTION, path, e);
}

static int apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		 struct rouse_err *e)
{
	const struct work *w = step->arg;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts accounts = { 0 };
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
	const char *name = NULL;
	bool done = false;

	if (step->op == OP_UNDO)
		return undo(step->arg, c, e);
	if (rouse_root_open(&root, c->root, e) < 0 ||
	    rouse_accounts_load(&accounts, &root, false, e) < 0 ||
	    resolve(&accounts.files[ROUSE_PASSWD], w->user, "user", w->path, &uid, e) < 0 ||
	    resolve(&accounts.files[ROUSE_GROUP], w->group, "group", w->path, &gid, e) < 0 ||
	    already(w, &root, &accounts, &done, e) < 0)
		return -1;
	if (done)
		return 0;
	if (record(state, &root, e) < 0)
		return -1;
	if (rouse_open_parent(&root, w->path, true, &parent, &name, e) < 0)
		return -1;
	return rouse_fs_replace(&parent, name, w->data, w->len, w->mode, uid, gid, e);
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
	.observe = observe,
	.plan = plan,
	.prepare = prepare,
	.apply = apply,
	.state_free = free,
};

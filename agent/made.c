/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/made.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/parent.h>
#include <rouse/schema.h>
#include <rouse/text.h>
#include <rouse/trust.h>

const char *const rouse_made_was_words[] = {
	[ROUSE_WAS_ABSENT] = "absent",
	[ROUSE_WAS_KEPT] = "kept",
	[ROUSE_WAS_LOST] = "lost",
	[ROUSE_WAS_] = NULL,
};

/* --- what is there ---------------------------------------------------------------------------- */

struct state {
	char *text;
	struct stat st;
	struct rouse_buf bytes; /* of a file */
	const char *target;     /* of a link, within text */
};

static void state_done(struct state *s)
{
	free(s->text);
	if (s->bytes.data)
		explicit_bzero(s->bytes.data, s->bytes.len);
	rouse_buf_done(&s->bytes);
}
#define auto_state __attribute__((cleanup(state_done)))

static int look_at_file(struct state *s, const struct rouse_root *parent, const char *name,
			struct rouse_err *e)
{
	char hex[65];

	if ((uint64_t)s->st.st_size > ROUSE_MAX_ORIGINAL) {
		s->text = rouse_strdup("other");
		return 0;
	}
	if (rouse_fs_read(parent, name, ROUSE_MAX_ORIGINAL, &s->bytes, e) < 0)
		return -1;
	rouse_sha256_hex(s->bytes.data, s->bytes.len, hex);
	s->text = rouse_asprintf("file:%s", hex);
	return 0;
}

static int look(struct state *s, const struct rouse_root *root, const char *path,
		struct rouse_err *e)
{
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	const char *name = NULL;
	char target[PATH_MAX];
	ssize_t n;

	if (rouse_open_parent(root, path, false, &parent, &name, e) < 0) {
		if (e->sys != ENOENT && e->sys != ENOTDIR)
			return -1;
		s->text = rouse_strdup("absent");
		return 0;
	}
	if (fstatat(parent.fd, name + 1, &s->st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at '%s'", path);
		s->text = rouse_strdup("absent");
		return 0;
	}
	if (S_ISREG(s->st.st_mode))
		return look_at_file(s, &parent, name, e);
	if (!S_ISLNK(s->st.st_mode)) {
		s->text = rouse_strdup("other");
		return 0;
	}
	n = readlinkat(parent.fd, name + 1, target, sizeof(target) - 1);
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the link '%s'", path);
	target[n] = '\0';
	s->text = rouse_asprintf("link:%s", target);
	s->target = s->text + 5;
	return 0;
}

char *rouse_made_state(const struct rouse_root *root, const char *path, struct rouse_err *e)
{
	auto_state struct state s = { 0 };

	return look(&s, root, path, e) < 0 ? NULL : take(s.text, NULL);
}

/* --- the record ------------------------------------------------------------------------------- */

static json_t *read_all(const struct rouse_root *root, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;

	if (rouse_fs_read(root, ROUSE_MADE_FILE, ROUSE_MAX_FACTS, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? json_object() : NULL;
	j = rouse_json_parse(ROUSE_MADE_FILE, text.data, text.len, e);
	if (json_is_object(j))
		return take(j, NULL);
	/* No boot fails for it: what was made stays, as if a person had made it. */
	rouse_log(ROUSE_LOG_WARNING, "made", "%s%s, ignoring", j ? ROUSE_MADE_FILE : e->text,
		  j ? " is no object" : "");
	return json_object();
}

static int write_all(const struct rouse_root *root, const json_t *record, struct rouse_err *e)
{
	auto_free char *text = rouse_json_print(record);

	if (rouse_fs_mkdirs(root, ROUSE_MADE_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, ROUSE_MADE_FILE, text, strlen(text), 0600, (uid_t)-1,
				(gid_t)-1, e);
}

static const char *was_of(const json_t *entry)
{
	const json_t *was = json_object_get(entry, "was");
	const char *type = json_string_value(json_object_get(was, "type"));

	if (rouse_streq(type, "file") || rouse_streq(type, "link"))
		return rouse_made_was_words[ROUSE_WAS_KEPT];
	return rouse_made_was_words[type ? ROUSE_WAS_LOST : ROUSE_WAS_ABSENT];
}

json_t *rouse_made_read(const struct rouse_root *root, const char *section, struct rouse_err *e)
{
	auto_json json_t *all = read_all(root, e);
	json_t *ret = json_object(), *entry, *state;
	const char *path;
	size_t i;

	if (!all) {
		json_decref(ret);
		return NULL;
	}
	json_object_foreach (json_object_get(all, section), path, entry) {
		json_t *one = json_object(), *is = json_array();

		json_array_foreach (json_object_get(entry, "is"), i, state)
			if (json_is_string(state))
				rouse_json_append(is, json_incref(state));
		rouse_json_set(one, "is", is);
		rouse_json_set_string(one, "was", was_of(entry));
		if (rouse_is_absolute_path(path))
			rouse_json_set(ret, path, one);
		else
			json_decref(one);
	}
	return ret;
}

/* The bytes first, under the name of their digest: then the record may speak of them. */
static int keep_file(const struct rouse_root *root, const struct state *s, json_t *was,
		     struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf(ROUSE_ORIGINALS "/%s", s->text + 5);
	auto_root struct rouse_root dir = ROUSE_ROOT_INIT;
	const char *name = NULL;
	char mode[8];

	(void)snprintf(mode, sizeof(mode), "%04o", s->st.st_mode & 07777);
	rouse_json_set_string(was, "type", "file");
	rouse_json_set_string(was, "sha256", s->text + 5);
	rouse_json_set_string(was, "mode", mode);
	rouse_json_set_int(was, "uid", s->st.st_uid);
	rouse_json_set_int(was, "gid", s->st.st_gid);
	if (rouse_open_parent(root, path, true, &dir, &name, e) < 0)
		return -1;
	/* It may have been a secret. */
	return rouse_fs_replace(&dir, name, s->bytes.data, s->bytes.len, 0600, (uid_t)-1, (gid_t)-1,
				e);
}

static int keep(const struct rouse_root *root, const struct state *s, json_t *entry,
		struct rouse_err *e)
{
	json_t *was;

	if (rouse_streq(s->text, "absent"))
		return 0;
	was = json_object();
	rouse_json_set(entry, "was", was);
	if (rouse_strip_prefix(s->text, "file:"))
		return keep_file(root, s, was, e);
	rouse_json_set_string(was, "type", s->target ? "link" : "other");
	rouse_json_set_string(was, "target", s->target);
	return 0;
}

static bool holds(const json_t *states, const char *state)
{
	const json_t *one;
	size_t i;

	json_array_foreach (states, i, one)
		if (rouse_streq(json_string_value(one), state))
			return true;
	return false;
}

/* The states that may be ours: the new one, and the one that is there until it is. */
static int record_one(const struct rouse_root *root, json_t *section,
		      const struct rouse_made_change *c, struct rouse_err *e)
{
	auto_state struct state s = { 0 };
	json_t *entry = json_object_get(section, c->path), *is = json_array();
	bool ours;

	if (look(&s, root, c->path, e) < 0) {
		json_decref(is);
		return -1;
	}
	ours = holds(json_object_get(entry, "is"), s.text);
	rouse_json_append_string(is, c->state);
	if (ours && !rouse_streq(s.text, c->state))
		rouse_json_append_string(is, s.text);
	if (!json_is_object(entry)) {
		entry = json_object();
		rouse_json_set(section, c->path, entry);
		if (keep(root, &s, entry, e) < 0) {
			json_decref(is);
			return -1;
		}
	}
	rouse_json_set(entry, "is", is);
	return 0;
}

int rouse_made_record(const struct rouse_root *root, const char *section,
		      const struct rouse_made_change *changes, size_t n, struct rouse_err *e)
{
	auto_json json_t *all = n ? read_all(root, e) : NULL;
	json_t *mine;

	if (!all)
		return n ? -1 : 0;
	mine = json_object_get(all, section);
	if (!json_is_object(mine)) {
		mine = json_object();
		rouse_json_set(all, section, mine);
	}
	for (size_t i = 0; i < n; i++)
		if (record_one(root, mine, &changes[i], e) < 0)
			return -1;
	return write_all(root, all, e);
}

/* --- undoing ---------------------------------------------------------------------------------- */

static int put_back_file(const struct rouse_root *root, const struct rouse_root *parent,
			 const char *name, const json_t *was, struct rouse_err *e)
{
	const char *sha256 = json_string_value(json_object_get(was, "sha256")),
		   *mode = json_string_value(json_object_get(was, "mode"));
	auto_free char *original = rouse_asprintf(ROUSE_ORIGINALS "/%s", sha256 ? sha256 : "");
	auto_buf struct rouse_buf bytes = { 0 };
	bool root_runs = geteuid() == 0;
	unsigned bits = 0600;
	uint32_t uid = (uint32_t)json_integer_value(json_object_get(was, "uid")),
		 gid = (uint32_t)json_integer_value(json_object_get(was, "gid"));
	int r;

	if (!sha256 || !rouse_is_sha256_hex(sha256) || (mode && !rouse_parse_mode(mode, &bits)))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is damaged", ROUSE_MADE_FILE);
	if (rouse_fs_read(root, original, ROUSE_MAX_ORIGINAL, &bytes, e) < 0)
		return -1;
	r = rouse_fs_replace(parent, name, bytes.data, bytes.len, bits, root_runs ? uid : (uid_t)-1,
			     root_runs ? gid : (gid_t)-1, e);
	explicit_bzero(bytes.data, bytes.len);
	return r;
}

static int put_back(const struct rouse_root *root, const char *path, const json_t *entry,
		    struct rouse_err *e)
{
	const json_t *was = json_object_get(entry, "was");
	const char *type = json_string_value(json_object_get(was, "type")),
		   *target = json_string_value(json_object_get(was, "target"));
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	const char *name = NULL;

	if (rouse_open_parent(root, path, type != NULL, &parent, &name, e) < 0)
		return !type && (e->sys == ENOENT || e->sys == ENOTDIR) ? 0 : -1;
	if (rouse_streq(type, "file"))
		return put_back_file(root, &parent, name, was, e);
	if (rouse_streq(type, "link") && target)
		return rouse_fs_symlink(&parent, target, name, e);
	if (type)
		return 0; /* it was not kept; better ours than nothing */
	if (unlinkat(parent.fd, name + 1, 0) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", path);
	return 0;
}

/* Originals that no entry speaks of any more. */
static void drop_original(const struct rouse_root *root, const json_t *all, const char *sha256)
{
	auto_free char *path = NULL;
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	const char *section, *of, *name = NULL;
	json_t *entries, *entry;
	struct rouse_err e = { 0 };

	if (!sha256 || !rouse_is_sha256_hex(sha256))
		return;
	json_object_foreach ((json_t *)all, section, entries)
		json_object_foreach (entries, of, entry)
			if (rouse_streq(json_string_value(json_object_get(
						json_object_get(entry, "was"), "sha256")),
					sha256))
				return;
	path = rouse_asprintf(ROUSE_ORIGINALS "/%s", sha256);
	if (rouse_open_parent(root, path, false, &parent, &name, &e) == 0)
		(void)unlinkat(parent.fd, name + 1, 0); /* what stays costs space only */
}

int rouse_made_undo(const struct rouse_root *root, const char *section, const char *path,
		    struct rouse_err *e)
{
	auto_json json_t *all = read_all(root, e), *entry = NULL;
	auto_free char *state = NULL;
	json_t *mine;

	if (!all)
		return -1;
	mine = json_object_get(all, section);
	entry = json_incref(json_object_get(mine, path));
	if (!entry)
		return 0;
	state = rouse_made_state(root, path, e);
	if (!state)
		return -1;
	if (holds(json_object_get(entry, "is"), state) && put_back(root, path, entry, e) < 0)
		return -1;
	(void)json_object_del(mine, path);
	if (write_all(root, all, e) < 0)
		return -1;
	drop_original(root, all,
		      json_string_value(json_object_get(json_object_get(entry, "was"), "sha256")));
	return 0;
}

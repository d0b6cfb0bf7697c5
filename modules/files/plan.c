/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/made.h>
#include <rouse/text.h>
#include <rouse/trust.h>

bool files_is_same(const struct work *w, const struct found *is)
{
	char sha256[65];
	unsigned mode = 0;

	rouse_sha256_hex(w->data, w->len, sha256);
	return rouse_streq(is->type, "file") && rouse_streq(is->sha256, sha256) && is->mode &&
	       rouse_parse_mode(is->mode, &mode) && mode == w->mode &&
	       files_owner_is(w->user, is->user, is->uid) &&
	       files_owner_is(w->group, is->group, is->gid);
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

static int plan_file(const struct file *f, const struct facts *is, struct rouse_plan *p,
		     struct rouse_err *e)
{
	const struct found *there = files_find(&is->files, f->path);
	struct work *w = make_work(&p->arena, f, is->privileged);
	const char *type = there && there->type ? there->type : "file";
	char size[40];

	if (strcmp(type, "directory") == 0 || strcmp(type, "special") == 0)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"refused: '%s' is %s on this machine; only a file or a "
			"symlink is replaced",
			f->path, strcmp(type, "directory") == 0 ? "a directory" : "a special file");
	if (files_check_owner(f->path, f->user, f->group, is, p, e) < 0)
		return -1;
	if (there && files_is_same(w, there))
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
	else if (!rouse_list_has(&f->is, f->now))
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

int files_plan(const void *conf, const void *facts, const struct rouse_context *c unused_arg,
	       struct rouse_plan *p, struct rouse_err *e)
{
	const struct conf *want = conf;
	const struct facts *is = facts;

	for (size_t i = 0; i < is->former.n; i++)
		plan_former((const struct former *)is->former.items + i, p);
	if (files_plan_directories(want, is, p, e) < 0)
		return -1;
	for (size_t i = 0; i < want->files.n; i++)
		if (plan_file((const struct file *)want->files.items + i, facts, p, e) < 0)
			return -1;
	return 0;
}

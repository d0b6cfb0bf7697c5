/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/made.h>
#include <rouse/parent.h>
#include <rouse/text.h>
#include <rouse/trust.h>

/* In an initramfs the root was out of sight when the plan was made: is the file right already? */
static int already(const struct work *w, const struct rouse_root *root,
		   const struct rouse_accounts *accounts, bool *ret, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	const struct found *there = NULL;
	auto_json json_t *json = NULL;

	if (files_look(root, accounts, w->path, &arena, &json, &there, e) < 0)
		return -1;
	if (there && (rouse_streq(there->type, "directory") || rouse_streq(there->type, "special")))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "refused: '%s' is a directory or special file on this machine",
				  w->path);
	*ret = there && files_is_same(w, there);
	return 0;
}

struct state {
	const struct rouse_plan *plan;
	bool recorded; /* all that is written in this run */
};

int files_prepare(const void *conf unused_arg, const struct rouse_plan *p,
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

int files_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		struct rouse_err *e)
{
	const struct work *w = step->arg;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts accounts = { 0 };
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
	const char *name = NULL;
	bool done = false;

	if (step->op == OP_DIRECTORY)
		return files_apply_directory(w, c, e);
	if (step->op == OP_UNDO)
		return undo(step->arg, c, e);
	if (rouse_root_open(&root, c->root, e) < 0 ||
	    rouse_accounts_load(&accounts, &root, false, e) < 0 ||
	    files_resolve(&accounts.files[ROUSE_PASSWD], w->user, "user", w->path, &uid, e) < 0 ||
	    files_resolve(&accounts.files[ROUSE_GROUP], w->group, "group", w->path, &gid, e) < 0 ||
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

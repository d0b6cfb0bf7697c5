/* SPDX-License-Identifier: Apache-2.0 */
/* `directories`: they are there, and have this owner and mode. What they hold is not looked at, and
 * none is ever removed. A mount point is a directory like any other: what it is once it is mounted. */
#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/parent.h>
#include <rouse/text.h>

static bool is_same(const struct work *w, const struct found *is)
{
	unsigned mode = 0;

	return rouse_streq(is->type, "directory") && is->mode &&
	       rouse_parse_mode(is->mode, &mode) && mode == w->mode &&
	       files_owner_is(w->user, is->user, is->uid) &&
	       files_owner_is(w->group, is->group, is->gid);
}

static int refuse(const char *path, const char *type, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "refused: '%s' is %s on this machine, where a directory is wanted", path,
			  rouse_streq(type, "file")      ? "a file"
			  : rouse_streq(type, "symlink") ? "a symlink"
							 : "a special file");
}

static int plan_one(const struct directory *d, const struct facts *is, struct rouse_plan *p,
		    struct rouse_err *e)
{
	const struct found *there = files_find(&is->directories, d->path);
	const char *root = is->privileged ? "root" : NULL;
	struct work *w = rouse_arena_alloc(&p->arena, sizeof(*w));

	w->path = d->path;
	w->user = d->user ? d->user : root;
	w->group = d->group ? d->group : root;
	w->mode = 0755;
	if (d->mode && !rouse_parse_mode(d->mode, &w->mode))
		w->mode = 0700; /* the schema has refused it */
	if (there && !rouse_streq(there->type, "directory"))
		return refuse(d->path, there->type, e);
	if (files_check_owner(d->path, d->user, d->group, is, p, e) < 0)
		return -1;
	if (there && is_same(w, there))
		return 0;
	rouse_plan_add(p, there ? ROUSE_CHANGE : ROUSE_CREATE, OP_DIRECTORY, w,
		       "%s directory %s (%04o%s%s%s%s)", there ? "change" : "make", d->path,
		       w->mode, d->user ? ", user " : "", d->user ? d->user : "",
		       d->group ? ", group " : "", d->group ? d->group : "");
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct directory *const *x = a, *const *y = b;

	return strcmp((*x)->path, (*y)->path);
}

int files_plan_directories(const struct conf *want, const struct facts *is, struct rouse_plan *p,
			   struct rouse_err *e)
{
	const struct directory *d = want->directories.items;
	const struct directory **sorted = rouse_arena_alloc(
		&p->arena, want->directories.n * sizeof(*sorted) + 1);

	for (size_t i = 0; i < want->directories.n; i++)
		sorted[i] = &d[i];
	qsort(sorted, want->directories.n, sizeof(*sorted), by_path); /* outer ones first */
	for (size_t i = 0; i < want->directories.n; i++)
		if (plan_one(sorted[i], is, p, e) < 0)
			return -1;
	return 0;
}

/* Makes it for root alone first: it is nobody else's before it has its owner. */
static int make(const struct work *w, int parent, const char *name, uint32_t uid, uint32_t gid,
		struct rouse_err *e)
{
	auto_fd int fd = -1;

	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make the directory '%s'",
				  w->path);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return rouse_fail(
			e, errno == ENOTDIR || errno == ELOOP ? ROUSE_DOCUMENT : ROUSE_SYSTEM,
			errno, "cannot open the directory '%s'", w->path);
	if ((uid != UINT32_MAX || gid != UINT32_MAX) && fchown(fd, uid, gid) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give '%s' to its owner", w->path);
	if (fchmod(fd, w->mode) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot set the mode of '%s'", w->path);
	return 0;
}

int files_apply_directory(const struct work *w, const struct rouse_context *c, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT, parent = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts accounts = { 0 };
	auto_arena struct rouse_arena arena = { 0 };
	uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
	const struct found *there = NULL;
	auto_json json_t *json = NULL;
	const char *name = NULL;

	if (rouse_root_open(&root, c->root, e) < 0 ||
	    rouse_accounts_load(&accounts, &root, false, e) < 0 ||
	    files_resolve(&accounts.files[ROUSE_PASSWD], w->user, "user", w->path, &uid, e) < 0 ||
	    files_resolve(&accounts.files[ROUSE_GROUP], w->group, "group", w->path, &gid, e) < 0 ||
	    files_look(&root, &accounts, w->path, &arena, &json, &there, e) < 0)
		return -1;
	if (there && !rouse_streq(there->type, "directory"))
		return refuse(w->path, there->type, e);
	if (there && is_same(w, there))
		return 0;
	if (rouse_open_parent(&root, w->path, true, &parent, &name, e) < 0)
		return -1;
	return make(w, parent.fd, name + 1, uid, gid, e);
}

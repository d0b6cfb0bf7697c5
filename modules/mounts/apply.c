/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted, and mounting. */
#include "mounts.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/fs.h>
#include <rouse/fstab.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/mount.h>
#include <rouse/text.h>

/* ---- facts ----------------------------------------------------------------------------------- */

/* Is it the same directory? Then it has been bound there. */
static bool is_same(const struct rouse_root *root, const char *a, const char *b)
{
	auto_fd int one = rouse_fs_open(root, a, O_PATH | O_DIRECTORY, 0),
		    two = rouse_fs_open(root, b, O_PATH | O_DIRECTORY, 0);
	struct stat x, y;

	return one >= 0 && two >= 0 && fstat(one, &x) == 0 && fstat(two, &y) == 0 &&
	       x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void observe_one(const struct rouse_root *root, const struct rouse_context *c,
			const struct mounts_one *m, json_t *found)
{
	auto_free char *type = rouse_mounted_type(c->root, m->target);
	json_t *j;

	if (!type)
		return;
	j = json_object();
	rouse_json_set_string(j, "type", type);
	if (m->bind && is_same(root, m->bind, m->target))
		rouse_json_set_bool(j, "same", true);
	rouse_json_set(found, m->target, j);
}

int mounts_observe(const void *conf_, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	const struct mounts_conf *conf = conf_;
	const struct mounts_one *m = conf->mounts.items;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	json_t *found = json_object(), *fstab, *units = NULL;
	struct rouse_err none = { 0 };

	rouse_json_set(facts, "found", found);
	if (c->image)
		return 0;
	if (c->initramfs)
		units = rouse_units_observe(c, "mounts", &none);
	if (units)
		rouse_json_set(facts, "units", units);
	if (rouse_root_open(&root, c->root, e) < 0)
		return 0; /* in an initramfs there may be no root yet */
	for (size_t i = 0; i < conf->mounts.n; i++)
		observe_one(&root, c, &m[i], found);
	fstab = c->initramfs ? NULL : rouse_fstab_read(&root, "mounts", &none);
	if (fstab)
		rouse_json_set(facts, "fstab", fstab);
	else if (!c->initramfs && none.sys == ENOENT &&
		 (units = rouse_units_observe(c, "mounts", &none)))
		rouse_json_set(facts, "units", units);
	return 0;
}

/* ---- apply ----------------------------------------------------------------------------------- */

/* A directory of the root, made where it is missing; a descriptor, or -1. */
static int open_directory(const struct rouse_root *root, const char *path, struct rouse_err *e)
{
	int fd;

	if (strcmp(path, "/") != 0 && rouse_fs_mkdirs(root, path, true, e) < 0)
		return -1;
	fd = rouse_fs_open(root, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for mounting", path);
	return fd;
}

static int fail(const struct mounts_one *m, const char *what, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' at '%s'", what, m->target);
}

static int bind_one(const struct rouse_root *root, const struct mounts_one *m, const char *at,
		    const char *options, struct rouse_err *e)
{
	auto_fd int from = open_directory(root, m->bind, e);
	unsigned long flags = 0;
	char source[64], target[64];
	auto_fd int own = -1;

	if (from < 0 || (options && rouse_mount_options(options, &flags, NULL, e) < 0))
		return -1;
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", from);
	if (mount(source, at, NULL, MS_BIND | MS_REC, NULL) < 0)
		return fail(m, m->bind, e);
	if (!flags)
		return 0;
	/* The kernel takes no flags with a bind: they come behind it, for what is on top now. */
	own = open_directory(root, m->target, e);
	if (own < 0)
		return -1;
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", own);
	if (mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0)
		return fail(m, m->bind, e);
	return 0;
}

/* Where it really is: the kernel takes these as text, in which symlinks of the root would count. */
static int real_path(const struct rouse_root *root, const char *path, char buf[static PATH_MAX],
		     struct rouse_err *e)
{
	auto_fd int fd = open_directory(root, path, e);
	char link[64];
	ssize_t n;

	if (fd < 0)
		return -1;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, PATH_MAX - 1);
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot resolve '%s'", path);
	buf[n] = '\0';
	if (strpbrk(buf, ",:\\"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' leads to '%s', which cannot be a layer: no \",\", \":\" or "
				  "\"\\\" may be in its name",
				  path, buf);
	return 0;
}

static int overlay_data(const struct rouse_root *root, const struct mounts_one *m,
			struct rouse_buf *data, struct rouse_err *e)
{
	const char *const *lower = m->overlay->lower.items;
	char path[PATH_MAX];

	for (size_t i = 0; i < m->overlay->lower.n; i++) {
		if (real_path(root, lower[i], path, e) < 0)
			return -1;
		rouse_buf_printf(data, "%s%s", i ? ":" : "lowerdir=", path);
	}
	if (!m->overlay->upper)
		return 0;
	if (real_path(root, m->overlay->upper, path, e) < 0)
		return -1;
	rouse_buf_printf(data, ",upperdir=%s", path);
	if (real_path(root, m->overlay->work, path, e) < 0)
		return -1;
	rouse_buf_printf(data, ",workdir=%s", path);
	return 0;
}

static int mount_one(const struct mounts_action *a, const struct rouse_context *c,
		     struct rouse_err *e)
{
	const struct mounts_one *m = a->m;
	const char *type = m->overlay ? "overlay" : m->type;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf data = { 0 };
	auto_free char *own = NULL;
	unsigned long flags = 0;
	auto_fd int fd = -1;
	char at[64];

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	fd = open_directory(&root, m->target, e);
	if (fd < 0)
		return -1;
	(void)snprintf(at, sizeof(at), "/proc/self/fd/%d", fd);
	if (m->bind)
		return bind_one(&root, m, at, a->options, e);
	if (a->options && rouse_mount_options(a->options, &flags, &own, e) < 0)
		return -1;
	if (m->overlay && overlay_data(&root, m, &data, e) < 0)
		return -1;
	if (own)
		rouse_buf_printf(&data, "%s%s", data.len ? "," : "", own);
	if (rouse_kmod_load(type, e) < 0 && e->sys != ENOENT)
		return -1; /* one that this kernel lacks may be built in */
	if (mount(m->source ? m->source : type, at, type, flags, data.data) < 0)
		return fail(m, m->source ? m->source : type, e);
	return 0;
}

int mounts_apply(const struct rouse_step *step, const struct rouse_context *c,
		 void *state unused_arg, struct rouse_err *e)
{
	const struct mounts_action *a = step->arg;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (step->op == MOUNTS_OP_MOUNT)
		return mount_one(a, c, e);
	if (rouse_root_open(&root, c->initramfs ? "/" : c->root, e) < 0)
		return -1;
	if (step->op == MOUNTS_OP_FSTAB)
		return rouse_fstab_write(&root, "mounts", a->lines, e);
	return rouse_units_write(&root, a->there->directory, &a->there->own, &a->units, e);
}

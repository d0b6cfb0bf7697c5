/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of units on a machine: files, links, and where both belong. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/made.h>
#include <rouse/text.h>

#include "units.h"

#define ETC "/etc/systemd/system"
/* Before /etc in systemd's order, so that a closure's units can be changed; gone with the boot. */
#define RUN "/run/systemd/system.control"
#define SYSTEM "/nix/var/nix/profiles/system"

const char *units_root(const struct rouse_context *c, const char *dir)
{
	return dir && rouse_strip_prefix(dir, "/run/") ? "/" : c->root;
}

static bool is_there(const struct rouse_root *root, const char *path)
{
	auto_fd int fd = rouse_fs_open(root, path, O_PATH, 0);

	return fd >= 0;
}

/* In an initramfs the root may still be a bare directory. */
static bool is_mounted(const struct rouse_context *c)
{
	auto_free char *above = rouse_asprintf("%s/..", c->root);
	struct stat in, up;

	return !c->initramfs ||
	       (stat(c->root, &in) == 0 && stat(above, &up) == 0 && in.st_dev != up.st_dev);
}

static void choose_dir(const struct rouse_context *c, const struct rouse_root *root,
		       struct units_facts *f)
{
	bool closure = is_there(root, "/etc/NIXOS") || is_there(root, SYSTEM ETC);

	f->dir = closure ? RUN : ETC;
	if (closure && c->image && !rouse_streq(c->root, "/"))
		f->why = "the units of a system closure are its own: only a machine that runs it, "
			 "or "
			 "that boots it through an initramfs, can add to them";
}

/* --- unit files ------------------------------------------------------------------------------- */

struct look {
	const struct units_conf *conf;
	const struct rouse_root *root; /* of the target */
	struct rouse_arena *arena;
	struct units_facts *f;
	struct unit_known *known;
	size_t n;
};

static const struct unit *find_unit(const struct units_conf *conf, const char *name)
{
	const struct unit *u = conf->units.items;

	for (size_t i = 0; i < conf->units.n; i++)
		if (rouse_streq(u[i].name, name))
			return &u[i];
	return NULL;
}

/* A file that is no link to /dev/null; its [Install] goes to *ret. */
static bool read_fragment(struct look *l, const char *path, struct unit_install *ret)
{
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };
	const char *why = NULL;
	unsigned line = 0;

	if (rouse_fs_read(l->root, path, ROUSE_MAX_UNIT_FILE, &text, &e) < 0)
		return false;
	if (!unit_parse(text.data, text.len, ret, l->arena, &line, &why))
		rouse_log(ROUSE_LOG_DEBUG, "units", "'%s', line %u: %s, ignoring", path, line, why);
	return true;
}

/* In the order of systemd.unit(5). */
static void find_fragment(struct look *l, struct unit_known *k, const char *name)
{
	static const char *const dirs[] = {
		ETC,
		"/run/systemd/system",
		SYSTEM ETC,
		"/usr/local/lib/systemd/system",
		"/usr/lib/systemd/system",
		"/lib/systemd/system",
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !k->fragment; i++) {
		const char *path = rouse_arena_printf(l->arena, "%s/%s", dirs[i], name);

		/* On a machine that runs it, or will, the closure's are in /etc. */
		if (read_fragment(l, path, &k->install))
			k->fragment = rouse_streq(dirs[i], SYSTEM ETC)
					      ? rouse_arena_printf(l->arena, ETC "/%s", name)
					      : path;
	}
}

/* The document's own text counts before what is there; it may be checked, but is not yet written. */
static void read_document(struct look *l, struct unit_known *k, const char *name)
{
	const struct unit *u = find_unit(l->conf, name);
	const struct rouse_pair *d = u ? u->drop_ins.items : NULL;
	const char *why;
	unsigned line;

	if (u && u->contents) {
		k->fragment = rouse_arena_printf(l->arena, "%s/%s", l->f->dir, name);
		(void)unit_parse(u->contents, strlen(u->contents), &k->install, l->arena, &line,
				 &why);
	}
	if (!k->fragment)
		find_fragment(l, k, name);
	for (size_t i = 0; u && i < u->drop_ins.n; i++)
		(void)unit_parse(d[i].value, strlen(d[i].value), &k->install, l->arena, &line,
				 &why);
}

/* Links that enable a unit: DIR/X.wants/NAME, .requires, .upholds. */
static int find_links_in(struct look *l, struct unit_known *k, const char *dir, struct rouse_err *e)
{
	int fd = rouse_fs_open(l->root, dir, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const char **links = rouse_arena_alloc(l->arena, ROUSE_MAX_INSTALL * sizeof(*links));
	struct dirent *entry;

	if (!d) {
		int saved = errno;

		if (fd >= 0)
			(void)close(fd);
		return saved == ENOENT || saved == ENOTDIR
			       ? 0
			       : rouse_fail(e, ROUSE_SYSTEM, saved, "cannot list '%s'", dir);
	}
	if (k->links.n)
		memcpy(links, k->links.items, k->links.n * sizeof(*links));
	k->links.items = links;
	while ((entry = readdir(d)) && k->links.n < ROUSE_MAX_INSTALL) {
		const char *dot = strrchr(entry->d_name, '.');
		struct stat st;
		char *path;

		if (!dot || (strcmp(dot, ".wants") != 0 && strcmp(dot, ".requires") != 0 &&
			     strcmp(dot, ".upholds") != 0))
			continue;
		path = rouse_arena_printf(l->arena, "%s/%s/%s", dir, entry->d_name, k->name);
		if (fstatat(dirfd(d), path + strlen(dir) + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISLNK(st.st_mode))
			links[k->links.n++] = path;
	}
	(void)closedir(d);
	return 0;
}

static int add_known(struct look *l, const char *name, struct rouse_err *e)
{
	struct unit_known *k = l->known + l->n;
	const char *template;

	for (size_t i = 0; i < l->n; i++)
		if (rouse_streq(l->known[i].name, name))
			return 0;
	if (l->n == ROUSE_MAX_UNITS + ROUSE_MAX_INSTALL)
		return 0;
	*k = (struct unit_known){ .name = name };
	l->n++;
	read_document(l, k, name);
	template = unit_template_of(name, l->arena);
	if (!k->fragment && template)
		read_document(l, k, template);
	/* Where a closure has /etc, nothing of ours is there; its links are shown as what they are. */
	return find_links_in(l, k, ETC, e);
}

static int look_at_units(struct look *l, struct rouse_err *e)
{
	const struct unit *u = l->conf->units.items;

	l->known = rouse_arena_alloc(l->arena,
				     (ROUSE_MAX_UNITS + ROUSE_MAX_INSTALL) * sizeof(*l->known));
	for (size_t i = 0; i < l->conf->units.n; i++)
		if (u[i].enable != ROUSE_UNSAID && add_known(l, u[i].name, e) < 0)
			return -1;
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < l->known[i].install.also.n; k++) {
			const char *also = ((const char *const *)l->known[i].install.also.items)[k];

			if (unit_is_name(also) && add_known(l, also, e) < 0)
				return -1;
		}
	l->f->known = (struct rouse_list){ l->n, l->known };
	return 0;
}

/* --- what is there ---------------------------------------------------------------------------- */

static int look_at_items(struct look *l, const struct rouse_root *root,
			 const struct unit_item *items, size_t n, struct rouse_err *e)
{
	struct rouse_pair *now = rouse_arena_alloc(l->arena, (n + 1) * sizeof(*now));

	for (size_t i = 0; i < n; i++) {
		auto_free char *state = rouse_made_state(root, items[i].path, e);

		if (!state)
			return -1;
		now[i] = (struct rouse_pair){ items[i].path, rouse_arena_strdup(l->arena, state) };
	}
	l->f->now = (struct rouse_list){ n, now };
	return 0;
}

/* A link that the document took away stays recorded as long as it wants the unit disabled. */
static bool is_disabled(const struct units_conf *conf, const char *path)
{
	const struct unit *u = find_unit(conf, strrchr(path, '/') + 1);

	return u && u->enable == ROUSE_NO;
}

static bool is_wanted(const struct units_conf *conf, const struct unit_item *items, size_t n,
		      const char *path, const json_t *is)
{
	for (size_t i = 0; i < n; i++)
		if (rouse_streq(items[i].path, path))
			return true;
	return rouse_streq(json_string_value(json_array_get(is, 0)), "absent") &&
	       is_disabled(conf, path);
}

static int look_at_former(struct look *l, const struct rouse_root *root,
			  const struct unit_item *items, size_t n, struct rouse_err *e)
{
	auto_json json_t *record = rouse_made_read(root, UNITS_SECTION, e);
	struct unit_former *former;
	const char *path;
	json_t *entry, *state;
	size_t i;

	if (!record)
		return -1;
	former = rouse_arena_alloc(l->arena, (json_object_size(record) + 1) * sizeof(*former));
	l->f->former.items = former;
	json_object_foreach (record, path, entry) {
		json_t *is = json_object_get(entry, "is");
		const char **states = rouse_arena_alloc(l->arena, (json_array_size(is) + 1) *
									  sizeof(*states));
		struct unit_former *f = former + l->f->former.n;
		auto_free char *now = NULL;

		if (is_wanted(l->conf, items, n, path, is))
			continue;
		now = rouse_made_state(root, path, e);
		if (!now)
			return -1;
		json_array_foreach (is, i, state)
			states[i] = rouse_arena_strdup(l->arena, json_string_value(state));
		*f = (struct unit_former){
			.path = rouse_arena_strdup(l->arena, path),
			.is = { json_array_size(is), states },
			.was = rouse_arena_strdup(l->arena,
						  json_string_value(json_object_get(entry, "was"))),
			.now = rouse_arena_strdup(l->arena, now),
		};
		l->f->former.n++;
	}
	return 0;
}

int units_look(const struct units_conf *conf, const struct rouse_context *c,
	       struct rouse_arena *arena, struct units_facts *ret, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT, place = ROUSE_ROOT_INIT;
	struct look l = { .conf = conf, .root = &root, .arena = arena, .f = ret };
	struct unit_item *items = NULL;
	struct rouse_err refused = { 0 };
	size_t n = 0;

	*ret = (struct units_facts){ .dir = ETC };
	if (!is_mounted(c)) {
		ret->unseen = true;
		return 0;
	}
	if (rouse_root_open(&root, c->root, e) < 0)
		return e->sys == ENOENT && (c->initramfs || !conf->units.n) ? 0 : -1;
	choose_dir(c, &root, ret);
	ret->running = rouse_streq(c->root, "/") && !c->image &&
		       access("/run/systemd/system", F_OK) == 0;
	if (rouse_root_open(&place, units_root(c, ret->dir), e) < 0 || look_at_units(&l, e) < 0)
		return -1;
	/* What cannot be is for the plan to say. */
	if (units_list(conf, ret, arena, &items, &n, &refused) < 0)
		n = 0;
	if (look_at_items(&l, &place, items, n, e) < 0)
		return -1;
	return refused.kind ? 0 : look_at_former(&l, &place, items, n, e);
}

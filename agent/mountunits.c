/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/mountunits.h>

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mount.h>
#include <rouse/text.h>

#define MARK "# x-rouse.%s: rouse writes this file, and removes it when no document wants it\n"

enum { LOCAL_FS, SWAP };
static const char *const targets[] = { [LOCAL_FS] = "local-fs.target", [SWAP] = "swap.target" };
static const char *const suffixes[] = { ".mount", ".automount", ".swap" };
#define OPEN "rouse-open-"

static const struct rouse_shape text_shape = { .type = ROUSE_STRING };

const struct rouse_field rouse_units_fact_fields[ROUSE_N_UNITS_FACT_FIELDS] = {
	ROUSE_FIELD(struct rouse_units_fact, directory, "directory", "Where they are.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_units_fact, own, "own", "Those that rouse wrote, and their text.",
		    .type = ROUSE_MAP, .item = &text_shape),
	ROUSE_FIELD(struct rouse_units_fact, others, "others", "Names of others.",
		    .type = ROUSE_LIST, .item = &text_shape),
};

/* ---- text ------------------------------------------------------------------------------------ */

const char *rouse_unit_of_path(const char *path, const char *suffix, struct rouse_arena *arena)
{
	auto_buf struct rouse_buf out = { 0 };

	for (const char *p = path; *p; p++) {
		if (*p == '/') {
			/* None at the ends, and one between two names. */
			if (out.len && p[1] && p[1] != '/')
				rouse_buf_printf(&out, "-");
		} else if (isalnum((unsigned char)*p) || strchr(":_", *p) ||
			   (*p == '.' && out.len)) {
			rouse_buf_printf(&out, "%c", *p);
		} else {
			rouse_buf_printf(&out, "\\x%02x", (unsigned char)*p);
		}
	}
	return rouse_arena_printf(arena, "%s%s", out.len ? out.data : "-", suffix);
}

/* Units have no way to say a line break, nor a blank or a backslash at an end of a line. */
static bool is_sayable(const char *text)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			return false;
	return n && text[0] != ' ' && text[n - 1] != ' ' && text[n - 1] != '\\';
}

/* "%" begins a specifier. */
static void print(struct rouse_buf *out, const char *key, const char *value, size_t n)
{
	rouse_buf_printf(out, "%s=", key);
	for (size_t i = 0; i < n; i++)
		rouse_buf_printf(out, value[i] == '%' ? "%%%%" : "%c", value[i]);
	rouse_buf_printf(out, "\n");
}

/* A path in a list of paths. */
static void print_path(struct rouse_buf *out, const char *key, const char *path, size_t n)
{
	rouse_buf_printf(out, "%s=\"", key);
	for (size_t i = 0; i < n; i++)
		rouse_buf_printf(out,
				 path[i] == '%'                      ? "%%%%"
				 : path[i] == '"' || path[i] == '\\' ? "\\%c"
								     : "%c",
				 path[i]);
	rouse_buf_printf(out, "\"\n");
}

static const char *what_of(const struct rouse_fstab_line *line, struct rouse_arena *arena)
{
	const char *uuid = rouse_strip_prefix(line->source, "UUID=");

	return uuid ? rouse_arena_printf(arena, "/dev/disk/by-uuid/%s", uuid) : line->source;
}

/* ---- options --------------------------------------------------------------------------------- */

enum section { IN_UNIT, IN_MOUNT, IN_AUTOMOUNT, SECTIONS_ };

enum value { WORD, UNIT, PATH, PATHS };

/* What systemd-fstab-generator(8) makes of options, and what overlays stand on. */
static const struct {
	const char *option;
	enum section section;
	enum value value;
	const char *key, *also;
} options[] = {
	{ "x-systemd.requires=", IN_UNIT, UNIT, "Requires", "After" },
	{ "x-systemd.after=", IN_UNIT, UNIT, "After", NULL },
	{ "x-systemd.before=", IN_UNIT, UNIT, "Before", NULL },
	{ "x-systemd.requires-mounts-for=", IN_UNIT, PATH, "RequiresMountsFor", NULL },
	{ "x-systemd.mount-timeout=", IN_MOUNT, WORD, "TimeoutSec", NULL },
	{ "x-systemd.idle-timeout=", IN_AUTOMOUNT, WORD, "TimeoutIdleSec", NULL },
	{ "lowerdir=", IN_UNIT, PATHS, "RequiresMountsFor", NULL },
	{ "upperdir=", IN_UNIT, PATH, "RequiresMountsFor", NULL },
	{ "workdir=", IN_UNIT, PATH, "RequiresMountsFor", NULL },
};

static const char *unit_named(const char *value, struct rouse_arena *arena)
{
	if (*value != '/')
		return value;
	return rouse_unit_of_path(value, rouse_strip_prefix(value, "/dev/") ? ".device" : ".mount",
				  arena);
}

static void add_option(size_t o, const char *value, struct rouse_buf *out,
		       struct rouse_arena *arena)
{
	const char *unit = options[o].value == UNIT ? unit_named(value, arena) : value;

	switch (options[o].value) {
	case WORD:
	case UNIT:
		print(out, options[o].key, unit, strlen(unit));
		if (options[o].also)
			print(out, options[o].also, unit, strlen(unit));
		return;
	case PATH:
		print_path(out, options[o].key, value, strlen(value));
		return;
	case PATHS:
		for (size_t n; *value; value += n + (value[n] == ':')) {
			n = strcspn(value, ":");
			print_path(out, options[o].key, value, n);
		}
		return;
	}
}

/* Lines for each section. */
static void add_options(const char *all, struct rouse_buf out[static SECTIONS_],
			struct rouse_arena *arena)
{
	for (size_t n; all && *all; all += n + (all[n] == ',')) {
		char *one;

		n = strcspn(all, ",");
		one = rouse_arena_strndup(arena, all, n);
		for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
			const char *value = rouse_strip_prefix(one, options[i].option);

			if (value && *value)
				add_option(i, value, &out[options[i].section], arena);
		}
	}
}

bool rouse_mount_is_late(const char *all)
{
	return all && (rouse_mount_has_option(all, "x-systemd.automount") ||
		       rouse_mount_has_option(all, "noauto"));
}

/* ---- units ----------------------------------------------------------------------------------- */

static void add_file(struct rouse_units *u, const char *name, const char *text)
{
	if (u->n == u->size) {
		size_t size = u->size ? 2 * u->size : 16;
		struct rouse_pair *files = rouse_arena_alloc(u->arena, size * sizeof(*files));

		if (u->n)
			memcpy(files, u->files, u->n * sizeof(*files));
		u->files = files;
		u->size = size;
	}
	u->files[u->n++] = (struct rouse_pair){ .key = name,
						.value = rouse_arena_strdup(u->arena, text) };
}

static void begin(const struct rouse_units *u, struct rouse_buf *out)
{
	rouse_buf_printf(out, MARK "[Unit]\nDocumentation=man:rouse(8)\n", u->owner);
	if (u->mounted)
		rouse_buf_printf(out, "ConditionPathExists=!/etc/initrd-release\n");
}

static void add_automount(struct rouse_units *u, const char *name, const char *target,
			  const struct rouse_buf *lines)
{
	auto_buf struct rouse_buf out = { 0 };

	begin(u, &out);
	rouse_buf_printf(&out, "\n[Automount]\n");
	print(&out, "Where", target, strlen(target));
	rouse_buf_printf(&out, "%s", lines->data ? lines->data : "");
	add_file(u, name, out.data);
}

/* What its target says of it: what may fail is only wanted, what was mounted is there. */
static void pull(struct rouse_units *u, size_t target, const char *name, const char *all,
		 bool automount, bool late)
{
	bool nofail = all && rouse_mount_has_option(all, "nofail");

	if (all && !automount && rouse_mount_has_option(all, "noauto"))
		return;
	if (u->mounted && !late && !nofail)
		return;
	rouse_buf_printf(nofail ? &u->wants[target] : &u->requires[target], " %s", name);
}

static void print_check(struct rouse_buf *out, const char *what, struct rouse_arena *arena)
{
	const char *fsck = rouse_unit_of_path(what, ".service", arena);

	rouse_buf_printf(out, "Requires=systemd-fsck@%s\nAfter=systemd-fsck@%s\n", fsck, fsck);
}

static bool add_swap(struct rouse_units *u, const struct rouse_fstab_line *line)
{
	const char *what = what_of(line, u->arena);
	const char *name = rouse_unit_of_path(what, ".swap", u->arena);
	auto_buf struct rouse_buf out = { 0 };

	if (rouse_list_has(&u->fact->others, name))
		return false;
	begin(u, &out);
	rouse_buf_printf(&out, "\n[Swap]\n");
	print(&out, "What", what, strlen(what));
	if (line->options)
		print(&out, "Options", line->options, strlen(line->options));
	add_file(u, name, out.data);
	pull(u, SWAP, name, line->options, false, false);
	return true;
}

bool rouse_units_add(struct rouse_units *u, const struct rouse_fstab_line *line, bool late)
{
	const char *what = what_of(line, u->arena), *name, *automount;
	bool asked = line->options && rouse_mount_has_option(line->options, "x-systemd.automount");
	auto_buf struct rouse_buf out = { 0 }, unit = { 0 }, mount = { 0 }, idle = { 0 };
	struct rouse_buf lines[SECTIONS_] = { { 0 } };

	if (!is_sayable(what) || (line->options && !is_sayable(line->options)))
		return false;
	if (!line->target)
		return add_swap(u, line);
	name = rouse_unit_of_path(line->target, ".mount", u->arena);
	automount = rouse_unit_of_path(line->target, ".automount", u->arena);
	if (!is_sayable(line->target) || rouse_list_has(&u->fact->others, name) ||
	    rouse_list_has(&u->fact->others, automount))
		return false;
	add_options(line->options, lines, u->arena);
	unit = lines[IN_UNIT], mount = lines[IN_MOUNT], idle = lines[IN_AUTOMOUNT];
	begin(u, &out);
	if (!u->mounted && !rouse_fstab_is_early(line->target))
		rouse_buf_printf(&out, "After=rouse.service\n");
	if (line->check && (late || !u->mounted))
		print_check(&out, what, u->arena);
	rouse_buf_printf(&out, "%s\n[Mount]\n", unit.data ? unit.data : "");
	print(&out, "What", what, strlen(what));
	print(&out, "Where", line->target, strlen(line->target));
	rouse_buf_printf(&out, "Type=%s\n", line->type);
	if (line->options)
		print(&out, "Options", line->options, strlen(line->options));
	rouse_buf_printf(&out, "%s", mount.data ? mount.data : "");
	add_file(u, name, out.data);
	if (asked)
		add_automount(u, automount, line->target, &idle);
	pull(u, LOCAL_FS, asked ? automount : name, line->options, asked, late);
	return true;
}

const char *rouse_unit_that_opens(const char *name, struct rouse_arena *arena)
{
	return rouse_arena_printf(arena, OPEN "%s.service", name);
}

/* The agent comes first, and mostly has opened it; nothing but the bytes of the file is the key. */
bool rouse_units_open(struct rouse_units *u, const struct rouse_opening *o)
{
	const char *unit = rouse_unit_that_opens(o->name, u->arena);
	const char *what = rouse_arena_printf(u->arena, "/dev/disk/by-uuid/%s", o->uuid);
	const char *device = rouse_unit_of_path(what, ".device", u->arena);
	const char *file = o->key ? rouse_arena_printf(u->arena, "file:%s", o->key) : NULL;
	auto_buf struct rouse_buf out = { 0 };

	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->files[i].key, unit) == 0)
			return false;
	if (rouse_list_has(&u->fact->others, unit) || (o->key && !is_sayable(o->key)))
		return false;
	begin(u, &out);
	rouse_buf_printf(&out,
			 "Description=Open the encrypted volume '%s'\nDefaultDependencies=no\n"
			 "ConditionPathExists=!/dev/mapper/%s\nRequires=%s\nAfter=%s\n",
			 o->name, o->name, device, device);
	if (!o->early)
		rouse_buf_printf(&out, "After=rouse.service\n");
	if (o->key)
		print_path(&out, "RequiresMountsFor", o->key, strlen(o->key));
	rouse_buf_printf(&out, "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutSec=%d\n",
			 ROUSE_DEADLINE_CRYPTSETUP / 1000);
	if (file)
		print(&out, "StandardInput", file, strlen(file));
	rouse_buf_printf(&out, "ExecStart=cryptsetup open %s%s %s %s\n",
			 o->key ? "--type luks --key-file -"
				: "--type luks2 --token-only --token-type systemd-tpm2",
			 o->discard ? " --allow-discards" : "", what, o->name);
	add_file(u, unit, out.data);
	if (o->swap)
		pull(u, SWAP, unit, NULL, false, false);
	return true;
}

static const char *drop_in(const char *owner, size_t target, struct rouse_arena *arena)
{
	return rouse_arena_printf(arena, "%s.d/50-rouse-%s.conf", targets[target], owner);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct rouse_pair *)a)->key, ((const struct rouse_pair *)b)->key);
}

struct rouse_list rouse_units_end(struct rouse_units *u)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		auto_buf struct rouse_buf out = { 0 };

		if (u->requires[i].len || u->wants[i].len) {
			rouse_buf_printf(&out, MARK "[Unit]\n", u->owner);
			if (u->requires[i].len)
				rouse_buf_printf(&out, "Requires=%s\n", u->requires[i].data + 1);
			if (u->wants[i].len)
				rouse_buf_printf(&out, "Wants=%s\n", u->wants[i].data + 1);
			add_file(u, drop_in(u->owner, i, u->arena), out.data);
		}
		rouse_buf_done(&u->requires[i]);
		rouse_buf_done(&u->wants[i]);
	}
	if (u->n)
		qsort(u->files, u->n, sizeof(u->files[0]), by_name);
	return (struct rouse_list){ .n = u->n, .items = u->files };
}

static const char *text_of(const struct rouse_list *list, const char *name)
{
	const struct rouse_pair *f = list->items;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(f[i].key, name) == 0)
			return f[i].value;
	return NULL;
}

bool rouse_units_are(const struct rouse_list *own, const struct rouse_list *wanted)
{
	const struct rouse_pair *f = wanted->items;

	for (size_t i = 0; i < wanted->n; i++)
		if (!rouse_streq(text_of(own, f[i].key), f[i].value))
			return false;
	return own->n == wanted->n;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool is_unit(const char *name)
{
	size_t len = strlen(name);

	if (rouse_strip_prefix(name, OPEN))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (len > n && strcmp(name + len - n, suffixes[i]) == 0)
			return true;
	}
	return false;
}

static void read_one(const struct rouse_root *root, const char *directory, const char *name,
		     const char *mark, json_t *own, json_t *others)
{
	auto_free char *path = rouse_asprintf("%s/%s", directory, name);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_fs_read(root, path, ROUSE_MAX_UNIT_FILE, &text, &e) == 0 && text.data &&
	    rouse_strip_prefix(text.data, mark) && strlen(text.data) == text.len)
		rouse_json_set_string(own, name, text.data);
	else if (others && e.sys != ENOENT)
		rouse_json_append_string(others, name);
}

json_t *rouse_units_read(const struct rouse_root *root, const char *directory, const char *owner,
			 struct rouse_err *e)
{
	auto_fd int fd = rouse_fs_open(root, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	json_t *all, *own = json_object(), *others = json_array();
	auto_free char *mark = rouse_asprintf(MARK, owner);
	auto_arena struct rouse_arena arena = { 0 };
	const struct dirent *d;
	DIR *dir;

	if (fd < 0 && errno != ENOENT) {
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", directory);
		json_decref(own);
		json_decref(others);
		return NULL;
	}
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir)
		fd = -1; /* closed with it */
	while (dir && (d = readdir(dir)))
		if (is_unit(d->d_name))
			read_one(root, directory, d->d_name, mark, own, others);
	if (dir)
		(void)closedir(dir);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		read_one(root, directory, drop_in(owner, i, &arena), mark, own, NULL);
	all = json_object();
	rouse_json_set_string(all, "directory", directory);
	rouse_json_set(all, "own", own);
	rouse_json_set(all, "others", others);
	return all;
}

static int remove_one(const struct rouse_root *root, const char *path, struct rouse_err *e)
{
	auto_free char *parent = rouse_strndup(path, (size_t)(strrchr(path, '/') - path));
	auto_fd int fd = rouse_fs_open(root, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0 || (unlinkat(fd, strrchr(path, '/') + 1, 0) < 0 && errno != ENOENT) ||
	    fsync(fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", path);
	return 0;
}

json_t *rouse_units_observe(const struct rouse_context *c, const char *owner, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct stat st;
	bool run = c->initramfs;

	if (!run && access(ROUSE_UNITS_RUN, F_OK) < 0) /* no systemd runs */
		return NULL;
	run |= lstat(ROUSE_UNITS_ETC, &st) == 0 && !S_ISDIR(st.st_mode);
	if (rouse_root_open(&root, "/", e) < 0)
		return NULL;
	return rouse_units_read(&root, run ? ROUSE_UNITS_RUN : ROUSE_UNITS_ETC, owner, e);
}

int rouse_units_write(const struct rouse_root *root, const char *directory,
		      const struct rouse_list *own, const struct rouse_list *wanted,
		      struct rouse_err *e)
{
	const struct rouse_pair *f = wanted->items, *old = own->items;

	for (size_t i = 0; i < wanted->n; i++) {
		auto_free char *path = rouse_asprintf("%s/%s", directory, f[i].key);

		if (!rouse_streq(text_of(own, f[i].key), f[i].value) &&
		    (rouse_fs_mkdirs(root, path, false, e) < 0 ||
		     rouse_fs_replace(root, path, f[i].value, strlen(f[i].value), 0644, (uid_t)-1,
				      (gid_t)-1, e) < 0))
			return -1;
	}
	for (size_t i = 0; i < own->n; i++) {
		auto_free char *path = rouse_asprintf("%s/%s", directory, old[i].key);

		if (!text_of(wanted, old[i].key) && remove_one(root, path, e) < 0)
			return -1;
	}
	return 0;
}

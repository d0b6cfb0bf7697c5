/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An override of one section of this machine's document, as `systemctl edit` makes drop-ins: the
 * document itself is not touched, and what is merged over it is one file that can be deleted.
 */
#include "command.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/settings.h>
#include <rouse/text.h>

#include "acquire.h"
#include "edit.h"
#include "load.h"

struct edit {
	const char *section, *root_path;
	bool full, revert;
	const struct rouse_shape *shape; /* of the section */
	struct rouse_root root;
	struct rouse_arena arena;
	const char *dir_path, *name, *path; /* of the override, for people, and its name in dir */
	int dir;
	struct rouse_running running;
	struct rouse_buf own;           /* the override as it is; empty: none */
	json_t *below;                  /* the document without it */
	json_t *offered;                /* what the person was given; NULL: it was no JSON */
	char scratch[4096], file[4200]; /* a directory of our own, and the text in it */
};

static void edit_done(struct edit *x)
{
	rouse_root_done(&x->root);
	rouse_arena_done(&x->arena);
	if (x->dir >= 0)
		(void)close(x->dir); /* which unlocks it */
	rouse_running_done(&x->running);
	rouse_buf_done(&x->own);
	json_decref(x->below);
	json_decref(x->offered);
}
#define auto_edit __attribute__((cleanup(edit_done)))

static const char *section_at(const void *ctx, size_t i)
{
	return ((const struct rouse_shape *)ctx)->fields[i].name;
}

/* A section belongs to a module; "rouse" and "from" are the document's own. */
static int find_section(struct edit *x, struct rouse_err *e)
{
	const struct rouse_shape *whole = rouse_document_shape();
	auto_buf struct rouse_buf all = { 0 };
	const char *near;

	for (size_t m = 0; m < rouse_n_modules; m++)
		for (size_t i = 0; i < rouse_modules[m]->n_fields; i++) {
			const struct rouse_field *f = &rouse_modules[m]->fields[i];

			rouse_buf_printf(&all, "%s%s", all.len ? ", " : "", f->name);
			if (strcmp(f->name, x->section) == 0)
				x->shape = &f->shape;
		}
	if (x->shape)
		return 0;
	near = rouse_nearest(x->section, whole->n_fields, section_at, whole);
	if (near && strcmp(near, x->section) != 0)
		return rouse_usage(e, "no section is named '%s', did you mean '%s'?", x->section,
				   near);
	return rouse_usage(e, "no section is named '%s' (sections: %s)", x->section, all.data);
}

static int parse(struct edit *x, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "full", no_argument, NULL, 'f' },
						 { "revert", no_argument, NULL, 'v' },
						 { "root", required_argument, NULL, 'r' },
						 { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		x->full |= c == 'f';
		x->revert |= c == 'v';
		if (c == 'r')
			x->root_path = optarg;
	}
	if (x->full && x->revert)
		return rouse_usage(e, "--full edits, --revert removes: choose one");
	if (rouse_one_argument(argc, argv, "section", &x->section, e) < 0)
		return -1;
	return find_section(x, e);
}

/* Opens the directory of overrides and locks it: what two people change at the same time is valid for
 * each of them, and need not be for both. */
static int open_dir(struct edit *x, struct rouse_err *e)
{
	if (rouse_root_open(&x->root, x->root_path, e) < 0)
		return -1;
	if (!x->revert && rouse_fs_mkdirs(&x->root, ROUSE_OVERRIDE_DIR, true, e) < 0)
		return -1;
	x->dir = rouse_open_overrides(&x->root, &x->dir_path, &x->arena, e);
	x->name = rouse_arena_printf(&x->arena, "50-%s.json", x->section);
	x->path = rouse_arena_printf(&x->arena, "%s/%s", x->dir_path, x->name);
	if (x->dir < 0)
		return -1;
	if (flock(x->dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0,
				  "another `rouse edit` is at work in '%s'", x->dir_path);
	return 0;
}

static int read_own(const struct edit *x, struct rouse_buf *ret, struct rouse_err *e)
{
	struct rouse_err absent = { 0 };

	if (rouse_read_override(x->dir, x->name, x->path, true, ret, &absent) == 0 ||
	    absent.sys == ENOENT)
		return 0;
	*e = absent;
	return -1;
}

static int remove_own(const struct edit *x, struct rouse_err *e)
{
	if (unlinkat(x->dir, x->name, 0) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", x->path);
	if (fsync(x->dir) < 0 && errno != EINVAL)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync '%s'", x->dir_path);
	return 0;
}

/* When it counts, and how to have it now. */
static void say_next(const struct edit *x)
{
	auto_free char *root = strcmp(x->root_path, "/") == 0
				       ? rouse_strdup("")
				       : rouse_asprintf(" --root %s", x->root_path);

	(void)printf("It counts from the next boot on.\n");
	(void)printf("To see what it changes, and to change it now:\n"
		     "    rouse plan --only %s%s\n    rouse apply --only %s%s\n",
		     x->section, root, x->section, root);
}

static int revert(struct edit *x, struct rouse_err *e)
{
	struct rouse_err ignored = { 0 };
	struct rouse_document d = { 0 };
	struct stat st = { 0 };

	if (x->dir < 0 ||
	    (fstatat(x->dir, x->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)) {
		(void)printf("%s: there is no override to remove\n", x->path);
		return 0;
	}
	if (remove_own(x, e) < 0)
		return -1;
	/* Only for what it knows about the boot: reverting works without it. */
	if (rouse_layers_load(&x->root, &d, &x->running, &ignored) < 0)
		x->running.initramfs = false;
	rouse_document_done(&d);
	(void)printf("%s: removed; the document's own \"%s\" is back\n", x->path, x->section);
	say_next(x);
	return 0;
}

/* The whole document with `text` as the override of the section; *ret_index is that layer. */
static int load(struct edit *x, struct rouse_document *d, const char *text, size_t *ret_index,
		struct rouse_err *e)
{
	const struct rouse_override instead = {
		.name = x->name, .label = x->file, .text = text, .len = strlen(text)
	};

	rouse_running_done(&x->running);
	if (rouse_layers_load(&x->root, d, &x->running, e) < 0 ||
	    rouse_load_overrides_at(d, x->dir, x->dir_path, true, &instead, e) < 0)
		return -1;
	*ret_index = d->n_layers;
	for (size_t i = 0; i < d->n_layers; i++)
		if (d->layers[i].is_override && strcmp(d->layers[i].name, x->file) == 0)
			*ret_index = i;
	return 0;
}

/* What is there to begin with: an object is added to, anything else is replaced. */
static json_t *first_patch(const struct edit *x)
{
	json_t *patch = json_object(), *value = json_object_get(x->below, x->section);

	if (x->full && value)
		value = json_incref(value);
	else if (x->shape->type == ROUSE_OBJECT || x->shape->type == ROUSE_MAP)
		value = json_object();
	else
		value = value ? json_incref(value) : json_string("");
	rouse_json_set(patch, x->section, value);
	return patch;
}

static int offer(struct edit *x, char **ret, struct rouse_err *e)
{
	auto_json json_t *own = NULL;
	auto_free char *text = NULL;
	json_t *merged, *value;

	if (x->own.len)
		own = rouse_json_parse(x->path, x->own.data, x->own.len, e);
	if (x->own.len && !json_is_object(own) && x->full) /* without --full the editor shows it */
		return own ? rouse_fail(e, ROUSE_DOCUMENT, 0, "%s:1:1: expected an object", x->path)
			   : -1;
	if (!x->own.len) {
		x->offered = first_patch(x);
	} else if (x->full) {
		merged = json_deep_copy(x->below);
		rouse_json_merge(&merged, own);
		x->offered = json_object();
		value = json_object_get(merged, x->section);
		if (value)
			rouse_json_set(x->offered, x->section, json_incref(value));
		json_decref(merged);
	} else {
		x->offered = take(own, NULL);
	}
	text = x->offered ? rouse_json_print(x->offered) : rouse_strdup(x->own.data);
	*ret = rouse_edit_offer(x->section, x->path, x->full, text, x->below);
	return 0;
}

/* A directory that nobody else can look into: editors leave copies beside a text that may hold secrets. */
static int make_scratch(struct edit *x, const char *text, struct rouse_err *e)
{
	const char *tmp = getenv("TMPDIR");
	auto_fd int fd = -1;

	(void)snprintf(x->scratch, sizeof(x->scratch), "%s/rouse-edit-XXXXXX",
		       tmp && *tmp == '/' ? tmp : "/tmp");
	if (!mkdtemp(x->scratch))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a directory in '%s'",
				  tmp && *tmp == '/' ? tmp : "/tmp");
	(void)snprintf(x->file, sizeof(x->file), "%s/%s.json", x->scratch, x->section);
	fd = open(x->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || rouse_write_all(fd, text, strlen(text)) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write '%s'", x->file);
	return 0;
}

static void remove_scratch(const struct edit *x)
{
	DIR *dir = opendir(x->scratch);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." refuse */
	if (dir)
		(void)closedir(dir);
	(void)rmdir(x->scratch);
}

/* The edited text says nothing about other sections: each has its own override. */
static int check_keys(const struct edit *x, const struct rouse_buf *text, const json_t *json,
		      struct rouse_err *e)
{
	unsigned line = 1, column = 1;
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s:1:1: expected an object { \"%s\": … }",
				  x->file, x->section);
	json_object_foreach ((json_t *)json, key, value) {
		if (strcmp(key, x->section) == 0)
			continue;
		(void)rouse_json_locate(text->data, text->len, &key, 1, true, &line, &column);
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "%s:%u:%u: %s: this is the override of \"%s\"; use "
				  "`rouse edit` with that section",
				  x->file, line, column, key, x->section);
	}
	return 0;
}

static bool holds_secrets(const struct rouse_shape *shape, int depth)
{
	if (shape->secret)
		return true;
	if (depth == 0) /* tables do not nest deeper than documents */
		return false;
	for (size_t i = 0; shape->type == ROUSE_OBJECT && i < shape->n_fields; i++)
		if (holds_secrets(&shape->fields[i].shape, depth - 1))
			return true;
	return (shape->type == ROUSE_LIST || shape->type == ROUSE_MAP) &&
	       holds_secrets(shape->item, depth - 1);
}

static void print_problems(const struct rouse_document *d, const struct rouse_err *e)
{
	size_t kept = d->problems.n < ROUSE_MAX_PROBLEMS ? d->problems.n : ROUSE_MAX_PROBLEMS;

	for (size_t i = 0; i < kept; i++) {
		auto_free char *line = rouse_document_describe(d, &d->problems.items[i]);

		(void)fprintf(stderr, "%s\n", line);
	}
	if (!kept)
		(void)fprintf(stderr, "%s\n", e->text);
}

static int check_image(const struct edit *x, const struct rouse_document *d, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/etc/rouse/agent.json",
					      strcmp(x->root_path, "/") == 0 ? "" : x->root_path);
	struct rouse_settings s = { 0 };
	int r = rouse_settings_load(&s, path, e);

	if (r == 0)
		r = rouse_acquire_check_caches(&s, d, e);
	rouse_settings_done(&s);
	return r;
}

/* Later overrides have the last word; that must not come as a surprise. */
static void warn_of_later(const struct edit *x, const struct rouse_document *d, size_t index)
{
	auto_json json_t *merged = rouse_document_merge(d, index + 1);
	const json_t *a = json_object_get(merged, x->section),
		     *b = json_object_get(d->merged, x->section);

	if (a == b || (a && b && json_equal(a, b)))
		return;
	for (size_t i = index + 1; i < d->n_layers; i++)
		if (json_object_get(d->layers[i].json, x->section))
			(void)fprintf(stderr,
				      "rouse: edit: '%s' comes later and changes \"%s\" again\n",
				      d->layers[i].name, x->section);
}

/* Is the patch valid, as a part of the whole? Positions are those of the text that was edited. */
static int validate(struct edit *x, const struct rouse_buf *text, const char *patch,
		    struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	size_t index = 0;
	int r = load(x, &d, patch, &index, e);

	if (r < 0)
		return -1;
	if (index < d.n_layers) {
		free(d.layers[index].text);
		d.layers[index].text = rouse_strndup(text->data, text->len);
		d.layers[index].len = text->len;
	}
	r = rouse_document_finish(&d, x->running.json ? &x->running.instance : NULL, e);
	if (r == 0)
		r = check_image(x, &d, e);
	if (r < 0)
		print_problems(&d, e);
	else
		warn_of_later(x, &d, index);
	if (r < 0)
		e->text[0] = '\0'; /* said already */
	return r;
}

static int store(const struct edit *x, const char *patch, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/%s", ROUSE_OVERRIDE_DIR, x->name);
	auto_buf struct rouse_buf now = { 0 };
	mode_t mode = holds_secrets(x->shape, 8) ? 0600 : 0644;

	if (read_own(x, &now, e) < 0)
		return -1;
	if (now.len != x->own.len || (now.len && memcmp(now.data, x->own.data, now.len) != 0))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' was changed by somebody else meanwhile",
				  x->path);
	if (!patch)
		return x->own.len ? remove_own(x, e) : 0;
	return rouse_fs_replace(&x->root, path, patch, strlen(patch), mode, (uid_t)-1, (gid_t)-1,
				e);
}

/* The order of keys says something to people, and about new partitions; a patch cannot say it. */
static void warn_of_order(const struct edit *x, const json_t *patch, const json_t *whole)
{
	json_t *merged = json_deep_copy(x->below);
	auto_free char *want = NULL, *have = NULL;

	rouse_json_merge(&merged, patch);
	want = json_dumps(json_object_get(whole, x->section), JSON_COMPACT | JSON_ENCODE_ANY);
	have = json_dumps(json_object_get(merged, x->section), JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(merged);
	if (want && have && strlen(want) == strlen(have) && strcmp(want, have) != 0)
		(void)fprintf(stderr,
			      "rouse: edit: keys keep the order that they have in the document; an "
			      "override cannot change it\n");
}

static int remove_override(struct edit *x, struct rouse_err *e)
{
	bool was = x->own.len > 0;

	if (store(x, NULL, e) < 0)
		return -1;
	if (!was) {
		(void)printf("%s: nothing to override, nothing was written\n", x->path);
		return 0;
	}
	(void)printf("%s: removed; the document's own \"%s\" is back\n", x->path, x->section);
	say_next(x);
	return 0;
}

/* What the person saved: parsed, compared, validated as a part of the whole, stored. */
static int accept(struct edit *x, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL, *patch = NULL;
	auto_free char *printed = NULL;

	if (rouse_read_file(x->file, 4 * ROUSE_MAX_DOCUMENT, &text, e) < 0)
		return -1;
	rouse_edit_strip(&text);
	if (rouse_edit_is_blank(&text))
		return remove_override(x, e);
	json = rouse_json_parse(x->file, text.data, text.len, e);
	if (!json || check_keys(x, &text, json, e) < 0)
		return -1;
	if (x->offered && json_equal(json, x->offered)) {
		(void)printf("%s: unchanged, nothing was written\n", x->path);
		return 0;
	}
	patch = x->full ? rouse_edit_patch(x->section, x->below, json) : json_incref(json);
	if (x->full)
		warn_of_order(x, patch, json);
	if (rouse_edit_is_empty(x->section, x->below, patch))
		return remove_override(x, e);
	printed = rouse_json_print(patch);
	if (validate(x, &text, printed, e) < 0 || store(x, printed, e) < 0)
		return -1;
	(void)printf("%s: written\n", x->path);
	say_next(x);
	return 0;
}

static bool wants_again(void)
{
	char answer[8] = "";

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	(void)fputs("edit again? [Y/n] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && answer[0] != 'n' && answer[0] != 'N';
}

static int edit(struct edit *x, struct rouse_err *e)
{
	for (;;) {
		int r = rouse_edit_run(x->file, e);

		if (r < 0 &&
		    e->kind == ROUSE_USAGE) { /* no editor was started: nobody wrote a word */
			remove_scratch(x);
			return -1;
		}
		if (r < 0)
			return rouse_fail(e, e->kind, 0,
					  "%s; nothing was changed; your text is in '%s'",
					  rouse_arena_strdup(&x->arena, e->text), x->file);
		if (accept(x, e) == 0) {
			remove_scratch(x);
			return 0;
		}
		if (e->text[0])
			(void)fprintf(stderr, "%s\n", e->text);
		if (!wants_again())
			return rouse_fail(e, e->kind, 0,
					  "nothing was changed; your text is in '%s'", x->file);
	}
}

static int begin(struct edit *x, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	auto_free char *text = NULL;
	size_t index = 0;

	if (read_own(x, &x->own, e) < 0 || load(x, &d, "{}", &index, e) < 0)
		return -1;
	if (x->running.flattened)
		(void)fprintf(
			stderr,
			"rouse: edit: '%s' holds what older overrides say, too: until the next "
			"boot they count as the document\n",
			x->running.name);
	x->below = rouse_document_merge(&d, index);
	if (offer(x, &text, e) < 0)
		return -1;
	return make_scratch(x, text, e);
}

int rouse_cmd_edit(int argc, char **argv, struct rouse_err *e)
{
	auto_edit struct edit x = { .root_path = "/", .root = ROUSE_ROOT_INIT, .dir = -1 };

	if (parse(&x, argc, argv, e) < 0)
		return -1;
	if (open_dir(&x, e) < 0 && !(x.revert && x.dir < 0 && e->sys == ENOENT && x.dir_path))
		return -1;
	if (x.revert)
		return revert(&x, e);
	if (begin(&x, e) < 0)
		return -1;
	return edit(&x, e);
}

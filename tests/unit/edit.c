/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/edit.h"

#include <rouse/json.h>
#include <rouse/limits.h>

#include "../../agent/layers.h"
#include "../../agent/load.h"
#include "../lib/run.h"
#include "../lib/tap.h"

static json_t *parsed(const char *text)
{
	return json_loads(text, JSON_DECODE_ANY, NULL);
}

static struct rouse_buf stripped(const char *text)
{
	struct rouse_buf b = { 0 };

	if (rouse_buf_add(&b, text, strlen(text), 64 * KIB) < 0)
		abort();
	rouse_edit_strip(&b);
	return b;
}

static void comments_leave_blanks_of_the_same_size(struct t *t)
{
	auto_buf struct rouse_buf b = stripped("// a\n{\n  # b\n\t//c\n \"x\": \"// #\" }\n#");

	T_STR(t, b.data, "    \n{\n     \n    \n \"x\": \"// #\" }\n ");
}

static void what_is_offered_is_stripped_to_the_override(struct t *t)
{
	auto_json json_t *below = parsed(
				 "{\"users\":{\"a\":{\"home\":\"/a\"}},\"hostname\":\"h\"}"),
			 *back = NULL;
	auto_free char *text = rouse_edit_offer("users", "/x/50-users.json", false,
						"{ \"users\": {} }\n", below);
	auto_buf struct rouse_buf b = stripped(text);
	struct rouse_err e = { 0 };

	T_HAS(t, text, "/x/50-users.json");
	T_HAS(t, text, "//       \"home\": \"/a\"\n");
	T_CHECK(t, !strstr(text, "hostname"));
	back = rouse_json_parse("x", b.data, b.len, &e);
	T_CHECK(t, back && json_object_size(back) == 1 && json_object_get(back, "users"));
}

static void text_without_a_word_is_blank(struct t *t)
{
	auto_buf struct rouse_buf b = stripped("// a\n\n # b\n"), c = stripped("{}"), none = { 0 };

	T_CHECK(t,
		rouse_edit_is_blank(&b) && rouse_edit_is_blank(&none) && !rouse_edit_is_blank(&c));
}

static bool patch_is(const char *below, const char *whole, const char *want)
{
	auto_json json_t *b = parsed(below), *w = parsed(whole), *p = rouse_edit_patch("s", b, w),
			 *is = parsed(want);

	return json_equal(p, is);
}

static void full_text_becomes_what_differs(struct t *t)
{
	const char *below = "{\"s\":{\"a\":1,\"b\":{\"c\":2}},\"other\":3}";

	T_CHECK(t,
		patch_is(below, "{\"s\":{\"a\":1,\"b\":{\"c\":4}}}", "{\"s\":{\"b\":{\"c\":4}}}"));
	T_CHECK(t, patch_is(below, "{\"s\":{\"a\":1}}", "{\"s\":{\"b\":null}}"));
	T_CHECK(t, patch_is(below, "{\"s\":{\"a\":1,\"b\":null}}", "{\"s\":{\"b\":null}}"));
	T_CHECK(t, patch_is(below, "{}", "{\"s\":null}"));
	T_CHECK(t, patch_is(below, "{\"s\":{\"b\":{\"c\":2},\"a\":1}}", "{}"));
	T_CHECK(t, patch_is("{}", "{\"s\":{}}", "{\"s\":{}}"));
}

static bool is_empty(const char *below, const char *patch)
{
	auto_json json_t *b = parsed(below), *p = parsed(patch);

	return rouse_edit_is_empty("s", b, p);
}

static void override_that_says_nothing_is_none(struct t *t)
{
	T_CHECK(t, is_empty("{\"s\":{\"a\":1}}", "{\"s\":{}}") && is_empty("{}", "{}"));
	T_CHECK(t, !is_empty("{}", "{\"s\":{}}"));       /* this makes a section */
	T_CHECK(t, !is_empty("{\"s\":1}", "{\"s\":1}")); /* this keeps it as it is */
	T_CHECK(t, !is_empty("{\"s\":{}}", "{\"s\":null}"));
}

static void kept_layers_are_what_they_were_without_overrides(struct t *t)
{
	static const struct rouse_pair tags[] = { { .key = "role", .value = "web" } };
	const struct rouse_instance i = { .id = "i-1", .tags = { .n = 1, .items = (void *)tags } };
	static const char text[] = "{\"rouse\":1,\r\n\"hostname\":\"\\u00e9\"}";
	auto_t_root struct t_root dir = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_document struct rouse_document d = { 0 }, back = { 0 };
	auto_running struct rouse_running r = { 0 };
	auto_free char *kept = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_document_add(&d, "doc", text, sizeof(text) - 1, false, &e) == 0);
	T_CHECK(t, rouse_document_add(&d, "over", "{}", 2, false, &e) == 0);
	d.layers[1].is_override = true;
	kept = rouse_layers_print(&d, &i, true);
	t_root_write(&dir, "/run/rouse/layers.json", kept, 0600);
	T_CHECK(t, rouse_root_open(&root, dir.path, &e) == 0 &&
			   rouse_layers_load(&root, &back, &r, &e) == 0);
	T_CHECK(t, back.n_layers == 1 && back.layers[0].len == sizeof(text) - 1);
	T_STR(t, back.layers[0].text, text);
	T_STR(t, back.layers[0].sha256, d.layers[0].sha256);
	T_STR(t, r.instance.id, "i-1");
	T_STR(t, ((const struct rouse_pair *)r.instance.tags.items)->value, "web");
	T_CHECK(t, r.initramfs && !r.flattened && !r.instance.region);
}

static void overrides_are_merged_in_the_order_of_their_names(struct t *t)
{
	auto_t_root struct t_root dir = t_root_new();
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/50-b.json", "{\"hostname\":\"b\"}", 0600);
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/10-a.json", "{\"hostname\":\"a\"}", 0644);
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/.90-hidden.json", "no", 0644);
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/README", "no", 0644);
	T_CHECK(t, rouse_load_overrides(&d, dir.path, &e) == 0);
	T_CHECK(t, d.n_layers == 2 && d.layers[0].is_override);
	T_HAS(t, d.layers[0].name, ROUSE_OVERRIDE_DIR "/10-a.json");
}

static void text_takes_the_place_of_an_override(struct t *t)
{
	const struct rouse_override instead = {
		.name = "50-b.json", .label = "mine", .text = "{}", .len = 2
	};
	auto_t_root struct t_root dir = t_root_new();
	auto_free char *path = rouse_asprintf("%s%s", dir.path, ROUSE_OVERRIDE_DIR);
	auto_document struct rouse_document d = { 0 }, with = { 0 };
	struct rouse_err e = { 0 };
	auto_fd int fd = -1;

	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/10-a.json", "{}", 0644);
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/90-c.json", "{}", 0644);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T_CHECK(t,
		rouse_load_overrides_at(&d, fd, path, true, &instead, &e) == 0 && d.n_layers == 3);
	T_STR(t, d.layers[1].name, "mine");
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/50-b.json", "broken", 0644);
	T_CHECK(t, rouse_load_overrides_at(&with, fd, path, true, &instead, &e) == 0 &&
			   with.n_layers == 3);
	T_STR(t, with.layers[1].name, "mine");
}

static bool refused(const struct t_root *dir, const char *why)
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_load_overrides(&d, dir->path, &e) < 0 && e.kind == ROUSE_UNTRUSTED &&
	    strstr(e.text, why))
		return true;
	printf("# %s\n", e.text);
	return false;
}

static void overrides_that_others_may_write_are_refused(struct t *t)
{
	auto_t_root struct t_root dir = t_root_new();
	auto_free char *path = rouse_asprintf("%s%s", dir.path, ROUSE_OVERRIDE_DIR);
	auto_free char *file = rouse_asprintf("%s/a.json", path),
		       *link = rouse_asprintf("%s/b.json", path),
		       *other = rouse_asprintf("%s/away", dir.path);

	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/a.json", "{}", 0664);
	T_CHECK(t, refused(&dir, "a.json' may be written by others"));
	T_CHECK(t, chmod(file, 0644) == 0 && chmod(path, 0775) == 0);
	T_CHECK(t, refused(&dir, "override.d' may be written by others"));
	T_CHECK(t, chmod(path, 0755) == 0 && symlink("a.json", link) == 0);
	T_CHECK(t, refused(&dir, "b.json' is a symbolic link"));
	T_CHECK(t, unlink(link) == 0 && mkfifo(link, 0600) == 0);
	T_CHECK(t, refused(&dir, "b.json' is not a regular file"));
	T_CHECK(t, unlink(link) == 0 && rename(path, other) == 0 && symlink(other, path) == 0);
	T_CHECK(t, refused(&dir, "is no directory"));
	T_CHECK(t, unlink(path) == 0);
}

static void overrides_of_another_owner_are_refused(struct t *t)
{
	auto_t_root struct t_root dir = t_root_new();
	auto_free char *file = rouse_asprintf("%s%s/a.json", dir.path, ROUSE_OVERRIDE_DIR);

	if (geteuid() != 0)
		return; /* only root can make one */
	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/a.json", "{}", 0600);
	T_CHECK(t, chown(file, 1, 1) == 0);
	T_CHECK(t, refused(&dir, "belongs to uid 1"));
}

static void override_cannot_name_a_base(struct t *t)
{
	auto_t_root struct t_root dir = t_root_new();
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	t_root_write(&dir, ROUSE_OVERRIDE_DIR "/a.json", "{ \"hostname\": \"a\",\n  \"from\": {} }",
		     0644);
	T_CHECK(t, rouse_load_overrides(&d, dir.path, &e) < 0 && e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "a.json:2:3: from: ");
}

T_MAIN(T(comments_leave_blanks_of_the_same_size), T(what_is_offered_is_stripped_to_the_override),
       T(text_without_a_word_is_blank), T(full_text_becomes_what_differs),
       T(override_that_says_nothing_is_none), T(kept_layers_are_what_they_were_without_overrides),
       T(overrides_are_merged_in_the_order_of_their_names), T(text_takes_the_place_of_an_override),
       T(overrides_that_others_may_write_are_refused), T(overrides_of_another_owner_are_refused),
       T(override_cannot_name_a_base))

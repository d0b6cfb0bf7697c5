/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#include <rouse/limits.h>
#include <rouse/mem.h>

#include "../../modules/closure/links.h"
#include "../../modules/closure/nar.h"

#define STORE "/nix/store/"
#define A STORE "0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-a"
#define B STORE "1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-b"

/* Whatever the tree is, its archive is one. */
static bool is_archive(const struct rouse_links *l, uint64_t *ret_size)
{
	static const struct rouse_nar_ops ops;
	auto_free struct rouse_nar *nar = rouse_calloc(1, sizeof(*nar));
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	rouse_links_archive(l, "manifest.json", "{}", &text);
	*ret_size = text.len;
	rouse_nar_begin(nar, text.len, &ops, NULL);
	return rouse_nar_feed(nar, text.data, text.len, &e) == 0 && rouse_nar_end(nar, &e) == 0;
}

static int add(struct rouse_links *l, const struct t_root *r, struct rouse_root *root,
	       int64_t second, struct rouse_err *e)
{
	struct rouse_package packages[] = { { A, 5 }, { B, second } };

	return rouse_root_open(root, r->path, e) < 0 || rouse_links_begin(l, root, e) < 0
		       ? -1
		       : rouse_links_add(l, packages, 2, e);
}

static void links_merge_directories(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_links struct rouse_links l = { 0 };
	struct rouse_err e = { 0 };
	uint64_t size = 0;

	t_root_write(&r, A "/bin/x", "", 0755);
	t_root_write(&r, A "/share/only/x", "", 0644);
	t_root_write(&r, A "/nix-support/x", "", 0644);
	t_root_write(&r, B "/bin/y", "", 0755);
	t_root_write(&r, B "/manifest.json", "", 0644);
	T_CHECK(t, add(&l, &r, &root, 5, &e) == 0);
	T_CHECK(t, is_archive(&l, &size));
	T_CHECK(t, l.n == 5); /* bin, share, manifest.json, and the two programs */
}

static void links_refuse_the_same_file_twice(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT, again = ROUSE_ROOT_INIT;
	auto_links struct rouse_links l = { 0 }, m = { 0 };
	struct rouse_err e = { 0 };

	t_root_write(&r, A "/bin/x", "", 0755);
	t_root_write(&r, B "/bin/x", "", 0755);
	T_CHECK(t, add(&l, &r, &root, 5, &e) < 0 && e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "have the same priority, 5");
	T_CHECK(t, add(&m, &r, &again, 6, &e) == 0);
}

static void links_end_in_circles(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_links struct rouse_links l = { 0 };
	auto_free char *a = NULL, *b = NULL;
	struct rouse_err e = { 0 };
	uint64_t size = 0;

	t_root_write(&r, A "/bin/x", "", 0755);
	t_root_write(&r, B "/bin/y", "", 0755);
	a = rouse_asprintf("%s" A "/bin/loop", r.path);
	b = rouse_asprintf("%s" B "/bin/loop", r.path);
	T_CHECK(t, symlink(".", a) == 0 && symlink(".", b) == 0);
	/* The kernel follows 40 links, and an archive has room for that. */
	T_CHECK(t, add(&l, &r, &root, 5, &e) == 0 && is_archive(&l, &size));
}

static void links_have_a_limit(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT, again = ROUSE_ROOT_INIT;
	auto_links struct rouse_links l = { 0 }, m = { 0 };
	struct rouse_err e = { 0 };
	uint64_t size = 0;

	t_root_write(&r, A "/bin/x", "", 0755);
	t_root_write(&r, B "/bin/y", "", 0755);
	/* "bin" is one of them. */
	for (size_t i = 0; i < ROUSE_MAX_PROFILE_LINKS - 3; i++) {
		auto_free char *path = rouse_asprintf("%s" A "/bin/%zu", r.path, i);

		T_CHECK(t, symlink("x", path) == 0);
	}
	T_CHECK(t, add(&l, &r, &root, 5, &e) == 0);
	T_CHECK(t, l.n == ROUSE_MAX_PROFILE_LINKS && is_archive(&l, &size));
	t_root_write(&r, B "/bin/z", "", 0755);
	T_CHECK(t, add(&m, &r, &again, 5, &e) < 0);
	T_HAS(t, e.text, "more than 65536 names");
}

T_MAIN(T(links_merge_directories), T(links_refuse_the_same_file_twice), T(links_end_in_circles),
       T(links_have_a_limit))

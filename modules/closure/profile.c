/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <rouse/accounts.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/parent.h>
#include <rouse/text.h>

#include "conf.h"
#include "links.h"
#include "path.h"
#include "store.h"
#include "tree.h"

#define MANIFEST "manifest.json"

void profile_done(struct profile *p)
{
	rouse_root_done(&p->parent);
	json_decref(p->manifest);
	rouse_arena_done(&p->arena);
	*p = (struct profile){ .parent = ROUSE_ROOT_INIT };
}

const char *profile_user(const char *key)
{
	return rouse_strip_prefix(key, "per-user/");
}

const char *profile_title(char buf[static 64], const char *key)
{
	const char *user = profile_user(key);

	(void)snprintf(buf, 64, "the profile of %s", user ? user : "all users");
	return buf;
}

/* --- the record ------------------------------------------------------------------------------- */

json_t *profile_record_read(const struct rouse_root *root, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;

	if (rouse_fs_read(root, ROUSE_PROFILES_FILE, ROUSE_MAX_FACTS, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? json_object() : NULL;
	j = rouse_json_parse(ROUSE_PROFILES_FILE, text.data, text.len, e);
	if (json_is_object(j))
		return take(j, NULL);
	/* No boot fails for it: then all programs are their users' own. */
	rouse_log(ROUSE_LOG_WARNING, "profiles", "%s%s, ignoring",
		  j ? ROUSE_PROFILES_FILE : e->text, j ? " is no object" : "");
	return json_object();
}

static int record_write(const struct rouse_root *root, const json_t *record, struct rouse_err *e)
{
	auto_free char *text = rouse_json_print(record);

	if (rouse_fs_mkdirs(root, ROUSE_PROFILES_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, ROUSE_PROFILES_FILE, text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

/* What the record says of a profile becomes `made`; written when it changes. */
static int record_set(const struct rouse_root *root, json_t *record, const char *key, json_t *made,
		      struct rouse_err *e)
{
	auto_json json_t *owned = made;
	const json_t *is = json_object_get(record, key);

	if (json_object_size(owned) == 0 ? !is : is && json_equal(is, owned))
		return 0;
	if (json_object_size(owned))
		rouse_json_set(record, key, take(owned, NULL));
	else
		(void)json_object_del(record, key);
	return record_write(root, record, e);
}

static void list_made(struct profile *p, json_t *made)
{
	size_t n = json_object_size(made);
	struct rouse_pair *pairs = rouse_arena_alloc(&p->arena, (n + 1) * sizeof(*pairs));
	const char *path;
	json_t *name;

	p->made.items = pairs;
	json_object_foreach (made, path, name)
		if (json_is_string(name) && rouse_is_store_path(path))
			pairs[p->made.n++] = (struct rouse_pair){
				rouse_arena_strdup(&p->arena, path),
				rouse_arena_strdup(&p->arena, json_string_value(name))
			};
}

/* --- reading ---------------------------------------------------------------------------------- */

static int open_profile(const struct rouse_root *root, const char *key, bool make,
			struct profile *p, struct rouse_err *e)
{
	const char *path = rouse_arena_printf(&p->arena, PROFILES "%s%s", key,
					      profile_user(key) ? "/profile" : "");

	p->key = rouse_arena_strdup(&p->arena, key);
	if (rouse_open_parent(root, path, make, &p->parent, &p->name, e) < 0)
		return !make && (e->sys == ENOENT || e->sys == ENOTDIR) ? 0 : -1;
	return rouse_generation_read_in(&p->parent, p->name, &p->generation, e);
}

/* Everything of a tree that has no manifest, as one element. */
static void take_whole(struct profile *p)
{
	const char **path = rouse_arena_alloc(&p->arena, sizeof(*path));

	*path = rouse_arena_strdup(&p->arena, p->generation.path);
	p->elements = (struct rouse_elements){
		.n = 1, .items = rouse_arena_alloc(&p->arena, sizeof(struct rouse_element))
	};
	p->elements.items[0].paths = (struct rouse_list){ 1, path };
}

static void read_elements(struct profile *p, const struct rouse_root *root)
{
	auto_free char *path = rouse_asprintf("%s/" MANIFEST, p->generation.path);
	auto_buf struct rouse_buf text = { 0 };
	auto_fd int tree = -1;
	struct rouse_err why = { 0 };

	/* Whatever else it points to is no profile, and stays behind as an older generation. */
	if (!rouse_store_name(p->generation.path))
		return;
	tree = rouse_fs_open(root, p->generation.path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (tree < 0)
		return;
	if (rouse_fs_read(root, path, ROUSE_MAX_PROFILE_MANIFEST, &text, &why) == 0 &&
	    rouse_elements_parse(&p->elements, path, text.data, text.len, &p->arena, &p->manifest,
				 &why) == 0)
		return;
	rouse_log(why.sys == ENOENT ? ROUSE_LOG_DEBUG : ROUSE_LOG_WARNING, "profiles",
		  "%s; keeping all of it as one", why.text);
	take_whole(p);
}

int profile_read(struct profile *ret, const struct rouse_root *root, const char *key,
		 const json_t *record, struct rouse_err *e)
{
	*ret = (struct profile){ .parent = ROUSE_ROOT_INIT };
	list_made(ret, json_object_get(record, key));
	if (open_profile(root, key, false, ret, e) < 0)
		return -1;
	read_elements(ret, root);
	return 0;
}

/* --- making ----------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* What has left the store cannot be linked any more, and no valid path may need it. */
static void drop_missing(struct rouse_elements *m, const struct rouse_store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		const char *const *paths = m->items[i].paths.items;
		bool there = true;
		struct stat st;

		for (size_t k = 0; there && k < m->items[i].paths.n; k++) {
			there = fstatat(s->dir, rouse_store_name(paths[k]), &st,
					AT_SYMLINK_NOFOLLOW) == 0;
			if (!there)
				rouse_log(ROUSE_LOG_WARNING, "profiles",
					  "'%s' has left the store: no longer in the profile",
					  paths[k]);
		}
		if (there)
			m->items[n++] = m->items[i];
	}
	m->n = n;
}

/* All paths of all elements, in order, each once: what the profile references. */
static const char **list_references(struct profile *p, const struct rouse_elements *m,
				    size_t *ret_n)
{
	size_t n = 0, kept = 0;
	const char **names;

	for (size_t i = 0; i < m->n; i++)
		n += m->items[i].paths.n;
	names = rouse_arena_alloc(&p->arena, (n + 1) * sizeof(*names));
	n = 0;
	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; k < m->items[i].paths.n; k++)
			names[n++] = rouse_store_name(
				((const char *const *)m->items[i].paths.items)[k]);
	if (n)
		qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(names[kept - 1], names[i]) != 0)
			names[kept++] = names[i];
	*ret_n = kept;
	return names;
}

static int link_all(struct rouse_links *l, struct profile *p, const struct rouse_elements *m,
		    struct rouse_err *e)
{
	struct rouse_package *packages;
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += m->items[i].paths.n;
	packages = rouse_arena_alloc(&p->arena, (n + 1) * sizeof(*packages));
	n = 0;
	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; !m->items[i].inactive && k < m->items[i].paths.n; k++)
			packages[n++] = (struct rouse_package){
				((const char *const *)m->items[i].paths.items)[k],
				m->items[i].priority ? m->items[i].priority : ROUSE_PRIORITY
			};
	return rouse_links_add(l, packages, n, e);
}

/* The name that content of this kind has in every store: its own address, with all it references. */
static void name_tree(struct profile *p, const struct rouse_path *tree,
		      char ret[static ROUSE_STORE_NAME_SIZE])
{
	auto_buf struct rouse_buf type = { 0 };

	rouse_buf_printf(&type, "source");
	for (size_t i = 0; i < tree->n_references; i++)
		rouse_buf_printf(&type, ":" ROUSE_STORE_PREFIX "%s", tree->references[i]);
	rouse_store_name_of(ret, type.data, tree->nar_hash, "profile");
	(void)p;
}

static int unpack(struct rouse_store *s, const char *name, const struct rouse_buf *archive,
		  struct rouse_err *e)
{
	struct rouse_nar *nar = rouse_calloc(1, sizeof(*nar));
	struct rouse_tree tree;
	int r;

	rouse_tree_begin(&tree, s->staging, name);
	rouse_nar_begin(nar, archive->len, &rouse_tree_ops, &tree);
	r = rouse_nar_feed(nar, archive->data, archive->len, e);
	if (r == 0)
		r = rouse_nar_end(nar, e);
	rouse_tree_done(&tree);
	free(nar);
	return r < 0 ? -1 : rouse_store_publish(s, name, e);
}

/* Puts the tree of these elements into the store; *ret is its path. */
static int make_tree(struct profile *p, struct rouse_store *s, const struct rouse_elements *m,
		     uint64_t deadline, char ret[static ROUSE_STORE_NAME_SIZE], struct rouse_err *e)
{
	auto_links struct rouse_links links = { 0 };
	auto_free char *manifest = rouse_elements_print(m);
	auto_buf struct rouse_buf archive = { 0 };
	struct rouse_path tree = { .known = true }, *is;

	if (rouse_links_begin(&links, &s->root, e) < 0 || link_all(&links, p, m, e) < 0)
		return -1;
	rouse_links_archive(&links, MANIFEST, manifest, &archive);
	tree.references = list_references(p, m, &tree.n_references);
	tree.nar_size = archive.len;
	rouse_sha256_of(archive.data, archive.len, tree.nar_hash);
	name_tree(p, &tree, ret);
	tree.name = ret;
	is = rouse_paths_find(&s->registered, ret);
	if (is && is->valid)
		return 0;
	is = &tree;
	if (unpack(s, ret, &archive, e) < 0 || rouse_store_register(s, &is, 1, e) < 0)
		return -1;
	return rouse_store_tell_nix(s, deadline, e);
}

static json_t *made_now(const struct profile *p, const struct rouse_elements *m,
			const struct rouse_list *wanted)
{
	const struct closure_pin *w = wanted->items;
	json_t *made = json_object();

	/* An element that was not read from a manifest, or was ours in it, is ours. */
	for (size_t i = 0; i < m->n; i++) {
		const char *path = m->items[i].paths.n == 1
					   ? *(const char *const *)m->items[i].paths.items
					   : NULL;
		const struct rouse_pair *was = p->made.items;
		bool ours = !m->items[i].json;

		for (size_t k = 0; !ours && k < p->made.n; k++)
			ours = rouse_streq(was[k].key, path);
		for (size_t k = 0; ours && k < wanted->n; k++)
			if (rouse_streq(w[k].path, path))
				rouse_json_set_string(made, path, w[k].key);
	}
	return made;
}

/* A user's profiles are the user's, who may install more. */
static int give_to_user(struct profile *p, const struct rouse_root *root, struct rouse_err *e)
{
	auto_accounts struct rouse_accounts accounts = { 0 };
	const char *user = profile_user(p->key);
	uint32_t uid = 0, gid = 0;
	struct stat st;

	if (!user || geteuid() != 0)
		return 0;
	if (rouse_accounts_load(&accounts, root, false, e) < 0)
		return -1;
	if (!rouse_lines_id(&accounts.files[ROUSE_PASSWD], user, ROUSE_PW_UID, &uid) ||
	    !rouse_lines_id(&accounts.files[ROUSE_PASSWD], user, ROUSE_PW_GID, &gid))
		return 0; /* the system's activation makes the account, or the next boot */
	if (fstat(p->parent.fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at '%s'", p->parent.path);
	if (st.st_uid == uid)
		return 0;
	if (st.st_uid != 0)
		return rouse_fail(
			e, ROUSE_SYSTEM, 0,
			"the directory of '%s' belongs to uid %u instead of %u; correct it",
			p->parent.path, (unsigned)st.st_uid, (unsigned)uid);
	/* An O_PATH descriptor: fchown(2) would refuse it. */
	if (fchownat(p->parent.fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give the directory of '%s' to %s",
				  p->parent.path, user);
	return 0;
}

int profile_give(const struct rouse_root *root, const char *key, struct rouse_err *e)
{
	auto_profile struct profile p = { .parent = ROUSE_ROOT_INIT };

	if (open_profile(root, key, false, &p, e) < 0)
		return -1;
	return p.parent.fd < 0 ? 0 : give_to_user(&p, root, e);
}

static int switch_to(struct profile *p, const struct rouse_root *root, json_t *record,
		     const struct rouse_elements *m, const char *path,
		     const struct rouse_list *wanted, struct rouse_err *e)
{
	json_t *both = json_object(), *now = made_now(p, m, wanted);
	uint64_t number = 0;
	int r;

	/* Whenever the power fails, each program of ours is known to be ours. */
	(void)json_object_update(both, now);
	for (size_t i = 0; i < p->made.n; i++) {
		const struct rouse_pair *was = (const struct rouse_pair *)p->made.items + i;

		if (!json_object_get(both, was->key))
			rouse_json_set_string(both, was->key, was->value);
	}
	r = record_set(root, record, p->key, both, e);
	if (r == 0)
		r = rouse_generation_make_in(&p->parent, p->name, path, &number, e);
	if (r == 0)
		return record_set(root, record, p->key, now, e);
	json_decref(now);
	return -1;
}

int profile_make(const struct rouse_context *c, const char *key, const struct rouse_list *wanted,
		 struct rouse_err *e)
{
	auto_profile struct profile p = { .parent = ROUSE_ROOT_INIT };
	auto_store struct rouse_store store = ROUSE_STORE_INIT;
	auto_json json_t *record = NULL;
	auto_free char *path = NULL;
	char name[ROUSE_STORE_NAME_SIZE] = "", title[64];
	struct rouse_element_step *steps;
	struct rouse_elements next;
	size_t n = 0;

	if (rouse_store_open(&store, c->root, c->deadline, e) < 0)
		return -1;
	rouse_store_adopt(&store, c->deadline);
	record = profile_record_read(&store.root, e);
	if (!record)
		return -1;
	list_made(&p, json_object_get(record, key));
	if (open_profile(&store.root, key, true, &p, e) < 0 || give_to_user(&p, &store.root, e) < 0)
		return -1;
	read_elements(&p, &store.root);
	next = rouse_elements_merge(&p.elements, &p.made, wanted, &p.arena, &steps, &n);
	drop_missing(&next, &store);
	if (make_tree(&p, &store, &next, c->deadline, name, e) < 0)
		return rouse_wrap(e, "%s", profile_title(title, key));
	path = rouse_asprintf(ROUSE_STORE_PREFIX "%s", name);
	return switch_to(&p, &store.root, record, &next, path, wanted, e);
}

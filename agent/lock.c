/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/text.h>

/* What stands in the place of a pin while the rest of the document is checked; each differs. */
#define PLACEHOLDER "/nix/store/%032zu-unlocked"

/* The keys of what is wanted, in the order in which they are recorded. */
static const struct {
	const char *key;
	size_t offset;
} wanted_keys[] = {
	{ "channel", offsetof(struct rouse_wanted, channel) },
	{ "storePaths", offsetof(struct rouse_wanted, store_paths) },
	{ "attribute", offsetof(struct rouse_wanted, attribute) },
	{ "job", offsetof(struct rouse_wanted, job) },
	{ "output", offsetof(struct rouse_wanted, output) },
	{ "version", offsetof(struct rouse_wanted, version) },
	{ "platform", offsetof(struct rouse_wanted, platform) },
};

static const char **wanted_member(struct rouse_wanted *w, size_t i)
{
	return (const char **)(void *)((char *)w + wanted_keys[i].offset);
}

void rouse_lock_done(struct rouse_lock *l)
{
	for (size_t i = 0; i < l->n_entries; i++) {
		json_decref(l->entries[i].wanted_json);
		json_decref(l->entries[i].manifest);
	}
	rouse_channels_done(&l->channels);
	json_decref(l->merged);
	json_decref(l->locked);
	rouse_arena_done(&l->arena);
	*l = (struct rouse_lock){ 0 };
}

const char *rouse_lock_title(struct rouse_lock *l, const struct rouse_lock_entry *entry)
{
	if (!entry->user)
		return "system";
	return rouse_arena_printf(&l->arena, "%s/%s", *entry->user ? entry->user : "environment",
				  entry->name);
}

/* --- what is wanted --------------------------------------------------------------------------- */

/* The member of a document for this entry. */
static json_t *entry_of(const json_t *document, const char *user, const char *name)
{
	if (!user)
		return json_object_get(document, "system");
	if (!*user)
		return json_object_get(json_object_get(document, "environment"), name);
	return json_object_get(json_object_get(json_object_get(document, "profiles"), user), name);
}

static void read_wanted(struct rouse_wanted *ret, const json_t *from)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted_keys); i++)
		*wanted_member(ret,
			       i) = json_string_value(json_object_get(from, wanted_keys[i].key));
	if (json_is_string(from))
		ret->version = json_string_value(from);
}

/* What one level says about where to look counts as a whole: a channel hides a list further out. */
static void inherit(struct rouse_wanted *w, const struct rouse_wanted *from)
{
	if (!w->channel && !w->store_paths) {
		w->channel = from->channel;
		w->store_paths = from->store_paths;
	}
	if (!w->platform)
		w->platform = from->platform;
}

static json_t *print_wanted(struct rouse_wanted *w)
{
	json_t *j = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(wanted_keys); i++)
		rouse_json_set_string(j, wanted_keys[i].key, *wanted_member(w, i));
	return j;
}

static void add_entry(struct rouse_lock *l, const json_t *top, const json_t *merged,
		      const char *user, const char *name)
{
	struct rouse_lock_entry *entry = &l->entries[l->n_entries];
	const json_t *written = entry_of(top, user, name), *whole = entry_of(merged, user, name);
	struct rouse_wanted all = { 0 }, of_system = { 0 };

	if (json_is_null(written))
		return; /* taken away from a layer below */
	*entry = (struct rouse_lock_entry){ .user = user,
					    .name = name,
					    .written = written,
					    .old = entry_of(l->previous, user, name) };
	l->n_entries++;
	entry->path = json_string_value(json_object_get(whole, "path"));
	entry->nar_hash = json_string_value(json_object_get(whole, "narHash"));
	read_wanted(&entry->wanted, whole);
	read_wanted(&all, merged);
	read_wanted(&of_system, json_object_get(merged, "system"));
	inherit(&entry->wanted, &all);
	if (user)
		inherit(&entry->wanted, &of_system);
	entry->wanted_json = print_wanted(&entry->wanted);
	entry->how = entry->path ? ROUSE_LOCK_GIVEN : ROUSE_LOCK_FOUND;
}

static void list_entries(struct rouse_lock *l, const json_t *top, const json_t *merged)
{
	const json_t *profiles = json_object_get(top, "profiles"),
		     *environment = json_object_get(top, "environment");
	size_t n = 1 + json_object_size(environment);
	const char *user, *name;
	json_t *items, *item;

	json_object_foreach ((json_t *)profiles, user, items)
		n += json_object_size(items);
	l->entries = rouse_arena_alloc(&l->arena, n * sizeof(*l->entries));
	if (json_object_get(top, "system"))
		add_entry(l, top, merged, NULL, NULL);
	json_object_foreach ((json_t *)environment, name, item)
		add_entry(l, top, merged, "", name);
	json_object_foreach ((json_t *)profiles, user, items)
		json_object_foreach (items, name, item)
			add_entry(l, top, merged, user, name);
}

static bool is_named(const struct rouse_lock_entry *entry, const char *name)
{
	const char *user = entry->user && !*entry->user ? "environment" : entry->user;
	size_t n = user ? strlen(user) : 0;

	if (!user)
		return rouse_streq(name, "system");
	return rouse_streq(name, entry->name) || (strncmp(name, user, n) == 0 && name[n] == '/' &&
						  rouse_streq(name + n + 1, entry->name));
}

static int mark_updates(struct rouse_lock *l, struct rouse_err *e)
{
	for (size_t i = 0; i < l->n_entries; i++)
		l->entries[i].update = l->update && !l->n_names;
	for (size_t k = 0; k < l->n_names; k++) {
		bool known = false;

		for (size_t i = 0; i < l->n_entries; i++)
			if (is_named(&l->entries[i], l->names[k]))
				l->entries[i].update = known = true;
		if (!known)
			return rouse_fail(e, ROUSE_USAGE, 0,
					  "--update: the document has no '%s' (\"system\", a "
					  "package, or USER/PACKAGE)",
					  l->names[k]);
	}
	return 0;
}

/* --- looking up ------------------------------------------------------------------------------- */

static const json_t *record_of(const json_t *pin)
{
	return json_object_get(pin, "lock");
}

/* Is what was found before still what is wanted? */
static bool may_keep(const struct rouse_lock_entry *entry)
{
	return !entry->update && json_string_value(json_object_get(entry->old, "path")) &&
	       json_equal(json_object_get(record_of(entry->old), "wanted"), entry->wanted_json);
}

static const char *release_in(const json_t *pin, const char *channel)
{
	const json_t *record = record_of(pin), *wanted = json_object_get(record, "wanted");

	if (!rouse_streq(json_string_value(json_object_get(wanted, "channel")), channel))
		return NULL;
	return json_string_value(json_object_get(record, "release"));
}

/* Where the rest of the document was found: a package that is new in it moves nothing else, and comes
 * from the same release. NULL: the newest one. */
static const char *pinned_release(const struct rouse_lock *l, const struct rouse_lock_entry *entry)
{
	const char *release;

	if (entry->update || !entry->wanted.channel)
		return NULL;
	release = release_in(entry->old, entry->wanted.channel);
	for (size_t i = 0; !release && i < l->n_entries; i++)
		if (!l->entries[i].update)
			release = release_in(l->entries[i].old, entry->wanted.channel);
	return release && rouse_is_channel(release) ? release : NULL;
}

static int look_up(struct rouse_lock *l, struct rouse_lock_entry *entry, struct rouse_err *e)
{
	const char *pinned = pinned_release(l, entry);
	const char *hint = pinned ? " (in the release that is locked; --update looks in the newest)"
				  : "";

	if (may_keep(entry)) {
		entry->how = ROUSE_LOCK_KEPT;
		entry->path = json_string_value(json_object_get(entry->old, "path"));
		entry->nar_hash = json_string_value(json_object_get(entry->old, "narHash"));
		return 0;
	}
	if (l->progress) {
		char what[160];

		(void)snprintf(what, sizeof(what), "looking up %.100s", rouse_lock_title(l, entry));
		l->progress(l->progress_arg, what, 0, 0);
	}
	if (rouse_resolve(&l->channels, &entry->wanted, entry->name, pinned, &entry->found, e) <
	    0) {
		size_t n = strlen(e->text);

		(void)snprintf(e->text + n, sizeof(e->text) - n, "%s", hint);
		return rouse_wrap(e, "%s", rouse_lock_title(l, entry));
	}
	entry->path = entry->found.path;
	return 0;
}

/* --- the locked document ---------------------------------------------------------------------- */

static bool is_wanted_key(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted_keys); i++)
		if (rouse_streq(key, wanted_keys[i].key))
			return true;
	return false;
}

static json_t *print_record(const struct rouse_lock_entry *entry)
{
	json_t *record = json_object();

	rouse_json_set(record, "wanted", json_incref(entry->wanted_json));
	rouse_json_set_string(record, "release", entry->found.release);
	rouse_json_set_string(record, "revision", entry->found.revision);
	rouse_json_set_string(record, "evaluation", entry->found.evaluation);
	rouse_json_set_string(record, "attribute", entry->found.attribute);
	rouse_json_set_string(record, "version", entry->found.version);
	return record;
}

/* The pin in the place of what was written, and what else was written there. */
static json_t *print_pin(const struct rouse_lock_entry *entry)
{
	json_t *pin = json_object(), *value;
	/* Of the same path it is the same, as long as nobody makes another. */
	json_t *manifest = entry->how == ROUSE_LOCK_KEPT && !entry->manifest
				   ? json_object_get(entry->old, "manifest")
				   : entry->manifest;
	const char *key;

	rouse_json_set_string(pin, "path", entry->path);
	rouse_json_set_string(pin, "narHash", entry->nar_hash);
	rouse_json_set_int(pin, "closureSize", entry->closure_bytes);
	if (manifest)
		rouse_json_set(pin, "manifest", json_incref(manifest));
	json_object_foreach ((json_t *)entry->written, key, value)
		if (!is_wanted_key(key) && !json_object_get(pin, key))
			rouse_json_set(pin, key, json_incref(value));
	rouse_json_set(pin, "lock",
		       entry->how == ROUSE_LOCK_KEPT ? json_deep_copy(record_of(entry->old))
						     : print_record(entry));
	return pin;
}

static void put_entry(json_t *document, const struct rouse_lock_entry *entry, json_t *value)
{
	json_t *in = document;

	if (entry->user && !*entry->user)
		in = json_object_get(document, "environment");
	else if (entry->user)
		in = json_object_get(json_object_get(document, "profiles"), entry->user);
	rouse_json_set(in, entry->user ? entry->name : "system", value);
}

static json_t *print_locked(const struct rouse_lock *l, const json_t *top)
{
	json_t *document = json_deep_copy(top);

	for (size_t i = 0; i < l->n_entries; i++)
		if (l->entries[i].how != ROUSE_LOCK_GIVEN)
			put_entry(document, &l->entries[i], print_pin(&l->entries[i]));
	for (size_t i = 0; i < ARRAY_SIZE(wanted_keys); i++)
		(void)json_object_del(document, wanted_keys[i].key); /* has done its work */
	return document;
}

/* --- all together ----------------------------------------------------------------------------- */

/* With `top` in the place of the top layer; the places of problems are still those of the text. */
static int check_with(struct rouse_document *d, json_t *top, struct rouse_err *e)
{
	struct rouse_layer *layer = &d->layers[d->n_layers - 1];
	json_t *written = layer->json;
	int r;

	layer->json = top;
	r = rouse_document_finish(d, NULL, e);
	layer->json = written;
	return r;
}

/* All but the missing pins must be right before anybody is asked. */
static int check_written(struct rouse_lock *l, struct rouse_document *d, struct rouse_err *e)
{
	json_t *top = d->layers[d->n_layers - 1].json;
	auto_json json_t *pinned = json_deep_copy(top);

	for (size_t i = 0; i < l->n_entries; i++) {
		const struct rouse_lock_entry *entry = &l->entries[i];
		json_t *pin = json_is_object(entry->written) ? json_deep_copy(entry->written)
							     : json_object();

		if (json_is_string(entry->written))
			rouse_json_set(pin, "version", json_incref((json_t *)entry->written));
		else if (!json_is_object(entry->written)) {
			json_decref(pin); /* neither: the table says so */
			continue;
		}
		if (!json_object_get(pin, "path"))
			rouse_json_set_string(pin, "path",
					      rouse_arena_printf(&l->arena, PLACEHOLDER, i));
		put_entry(pinned, entry, pin);
	}
	return check_with(d, pinned, e);
}

int rouse_lock_run(struct rouse_lock *l, struct rouse_err *e)
{
	struct rouse_document *d = l->document;
	const json_t *top = d->layers[d->n_layers - 1].json;

	l->merged = rouse_document_merge(d, d->n_layers);
	list_entries(l, top, l->merged);
	if (check_written(l, d, e) < 0 || mark_updates(l, e) < 0)
		return -1;
	for (size_t i = 0; i < l->n_entries; i++)
		if (l->entries[i].how != ROUSE_LOCK_GIVEN && look_up(l, &l->entries[i], e) < 0)
			return -1;
	if (rouse_lock_walk(l, e) < 0)
		return -1;
	l->locked = print_locked(l, top);
	return check_with(d, l->locked, e);
}

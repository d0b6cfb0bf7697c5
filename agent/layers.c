/* SPDX-License-Identifier: Apache-2.0 */
#include "layers.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

/* In the order in which they are asked: what runs now comes before what ran last. */
static const struct {
	const char *path;
	bool flattened;
} kept[] = {
	{ "/run/rouse/" ROUSE_LAYERS_NAME, false },
	{ "/run/rouse/document.json", true },
	{ "/var/lib/rouse/" ROUSE_LAYERS_NAME, false },
	{ "/var/lib/rouse/document.json", true },
};

void rouse_running_done(struct rouse_running *r)
{
	free(r->name);
	json_decref(r->json);
	rouse_arena_done(&r->arena);
	*r = (struct rouse_running){ 0 };
}

static json_t *print_instance(const struct rouse_instance *i)
{
	json_t *j = json_object(), *tags = json_object(), *keys = json_array();

	rouse_json_set_string(j, "cloud", i->cloud);
	rouse_json_set_string(j, "id", i->id);
	rouse_json_set_string(j, "type", i->type);
	rouse_json_set_string(j, "region", i->region);
	rouse_json_set_string(j, "zone", i->zone);
	rouse_json_set_string(j, "hostname", i->hostname);
	for (size_t n = 0; n < i->tags.n; n++) {
		const struct rouse_pair *tag = (const struct rouse_pair *)i->tags.items + n;

		rouse_json_set_string(tags, tag->key, tag->value);
	}
	rouse_json_set(j, "tags", tags);
	for (size_t n = 0; n < i->ssh_keys.n; n++)
		rouse_json_append_string(keys, ((const char *const *)i->ssh_keys.items)[n]);
	rouse_json_set(j, "sshKeys", keys);
	rouse_json_set_string(j, "firmware", i->firmware);
	return j;
}

char *rouse_layers_print(const struct rouse_document *d, const struct rouse_instance *instance,
			 bool initramfs)
{
	auto_json json_t *j = json_object();
	json_t *layers = json_array();

	rouse_json_set_bool(j, "initramfs", initramfs);
	rouse_json_set(j, "instance", print_instance(instance));
	for (size_t i = 0; i < d->n_layers; i++) {
		json_t *layer = json_object();

		if (d->layers[i].is_override) {
			json_decref(layer);
			continue;
		}
		rouse_json_set_string(layer, "name", d->layers[i].name);
		rouse_json_set_string(layer, "source", d->layers[i].source);
		rouse_json_set_string(layer, "etag", d->layers[i].etag);
		rouse_json_set(layer, "text", json_stringn(d->layers[i].text, d->layers[i].len));
		rouse_json_append(layers, layer);
	}
	rouse_json_set(j, "layers", layers);
	return rouse_json_print(j);
}

static void read_tags(struct rouse_instance *i, const json_t *tags, struct rouse_arena *arena)
{
	struct rouse_pair *items = rouse_arena_alloc(arena,
						     json_object_size(tags) * sizeof(*items) + 1);
	const char *key;
	json_t *value;

	i->tags.items = items;
	json_object_foreach ((json_t *)tags, key, value)
		if (json_is_string(value))
			items[i->tags.n++] = (struct rouse_pair){
				.key = key, .value = json_string_value(value)
			};
}

static void read_keys(struct rouse_instance *i, const json_t *keys, struct rouse_arena *arena)
{
	const char **items = rouse_arena_alloc(arena, json_array_size(keys) * sizeof(*items) + 1);
	json_t *value;
	size_t n;

	i->ssh_keys.items = items;
	json_array_foreach (keys, n, value)
		if (json_is_string(value))
			items[i->ssh_keys.n++] = json_string_value(value);
}

void rouse_instance_read(struct rouse_instance *ret, const json_t *json, struct rouse_arena *arena)
{
	*ret = (struct rouse_instance){
		.cloud = json_string_value(json_object_get(json, "cloud")),
		.id = json_string_value(json_object_get(json, "id")),
		.type = json_string_value(json_object_get(json, "type")),
		.region = json_string_value(json_object_get(json, "region")),
		.zone = json_string_value(json_object_get(json, "zone")),
		.hostname = json_string_value(json_object_get(json, "hostname")),
		.firmware = json_string_value(json_object_get(json, "firmware")),
	};
	read_tags(ret, json_object_get(json, "tags"), arena);
	read_keys(ret, json_object_get(json, "sshKeys"), arena);
}

static void read_instance(struct rouse_running *r)
{
	r->initramfs = json_is_true(json_object_get(r->json, "initramfs"));
	rouse_instance_read(&r->instance, json_object_get(r->json, "instance"), &r->arena);
}

bool rouse_layers_recall(const struct rouse_root *root, const struct rouse_instance *who,
			 struct rouse_running *ret)
{
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };
	const struct rouse_instance *kept_one = &ret->instance;

	if (!who->firmware || rouse_fs_read(root, "/var/lib/rouse/" ROUSE_LAYERS_NAME,
					    ROUSE_MAX_LAYERS_TEXT, &text, &e) < 0)
		return false;
	ret->json = rouse_json_parse(ROUSE_LAYERS_NAME, text.data, text.len, &e);
	if (ret->json)
		read_instance(ret);
	/* A copy of the disk in another machine is another instance. */
	return kept_one->firmware && strcmp(kept_one->firmware, who->firmware) == 0 &&
	       (!who->id || !kept_one->id || strcasecmp(kept_one->id, who->id) == 0);
}

static void keep_origin(struct rouse_layer *to, const json_t *layer)
{
	const char *source = json_string_value(json_object_get(layer, "source"));
	const char *etag = json_string_value(json_object_get(layer, "etag"));

	to->source = source ? rouse_strdup(source) : NULL;
	to->etag = etag ? rouse_strdup(etag) : NULL;
}

static int add_layers(struct rouse_document *d, const struct rouse_running *r, struct rouse_err *e)
{
	const json_t *layer;
	size_t i;

	json_array_foreach (json_object_get(r->json, "layers"), i, layer) {
		const json_t *text = json_object_get(layer, "text");
		const char *name = json_string_value(json_object_get(layer, "name"));

		if (!name || !json_is_string(text))
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "'%s' holds no layers; boot writes it anew", r->name);
		if (rouse_document_add(d, name, json_string_value(text), json_string_length(text),
				       false, e) < 0)
			return -1;
		keep_origin(&d->layers[d->n_layers - 1], layer);
	}
	if (!d->n_layers)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' holds no layers; boot writes it anew",
				  r->name);
	return 0;
}

static int use_text(const struct rouse_buf *text, bool flattened, struct rouse_document *d,
		    struct rouse_running *r, struct rouse_err *e)
{
	r->flattened = flattened;
	if (flattened)
		return rouse_document_add(d, r->name, text->data, text->len, false, e);
	r->json = rouse_json_parse(r->name, text->data, text->len, e);
	if (!r->json)
		return -1;
	read_instance(r);
	return add_layers(d, r, e);
}

int rouse_layers_load(const struct rouse_root *root, struct rouse_document *d,
		      struct rouse_running *ret, struct rouse_err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		auto_buf struct rouse_buf text = { 0 };

		if (rouse_fs_read(root, kept[i].path, ROUSE_MAX_LAYERS_TEXT, &text, e) == 0) {
			ret->name = rouse_asprintf("%s%s",
						   rouse_streq(root->path, "/") ? "" : root->path,
						   kept[i].path);
			return use_text(&text, kept[i].flattened, d, ret, e);
		}
		if (e->sys != ENOENT && e->sys != ENOTDIR)
			return -1; /* it is root's alone */
	}
	return rouse_fail(
		e, ROUSE_SYSTEM, 0,
		"rouse has not provisioned this machine: below '%s' there is neither '%s' nor '%s'",
		root->path, kept[0].path, kept[ARRAY_SIZE(kept) - 1].path);
}

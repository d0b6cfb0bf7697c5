/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/schema.h>

#include <rouse/document.h>
#include <rouse/json.h>

#include "../lib/tap.h"

struct part {
	const char *key;
	struct rouse_size size;
	const char *fs, *name;
};
struct device {
	const char *path, *serial;
};
struct level {
	int64_t level;
	const char *note;
};
struct conf {
	const char *host, *secret;
	bool on;
	int64_t port;
	uint64_t wait;
	uint32_t mode;
	struct device *device;
	struct level *level;
	struct rouse_list parts, words, named;
};

static const char *const fs_words[] = { "ext4", "vfat", NULL };
static const struct rouse_field part_fields[] = {
	ROUSE_REQUIRED(struct part, size, "size", "Size.", .type = ROUSE_SIZE, .percent = true),
	ROUSE_FIELD(struct part, fs, "filesystem", "Filesystem.", .type = ROUSE_STRING,
		    .words = fs_words),
	ROUSE_FIELD(struct part, name, "name", "Name.", .type = ROUSE_STRING, .min = 1, .max = 4),
};
static const struct rouse_shape part_shape = { ROUSE_OBJECT_OF(struct part, part_fields) };
static const struct rouse_field device_fields[] = {
	ROUSE_FIELD(struct device, path, "path", "Path.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct device, serial, "serial", "Serial.", .type = ROUSE_STRING),
};
static const struct rouse_field level_fields[] = {
	ROUSE_REQUIRED(struct level, level, "level", "Level.", .type = ROUSE_INT, .max = 10),
	ROUSE_FIELD(struct level, note, "note", "Note.", .type = ROUSE_STRING),
};
static const struct rouse_shape word_shape = { .type = ROUSE_STRING };
static const struct rouse_field conf_fields[] = {
	ROUSE_FIELD(struct conf, host, "host", "Host.", .type = ROUSE_STRING, .interpolate = true,
		    .format = "a host name", .valid = rouse_is_hostname),
	ROUSE_FIELD(struct conf, secret, "secret", "Secret.", .type = ROUSE_STRING, .secret = true,
		    .format = "a host name", .valid = rouse_is_hostname),
	ROUSE_FIELD(struct conf, on, "on", "On.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct conf, port, "port", "Port.", .type = ROUSE_INT, .min = 1, .max = 65535),
	ROUSE_FIELD(struct conf, wait, "wait", "Wait.", .type = ROUSE_DURATION, .min = 1000,
		    .max = 3600000),
	ROUSE_FIELD(struct conf, mode, "mode", "Mode.", .type = ROUSE_MODE),
	ROUSE_FIELD(struct conf, device, "device", "Device.",
		    ROUSE_OBJECT_OF(struct device, device_fields), .shorthand = "path"),
	ROUSE_FIELD(struct conf, level, "level", "Level.",
		    ROUSE_OBJECT_OF(struct level, level_fields), .shorthand = "level"),
	ROUSE_FIELD(struct conf, parts, "parts", "Parts.", .type = ROUSE_MAP, .item = &part_shape,
		    .format = "an absolute path", .valid = rouse_is_absolute_path, .max = 3),
	ROUSE_FIELD(struct conf, words, "words", "Words.", .type = ROUSE_LIST, .item = &word_shape,
		    .shorthand = ""),
	ROUSE_FIELD(struct conf, named, "named", "Named.", .type = ROUSE_MAP, .item = &word_shape),
};
static const struct rouse_shape shape = { ROUSE_OBJECT_OF(struct conf, conf_fields) };

struct fixture {
	struct rouse_arena arena;
	struct rouse_problems problems;
	json_t *json;
	struct conf conf;
};

static void fixture_auto(struct fixture *f)
{
	rouse_arena_done(&f->arena);
	rouse_problems_done(&f->problems);
	json_decref(f->json);
}
#define auto_fixture __attribute__((cleanup(fixture_auto)))

static size_t read_(struct fixture *f, const char *text, const struct rouse_instance *i)
{
	struct rouse_err e = { 0 };

	f->json = rouse_json_parse("t", text, strlen(text), &e);
	return f->json ? rouse_schema_read(&shape, f->json, i, &f->conf, &f->arena, &f->problems)
		       : 999;
}

static void schema_decodes_every_type(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	const struct part *p;

	T_CHECK(t,
		read_(&f,
		      "{\"host\":\"a.b\",\"on\":true,\"port\":80,\"wait\":\"90s\",\"mode\":"
		      "\"0640\","
		      "\"device\":{\"serial\":\"x\"},\"parts\":{\"/b\":{\"size\":\"2MB\"},"
		      "\"/\":{\"size\":\"25%\",\"filesystem\":\"ext4\"}},\"words\":[\"a\",\"b\"],"
		      "\"named\":{\"z\":\"1\",\"a\":\"2\"}}",
		      NULL) == 0);
	T_STR(t, f.conf.host, "a.b");
	T_CHECK(t, f.conf.on && f.conf.port == 80 && f.conf.wait == 90000 && f.conf.mode == 0640);
	T_STR(t, f.conf.device->serial, "x");
	T_CHECK(t, !f.conf.device->path && f.conf.parts.n == 2);
	p = f.conf.parts.items;
	T_STR(t, p[0].key, "/b"); /* in the order of the text */
	T_CHECK(t, p[0].size.bytes == 2000000 && p[1].size.percent == 25);
	T_STR(t, p[1].fs, "ext4");
	T_STR(t, ((const char *const *)f.conf.words.items)[1], "b");
	T_STR(t, ((const struct rouse_pair *)f.conf.named.items)[0].key, "z");
}

static void schema_takes_shorthands(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, read_(&f, "{\"device\":\"root\",\"words\":\"one\"}", NULL) == 0);
	T_STR(t, f.conf.device->path, "root");
	T_CHECK(t, f.conf.words.n == 1);
	T_STR(t, ((const char *const *)f.conf.words.items)[0], "one");
}

static void schema_takes_a_number_for_an_object(struct t *t)
{
	auto_fixture struct fixture none = { 0 }, f = { 0 }, bad = { 0 };

	T_CHECK(t, read_(&none, "{}", NULL) == 0 && !none.conf.level);
	T_CHECK(t, read_(&f, "{\"level\":0}", NULL) == 0);
	T_CHECK(t, f.conf.level && f.conf.level->level == 0);
	T_CHECK(t, read_(&bad, "{\"level\":\"0\"}", NULL) == 1);
	T_STR(t, bad.problems.items[0].message,
	      "expected a whole number or an object with \"level\", found \"0\"");
}

static void schema_names_each_problem_in_order(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, read_(&f,
			 "{\"hots\":1,\"port\":70000,\"wait\":\"1ms\",\"mode\":644,\"on\":\"yes\","
			 "\"parts\":{\"x\":{\"filesystem\":\"ext3\",\"name\":\"\"}},\"words\":[1]}",
			 NULL) == 10);
	T_STR(t, f.problems.items[0].path, "hots");
	T_STR(t, f.problems.items[0].message, "unknown key, did you mean \"host\"?");
	T_CHECK(t, f.problems.items[0].at_key);
	T_STR(t, f.problems.items[1].message, "expected a number from 1 to 65535, found 70000");
	T_STR(t, f.problems.items[2].message,
	      "expected a duration from 1.0 s to 60 m 00 s, found \"1ms\"");
	T_STR(t, f.problems.items[3].message, "expected an octal mode such as \"0644\", found 644");
	T_STR(t, f.problems.items[4].message, "expected true or false, found \"yes\"");
	T_STR(t, f.problems.items[5].message, "expected an absolute path as key");
	T_STR(t, f.problems.items[6].path, "parts.x.filesystem");
	T_HAS(t, f.problems.items[6].message, "did you mean \"ext4\"?");
	T_STR(t, f.problems.items[7].message, "expected 1 to 4 bytes, found 0");
	T_HAS(t, f.problems.items[8].message, "\"size\" is missing");
	T_STR(t, f.problems.items[9].path, "words[0]");
}

static void schema_never_prints_secrets(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, read_(&f, "{\"secret\":\"hunter two\"}", NULL) == 1);
	T_STR(t, f.problems.items[0].message, "expected a host name, found another string");
}

static void schema_replaces_instance_names(struct t *t)
{
	static struct rouse_pair tags[] = { { "Name", "blue" } };
	static const struct rouse_instance i = { .id = "i-1", .tags = { .n = 1, .items = tags } };
	auto_fixture struct fixture f = { 0 }, g = { 0 }, h = { 0 }, k = { 0 }, l = { 0 };

	T_CHECK(t, read_(&f, "{\"host\":\"web-{instance.id}-{instance.tags.Name}\"}", &i) == 0);
	T_STR(t, f.conf.host, "web-i-1-blue");
	T_CHECK(t, read_(&g, "{\"host\":\"web-{instance.zone}\"}", &i) == 1);
	T_HAS(t, g.problems.items[0].message, "this machine has no {instance.zone}");
	T_CHECK(t, read_(&h, "{\"host\":\"web-{instance.zone}\"}", NULL) == 0); /* syntax only */
	T_CHECK(t, read_(&k, "{\"host\":\"web-{instanceid}\"}", NULL) == 1);
	T_HAS(t, k.problems.items[0].message, "unknown name {instanceid}");
	T_CHECK(t, read_(&l, "{\"secret\":\"{instance.id}\"}", &i) == 1); /* not marked: literal */
}

static void schema_checks_what_was_replaced(struct t *t)
{
	static const struct rouse_instance i = { .id = "a b;rm -rf" };
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, read_(&f, "{\"host\":\"web-{instance.id}\"}", &i) == 1);
	T_HAS(t, f.problems.items[0].message, "expected a host name");
}

static void schema_bounds_entries(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, read_(&f,
			 "{\"parts\":{\"/a\":{\"size\":\"1B\"},\"/b\":{\"size\":\"1B\"},\"/"
			 "c\":{\"size\":\"1B\"},"
			 "\"/d\":{\"size\":\"1B\"}}}",
			 NULL) == 1);
	T_STR(t, f.problems.items[0].message, "expected 0 to 3 entries, found 4");
}

static void json_schema_says_the_same(struct t *t)
{
	auto_json json_t *j = rouse_schema_json(&shape);
	const json_t *properties = json_object_get(j, "properties");

	T_CHECK(t, json_is_false(json_object_get(j, "additionalProperties")));
	T_CHECK(t, json_object_size(properties) == ARRAY_SIZE(conf_fields));
	T_CHECK(t, json_integer_value(json_object_get(json_object_get(properties, "port"),
						      "maximum")) == 65535);
	T_CHECK(t, json_array_size(
			   json_object_get(json_object_get(properties, "device"), "anyOf")) == 2);
}

static void formats_know_their_edges(struct t *t)
{
	T_CHECK(t, rouse_is_absolute_path("/") && rouse_is_absolute_path("/a/b"));
	T_CHECK(t, !rouse_is_absolute_path("a") && !rouse_is_absolute_path("/a/") &&
			   !rouse_is_absolute_path("//a"));
	T_CHECK(t, !rouse_is_absolute_path("/a/../b") && !rouse_is_absolute_path("/./a"));
	T_CHECK(t, rouse_is_hostname("a-b.c1") && !rouse_is_hostname("-a") &&
			   !rouse_is_hostname("a-"));
	T_CHECK(t,
		!rouse_is_hostname("a..b") && !rouse_is_hostname("a_b") && !rouse_is_hostname(""));
	T_CHECK(t, rouse_is_url("https://h/x?y") && rouse_is_url("file:///x") &&
			   rouse_is_url("s3://b/k"));
	T_CHECK(t, !rouse_is_url("https://") && !rouse_is_url("ftp://h/") &&
			   !rouse_is_url("https://u@h/"));
	T_CHECK(t, !rouse_is_url("https://h/a b") && !rouse_is_url("file://x/"));
	T_CHECK(t, rouse_is_store_path("/nix/store/00000000000000000000000000000000-a"));
	T_CHECK(t, !rouse_is_store_path(
			   "/nix/store/e0000000000000000000000000000000-a")); /* no e in nix32 */
	T_CHECK(t, !rouse_is_store_path("/nix/store/00000000000000000000000000000000-"));
	T_CHECK(t, !rouse_is_store_path("/nix/store/00000000000000000000000000000000-a/b"));
	T_CHECK(t, !rouse_is_store_path("/nix/store/00000000000000000000000000000000-.."));
}

T_MAIN(T(schema_decodes_every_type), T(schema_takes_shorthands),
       T(schema_takes_a_number_for_an_object), T(schema_names_each_problem_in_order),
       T(schema_never_prints_secrets), T(schema_replaces_instance_names),
       T(schema_checks_what_was_replaced), T(schema_bounds_entries), T(json_schema_says_the_same),
       T(formats_know_their_edges))

/* SPDX-License-Identifier: Apache-2.0 */
/* `cloud-init query`: what the metadata said of this instance, under the names that cloud-init standardised. */
#include "cloud_init.h"

#include <getopt.h>
#include <string.h>
#include <sys/utsname.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/report.h>
#include <rouse/text.h>

#include "layers.h"

struct query_options {
	const char *run, *format;
	bool all, keys;
};

static int refuse(const char *what, const char *which)
{
	(void)fprintf(stderr, "cloud-init (rouse): query: %s '%s'\n", what, which);
	return 1;
}

static json_t *load(const char *run, const char *name)
{
	auto_free char *path = rouse_asprintf("%s/%s", run, name);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err ignored;

	if (rouse_read_file(path, ROUSE_MAX_LAYERS_TEXT, &text, &ignored) < 0)
		return NULL;
	return rouse_json_parse(path, text.data ? text.data : "", text.len, &ignored);
}

static void copy(json_t *to, const char *key, const json_t *from, const char *name)
{
	json_t *value = json_object_get(from, name);

	rouse_json_set(to, key, value ? json_incref(value) : json_null());
}

/* The keys of "v1", which are the same on every cloud. */
static json_t *standard(const json_t *instance)
{
	json_t *v1 = json_object();
	const char *cloud = json_string_value(json_object_get(instance, "cloud"));
	const char *hostname = json_string_value(json_object_get(instance, "hostname"));
	struct utsname u = { 0 };

	(void)uname(&u); /* cannot fail with a buffer of ours */
	copy(v1, "availability_zone", instance, "zone");
	rouse_json_set_string(v1, "cloud_id", cloud_name(cloud));
	rouse_json_set_string(v1, "cloud_name", cloud_name(cloud));
	copy(v1, "instance_id", instance, "id");
	copy(v1, "instance_type", instance, "type");
	rouse_json_set_string(v1, "kernel_release", u.release);
	rouse_json_set_string(v1, "local_hostname", hostname ? hostname : u.nodename);
	rouse_json_set_string(v1, "machine", u.machine);
	rouse_json_set_string(v1, "platform", cloud ? cloud : "none");
	if (json_object_get(instance, "sshKeys"))
		copy(v1, "public_ssh_keys", instance, "sshKeys");
	copy(v1, "region", instance, "region");
	rouse_json_set_string(v1, "subplatform", "rouse " ROUSE_VERSION);
	return v1;
}

/* Everything at the top, too, and with dashes, as its users write it. */
static json_t *gather(const char *run)
{
	auto_json json_t *layers = load(run, ROUSE_LAYERS_NAME), *report = load(run, "report.json");
	const json_t *instance = json_object_get(layers, "instance");
	json_t *all = json_object(), *v1, *value;
	const char *key;

	if (!layers && !report) {
		json_decref(all);
		return NULL;
	}
	if (!json_is_object(instance))
		instance = json_object_get(report, "instance");
	v1 = standard(instance);
	json_object_foreach (v1, key, value) {
		auto_free char *dashed = rouse_strdup(key);

		rouse_json_set(all, key, json_incref(value));
		for (char *p = dashed; *p; p++)
			*p = *p == '_' ? '-' : *p;
		rouse_json_set(all, dashed, json_incref(value));
	}
	if (json_object_get(instance, "tags"))
		copy(all, "tags", instance, "tags");
	rouse_json_set(all, "v1", v1);
	return all;
}

/* "v1.region"; NULL when there is no such thing. */
static json_t *find(json_t *all, const char *path)
{
	auto_free char *copy_ = rouse_strdup(path);
	char *rest = copy_, *name;
	json_t *at = all;

	while (at && (name = strsep(&rest, ".")))
		at = json_object_get(at, name);
	return at;
}

static void print_value(const json_t *value, struct rouse_buf *out)
{
	auto_free char *text = NULL;

	if (json_is_string(value)) {
		rouse_buf_printf(out, "%s", json_string_value(value));
		return;
	}
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_INDENT(1) | JSON_SORT_KEYS);
	rouse_buf_printf(out, "%s", text);
}

/* "{{ v1.region }}" is replaced; no more of Jinja is understood, and a text with more is refused. */
static int print_format(json_t *all, const char *format)
{
	auto_buf struct rouse_buf out = { 0 };

	for (const char *p = format; *p;) {
		const char *open = strstr(p, "{{"), *close = open ? strstr(open, "}}") : NULL;
		auto_free char *name = NULL;
		const json_t *value;
		size_t n;

		if (!close) {
			rouse_buf_printf(&out, "%s", p);
			break;
		}
		open += 2;
		open += strspn(open, " ");
		n = (size_t)(close - open);
		while (n && open[n - 1] == ' ')
			n--;
		name = rouse_strndup(open, n);
		value = find(all, name);
		if (!value)
			return refuse("there is no", name);
		rouse_buf_printf(&out, "%.*s", (int)(strstr(p, "{{") - p), p);
		print_value(value, &out);
		p = close + 2;
	}
	(void)printf("%s\n", out.data ? out.data : "");
	return 0;
}

static void print_keys(const json_t *of)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)of, key, value)
		(void)printf("%s\n", key);
}

static int parse(struct query_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "list-keys", no_argument, NULL, 'l' },
		{ "format", required_argument, NULL, 'f' },
		{ "run", required_argument, NULL, 'r' },
		{ 0 },
	};
	int c;

	*o = (struct query_options){ .run = "/run/rouse" };
	while ((c = getopt_long(argc, argv, "alf:", options, NULL)) != -1) {
		if (c == 'a')
			o->all = true;
		else if (c == 'l')
			o->keys = true;
		else if (c == 'f')
			o->format = optarg;
		else if (c == 'r')
			o->run = optarg;
		else
			return refuse("unknown or incomplete option", argv[optind - 1]);
	}
	if (optind + 1 < argc)
		return refuse("unexpected argument", argv[optind + 1]);
	return 0;
}

int cloud_query(int argc, char **argv)
{
	auto_buf struct rouse_buf out = { 0 };
	auto_json json_t *all = NULL;
	struct query_options o;
	const json_t *value;
	const char *name;

	if (parse(&o, argc, argv) != 0)
		return 1;
	name = argv[optind];
	if (!name && !o.all && !o.keys && !o.format) {
		(void)fprintf(stderr, "cloud-init (rouse): query: expected a name, --all, "
				      "--list-keys or --format\n");
		return 1;
	}
	all = gather(o.run);
	if (!all)
		return refuse("rouse did not boot this machine: nothing is in", o.run);
	if (o.format)
		return print_format(all, o.format);
	value = name ? find(all, name) : all;
	if (!value)
		return refuse("there is no", name);
	if (o.keys) {
		print_keys(value);
		return 0;
	}
	print_value(value, &out);
	(void)printf("%s\n", out.data ? out.data : "");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/proxy.h>
#include <rouse/text.h>

#include "command.h"
#include "load.h"

void rouse_target_done(struct rouse_target *t)
{
	rouse_fetcher_free(t->fetcher);
	rouse_arena_done(&t->arena);
	rouse_running_done(&t->running);
	json_decref(t->counters);
	*t = (struct rouse_target){ 0 };
}

static bool is_same_disk(const char *one, const char *other)
{
	struct stat a, b;

	if (stat(one, &a) < 0 || stat(other, &b) < 0)
		return false; /* what is not there is refused with better words */
	return S_ISBLK(a.st_mode) ? S_ISBLK(b.st_mode) && a.st_rdev == b.st_rdev
				  : a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The second of two would be made over the first. */
static int check_twice(const struct rouse_target *t, const struct rouse_pair *d,
		       struct rouse_err *e)
{
	for (const struct rouse_pair *other = t->disks; other < d; other++) {
		if (rouse_streq(other->key, d->key))
			return rouse_usage(e, "--disk: '%s' is given twice", d->key);
		if (is_same_disk(other->value, d->value))
			return rouse_usage(e, "--disk: '%s' and '%s' are both '%s'", other->key,
					   d->key, d->value);
	}
	return 0;
}

static int add_disk(struct rouse_target *t, const char *text, struct rouse_err *e)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text || !equals[1])
		return rouse_usage(e, "--disk wants NAME=FILE, found '%s'", text);
	if (t->n_disks == ARRAY_SIZE(t->disks))
		return rouse_usage(e, "more than %zu disks", ARRAY_SIZE(t->disks));
	t->disks[t->n_disks++] = (struct rouse_pair){
		.key = rouse_arena_strndup(&t->arena, text, (size_t)(equals - text)),
		.value = equals + 1,
	};
	return check_twice(t, &t->disks[t->n_disks - 1], e);
}

static const char *section_at(const void *ctx unused_arg, size_t i)
{
	return rouse_document_shape()->fields[i].name;
}

/* --only takes a module, or a section of the document that belongs to one. */
static int choose_module(struct rouse_target *t, struct rouse_err *e)
{
	const char *near;

	for (size_t i = 0; i < rouse_n_modules; i++) {
		const struct rouse_module *m = rouse_modules[i];
		bool owns = strcmp(m->name, t->only) == 0;

		for (size_t k = 0; k < m->n_fields; k++)
			owns |= strcmp(m->fields[k].name, t->only) == 0;
		if (!owns)
			continue;
		t->only = m->name;
		return 0;
	}
	near = rouse_nearest(t->only, rouse_document_shape()->n_fields, section_at, NULL);
	return rouse_usage(e, "--only: no section is named '%s'%s%s%s", t->only,
			   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* Image files are not this machine: nothing but their disks may be touched, or the users and files
 * of a document that is meant for them would be made here. */
static int stay_on_disks(struct rouse_target *t, struct rouse_err *e)
{
	const char *disks = rouse_modules[0]->name;

	if (t->only && !rouse_streq(t->only, disks))
		return rouse_usage(e, "--disk is about '%s' alone; '%s' needs --root DIR", disks,
				   t->only);
	t->only = disks;
	return 0;
}

int rouse_target_parse(struct rouse_target *t, int argc, char **argv, const char *allowed,
		       struct rouse_err *e)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "disk", required_argument, NULL, 'd' },
		{ "facts", required_argument, NULL, 'f' },
		{ "only", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'j' },
		{ "yes", no_argument, NULL, 'y' },
		{ "draw", no_argument, NULL, 'p' },
		{ "plan", required_argument, NULL, 'i' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?' || !strchr(allowed, c))
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		if (c == 'r')
			t->root = optarg;
		else if (c == 'f')
			t->facts_file = optarg;
		else if (c == 'o')
			t->only = optarg;
		else if (c == 'j')
			t->json = true;
		else if (c == 'y')
			t->yes = true;
		else if (c == 'i')
			t->plan = optarg;
		else if (c == 'p')
			t->draw = true;
		else if (add_disk(t, optarg, e) < 0)
			return -1;
	}
	if (t->only && choose_module(t, e) < 0)
		return -1;
	return t->n_disks && !t->root ? stay_on_disks(t, e) : 0;
}

int rouse_target_document(int argc, char **argv, const char **ret, struct rouse_err *e)
{
	if (argc - optind > 1)
		return rouse_usage(e, "expected at most one document, found %d arguments",
				   argc - optind);
	if (argc > optind &&
	    !*argv[optind]) /* an unset variable in a script means no document at all */
		return rouse_usage(e, "the name of the document is empty");
	*ret = argc > optind ? argv[optind] : ROUSE_RUNNING;
	return 0;
}

/* Recorded facts say also what kind of machine they are of, and who it is. */
static void read_recorded(struct rouse_target *t, const json_t *facts, struct rouse_context *c)
{
	const json_t *context = json_object_get(facts, "context"),
		     *i = json_object_get(facts, "instance");

	c->initramfs = json_is_true(json_object_get(context, "initramfs"));
	c->image = json_is_true(json_object_get(context, "image"));
	rouse_instance_read(&t->instance, i, &t->running.arena);
	c->instance = &t->instance;
}

static int load_facts(struct rouse_target *t, struct rouse_run *run, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_read_file(t->facts_file, ROUSE_MAX_FACTS, &text, e) < 0)
		return -1;
	run->facts = rouse_json_parse(t->facts_file, text.data, text.len, e);
	if (!run->facts)
		return -1;
	if (json_object_get(run->facts, "rouse"))
		return rouse_usage(e,
				   "--facts: '%s' is a document; facts are what `rouse facts` "
				   "prints on the machine",
				   t->facts_file);
	read_recorded(t, run->facts, &run->context);
	return 0;
}

static int load(struct rouse_target *t, const char *path, struct rouse_document *d,
		struct rouse_err *e)
{
	static const char empty[] = "{ \"rouse\": 1 }";
	struct rouse_loader l = { .fetcher = t->fetcher,
				  .deadline = rouse_clock_ms() + ROUSE_DEADLINE_DOCUMENT };

	if (!path)
		return rouse_document_add(d, "empty", empty, sizeof(empty) - 1, false, e);
	if (!*path)
		return rouse_load_running(d, t->root ? t->root : "/", &t->running, e);
	if (rouse_load_file(d, path, e) < 0)
		return -1;
	return rouse_load_bases(&l, d, e);
}

static void record_context(struct rouse_run *run)
{
	json_t *context = json_object();

	rouse_json_set_bool(context, "initramfs", run->context.initramfs);
	rouse_json_set_bool(context, "image", run->context.image);
	rouse_json_set(run->facts, "context", context);
}

static const char *disk_name_at(const void *ctx, size_t i)
{
	return ((const char *const *)ctx)[i];
}

/* A name that the document does not have binds nothing: a slip. */
static int check_disk_names(const struct rouse_target *t, const json_t *disks, struct rouse_err *e)
{
	const char *names[ROUSE_MAX_DISKS] = { 0 }, *near, *key;
	json_t *value;
	size_t n = 0;

	json_object_foreach ((json_t *)disks, key, value)
		if (n < ARRAY_SIZE(names))
			names[n++] = key;
	for (size_t i = 0; i < t->n_disks; i++) {
		if (json_object_get(disks, t->disks[i].key))
			continue;
		near = rouse_nearest(t->disks[i].key, n, disk_name_at, names);
		return rouse_usage(e, "--disk: the document has no disk '%s'%s%s%s",
				   t->disks[i].key, near ? ", did you mean '" : "",
				   near ? near : "", near ? "'?" : "");
	}
	return 0;
}

int rouse_target_open(struct rouse_target *t, const char *path, struct rouse_document *d,
		      struct rouse_run *run, struct rouse_err *e)
{
	t->fetcher = rouse_fetcher_new();
	rouse_fetcher_use_environment(t->fetcher);
	t->counters = json_object();
	run->document = d;
	run->only = t->only;
	run->draw = t->draw || t->json || isatty(STDOUT_FILENO);
	run->context = (struct rouse_context){
		.root = t->root ? t->root : "/",
		.image = t->root || t->n_disks,
		.disks = { .n = t->n_disks, .items = t->disks },
		.fetcher = t->fetcher,
		.counters = t->counters,
		.deadline = rouse_clock_ms() + ROUSE_DEADLINE_FACTS,
	};
	if (t->facts_file && load_facts(t, run, e) < 0)
		return -1;
	if (load(t, path, d, e) < 0)
		return -1;
	if (t->running.json && !run->context.instance)
		run->context.instance = &t->running.instance;
	if (rouse_document_finish(d, run->context.instance, e) < 0 ||
	    (path && check_disk_names(t, json_object_get(d->merged, "disks"), e) < 0))
		return -1;
	if (t->facts_file)
		return 0;
	if (rouse_run_observe(run, e) < 0)
		return -1;
	record_context(run);
	return 0;
}

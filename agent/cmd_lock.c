/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/closure.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/proxy.h>
#include <rouse/text.h>

#include "load.h"
#include "lock.h"
#include "progress.h"

#define CHANNELS "https://channels.nixos.org"
#define MOST_NAMES 64

struct options {
	const char *document, *output, *channels, *manifests, *manifests_url, *netrc;
	const char *names[MOST_NAMES];
	size_t n_names;
	bool update, json;
	uint64_t timeout;
};

/* --- the command line ------------------------------------------------------------------------- */

static int add_name(struct options *o, const char *name, struct rouse_err *e)
{
	if (o->n_names == ARRAY_SIZE(o->names))
		return rouse_usage(e, "--update: more than %d names", MOST_NAMES);
	o->names[o->n_names++] = name;
	return 0;
}

static int take_option(struct options *o, int c, struct rouse_err *e)
{
	switch (c) {
	case 'o':
		o->output = optarg;
		return 0;
	case 'u':
		o->update = true;
		return optarg ? add_name(o, optarg, e) : 0;
	case 'c':
		o->channels = optarg;
		return strstr(optarg, "://") && rouse_is_channel(optarg)
			       ? 0
			       : rouse_usage(e, "--channels: '%s' is not an https or file URL",
					     optarg);
	case 'm':
		o->manifests = optarg;
		return 0;
	case 'n':
		o->manifests_url = optarg;
		return rouse_is_cache_url(optarg)
			       ? 0
			       : rouse_usage(e, "--manifests-url: '%s' is not a URL", optarg);
	case 'N':
		o->netrc = optarg;
		return 0;
	case 't':
		return rouse_parse_duration(optarg, &o->timeout) && o->timeout
			       ? 0
			       : rouse_usage(e, "--timeout: '%s' is not a time such as \"90s\"",
					     optarg);
	default:
		o->json = true;
		return 0;
	}
}

/* `rouse lock DOC --update NAME` and `rouse lock --update NAME DOC` mean the same. */
static int take_arguments(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	for (int i = optind; i < argc && !o->document; i++)
		if (strcmp(argv[i], "-") == 0 || access(argv[i], F_OK) == 0)
			o->document = argv[i];
	if (!o->document && optind < argc)
		o->document = argv[optind];
	if (!o->document)
		return rouse_usage(e, "expected a document");
	for (int i = optind; i < argc; i++)
		if (argv[i] != o->document && add_name(o, argv[i], e) < 0)
			return -1;
	if (o->n_names && !o->update)
		return rouse_usage(e, "'%s' names what to move: that goes with --update",
				   o->names[0]);
	return 0;
}

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "output", required_argument, NULL, 'o' },
						 { "update", optional_argument, NULL, 'u' },
						 { "channels", required_argument, NULL, 'c' },
						 { "manifests", required_argument, NULL, 'm' },
						 { "manifests-url", required_argument, NULL, 'n' },
						 { "netrc", required_argument, NULL, 'N' },
						 { "timeout", required_argument, NULL, 't' },
						 { "json", no_argument, NULL, 'j' },
						 { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		if (take_option(o, c, e) < 0)
			return -1;
	}
	if (!o->manifests != !o->manifests_url)
		return rouse_usage(e,
				   "--manifests DIR and --manifests-url URL, where machines will "
				   "find what is in it, go together");
	return take_arguments(o, argc, argv, e);
}

/* "web.json" is locked in "web.lock.json", beside it. Caller frees. */
static char *default_output(const char *document)
{
	size_t n = strlen(document);

	if (strcmp(document, "-") == 0)
		return rouse_strdup("-");
	if (n > 5 && strcmp(document + n - 5, ".json") == 0)
		n -= 5;
	return rouse_asprintf("%.*s.lock.json", (int)n, document);
}

static int check_output(const struct options *o, const char *output, struct rouse_err *e)
{
	struct stat a, b;

	if (stat(o->document, &a) == 0 && stat(output, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		return rouse_usage(
			e,
			"'%s' is the document itself: what it says must stay, so that it "
			"can be locked again",
			output);
	return 0;
}

/* --- what was locked before ------------------------------------------------------------------- */

static int read_previous(const char *output, json_t **ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	*ret = NULL;
	if (strcmp(output, "-") == 0)
		return 0;
	if (rouse_read_file(output, ROUSE_MAX_DOCUMENT, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	*ret = rouse_json_parse(output, text.data, text.len, e);
	return *ret ? 0 : rouse_wrap(e, "what was locked before");
}

/* --- what is written -------------------------------------------------------------------------- */

/* As readable as the document that it was made of. */
static mode_t mode_of(const char *document)
{
	struct stat st;

	return stat(document, &st) == 0 && S_ISREG(st.st_mode) ? st.st_mode & 0666 : 0600;
}

static int write_locked(const struct options *o, const char *output, const char *text,
			bool *ret_changed, struct rouse_err *e)
{
	auto_buf struct rouse_buf old = { 0 };
	struct rouse_err ignored = { 0 };

	*ret_changed = true;
	if (strcmp(output, "-") == 0) {
		(void)fputs(text, stdout);
		return 0;
	}
	*ret_changed = rouse_read_file(output, ROUSE_MAX_DOCUMENT, &old, &ignored) < 0 ||
		       strcmp(old.data, text) != 0;
	return *ret_changed ? rouse_write_file(output, text, strlen(text), mode_of(o->document), e)
			    : 0;
}

/* --- what is said ----------------------------------------------------------------------------- */

static const char *label_of(const char *path)
{
	const char *label = path ? rouse_store_path_label(path) : NULL;

	return label ? label : "nothing";
}

static const char *old_path(const struct rouse_lock_entry *entry)
{
	return json_string_value(json_object_get(entry->old, "path"));
}

static const char *word_of(const struct rouse_lock_entry *entry)
{
	if (entry->how == ROUSE_LOCK_GIVEN)
		return "given";
	if (rouse_streq(old_path(entry), entry->path))
		return "kept";
	return old_path(entry) ? "moved" : "new";
}

static void print_entry(FILE *to, struct rouse_lock *l, const struct rouse_lock_entry *entry)
{
	const char *word = word_of(entry);
	char size[16];

	(void)fprintf(to, "%-5s  %s: ", word, rouse_lock_title(l, entry));
	if (rouse_streq(word, "moved"))
		(void)fprintf(to, "%s -> ", label_of(old_path(entry)));
	(void)fprintf(to, "%s, %llu path%s, %s\n", label_of(entry->path),
		      (unsigned long long)entry->closure_paths,
		      entry->closure_paths == 1 ? "" : "s",
		      rouse_print_size(size, entry->closure_bytes));
}

static void print_text(FILE *to, struct rouse_lock *l, const char *output, bool changed)
{
	char size[16];

	for (size_t i = 0; i < l->n_entries; i++)
		print_entry(to, l, &l->entries[i]);
	(void)fprintf(to, "%s %s: %zu closure%s, %zu path%s, %s unpacked, all signed\n",
		      changed ? "wrote" : "nothing to change in", output, l->n_entries,
		      l->n_entries == 1 ? "" : "s", l->n_paths, l->n_paths == 1 ? "" : "s",
		      rouse_print_size(size, l->bytes));
}

static void print_json(FILE *to, struct rouse_lock *l, const char *output, bool changed)
{
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;
	json_t *list = json_array();

	rouse_json_set_string(j, "output", output);
	rouse_json_set_bool(j, "changed", changed);
	rouse_json_set_int(j, "paths", l->n_paths);
	rouse_json_set_int(j, "bytes", l->bytes);
	for (size_t i = 0; i < l->n_entries; i++) {
		const struct rouse_lock_entry *entry = &l->entries[i];
		json_t *item = json_object();

		rouse_json_set_string(item, "name", rouse_lock_title(l, entry));
		rouse_json_set_string(item, "change", word_of(entry));
		rouse_json_set_string(item, "before", old_path(entry));
		rouse_json_set_string(item, "path", entry->path);
		rouse_json_set_int(item, "closurePaths", entry->closure_paths);
		rouse_json_set_int(item, "closureBytes", entry->closure_bytes);
		rouse_json_append(list, item);
	}
	rouse_json_set(j, "closures", list);
	text = rouse_json_print(j);
	(void)fputs(text, to);
}

static int lock(struct options *o, struct rouse_lock *l, const char *output, struct rouse_err *e)
{
	FILE *to = strcmp(output, "-") == 0 ? stderr : stdout;
	auto_free char *text = NULL;
	bool changed = false;

	if (rouse_lock_run(l, e) < 0)
		return -1;
	if (l->progress)
		progress_clear();
	if (!l->n_entries)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' has neither a \"system\" nor \"profiles\": there is "
				  "nothing to lock",
				  o->document);
	text = rouse_json_print(l->locked);
	if (write_locked(o, output, text, &changed, e) < 0)
		return -1;
	if (o->json)
		print_json(to, l, output, changed);
	else
		print_text(to, l, output, changed);
	return 0;
}

int rouse_cmd_lock(int argc, char **argv, struct rouse_err *e)
{
	struct options o = { .channels = CHANNELS, .timeout = ROUSE_DEADLINE_LOCK };
	auto_document struct rouse_document d = { 0 };
	auto_fetcher struct rouse_fetcher *f = NULL;
	auto_free char *output = NULL;
	auto_json json_t *previous = NULL;
	struct rouse_lock l = { .document = &d };
	struct rouse_loader loader = { 0 };
	struct progress progress;
	int r;

	if (parse(&o, argc, argv, e) < 0)
		return -1;
	output = o.output ? rouse_strdup(o.output) : default_output(o.document);
	if (check_output(&o, output, e) < 0 || rouse_load_file(&d, o.document, e) < 0 ||
	    read_previous(output, &previous, e) < 0)
		return -1;
	f = rouse_fetcher_new();
	rouse_fetcher_use_environment(f);
	loader.fetcher = l.channels.fetcher = f;
	loader.deadline = l.channels.deadline = rouse_clock_ms() + o.timeout;
	l.channels.base = o.channels;
	l.previous = previous;
	l.manifests = o.manifests;
	l.manifests_url = o.manifests_url;
	l.update = o.update;
	l.netrc = o.netrc;
	l.names = o.names;
	l.n_names = o.n_names;
	if (!o.json && isatty(STDERR_FILENO)) {
		progress_begin(&progress, true, rouse_clock_ms());
		progress.next = 0; /* who typed the command looks at once */
		l.progress = progress_show;
		l.progress_arg = &progress;
	}
	r = rouse_load_bases(&loader, &d, e);
	if (r == 0)
		r = lock(&o, &l, output, e);
	if (r < 0 && l.progress)
		progress_clear();
	rouse_lock_done(&l);
	return r;
}

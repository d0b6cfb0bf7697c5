/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve.h"

#include <string.h>

#include <rouse/closure.h>
#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/text.h>
#include <rouse/version.h>

#define SYSTEM "nixos-system-"
#define DEFAULT_PLATFORM "x86_64-linux"
/* Names that a message lists before it says "…". */
#define MOST_NAMES 8

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void add_name(struct rouse_buf *list, size_t *n, const char *name)
{
	if ((*n)++ < MOST_NAMES)
		rouse_buf_printf(list, "%s%.100s", list->len ? ", " : "", name);
	else if (*n == MOST_NAMES + 1)
		rouse_buf_printf(list, ", …");
}

/* --- packages --------------------------------------------------------------------------------- */

static const char *pattern_of(const struct rouse_wanted *w)
{
	return w->version ? w->version : "*";
}

static bool will_do(const json_t *package, const struct rouse_wanted *w)
{
	return rouse_version_matches(pattern_of(w), text_of(package, "version"));
}

/* Sets of packages for one version of a language ("python311Packages.x") are asked for by attribute. */
static bool is_named(const char *attribute, const json_t *package, const char *name)
{
	return !strchr(attribute, '.') && rouse_streq(text_of(package, "pname"), name);
}

static const char *highest(const json_t *packages, const struct rouse_wanted *w, const char *name,
			   struct rouse_buf *there)
{
	const char *attribute, *best = NULL, *version = NULL;
	json_t *package;
	size_t n = 0;

	json_object_foreach ((json_t *)packages, attribute, package) {
		const char *own = text_of(package, "version");

		if (!is_named(attribute, package, name) && !rouse_streq(attribute, name))
			continue;
		add_name(there, &n, own);
		if (will_do(package, w) && (!best || rouse_version_compare(own, version) > 0)) {
			best = attribute;
			version = own;
		}
	}
	return best;
}

/* The shortest of those with this version, when it begins all of them. */
static int choose(const json_t *packages, const char *name, const char *version, const char **ret,
		  struct rouse_err *e)
{
	auto_buf struct rouse_buf names = { 0 };
	const char *attribute, *shortest = NULL;
	json_t *package;
	bool one = true;
	size_t n = 0;

	json_object_foreach ((json_t *)packages, attribute, package)
		if (is_named(attribute, package, name) &&
		    rouse_streq(text_of(package, "version"), version)) {
			add_name(&names, &n, attribute);
			if (!shortest || strlen(attribute) < strlen(shortest))
				shortest = attribute;
		}
	json_object_foreach ((json_t *)packages, attribute, package)
		if (is_named(attribute, package, name) &&
		    rouse_streq(text_of(package, "version"), version))
			one &= rouse_strip_prefix(attribute, shortest) != NULL;
	if (!one)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "%zu packages are '%s' %s: say which with \"attribute\": %s", n,
				  name, version, names.data);
	*ret = shortest;
	return 0;
}

int rouse_resolve_attribute(const json_t *packages, const struct rouse_wanted *w, const char *name,
			    const char **ret, struct rouse_err *e)
{
	const char *own = w->attribute ? w->attribute : name, *best;
	const json_t *package = json_object_get(packages, own);
	auto_buf struct rouse_buf there = { 0 };

	if (package && will_do(package, w)) {
		*ret = own;
		return 0;
	}
	if (w->attribute && !package)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "there is no package '%s'", own);
	if (w->attribute)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is %s, and '%s' is wanted", own,
				  text_of(package, "version"), pattern_of(w));
	best = highest(packages, w, name, &there);
	if (best)
		return choose(packages, name, text_of(json_object_get(packages, best), "version"),
			      ret, e);
	if (there.data)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "no version of '%s' is '%s'; there is: %s",
				  name, pattern_of(w), there.data);
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "there is no package '%s'; if it has another name there, say it with "
			  "\"attribute\"",
			  name);
}

/* Why nobody builds it, as far as its description tells. */
static const char *why_not_built(const json_t *package)
{
	static const char *const reasons[][2] = {
		{ "unfree", "it is unfree, and caches have only what may be passed on" },
		{ "broken", "it is marked as broken" },
		{ "insecure", "it is marked as insecure" },
		{ "unsupported", "it is not for this platform" },
	};
	const json_t *meta = json_object_get(package, "meta");

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (json_is_true(json_object_get(meta, reasons[i][0])))
			return reasons[i][1];
	return json_is_false(json_object_get(meta, "available"))
		       ? "it is marked as not available"
		       : "no job of the evaluation builds it";
}

/* --- lists of paths --------------------------------------------------------------------------- */

static const char *const outputs[] = { "bin",   "dev",      "devdoc", "dist",     "doc",
				       "info",  "lib",      "man",    "out",      "static",
				       "debug", "dnsutils", "host",   "terminfo", NULL };

/* The output that a label ends in ("openssl-3.0.13-bin"): its length with the dash, 0 for the main one. */
static size_t output_suffix(const char *version)
{
	const char *dash = strrchr(version, '-');

	for (size_t i = 0; dash && outputs[i]; i++)
		if (rouse_streq(dash + 1, outputs[i]))
			return strlen(dash);
	return 0;
}

struct candidate {
	char name[256], version[256];
	const char *output; /* "" for the main one; points into the label */
};

static bool split_label(struct candidate *c, const char *path)
{
	const char *label = rouse_store_path_label(path), *version;
	size_t name_len = 0, suffix, n;

	if (!label)
		return false;
	version = rouse_version_in(label, &name_len);
	suffix = output_suffix(*version ? version : label);
	n = strlen(version);
	c->output = suffix ? label + strlen(label) - suffix + 1 : "";
	if (!*version)
		name_len -= suffix;
	else
		n -= suffix;
	(void)snprintf(c->name, sizeof(c->name), "%.*s", (int)name_len, label);
	(void)snprintf(c->version, sizeof(c->version), "%.*s", (int)n, version);
	return true;
}

/* The one name that systems in the list have; NULL with an error otherwise. */
static char *system_name(const struct rouse_store_list *list, const char *where,
			 struct rouse_err *e)
{
	auto_buf struct rouse_buf names = { 0 };
	auto_free char *name = NULL;
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct candidate c;

		if (!split_label(&c, list->paths[i]) || !rouse_strip_prefix(c.name, SYSTEM) ||
		    rouse_streq(c.name, name))
			continue;
		add_name(&names, &n, c.name);
		if (!name)
			name = rouse_strdup(c.name);
	}
	if (n == 1)
		return take(name, NULL);
	if (!n)
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0,
				 "'%s' lists no path named '" SYSTEM
				 "…'; say with \"attribute\" how the system is called there",
				 where);
	else
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0,
				 "'%s' lists several systems: say which with \"attribute\": %s",
				 where, names.data);
	return NULL;
}

static int nothing_listed(const struct rouse_store_list *list, const char *where,
			  const struct rouse_wanted *w, const char *name, struct rouse_err *e)
{
	auto_buf struct rouse_buf there = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct candidate c;

		if (split_label(&c, list->paths[i]) && rouse_streq(c.name, name) &&
		    rouse_streq(c.output, w->output ? w->output : ""))
			add_name(&there, &n, c.version);
	}
	if (!n)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' lists no '%s'%s%s%s", where, name,
				  w->output ? " with an output '" : "", w->output ? w->output : "",
				  w->output ? "'" : "");
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "'%s' lists no '%s' with a version '%s'; there is: %s", where, name,
			  pattern_of(w), there.data);
}

int rouse_resolve_listed(const struct rouse_store_list *list, const char *where,
			 const struct rouse_wanted *w, const char *name, const char **ret,
			 struct rouse_err *e)
{
	auto_free char *system = name ? NULL : system_name(list, where, e);
	struct candidate best = { 0 };
	const char *path = NULL, *second = NULL;

	name = name ? name : system;
	if (!name)
		return -1;
	for (size_t i = 0; i < list->n; i++) {
		struct candidate c;
		int order;

		if (!split_label(&c, list->paths[i]) || !rouse_streq(c.name, name) ||
		    !rouse_streq(c.output, w->output ? w->output : "") ||
		    !rouse_version_matches(pattern_of(w), c.version))
			continue;
		order = path ? rouse_version_compare(c.version, best.version) : 1;
		if (order > 0) {
			best = c;
			path = list->paths[i];
			second = NULL;
		} else if (order == 0) {
			second = list->paths[i];
		}
	}
	if (!path)
		return nothing_listed(list, where, w, name, e);
	if (second)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' lists '%s' and '%s': a list cannot tell which is meant (of "
				  "which platform, of which build); give the \"path\" itself",
				  where, path, second);
	*ret = path;
	return 0;
}

/* --- all together ----------------------------------------------------------------------------- */

static void tell_version(struct rouse_channels *c, struct rouse_resolved *ret)
{
	struct candidate label;

	if (!ret->version && split_label(&label, ret->path) && label.version[0])
		ret->version = rouse_arena_strdup(&c->arena, label.version);
}

static int from_list(struct rouse_channels *c, const char *url, const struct rouse_wanted *w,
		     const char *name, struct rouse_resolved *ret, struct rouse_err *e)
{
	const struct rouse_store_list *list = NULL;
	char where[512];

	(void)rouse_print_url(where, sizeof(where), url);
	if (rouse_channels_list(c, url, &list, e) < 0)
		return -1;
	if (!list)
		return rouse_fail(e, ROUSE_DOCUMENT, ENOENT, "there is no list at '%s'", where);
	if (rouse_resolve_listed(list, where, w, w->attribute ? w->attribute : name, &ret->path,
				 e) < 0)
		return -1;
	tell_version(c, ret);
	return 0;
}

/* Jobs of nixos-… are in two sets; those of nixpkgs-… are the packages. */
static int ask_jobs(struct rouse_channels *c, const struct rouse_release *r,
		    const struct rouse_wanted *w, const char *set, const char *attribute,
		    const char *output, const char **ret, struct rouse_err *e)
{
	const char *platform = w->platform ? w->platform : DEFAULT_PLATFORM;
	auto_free char *inner = rouse_asprintf("%s.%s.%s", set, attribute, platform);
	auto_free char *outer = rouse_asprintf("%s.%s", attribute, platform);
	bool nixos = rouse_strip_prefix(r->name, "nixos") != NULL;

	if (w->job)
		return rouse_release_job(c, r, w->job, output, ret, e);
	if (rouse_release_job(c, r, nixos ? inner : outer, output, ret, e) == 0)
		return 0;
	return e->sys == ENOENT ? rouse_release_job(c, r, nixos ? outer : inner, output, ret, e)
				: -1;
}

/* What Hydra says must be in the release: the page could be another evaluation's. */
static int check_listed(struct rouse_channels *c, const struct rouse_release *r, const char *path,
			struct rouse_err *e)
{
	auto_free char *url = rouse_fetch_url(r->url, "/store-paths.xz");
	const struct rouse_store_list *list = NULL;

	if (rouse_channels_list(c, url, &list, e) < 0)
		return -1;
	if (!list || rouse_store_list_has(list, path))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "'%s' says '%s', which the store paths of '%s' do not list",
			  r->evaluation, path, r->name);
}

static int find_package(struct rouse_channels *c, struct rouse_release *r,
			const struct rouse_wanted *w, const char *name, const json_t **ret_package,
			struct rouse_resolved *ret, struct rouse_err *e)
{
	const json_t *packages = NULL;

	ret->attribute = w->attribute ? w->attribute : name;
	if (!name || w->job)
		return 0; /* packages say nothing of systems, nor of jobs */
	if (rouse_release_packages(c, r, &packages, e) < 0)
		return -1;
	if (!packages)
		return 0;
	if (rouse_resolve_attribute(packages, w, name, &ret->attribute, e) < 0)
		return rouse_wrap(e, "%s", r->name);
	*ret_package = json_object_get(packages, ret->attribute);
	ret->version = text_of(*ret_package, "version");
	if (!*ret->version)
		ret->version = NULL;
	return 0;
}

/* A channel without Hydra behind it: what its packages say the name and version are, in its list. */
static int from_own_list(struct rouse_channels *c, const struct rouse_release *r,
			 const struct rouse_wanted *w, const char *name, const json_t *package,
			 struct rouse_resolved *ret, struct rouse_err *e)
{
	auto_free char *url = rouse_fetch_url(r->url, "/store-paths.xz");
	struct rouse_wanted exact = { .output = w->output, .version = w->version };

	exact.attribute = ret->attribute;
	if (package) {
		exact.attribute = text_of(package, "pname");
		exact.version = ret->version;
	}
	return from_list(c, url, &exact, name, ret, e);
}

static int check_version(const struct rouse_resolved *found, const struct rouse_wanted *w,
			 struct rouse_err *e)
{
	if (rouse_version_matches(pattern_of(w), found->version ? found->version : ""))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is version '%s', and '%s' is wanted",
			  found->path, found->version ? found->version : "", pattern_of(w));
}

static int from_channel(struct rouse_channels *c, const struct rouse_wanted *w, const char *name,
			const char *pinned, struct rouse_resolved *ret, struct rouse_err *e)
{
	struct rouse_release *r = NULL;
	const json_t *package = NULL;
	const char *output = w->output;

	if (rouse_channels_open(c, w->channel, pinned, &r, e) < 0)
		return -1;
	ret->release = r->url;
	ret->revision = r->revision;
	ret->evaluation = r->evaluation;
	ret->binary_cache = r->binary_cache;
	if (find_package(c, r, w, name, &package, ret, e) < 0)
		return -1;
	if (!r->evaluation && w->job)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' names no evaluation (src-url) that could have the job '%s'",
				  r->name, w->job);
	if (!r->evaluation)
		return from_own_list(c, r, w, name, package, ret, e);
	if (!name && !w->attribute && !w->job)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"'%s' has many systems: say which with \"attribute\" (such as "
			"\"closures.smallContainer\") or \"job\", or give \"storePaths\", the "
			"list that your CI writes",
			r->name);
	if (!output)
		output = *text_of(package, "outputName") ? text_of(package, "outputName") : "out";
	if (ask_jobs(c, r, w, name ? "nixpkgs" : "nixos", ret->attribute, output, &ret->path, e) <
	    0) {
		if (e->sys == ENOENT && package)
			return rouse_fail(e, ROUSE_DOCUMENT, ENOENT,
					  "%s: '%s' %s is not built for %s: %s", r->name,
					  ret->attribute, ret->version ? ret->version : "",
					  w->platform ? w->platform : DEFAULT_PLATFORM,
					  why_not_built(package));
		return -1;
	}
	tell_version(c, ret);
	if (check_version(ret, w, e) < 0)
		return -1;
	return check_listed(c, r, ret->path, e);
}

int rouse_resolve(struct rouse_channels *c, const struct rouse_wanted *w, const char *name,
		  const char *pinned, struct rouse_resolved *ret, struct rouse_err *e)
{
	*ret = (struct rouse_resolved){ 0 };
	if (w->store_paths)
		return from_list(c, w->store_paths, w, name, ret, e);
	if (w->channel)
		return from_channel(c, w, name, pinned, ret, e);
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "nothing says where to look: add \"channel\" (\"nixos-24.05\") or "
			  "\"storePaths\"");
}

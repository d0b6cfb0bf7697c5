/* SPDX-License-Identifier: Apache-2.0 */
#include "acquire.h"

#include <string.h>
#include <unistd.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "freshness.h"
#include "load.h"
#include "minisign.h"

static bool is_local(const char *url)
{
	return rouse_strip_prefix(url, "file://") != NULL;
}

int rouse_acquire_network(const struct rouse_boot_options *o, uint64_t deadline,
			  struct rouse_err *e)
{
	/* rouse.service runs before the image's own network; on a machine that is up, requests wait for
	 * a network in their own budget. */
	bool early = o->initramfs || (rouse_streq(o->root, "/") && rouse_started_by_init());

	return early ? rouse_net_up(deadline, e) : 0;
}

/* The source that the image names, whatever else is there; NULL: it names none. */
static const struct rouse_source *named_source(const struct rouse_settings *s)
{
	for (size_t i = 0; s->document && rouse_sources[i]; i++)
		if (rouse_streq(rouse_sources[i]->name, s->document))
			return rouse_sources[i];
	return NULL;
}

/* The one that recognises itself; a disk with a document may be on its way. */
static const struct rouse_source *detect(struct rouse_machine *m, uint64_t deadline, char *why,
					 size_t why_size)
{
	const struct rouse_source *source = rouse_source_detect(m, why, why_size);

	if (!source && rouse_udev_runs()) {
		rouse_udev_settle(deadline);
		source = rouse_source_detect(m, why, why_size);
	}
	return source;
}

static int nobody_says(struct rouse_err *e)
{
	return rouse_fail(
		e, ROUSE_DOCUMENT, 0,
		"nothing on this machine says where its document is: no cloud was "
		"recognised, the kernel command line has no rouse.document=, the image no "
		"\"document\" setting");
}

static int ask_source(const struct rouse_source *source, struct rouse_machine *m,
		      const struct rouse_boot_options *o, struct rouse_fetcher *f,
		      uint64_t deadline, struct rouse_found *ret, struct rouse_err *e)
{
	if (source->network && rouse_acquire_network(o, deadline, e) < 0)
		return -1;
	if (source->fetch(source, m, f, deadline, ret, e) < 0)
		return rouse_wrap(e, "%s", source->name);
	return 0;
}

/* Where the image says that a document is, and not which source has it. */
static bool is_behind_network(const struct rouse_settings *s)
{
	return s->document && !named_source(s) && !is_local(s->document);
}

int rouse_acquire_source(const struct rouse_boot_options *o, const struct rouse_settings *s,
			 struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
			 struct rouse_err *e)
{
	struct rouse_machine m = { 0 };
	const struct rouse_source *source = named_source(s);
	char why[256] = "the image names it";
	int r = 0;

	if (rouse_machine_open(&m, "", e) < 0)
		return -1;
	if (!source)
		source = detect(&m, deadline, why, sizeof(why));
	if (source) {
		rouse_log(ROUSE_LOG_INFO, "source", "%s: %s", source->name, why);
		ret->source = source->name;
	} else if (!s->document) {
		r = nobody_says(e);
	}
	if (r == 0 && is_behind_network(s))
		r = rouse_acquire_network(o, deadline, e);
	if (r == 0 && source)
		r = ask_source(source, &m, o, f, deadline, ret, e);
	/* Also when nobody answered: who this machine is does not depend on it. */
	if (source)
		rouse_source_recall(source, &m, ret);
	if (r == 0)
		r = rouse_userdata_unwrap(ret, e);
	if (r == 0 && ret->url && !is_local(ret->url))
		r = rouse_acquire_network(o, deadline, e);
	rouse_machine_done(&m);
	/* Metadata come from beside this machine: what is silent here answers elsewhere. */
	return r < 0 && e->fault == ROUSE_TRANSIENT ? rouse_blame(e, ROUSE_LOCAL) : r;
}

/* With signatures demanded, text that came without one may point, and say nothing else. */
static int check_unsigned_layer(const struct rouse_layer *l, struct rouse_err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach (l->json, key, value)
		if (strcmp(key, "rouse") != 0 && strcmp(key, "from") != 0 &&
		    strcmp(key, "$schema") != 0)
			return rouse_fail(
				e, ROUSE_UNTRUSTED, 0,
				"%s: this image demands signed documents, and \"%s\" is not "
				"signed; put "
				"it into a signed document and point to that with \"from\"",
				l->name, key);
	return 0;
}

/* Whoever answers at a URL would own the machine: a digest or a signature pins what it delivers. */
static int check_pinned(const struct rouse_loader *l, const struct rouse_found *found,
			struct rouse_err *e)
{
	char url[256];

	if (found->sha256 || l->require_signature || is_local(found->url))
		return 0;
	return rouse_fail(
		e, ROUSE_UNTRUSTED, 0,
		"%s: '%s' is not pinned: add \"#sha256=\" and the document's digest to it",
		found->source ? found->source : "the image",
		rouse_print_url(url, sizeof(url), found->url));
}

static int load_top(struct rouse_loader *l, const struct rouse_settings *s,
		    const struct rouse_found *found, struct rouse_document *d, struct rouse_err *e)
{
	if (found->url && check_pinned(l, found, e) < 0)
		return -1;
	if (found->url)
		return rouse_load_url(l, d, found->url, found->sha256, false, e);
	if (found->user_data) {
		if (rouse_document_add(d, "user-data", found->user_data, found->user_data_len,
				       false, e) < 0)
			return -1;
		return l->require_signature ? check_unsigned_layer(&d->layers[0], e) : 0;
	}
	if (s->document && *s->document == '/')
		return rouse_load_file(d, s->document, e);
	if (s->document && !named_source(s))
		return rouse_load_url(l, d, s->document, s->sha256, false, e);
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "%s has no user-data for this machine, and the image names no document",
			  found->source ? found->source : "the image");
}

int rouse_acquire_check_caches(const struct rouse_settings *s, const struct rouse_document *d,
			       struct rouse_err *e)
{
	const json_t *allowed = json_object_get(s->json, "caches");
	const char *name;
	json_t *cache, *known;

	if (!json_object_size(allowed))
		return 0;
	json_object_foreach (json_object_get(d->merged, "caches"), name, cache) {
		bool found = false;
		const char *key;

		json_object_foreach ((json_t *)allowed, key, known)
			found |= json_equal(known, cache);
		if (!found)
			return rouse_fail(e, ROUSE_UNTRUSTED, 0,
					  "cache '%s' (or its keys) is not among those that this "
					  "image allows",
					  name);
	}
	return 0;
}

/* A document that was here all along may name a base that is not. */
static int reach_base(const struct rouse_boot_options *o, struct rouse_document *d,
		      uint64_t deadline, struct rouse_err *e)
{
	const char *url = NULL, *sha256 = NULL;

	if (rouse_document_from(d, &url, &sha256, e) < 0)
		return -1;
	return url && !is_local(url) ? rouse_acquire_network(o, deadline, e) : 0;
}

/* Documents come from servers of these authorities only; caches and signals are others'. */
static int pin_authority(const struct rouse_settings *s, struct rouse_fetcher *f,
			 struct rouse_err *e)
{
	auto_buf struct rouse_buf pem = { 0 };

	if (!s->ca)
		return 0;
	if (rouse_read_file(s->ca, ROUSE_MAX_SETTINGS, &pem, e) < 0)
		return rouse_wrap(e, "ca");
	rouse_fetcher_set_ca(f, pem.data);
	return 0;
}

/* What this machine was last provisioned with; an initramfs cannot see it yet. */
static void recall(const struct rouse_boot_options *o, struct rouse_document *last,
		   struct rouse_running *running)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err ignored = { 0 };

	if (o->initramfs || rouse_root_open(&root, o->root, &ignored) < 0)
		return;
	if (rouse_layers_load(&root, last, running, &ignored) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "document", "nothing is kept: %s", ignored.text);
}

static int acquire_document(const struct rouse_boot_options *o, const struct rouse_settings *s,
			    const struct rouse_found *found, struct rouse_fetcher *f,
			    uint64_t deadline, struct rouse_document *ret, struct rouse_err *e)
{
	auto_document struct rouse_document last = { 0 };
	auto_running struct rouse_running running = { 0 };
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_key *keys = rouse_arena_alloc(&arena, s->keys.n * sizeof(*keys));
	struct rouse_loader l = { .fetcher = f,
				  .deadline = deadline,
				  .keys = keys,
				  .n_keys = s->keys.n,
				  .require_signature = s->require_signature,
				  .last = &last };

	recall(o, &last, &running);
	for (size_t i = 0; i < s->keys.n; i++)
		if (rouse_document_key_parse(&keys[i], ((const char *const *)s->keys.items)[i], e) <
		    0)
			return -1;
	if (load_top(&l, s, found, ret, e) < 0 || reach_base(o, ret, deadline, e) < 0 ||
	    rouse_load_bases(&l, ret, e) < 0 || rouse_load_overrides(ret, "/", e) < 0 ||
	    rouse_document_finish(ret, &found->instance, e) < 0 ||
	    rouse_freshness_check(ret, s->generation, rouse_fetcher_time(f), e) < 0)
		return -1;
	return rouse_acquire_check_caches(s, ret, e);
}

int rouse_acquire_document(const struct rouse_boot_options *o, const struct rouse_settings *s,
			   const struct rouse_found *found, struct rouse_fetcher *f,
			   uint64_t deadline, struct rouse_document *ret, struct rouse_err *e)
{
	int r = pin_authority(s, f, e);

	if (r == 0)
		r = acquire_document(o, s, found, f, deadline, ret, e);
	if (s->ca)
		rouse_fetcher_set_ca(f, NULL);
	return r;
}

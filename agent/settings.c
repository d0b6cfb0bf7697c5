/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/settings.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <rouse/document.h>
#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/health.h>
#include <rouse/json.h>
#include <rouse/proxy.h>
#include <rouse/source.h>
#include <rouse/limits.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "bucket.h"
#include "minisign.h"

static bool is_source(const char *s)
{
	for (size_t i = 0; rouse_sources[i]; i++)
		if (rouse_streq(rouse_sources[i]->name, s))
			return true;
	return false;
}

static bool is_document(const char *s)
{
	return rouse_is_absolute_path(s) || rouse_is_url(s) || is_source(s);
}

static const struct rouse_shape key_shape = { .type = ROUSE_STRING,
					      .format = "a public key, \"name:\" and base64",
					      .valid = rouse_is_key };

static const struct rouse_shape signer_shape = {
	.type = ROUSE_STRING,
	.format = "a public key, \"name:\" and base64, or one of minisign, \"RWQ…\"",
	.valid = rouse_is_document_key,
};

static const struct rouse_field cache_fields[] = {
	ROUSE_REQUIRED(struct rouse_cache_conf, url, "url", "Where the cache is.",
		       .type = ROUSE_STRING, .format = "a URL", .valid = rouse_is_url),
	ROUSE_REQUIRED(struct rouse_cache_conf, keys, "keys", "Whose signatures count there.",
		       .type = ROUSE_LIST, .item = &key_shape, .max = 16),
};

static const struct rouse_shape cache_shape = {
	ROUSE_OBJECT_OF(struct rouse_cache_conf, cache_fields),
};

static bool is_bucket_url(const char *s)
{
	return bucket_is_url(s) && rouse_is_cache_url(s);
}

static const struct rouse_field fleet_fields[] = {
	ROUSE_REQUIRED(struct rouse_fleet_conf, url, "url",
		       "Below which instances say how a document went.", .type = ROUSE_STRING,
		       .format = "an s3://, gs:// or az:// URL", .valid = is_bucket_url),
	ROUSE_FIELD(struct rouse_fleet_conf, failures, "failures",
		    "So many that failed, and none that was ready, and a document is not tried by "
		    "others; without it, 3.",
		    .type = ROUSE_INT, .min = 1, .max = 500),
	ROUSE_FIELD(struct rouse_fleet_conf, window, "window",
		    "How long a failure counts; without it, 1h.", .type = ROUSE_DURATION,
		    .min = 60000, .max = 2592000000),
	ROUSE_FIELD(struct rouse_fleet_conf, gen, "gen",
		    "The lowest \"gen\" of a control object that this image takes.",
		    .type = ROUSE_INT, .max = ROUSE_MAX_GENERATION),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(
		struct rouse_settings, document, "document",
		"Where the document is when no source on the machine says it; or the only source "
		"that is asked.",
		.type = ROUSE_STRING, .format = "an absolute path, a URL or the name of a source",
		.valid = is_document),
	ROUSE_FIELD(struct rouse_settings, sha256, "sha256", "The digest that pins \"document\".",
		    .type = ROUSE_STRING, .format = "64 lower-case hex digits",
		    .valid = rouse_is_sha256_hex),
	ROUSE_FIELD(struct rouse_settings, require_signature, "requireSignature",
		    "Refuse documents that none of \"keys\" signed.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct rouse_settings, keys, "keys", "Who may sign documents.",
		    .type = ROUSE_LIST, .item = &signer_shape, .max = 16),
	ROUSE_FIELD(struct rouse_settings, ca, "ca",
		    "A file with the certificates (PEM) of the authorities that documents' servers "
		    "must have, in the place of the system's.",
		    .type = ROUSE_STRING, .format = "an absolute path",
		    .valid = rouse_is_absolute_path),
	ROUSE_FIELD(struct rouse_settings, generation, "generation",
		    "The lowest \"generation\" of a document that this image takes.",
		    .type = ROUSE_INT, .max = ROUSE_MAX_GENERATION),
	ROUSE_FIELD(struct rouse_settings, caches, "caches",
		    "The binary caches that documents may choose among; absent: any.",
		    .type = ROUSE_MAP, .format = "a label", .valid = rouse_is_label,
		    .item = &cache_shape),
	ROUSE_FIELD(struct rouse_settings, proxy, "proxy",
		    "Through which buckets, caches and those who are told the verdict are reached; "
		    "metadata services never are.",
		    .type = ROUSE_OBJECT, .fields = rouse_proxy_fields,
		    .n_fields = ROUSE_PROXY_FIELDS, .size = sizeof(struct rouse_proxy),
		    .shorthand = "url"),
	ROUSE_FIELD(struct rouse_settings, deadline, "deadline",
		    "The most that a whole boot may take.", .type = ROUSE_DURATION),
	ROUSE_FIELD(struct rouse_settings, fleet, "fleet",
		    "Spares a fleet a document that has failed on others.",
		    ROUSE_OBJECT_OF(struct rouse_fleet_conf, fleet_fields), .shorthand = "url"),
	ROUSE_FIELD(struct rouse_settings, policy.on_failure, "onFailure",
		    "health.onFailure of documents that do not say it, or cannot be read.",
		    .type = ROUSE_STRING, .words = rouse_on_failure_words),
	ROUSE_FIELD(struct rouse_settings, policy.hold_max, "holdMax",
		    "health.holdMax where the document does not say it.", .type = ROUSE_DURATION,
		    .min = ROUSE_HOLD_POLL_MIN, .max = ROUSE_HOLD_LONGEST),
	ROUSE_FIELD(struct rouse_settings, policy.hold_poll, "holdPoll",
		    "health.holdPoll where the document does not say it.", .type = ROUSE_DURATION,
		    .min = ROUSE_HOLD_POLL_MIN, .max = ROUSE_HOLD_POLL_LONGEST),
	ROUSE_FIELD(struct rouse_settings, signals, "signals",
		    "health.signals of documents that do not say it, or cannot be read.",
		    .type = ROUSE_OBJECT, .fields = rouse_signals_fields,
		    .n_fields = ROUSE_SIGNALS_FIELDS, .size = ROUSE_SIGNALS_SIZE),
	ROUSE_FIELD(
		struct rouse_settings, policy.baked, "fallback",
		"The system closure that came with the image, for boots that fail before there is "
		"a healthy generation.",
		.type = ROUSE_STRING, .format = "a store path", .valid = rouse_is_store_path),
	ROUSE_FIELD(struct rouse_settings, generations, "generations",
		    "Which generations `rouse gc` keeps where the document does not say it: keep, "
		    "olderThan, maxSize.",
		    .type = ROUSE_OBJECT, .fields = rouse_keep_fields,
		    .n_fields = ROUSE_KEEP_FIELDS, .size = sizeof(struct rouse_keep)),
};

const struct rouse_shape rouse_settings_shape = { ROUSE_OBJECT_OF(struct rouse_settings, fields) };

static int read_all(int fd, const char *path, struct rouse_buf *ret, struct rouse_err *e)
{
	char block[4096];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		if (rouse_buf_add(ret, block, (size_t)n, ROUSE_MAX_SETTINGS) < 0)
			return rouse_fail(e, ROUSE_DOCUMENT, EFBIG, "cannot read '%s'", path);
	return n < 0 ? rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path) : 0;
}

/* Whoever may write the settings owns the machine. */
static int read_trusted(int fd, const char *path, struct rouse_buf *ret, struct rouse_err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' is not a regular file", path);
	if (rouse_fs_check_owner(&st, path, e) < 0)
		return -1;
	return read_all(fd, path, ret, e);
}

/* Who is told of every problem; NULL: nobody, and the error has the first. */
struct listener {
	void (*say)(void *arg, const char *problem);
	void *arg;
};

static int fail_with_problems(const struct rouse_problems *problems, const char *path,
			      const struct rouse_buf *text, const struct listener *to,
			      struct rouse_err *e)
{
	const struct rouse_document one = {
		.n_layers = 1,
		.layers = { { .name = (char *)path, .text = text->data, .len = text->len } },
	};
	auto_free char *first = rouse_document_describe(&one, &problems->items[0]);

	for (size_t i = 0; to && i < problems->n && i < ROUSE_MAX_PROBLEMS; i++) {
		auto_free char *line = rouse_document_describe(&one, &problems->items[i]);

		to->say(to->arg, line);
	}
	if (problems->n > 1)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s (and %zu more)", first,
				  problems->n - 1);
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s", first);
}

/* A document that whoever answers at a URL could make. */
static bool is_unpinned(const struct rouse_settings *s)
{
	return s->document && !s->sha256 && !s->require_signature &&
	       !rouse_is_absolute_path(s->document) && !is_source(s->document) &&
	       !rouse_strip_prefix(s->document, "file://");
}

/* What the fields do not say of each other. */
static void check_rules(const struct rouse_settings *s, struct rouse_problems *problems)
{
	const struct rouse_health health = { .signals = s->signals };

	rouse_health_verify(&health, problems);
	if (s->require_signature && !s->keys.n)
		rouse_problem(problems, (const char *const[]){ "requireSignature", NULL },
			      "no signature can be right without \"keys\"");
	if (is_unpinned(s))
		rouse_problem(problems, (const char *const[]){ "document", NULL },
			      "a URL needs \"sha256\" or \"requireSignature\" beside it: whoever "
			      "answers there would own the machine");
	if (s->sha256 && !s->document)
		rouse_problem(problems, (const char *const[]){ "sha256", NULL },
			      "there is no \"document\" that it pins");
}

static int decode(struct rouse_settings *s, const char *path, const struct rouse_buf *text,
		  const struct listener *to, struct rouse_err *e)
{
	struct rouse_problems problems = { 0 };
	int r;

	if (rouse_schema_read(&rouse_settings_shape, s->json, NULL, s, &s->arena, &problems) == 0)
		check_rules(s, &problems);
	r = problems.n ? fail_with_problems(&problems, path, text, to, e) : 0;
	rouse_problems_done(&problems);
	return r;
}

static int load(struct rouse_settings *ret, const char *path, const struct listener *to,
		struct rouse_err *e)
{
	struct rouse_settings s = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	if (read_trusted(fd, path, &text, e) < 0)
		return -1;
	s.json = rouse_json_parse(path, text.data ? text.data : "", text.len, e);
	if (!s.json)
		return -1;
	if (decode(&s, path, &text, to, e) < 0) {
		rouse_settings_done(&s);
		return -1;
	}
	*ret = s;
	return 0;
}

int rouse_settings_load(struct rouse_settings *ret, const char *path, struct rouse_err *e)
{
	struct rouse_err why = { 0 };

	if (load(ret, path, NULL, &why) == 0)
		return 0;
	if (why.sys == ENOENT) {
		*ret = (struct rouse_settings){ 0 };
		return 0;
	}
	*e = why;
	return -1;
}

int rouse_settings_check(const char *path, void (*say)(void *arg, const char *problem), void *arg,
			 struct rouse_err *e)
{
	const struct listener to = { say, arg };
	struct rouse_settings s = { 0 };
	int r = load(&s, path, &to, e);

	rouse_settings_done(&s);
	return r;
}

void rouse_settings_done(struct rouse_settings *s)
{
	rouse_arena_done(&s->arena);
	json_decref(s->json);
	*s = (struct rouse_settings){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Checks as the document has them. */
#include "tools.h"

#include <arpa/inet.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#include "signals.h"

/* Names would need a resolver, whose time-outs are not ours to bound. */
static bool is_address(const char *s)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1;
}

static bool is_one_of(const char *s, const char *more)
{
	size_t n = strlen(s);

	if (n == 0 || n > 255 || *s == '-' || *s == '.')
		return false;
	for (; *s; s++)
		if (!(*s >= '0' && *s <= '9') && !(*s >= 'a' && *s <= 'z') &&
		    !(*s >= 'A' && *s <= 'Z') && !strchr(more, *s))
			return false;
	return true;
}

/* systemd.unit(5): the name, a type, and the characters it allows. */
static bool is_unit(const char *s)
{
	static const char *const types[] = { ".service", ".socket", ".mount", ".target",
					     ".timer",   ".path",   ".slice", ".swap" };
	const char *dot = strrchr(s, '.');

	if (!dot || dot == s || !is_one_of(s, "._-:@\\"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (rouse_streq(dot, types[i]))
			return true;
	return false;
}

/* RFC 9110: a token, and a value in which no line ends. */
static bool is_header_name(const char *s)
{
	return is_one_of(s, "!#$%&'*+-.^_`|~");
}

static bool is_header_value(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static const char *const system_words[] = { "running", "degraded", NULL };
static const struct rouse_shape header_value = {
	.type = ROUSE_STRING, .format = "text of one line", .valid = is_header_value, .secret = true
};
static const struct rouse_shape answer_value = { .type = ROUSE_STRING,
						 .format = "text of one line",
						 .valid = is_header_value };
static const struct rouse_shape argument = { .type = ROUSE_STRING, .max = 4096 };
static const struct rouse_shape check_name = { .type = ROUSE_STRING,
					       .format = "the name of a check",
					       .valid = rouse_is_label };

#define CHECK_FIELD(member, name, doc, ...)                                                        \
	ROUSE_FIELD(struct rouse_health_check, member, name, doc, __VA_ARGS__)
static const struct rouse_field check_fields[] = {
	CHECK_FIELD(http, "http", "Passes when a GET of this URL answers with the wanted status.",
		    .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		    .valid = signal_is_http_url, .pattern = "^https?://"),
	CHECK_FIELD(status, "status", "The HTTP status that is wanted; without it, any 2xx.",
		    .type = ROUSE_INT, .min = 100, .max = 599),
	CHECK_FIELD(headers, "headers", "Headers of the request, by name.", .type = ROUSE_MAP,
		    .format = "the name of a header", .valid = is_header_name,
		    .max = ROUSE_MAX_CHECK_HEADERS, .item = &header_value),
	CHECK_FIELD(answers, "answers", "What headers of the answer must contain, by name.",
		    .type = ROUSE_MAP, .format = "the name of a header", .valid = is_header_name,
		    .max = ROUSE_MAX_CHECK_HEADERS, .item = &answer_value),
	CHECK_FIELD(contains, "contains",
		    "Text that must be in the body of the answer, in the file, or in what the "
		    "program prints.",
		    .type = ROUSE_STRING, .min = 1, .max = 4096),
	CHECK_FIELD(tcp, "tcp", "Passes when this TCP port accepts a connection.",
		    .type = ROUSE_INT, .min = 1, .max = 65535),
	CHECK_FIELD(host, "host",
		    "The address of `tcp`; without it, 127.0.0.1. Of `http`: the address to "
		    "connect to, while the URL names the service and its certificate.",
		    .type = ROUSE_STRING, .format = "an IP address", .valid = is_address),
	CHECK_FIELD(unit, "unit", "Passes when this systemd unit is active.", .type = ROUSE_STRING,
		    .format = "a unit such as \"nginx.service\"", .valid = is_unit),
	CHECK_FIELD(system, "system",
		    "running: the default target is reached and no unit has failed; degraded: it "
		    "is reached.",
		    .type = ROUSE_STRING, .words = system_words),
	CHECK_FIELD(exec, "exec",
		    "Passes when this program, run with these arguments and without a shell, ends "
		    "with status 0.",
		    .type = ROUSE_LIST, .min = 1, .max = ROUSE_MAX_CHECK_ARGUMENTS,
		    .item = &argument),
	CHECK_FIELD(file, "file", "Passes when this file is there.", .type = ROUSE_STRING,
		    .format = "an absolute path", .valid = rouse_is_absolute_path),
	CHECK_FIELD(planned, "planned",
		    "Passes when everything that the document mounts is mounted, and its system "
		    "is the one that runs.",
		    .type = ROUSE_BOOL),
	CHECK_FIELD(after, "after", "Checks that must have passed before this one is tried.",
		    .type = ROUSE_LIST, .shorthand = "", .max = ROUSE_MAX_CHECKS,
		    .item = &check_name),
	CHECK_FIELD(timeout, "timeout",
		    "How long one try may take; without it, 5s, and 30s for a program.",
		    .type = ROUSE_DURATION, .min = 1, .max = 600000),
	CHECK_FIELD(interval, "interval",
		    "The pause between tries; without it, 250ms, 500ms for a unit, 1s for a "
		    "program.",
		    .type = ROUSE_DURATION, .min = 100, .max = 60000),
	CHECK_FIELD(retries, "retries",
		    "How often it is tried again; without it, until the deadline.",
		    .type = ROUSE_INT, .min = 1, .max = 100000),
};
const struct rouse_shape health_check_shape = {
	ROUSE_OBJECT_OF(struct rouse_health_check, check_fields),
};

static void verify_kind(const struct rouse_health_check *c, struct rouse_problems *problems)
{
	const char *const keys[] = { "health", "checks", c->key, NULL };
	const struct health_kind *kind = health_kind_of(c, NULL);

	if (!kind)
		rouse_problem(problems, keys,
			      "checks nothing: expected one of \"http\", \"tcp\", \"unit\", "
			      "\"system\", \"exec\", \"file\" and \"planned\"");
	else if (health_kind_of(c, kind))
		rouse_problem(problems, keys,
			      "expected only one of \"%s\" and \"%s\"; make a check of each",
			      kind->name, health_kind_of(c, kind)->name);
}

static void verify_belongs(const struct rouse_health_check *c, struct rouse_problems *problems)
{
	const struct {
		const char *field, *to;
		bool given, fits;
	} rules[] = {
		{ "status", "an \"http\" check", c->status != 0, c->http },
		{ "headers", "an \"http\" check", c->headers.n != 0, c->http },
		{ "answers", "an \"http\" check", c->answers.n != 0, c->http },
		{ "host", "a \"tcp\" or \"http\" check", c->host, c->tcp || c->http },
		{ "contains", "an \"http\", \"file\" or \"exec\" check", c->contains,
		  c->http || c->file || c->exec.n },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const char *const keys[] = { "health", "checks", c->key, rules[i].field, NULL };

		if (rules[i].given && !rules[i].fits)
			rouse_problem(problems, keys, "\"%s\" belongs to %s", rules[i].field,
				      rules[i].to);
	}
}

static size_t find_check(const struct rouse_list *checks, const char *key)
{
	const struct rouse_health_check *items = checks->items;

	for (size_t i = 0; i < checks->n; i++)
		if (rouse_streq(items[i].key, key))
			return i;
	return checks->n;
}

/* How many have to pass one after the other before each; what waits for itself has more than there are. */
static void count_depths(const struct rouse_list *checks, size_t depths[static ROUSE_MAX_CHECKS])
{
	const struct rouse_health_check *items = checks->items;

	for (size_t round = 0; round <= checks->n; round++)
		for (size_t i = 0; i < checks->n; i++) {
			const char *const *after = items[i].after.items;

			for (size_t k = 0; k < items[i].after.n; k++) {
				size_t next = find_check(checks, after[k]);

				if (next < checks->n && depths[i] <= depths[next])
					depths[i] = depths[next] + 1;
			}
		}
}

static void verify_after(const struct rouse_list *checks, struct rouse_problems *problems)
{
	const struct rouse_health_check *items = checks->items;
	size_t depths[ROUSE_MAX_CHECKS] = { 0 };

	count_depths(checks, depths);
	for (size_t i = 0; i < checks->n; i++) {
		const char *const keys[] = { "health", "checks", items[i].key, "after", NULL };
		const char *const *after = items[i].after.items;

		for (size_t k = 0; k < items[i].after.n; k++)
			if (find_check(checks, after[k]) == checks->n)
				rouse_problem(problems, keys, "there is no check '%.64s'",
					      after[k]);
		if (depths[i] > checks->n)
			rouse_problem(problems, keys, "it waits for itself, or for checks that do");
	}
}

void health_verify_checks(const struct rouse_list *checks, struct rouse_problems *problems)
{
	const struct rouse_health_check *items = checks->items;

	for (size_t i = 0; i < checks->n; i++) {
		verify_kind(&items[i], problems);
		verify_belongs(&items[i], problems);
	}
	verify_after(checks, problems);
}

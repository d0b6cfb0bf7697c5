/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/proxy.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "metadata_address.h"
#include "transfer.h"

#define RUN_DIR "/run/rouse"
/* CURLOPT_NOPROXY(3): names with all below them, and ranges of addresses. */
#define ALWAYS_DIRECT "localhost,127.0.0.0/8,::1,metadata.google.internal"

AUTO_DEFINE(CURLU *, proxy_url, curl_url_cleanup, NULL)

static bool is_proxy(const char *s)
{
	CURLU *u auto_of(proxy_url) = curl_url();
	char *path = NULL, *query = NULL;
	bool good;

	if (!u || (!rouse_strip_prefix(s, "http://") && !rouse_strip_prefix(s, "https://")) ||
	    curl_url_set(u, CURLUPART_URL, s, 0) != CURLUE_OK)
		return false;
	good = curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK && rouse_streq(path, "/") &&
	       curl_url_get(u, CURLUPART_QUERY, &query, 0) == CURLUE_NO_QUERY;
	curl_free(path);
	curl_free(query);
	return good;
}

/* libcurl takes commas and spaces for the ends of names, and "*" alone for all of them. */
static bool is_exception(const char *s)
{
	return *s && !strpbrk(s, ", *");
}

static const struct rouse_shape exception_shape = { .type = ROUSE_STRING,
						    .format = "a name, a domain, an address or a "
							      "range such as \"10.0.0.0/8\"",
						    .valid = is_exception };

const struct rouse_field rouse_proxy_fields[ROUSE_PROXY_FIELDS] = {
	ROUSE_REQUIRED(struct rouse_proxy, url, "url",
		       "Where it is, with \"name:password@\" if needed.", .type = ROUSE_STRING,
		       .format = "an http or https URL without a path", .valid = is_proxy,
		       .secret = true),
	ROUSE_FIELD(
		struct rouse_proxy, except, "except",
		"What is asked directly: names, domains with all below them, addresses, ranges.",
		.type = ROUSE_LIST, .item = &exception_shape, .max = 64),
};

static const struct rouse_shape shape = {
	ROUSE_OBJECT_OF(struct rouse_proxy, rouse_proxy_fields),
};

/* libcurl has brought an IPv4 address to its usual form, however it is written. */
static bool names_metadata(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL;
	uint8_t address[16];
	bool ret = false;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		size_t n = strlen(host);

		if (host[0] == '[' && n && host[n - 1] == ']') {
			host[n - 1] = '\0';
			ret = inet_pton(AF_INET6, host + 1, address) == 1 &&
			      metadata_address_is(AF_INET6, address);
		} else {
			ret = inet_pton(AF_INET, host, address) == 1 &&
			      metadata_address_is(AF_INET, address);
		}
	}
	curl_free(host);
	curl_url_cleanup(u);
	return ret;
}

static bool is_proxied(const struct transfer *tr)
{
	const struct rouse_fetch *t = tr->t;

	return !t->link_local && !t->connect && !t->socket && (tr->f->proxy || tr->f->environment);
}

int transfer_set_proxy(struct transfer *tr, const char *url, struct rouse_err *e)
{
	CURL *c = tr->easy;
	char shown[512];

	if (!is_proxied(tr)) {
		(void)curl_easy_setopt(c, CURLOPT_PROXY, ""); /* keeps the environment's out, too */
		return 0;
	}
	/* It would ask the one that it reaches itself. */
	if (names_metadata(url))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "cannot fetch '%s': its address is that of a metadata service, "
				  "where no URL may lead",
				  rouse_print_url(shown, sizeof(shown), url));
	(void)curl_easy_setopt(c, CURLOPT_PROXY, tr->f->proxy); /* NULL: the environment's */
	(void)curl_easy_setopt(c, CURLOPT_NOPROXY, tr->f->direct);
	(void)curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	(void)curl_easy_setopt(c, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(c, CURLOPT_PROXY_CAPATH, NULL);
	if (tr->f->ca_file)
		(void)curl_easy_setopt(c, CURLOPT_PROXY_CAINFO, tr->f->ca_file);
	return 0;
}

void rouse_fetcher_set_proxy(struct rouse_fetcher *f, const struct rouse_proxy *p)
{
	auto_arena struct rouse_arena arena = { 0 };
	const char *except = p ? rouse_list_join(&arena, &p->except, ",") : NULL;

	free(f->proxy);
	free(f->direct);
	f->proxy = p ? rouse_strdup(p->url) : NULL;
	f->direct = rouse_asprintf(ALWAYS_DIRECT "%s%s", except ? "," : "", except ? except : "");
	f->environment = false;
}

int rouse_proxy_save(const char *dir, const struct rouse_proxy *p, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = p ? rouse_schema_write(&shape, p) : NULL;
	auto_free char *text = json ? rouse_json_print(json) : NULL;
	auto_free char *path = rouse_asprintf("%s/" ROUSE_PROXY_FILE, dir);

	if (!p && unlink(path) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", path);
	if (!p)
		return 0;
	if (rouse_root_open(&root, dir, e) < 0)
		return -1;
	return rouse_fs_replace(&root, "/" ROUSE_PROXY_FILE, text, strlen(text), 0600, (uid_t)-1,
				(gid_t)-1, e);
}

void rouse_fetcher_use_saved(struct rouse_fetcher *f, const char *dir)
{
	auto_free char *path = rouse_asprintf("%s/" ROUSE_PROXY_FILE, dir);
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_problems problems = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;
	struct rouse_proxy proxy = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_METADATA, &text, &e) < 0 &&
	    (e.sys == ENOENT || e.sys == EACCES))
		return;
	if (!e.kind)
		json = rouse_json_parse(path, text.data ? text.data : "", text.len, &e);
	if (json && rouse_schema_read(&shape, json, NULL, &proxy, &arena, &problems) == 0)
		rouse_fetcher_set_proxy(f, &proxy);
	else
		rouse_log(ROUSE_LOG_WARNING, "fetch", "%s, ignoring",
			  e.kind ? e.text : "what the boot left of its proxy is damaged");
	rouse_problems_done(&problems);
}

struct rouse_fetcher *rouse_fetcher_new_in(const char *dir)
{
	struct rouse_fetcher *f = rouse_fetcher_new();

	if (dir)
		rouse_fetcher_use_saved(f, dir);
	return f;
}

/* curl(1), "ENVIRONMENT" */
static bool environment_has_proxy(void)
{
	static const char *const names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY",
					     "all_proxy", "ALL_PROXY" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (getenv(names[i]))
			return true;
	return false;
}

void rouse_fetcher_use_environment(struct rouse_fetcher *f)
{
	const char *except = getenv("no_proxy");

	if (!environment_has_proxy()) {
		rouse_fetcher_use_saved(f, RUN_DIR);
		return;
	}
	except = except ? except : getenv("NO_PROXY");
	rouse_fetcher_set_proxy(f, NULL);
	if (except && rouse_streq(except, "*"))
		return;
	f->environment = true;
	if (except && *except) {
		free(f->direct);
		f->direct = rouse_asprintf(ALWAYS_DIRECT ",%s", except);
	}
}

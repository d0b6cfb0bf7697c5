/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a try: the words of libcurl and of HTTP, translated once. */
#include <string.h>

#include <rouse/retry.h>
#include <rouse/text.h>

#include "bucket.h"
#include "transfer.h"

AUTO_DEFINE(CURLU *, curlu, curl_url_cleanup, NULL)

static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	char *text = NULL, *ret = NULL;

	if (curl_url_get(u, part, &text, flags) == CURLUE_OK && text)
		ret = rouse_strdup(text);
	curl_free(text);
	return ret;
}

char *transfer_file_path(const char *url)
{
	CURLU *u auto_of(curlu) = curl_url();
	auto_free char *host = NULL, *path = NULL;

	if (!u || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
		return NULL;
	host = url_part(u, CURLUPART_HOST, 0);
	if (host && *host && !rouse_streq(host, "localhost"))
		return NULL;
	path = url_part(u, CURLUPART_PATH, CURLU_URLDECODE);
	return take(path, NULL);
}

static char *origin_of(CURLU *u)
{
	auto_free char *scheme = url_part(u, CURLUPART_SCHEME, 0);
	auto_free char *host = url_part(u, CURLUPART_HOST, 0);
	auto_free char *port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);

	return rouse_asprintf("%s://%s:%s", scheme ? scheme : "", host ? host : "",
			      port ? port : "");
}

/* Goes to t->location when that is https or the same origin. */
static enum outcome follow(struct transfer *tr, struct rouse_err *e)
{
	CURLU *u auto_of(curlu) = curl_url();
	auto_free char *here = NULL, *there = NULL, *target = NULL;
	struct rouse_fetch *t = tr->t;
	char from[512], to[512];
	const char *why = "which is not followed";

	(void)rouse_print_url(from, sizeof(from), tr->url);
	(void)rouse_print_url(to, sizeof(to), t->location);
	if (!t->max_redirects || !t->location[0] || (t->method && !rouse_streq(t->method, "GET")))
		goto refuse;
	if (tr->redirects >= t->max_redirects) {
		why = "which is one redirect too many";
		goto refuse;
	}
	if (!u || curl_url_set(u, CURLUPART_URL, tr->url, 0) != CURLUE_OK)
		goto refuse;
	here = origin_of(u);
	why = "which is refused: a redirect may lead to https or to the same server only";
	if (curl_url_set(u, CURLUPART_URL, t->location, CURLU_DISALLOW_USER) != CURLUE_OK)
		goto refuse;
	there = origin_of(u);
	if (!rouse_streq(here, there) && !rouse_strip_prefix(there, "https://"))
		goto refuse;
	target = url_part(u, CURLUPART_URL, 0);
	if (!target)
		goto refuse;
	tr->foreign |= !rouse_streq(here, there);
	tr->redirects++;
	free(tr->url);
	tr->url = take(target, NULL);
	return TRANSFER_MOVED;
refuse:
	(void)rouse_fail(e, ROUSE_DOCUMENT, 0,
			 "cannot fetch '%s': it is redirected (%ld) to '%s', %s", from, t->status,
			 to, why);
	return TRANSFER_FAILED;
}

static enum outcome judge_status(struct transfer *tr, struct rouse_err *e)
{
	long status = tr->t->status;
	bool again = tr->t->again ? tr->t->again(tr->t) : rouse_retry_status(status);
	bool server = again || (status >= 500 && status <= 599);
	const char *words = "the server answered";
	char url[512];
	int sys = 0;

	if (transfer_is_success(status))
		return TRANSFER_DONE;
	if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
		return follow(tr, e);
	if (status == 404 || status == 410) {
		words = "it is not there";
		sys = ENOENT;
	} else if (status == 401 || status == 403) {
		words = "access denied";
		sys = EACCES;
	} else if (status == 407) {
		words = "the proxy wants another name and password";
		sys = EACCES;
	} else if (status == 429) {
		words = "too many requests";
	}
	(void)rouse_fail(e, server ? ROUSE_UNAVAILABLE : ROUSE_DOCUMENT, 0,
			 "cannot fetch '%s': %s (HTTP %ld)",
			 rouse_print_url(url, sizeof(url), tr->url), words, status);
	e->sys = sys;
	return again ? TRANSFER_AGAIN : TRANSFER_FAILED;
}

/* OpenSSL's words for it (SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, SSL_R_UNSUPPORTED_PROTOCOL): libcurl has
 * one code for this and for a connection that was lost in its handshake. */
static bool is_old_tls(CURLcode code, const char *error)
{
	return code == CURLE_SSL_CONNECT_ERROR &&
	       (strstr(error, "alert protocol version") || strstr(error, "unsupported protocol"));
}

const char *transfer_no_route(const struct transfer *tr)
{
	curl_off_t resolved = 0, reached = 0;

	if (!tr->bucket || !tr->bucket->ops->no_route || !tr->easy || tr->connected)
		return "";
	(void)curl_easy_getinfo(tr->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
	(void)curl_easy_getinfo(tr->easy, CURLINFO_CONNECT_TIME_T, &reached);
	return resolved && !reached ? tr->bucket->ops->no_route : "";
}

static enum rouse_kind kind_of(CURLcode code)
{
	static const struct {
		CURLcode code;
		enum rouse_kind kind;
	} kinds[] = {
		{ CURLE_PEER_FAILED_VERIFICATION, ROUSE_UNTRUSTED },
		{ CURLE_SSL_ISSUER_ERROR, ROUSE_UNTRUSTED },
		{ CURLE_SSL_PINNEDPUBKEYNOTMATCH, ROUSE_UNTRUSTED },
		{ CURLE_SSL_INVALIDCERTSTATUS, ROUSE_UNTRUSTED },
		{ CURLE_UNSUPPORTED_PROTOCOL, ROUSE_DOCUMENT },
		{ CURLE_URL_MALFORMAT, ROUSE_DOCUMENT },
		{ CURLE_LOGIN_DENIED, ROUSE_DOCUMENT },
		{ CURLE_OUT_OF_MEMORY, ROUSE_SYSTEM },
		{ CURLE_SSL_CACERT_BADFILE, ROUSE_SYSTEM },
		{ CURLE_SSL_ENGINE_INITFAILED, ROUSE_SYSTEM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].code == code)
			return kinds[i].kind;
	/* Every other one is about reaching the server, and may be better in a moment. */
	return ROUSE_UNAVAILABLE;
}

/* What a proxy answered to CONNECT, when it let nobody pass; else NULL. */
static const char *proxy_refusal(const struct transfer *tr)
{
	long status = 0;

	(void)curl_easy_getinfo(tr->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	if (status == 407)
		return "the proxy wants another name and password (HTTP 407)";
	return status == 401 || status == 403 ? "the proxy does not let it pass" : NULL;
}

static enum outcome judge_code(struct transfer *tr, CURLcode code, struct rouse_err *e)
{
	const char *no_route = "", *why = tr->error[0] ? tr->error : curl_easy_strerror(code);
	const char *refusal = proxy_refusal(tr);
	enum rouse_kind kind = kind_of(code);
	char url[512];

	if (is_old_tls(code, tr->error)) {
		kind = ROUSE_UNTRUSTED;
		why = "the server speaks neither TLS 1.2 nor 1.3";
	}
	if (refusal) {
		kind = ROUSE_DOCUMENT;
		why = refusal;
	}
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
		no_route = transfer_no_route(tr);
	(void)rouse_fail(e, kind, 0, "cannot fetch '%s': %s%s%s",
			 rouse_print_url(url, sizeof(url), tr->url), no_route,
			 *no_route ? ": " : "", why);
	return kind == ROUSE_UNAVAILABLE ? TRANSFER_AGAIN : TRANSFER_FAILED;
}

enum outcome transfer_judge(struct transfer *tr, CURLcode code, struct rouse_err *e)
{
	(void)curl_easy_getinfo(tr->easy, CURLINFO_RESPONSE_CODE, &tr->t->status);
	if (tr->t->link_local)
		tls_clock_hear(&tr->f->clock, tr->date);
	memcpy(tr->t->date, tr->date, sizeof(tr->date));
	if (tr->stopped) { /* also when another address of the same name then worked */
		*e = tr->stop;
		return TRANSFER_FAILED;
	}
	if (code != CURLE_OK && !tr->full)
		return judge_code(tr, code, e);
	return tr->bucket ? tr->bucket->ops->judge(tr, e) : judge_status(tr, e);
}

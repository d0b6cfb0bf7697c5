/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/retry.h>
#include <rouse/text.h>

#include "blob.h"
#include "s3.h"

/* The oldest of Azure's versions that takes tokens is 2017-11-09, that has versions of blobs 2019-12-12. */
#define AZURE_VERSION "x-ms-version: 2020-10-02"
/* Google takes no notice of it. */
#define AZURE_BLOB "x-ms-blob-type: BlockBlob"
/* Google would unpack what is stored as gzip, and its digest would be another. */
#define GOOGLE_STORED "Accept-Encoding: gzip"

struct blob_bucket {
	struct bucket base;
	struct blob_target target;
	bool renewed; /* once: a second refusal is an error */
	bool puts;    /* the object is written, not read */

	/* of the running try */
	char *authorization; /* NULL: anonymous */
	bool instance;
	unsigned generation;
};

static struct blob_bucket *blob_of(struct bucket *base)
{
	return (struct blob_bucket *)(void *)base; /* its first member */
}

static void reset(struct blob_bucket *b)
{
	if (b->authorization)
		explicit_bzero(b->authorization, strlen(b->authorization));
	free(b->authorization);
	b->authorization = NULL;
}

static void release(struct bucket *base)
{
	struct blob_bucket *b = blob_of(base);

	reset(b);
	blob_target_done(&b->target);
	free(b);
}

static int prepare(struct transfer *tr, struct rouse_err *e)
{
	struct blob_bucket *b = blob_of(tr->bucket);
	struct token token = { 0 };
	char url[512];
	int r;

	reset(b);
	r = tokens_get(tr->f->tokens, b->target.kind, b->target.client_id, bucket_patience(tr->t),
		       &token, e);
	if (r == 0 && token.text[0])
		b->authorization = rouse_asprintf("Authorization: Bearer %s", token.text);
	b->instance = token.instance;
	b->generation = token.generation;
	explicit_bzero(&token, sizeof(token));
	return r < 0 ? rouse_wrap(e, "cannot fetch '%s'",
				  rouse_print_url(url, sizeof(url), tr->url))
		     : 0;
}

static const char *url_of(const struct bucket *base)
{
	const struct blob_bucket *b = (const struct blob_bucket *)base;

	return b->puts ? b->target.put_url : b->target.url;
}

static int add_headers(struct transfer *tr, struct rouse_err *e)
{
	const struct blob_bucket *b = blob_of(tr->bucket);
	const char *line = b->target.kind == TOKEN_AZURE ? AZURE_VERSION : GOOGLE_STORED;

	if (transfer_add_header(tr, line, e) < 0 ||
	    (b->puts && transfer_add_header(tr, AZURE_BLOB, e) < 0))
		return -1;
	return b->authorization ? transfer_add_header(tr, b->authorization, e) : 0;
}

/* --- an answer -------------------------------------------------------------------------------- */

/* What the service says about it: XML of Azure, JSON or a line of text of Google. */
static void reason(char *buf, size_t size, const struct transfer *tr)
{
	const char *body = tr->t->body_out.data ? tr->t->body_out.data : "";
	struct s3_answer xml;
	struct rouse_err ignored = { 0 };
	auto_json json_t *json = NULL;
	size_t line = strcspn(body, "\r\n");
	const char *message = NULL;

	s3_answer_read(&xml, "", body, "", "", "");
	if (*body == '{')
		json = rouse_json_parse("answer", body, tr->t->body_out.len, &ignored);
	message = json_string_value(json_object_get(json_object_get(json, "error"), "message"));
	if (xml.code[0])
		(void)snprintf(buf, size, "%s%s%s; ", xml.code, xml.message[0] ? ": " : "",
			       xml.message);
	else if (message)
		(void)snprintf(buf, size, "%.200s; ", message);
	else if (*body && !strchr("{<", *body) && rouse_utf8_valid(body, strlen(body)))
		(void)snprintf(buf, size, "%.*s; ", (int)(line < 200 ? line : 200), body);
	else
		buf[0] = '\0';
}

static void denial(char *buf, size_t size, const struct blob_bucket *b)
{
	const char *word = token_kind_word(b->target.kind);

	if (b->authorization)
		(void)snprintf(buf, size, "access denied to the machine's %s, or it is not there",
			       word);
	else
		(void)snprintf(buf, size, "access denied, or it is not there; %s %s",
			       b->instance ? "the machine has no"
					   : "this is no machine of that cloud with a",
			       word);
}

static void explain(struct transfer *tr, struct rouse_err *e)
{
	long status = tr->t->status;
	bool later = rouse_retry_status(status) || status >= 500;
	char url[512], why[512] = "the server answered", said[512];
	int sys = 0;

	if (status == 404 || status == 410) {
		(void)snprintf(why, sizeof(why), "it is not there");
		sys = ENOENT;
	} else if (status == 401 || status == 403) {
		denial(why, sizeof(why), blob_of(tr->bucket));
		sys = EACCES;
	} else if (status >= 300 && status <= 399 && status != 304) {
		(void)snprintf(why, sizeof(why), "it is redirected, where no token may go");
	}
	reason(said, sizeof(said), tr);
	(void)rouse_fail(e, later ? ROUSE_UNAVAILABLE : ROUSE_DOCUMENT, 0,
			 "cannot fetch '%s': %s (%sHTTP %ld)",
			 rouse_print_url(url, sizeof(url), tr->url), why, said, status);
	e->sys = sys;
}

static enum outcome judge(struct transfer *tr, struct rouse_err *e)
{
	struct blob_bucket *b = blob_of(tr->bucket);
	long status = tr->t->status;

	if (status >= 200 && status <= 299)
		return TRANSFER_DONE;
	if (status == 401 && b->authorization && !b->renewed) {
		tokens_refused(tr->f->tokens, b->target.kind, b->generation);
		b->renewed = true;
		return TRANSFER_MOVED;
	}
	explain(tr, e);
	return rouse_retry_status(status) ? TRANSFER_AGAIN : TRANSFER_FAILED;
}

static const struct bucket_ops blob_ops = {
	.prepare = prepare,
	.url = url_of,
	.add_headers = add_headers,
	.judge = judge,
	.release = release,
};

int bucket_open_blob(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e)
{
	struct blob_bucket *b = rouse_calloc(1, sizeof(*b));

	b->base.ops = &blob_ops;
	*ret = &b->base;
	b->puts = rouse_streq(t->method, "PUT");
	if (blob_parse(&b->target, t->url, e) < 0)
		return -1;
	return b->target.is_object || (b->target.is_listing && !b->puts)
		       ? 0
		       : rouse_fail(e, ROUSE_DOCUMENT, 0, "it names no object in its bucket");
}

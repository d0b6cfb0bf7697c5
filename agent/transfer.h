/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One try of one transfer over libcurl; private to agent/fetch.c, which decides about tries, and
 * agent/transfer.c, which sets libcurl up and bounds what comes in; agent/judge.c, which says what came of
 * it; agent/bucket.c adds what is different about object stores.
 */
#pragma once

#include <curl/curl.h>

#include <rouse/fetch.h>

#include "tls.h"

struct transfer {
	struct rouse_fetch *t;
	struct rouse_fetcher *f;
	struct transfer *next;
	CURL *easy;                 /* NULL between tries */
	struct curl_slist *headers; /* of the running try */
	struct curl_slist *connect; /* where it connects to instead, or NULL */
	char error[CURL_ERROR_SIZE];
	char *url;             /* where it is now: redirects change it */
	struct bucket *bucket; /* of an s3:, gs: or az: URL, else NULL */
	bool foreign;          /* a redirect left the origin: the caller's headers stay behind */
	bool patient;          /* the next try does not count against max_tries */
	unsigned tries, redirects;
	uint64_t retry_at;     /* not 0: waits until then */
	uint64_t start;        /* of the first try */
	struct rouse_err last; /* why the try before this one failed, or nothing */

	/* of the running try */
	uint64_t received, header_bytes;
	char date[40], content_length[24], bucket_region[33];
	bool held;      /* its body waits, see rouse_fetch.hold */
	bool delivered; /* the sink has got a byte (in any try since the last restart) */
	bool full;      /* enough of an error's body was read */
	bool connected; /* a request could be sent */
	bool stopped;   /* a callback ended it, for the reason in `stop` */
	struct rouse_err stop;
};

struct rouse_fetcher {
	CURLM *multi;
	CURLSH *share;  /* TLS sessions: the second connection to a host resumes the first's */
	CURL *idle[32]; /* handles to be used again */
	unsigned n_idle;
	bool running;    /* rouse_fetch_many does not nest */
	struct aws *aws; /* what it knows together with its clones */
	struct tokens *tokens;
	char *proxy, *direct; /* see agent/proxy.c; NULL: none */
	bool environment;     /* … and it is the environment's */
	char *ca_pem;
	const char *ca_file;
	struct tls_clock clock;
	struct rouse_fetch_counters counters;
	uint64_t tell_at; /* not before this is it told again that something does not answer */
};

enum outcome {
	TRANSFER_DONE,   /* 2xx */
	TRANSFER_MOVED,  /* an allowed redirect: tr->url has changed, try again at once */
	TRANSFER_AGAIN,  /* worth another try */
	TRANSFER_FAILED, /* for good */
};

static inline bool transfer_is_success(long status)
{
	return status >= 200 && status <= 299;
}

/* Readies tr->easy for a try that may take until t->deadline. */
must_check int transfer_prepare(struct transfer *tr, struct rouse_err *e);
/* In agent/proxy.c: whom the request for `url` is sent to. */
must_check int transfer_set_proxy(struct transfer *tr, const char *url, struct rouse_err *e);
/* Judges a try that libcurl ended with `code`; fills t->status and, but for DONE and MOVED, *e. */
enum outcome transfer_judge(struct transfer *tr, CURLcode code, struct rouse_err *e);
/* What an object store says when its address does not answer at all, for a try that is running or has
 * just ended; "" when there is nothing to say. Static storage. */
const char *transfer_no_route(const struct transfer *tr);
/* Gives the handle back to the pool. */
void transfer_release(struct transfer *tr);
/* Adds a line to the header of the try that is being prepared. */
must_check int transfer_add_header(struct transfer *tr, const char *line, struct rouse_err *e);
/* Hands body bytes to the sink or the buffer, within max_bytes. */
must_check int transfer_deliver(struct transfer *tr, const void *data, size_t n,
				struct rouse_err *e);
/* Begins the body of a new try anew. */
must_check int transfer_rewind(struct transfer *tr, struct rouse_err *e);
/* The path of a file: URL, decoded; NULL when it names another host or is malformed. Caller frees. */
char *transfer_file_path(const char *url);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers over https, http and file (libcurl; agent/fetch.c is its only user), and from buckets of
 * S3, Google and Azure with the credentials of the instance, or without any where it has none. Bounded
 * in size, time and tries; redirects are never followed by the library: a caller may allow a few, to
 * https or the same origin only, and without its own headers on another host. A request to a bucket is
 * never redirected; one to S3 is signed once more for the region that the answer names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher; /* connections, counters; one per process or thread */

struct rouse_fetcher *rouse_fetcher_new(void);
/* Another for a thread of its own: the same authorities, and credentials are asked for once. */
struct rouse_fetcher *rouse_fetcher_clone(const struct rouse_fetcher *f);
void rouse_fetcher_free(struct rouse_fetcher *f); /* accepts NULL */
AUTO_DEFINE(struct rouse_fetcher *, fetcher, rouse_fetcher_free, NULL)
#define auto_fetcher auto_of(fetcher)

/* In a child that was forked: the connections of its parent are neither used nor closed by it. */
void rouse_fetcher_forget(struct rouse_fetcher *f);
/* The bundle of certificates that is read at each connection, or NULL: none, or one in memory. */
const char *rouse_fetcher_ca_file(const struct rouse_fetcher *f);

struct rouse_fetch_counters {
	uint64_t requests, bytes, retries;
};
struct rouse_fetch_counters rouse_fetcher_counters(const struct rouse_fetcher *f);

/* Receives body bytes of a 2xx answer as they come. -1 with *e ends the transfer for good. */
typedef int (*rouse_fetch_sink)(void *arg, const void *data, size_t n, struct rouse_err *e);

struct rouse_fetch {
	/* in */
	const char *url;
	const char *method;         /* NULL: GET */
	const char *const *headers; /* NULL-terminated "Name: value"; may be NULL; never logged */
	const void *body;           /* for PUT and POST */
	size_t body_len;
	uint64_t max_bytes;       /* of the body; required; more is an error */
	uint64_t deadline;        /* absolute; required; all tries together */
	uint64_t connect_timeout; /* ms, 0: ROUSE_CONNECT_TIMEOUT */
	unsigned
		max_tries; /* 0: as many as the deadline allows; else there is somebody else to ask, and
				   * nobody waits long for the next one */
	unsigned max_redirects; /* 0: a redirect is an error */
	const char *
		connect; /* IP address to connect to, whatever the URL names; NULL: what it names */
	struct rouse_buf
		*headers_out; /* gets the header lines of the last answer; NULL: nobody does */
	bool link_local; /* metadata service: no proxy, HTTP/1.1, a link-local address is allowed; what
	                   * it says about the time is believed where certificates are checked */
	uint64_t not_before; /* absolute; 0: the first try is made at once */
	const char *socket;  /* a socket of this machine that is asked, not the host of the URL */
	bool low_port;       /* from a port below 1024 */
	/* Is the status of an answer worth another try? NULL: rouse_retry_status() says. */
	bool (*again)(const struct rouse_fetch *t);
	rouse_fetch_sink sink; /* NULL: the body is collected in `body_out`. With a sink there is no
	                             * second try once a byte was delivered, unless `restart` is there */
	int (*restart)(void *arg, struct rouse_err *e);
	/* Asked before the first byte of a body is handed to `sink`, and, while it says true, whenever another
	 * transfer has ended: the body waits in the kernel's buffers. So that no other waits with it, the request has
	 * a connection of its own (HTTP/1.1); of a server that wants all to share one (HTTP/2 alone) it is not
	 * asked. NULL: nothing waits. */
	bool (*hold)(void *arg);
	/* A deadline that may move, asked again and again; it counts when it is earlier than `deadline`. NULL:
	 * there is none. */
	uint64_t (*until)(void *arg);
	void *arg;
	void *user; /* the caller's own */
	/* out */
	long status;               /* HTTP status of the last answer, 0 when none; 200 for file: */
	struct rouse_buf body_out; /* of any final answer, also of an error's; caller frees */
	char retry_after[32], location[512], date[40];
	char etag[128];       /* of the last answer, with its quotes; "" when there was none */
	char effective[512];  /* where the last answer came from, after redirects; "" if too long */
	struct rouse_err err; /* rouse_fetch_many: this transfer's failure */
	int result;           /* rouse_fetch_many: 0 or -1 */
};

/* One transfer with retries. Transport failures, 408, 429, 5xx (but 501, 505) are tried again with
 * full-jitter back-off and Retry-After until the deadline or max_tries. Returns 0 for 2xx. Else -1:
 *   404, 410             ROUSE_DOCUMENT, e->sys == ENOENT  ("missing" is an answer, see status)
 *   401, 403             ROUSE_DOCUMENT, e->sys == EACCES
 *   other 4xx, 3xx       ROUSE_DOCUMENT
 *   5xx, 429, time-out, DNS, connection, truncation: ROUSE_UNAVAILABLE (status tells)
 *   certificate          ROUSE_UNTRUSTED
 *   too large            ROUSE_DOCUMENT, e->sys == EFBIG
 * The text names the URL without userinfo and query. */
must_check int rouse_fetch(struct rouse_fetcher *f, struct rouse_fetch *t, struct rouse_err *e);

/* Many transfers, at most `parallel` at a time (HTTP/2 multiplexed where the server offers it).
 * `next` returns the next transfer to start or NULL for none at the moment; `done` is called once for
 * each when it has ended (t->result, t->err), and may make `next` return more; -1 stops everything.
 * Returns when nothing is running and next() returns NULL. */
must_check int rouse_fetch_many(struct rouse_fetcher *f, unsigned parallel,
				struct rouse_fetch *(*next)(void *ctx),
				int (*done)(void *ctx, struct rouse_fetch *t, struct rouse_err *e),
				void *ctx, struct rouse_err *e);

/* From another thread: what it had to do is done, and next() may return more. */
void rouse_fetcher_wake(struct rouse_fetcher *f);

/* Seconds since 1970, for judging how old something is: the latest of the system's clock, the time of the
 * build, and what a metadata service has said. */
int64_t rouse_fetcher_time(const struct rouse_fetcher *f);

/* PEM certificates to trust instead of the system's bundle (a copy is kept); NULL: the bundle that
 * the system or the initramfs has. */
void rouse_fetcher_set_ca(struct rouse_fetcher *f, const char *pem);

/* The file that a file: URL names on this machine; NULL: it is another URL. Caller frees. */
char *rouse_fetch_file(const char *url);
/* The URL of what is beside or beneath another: `more` (".sig", "/x.narinfo") behind its path, and
 * before its query. Caller frees. */
char *rouse_fetch_url(const char *base, const char *more);

/* SPDX-License-Identifier: Apache-2.0 */
#include "transfer.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "bucket.h"
#include "metadata_address.h"

/* Below it are ports of well-known services, above it those that rresvport(3) takes. */
#define LOWEST_PORT 600L

static int stop(struct transfer *tr, enum rouse_kind kind, const char *why)
{
	char url[512];

	tr->stopped = true;
	return rouse_fail(&tr->stop, kind, 0, "cannot fetch '%s': %s",
			  rouse_print_url(url, sizeof(url), tr->url), why);
}

/* --- body ------------------------------------------------------------------------------------ */

/* What the header of an answer said. */
static void forget_header(struct transfer *tr)
{
	struct rouse_fetch *t = tr->t;

	t->retry_after[0] = t->location[0] = t->etag[0] = tr->date[0] = tr->content_length[0] =
		'\0';
}

int transfer_rewind(struct transfer *tr, struct rouse_err *e)
{
	struct rouse_fetch *t = tr->t;

	if (tr->delivered && t->restart(t->arg, e) < 0)
		return -1;
	rouse_buf_done(&t->body_out);
	t->status = 0;
	tr->bucket_region[0] = '\0';
	forget_header(tr);
	tr->received = tr->header_bytes = 0;
	tr->delivered = tr->full = tr->stopped = tr->held = false;
	return 0;
}

static int too_large(struct transfer *tr, struct rouse_err *e)
{
	char url[512];

	(void)rouse_fail(
		e, ROUSE_DOCUMENT, 0, "cannot fetch '%s': larger than the %llu bytes allowed",
		rouse_print_url(url, sizeof(url), tr->url), (unsigned long long)tr->t->max_bytes);
	e->sys = EFBIG;
	return -1;
}

int transfer_deliver(struct transfer *tr, const void *data, size_t n, struct rouse_err *e)
{
	struct rouse_fetch *t = tr->t;

	if (n > t->max_bytes || tr->received > t->max_bytes - n)
		return too_large(tr, e);
	tr->received += n;
	tr->f->counters.bytes += n;
	if (!t->sink)
		return rouse_buf_add(&t->body_out, data, n, t->max_bytes) < 0 ? too_large(tr, e)
									      : 0;
	if (n)
		tr->delivered = true;
	return t->sink(t->arg, data, n, e);
}

/* Of the first bytes of a body: do they have to wait? */
static bool must_wait(struct transfer *tr)
{
	const struct rouse_fetch *t = tr->t;
	long version = 0;

	if (!t->hold)
		return false;
	(void)curl_easy_getinfo(tr->easy, CURLINFO_HTTP_VERSION, &version);
	tr->held = version <= CURL_HTTP_VERSION_1_1 && t->hold(t->arg);
	return tr->held;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *tr = arg;
	curl_off_t announced = -1;

	(void)size; /* always 1 */
	(void)curl_easy_getinfo(tr->easy, CURLINFO_RESPONSE_CODE, &tr->t->status);
	if (!transfer_is_success(tr->t->status)) {
		/* An error's body is for people: its beginning is enough. */
		if (rouse_buf_add(&tr->t->body_out, data, n, ROUSE_MAX_ERROR_BODY) == 0)
			return n;
		tr->full = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (tr->received == 0 && must_wait(tr))
		return CURL_WRITEFUNC_PAUSE;
	/* Said too large in the header: not one byte of it is handed on. */
	if (tr->received == 0 &&
	    curl_easy_getinfo(tr->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced) ==
		    CURLE_OK &&
	    announced > 0 && (uint64_t)announced > tr->t->max_bytes)
		tr->stopped = too_large(tr, &tr->stop) < 0;
	else if (transfer_deliver(tr, data, n, &tr->stop) < 0)
		tr->stopped = true;
	return tr->stopped ? CURL_WRITEFUNC_ERROR : n;
}

/* --- header ---------------------------------------------------------------------------------- */

/* Copies the value of header `name` out of `line`; a value that does not fit is left out. */
static bool header_value(const char *line, size_t n, const char *name, char *buf, size_t size)
{
	size_t skip = strlen(name);

	if (n <= skip || line[skip] != ':' || strncasecmp(line, name, skip) != 0)
		return false;
	line += skip + 1;
	n -= skip + 1;
	while (n && strchr(" \t\r\n", line[n - 1]))
		n--;
	while (n && strchr(" \t", *line))
		line++, n--;
	if (n >= size)
		return false;
	memcpy(buf, line, n);
	buf[n] = '\0';
	return true;
}

/* It begins another header: an interim answer (100, 103), or a proxy's, came before it. */
static bool is_status_line(const char *line, size_t n)
{
	return n > 5 && strncmp(line, "HTTP/", 5) == 0;
}

/* Debian 12's libcurl takes the last of several lengths; two that differ are an attack or a broken proxy, and the
 * end of the body is not known. */
static bool is_another_length(struct transfer *tr, const char *line, size_t n)
{
	char length[sizeof(tr->content_length)];

	if (!header_value(line, n, "Content-Length", length, sizeof(length)))
		return false;
	if (tr->content_length[0])
		return !rouse_streq(tr->content_length, length);
	memcpy(tr->content_length, length, sizeof(length));
	return false;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *tr = arg;
	struct rouse_fetch *t = tr->t;

	(void)size; /* always 1 */
	tr->header_bytes += n;
	if (tr->header_bytes > ROUSE_MAX_HEADERS) {
		(void)stop(tr, ROUSE_UNAVAILABLE, "the server's header is larger than 64 KiB");
		return 0;
	}
	if (is_status_line(line, n)) {
		forget_header(tr);
		if (t->headers_out)
			rouse_buf_done(t->headers_out);
	}
	if (t->headers_out && rouse_buf_add(t->headers_out, line, n, ROUSE_MAX_HEADERS) < 0)
		return 0; /* not reached: all together are bounded above */
	(void)(header_value(line, n, "Retry-After", t->retry_after, sizeof(t->retry_after)) ||
	       header_value(line, n, "Location", t->location, sizeof(t->location)) ||
	       header_value(line, n, "ETag", t->etag, sizeof(t->etag)) ||
	       header_value(line, n, "Date", tr->date, sizeof(tr->date)) ||
	       header_value(line, n, "x-amz-bucket-region", tr->bucket_region,
			    sizeof(tr->bucket_region)));
	if (is_another_length(tr, line, n)) {
		(void)stop(tr, ROUSE_UNAVAILABLE, "the server sent two different Content-Length");
		return 0;
	}
	return n;
}

/* --- addresses ------------------------------------------------------------------------------- */

static void refuse_metadata(struct transfer *tr)
{
	(void)stop(tr, ROUSE_DOCUMENT,
		   "its address is that of a metadata service, where no URL may lead");
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct transfer *tr = arg;
	const void *address =
		to->family == AF_INET
			? (const void *)&((const struct sockaddr_in *)(const void *)&to->addr)
				  ->sin_addr
			: (const void *)&((const struct sockaddr_in6 *)(const void *)&to->addr)
				  ->sin6_addr;

	(void)purpose;
	if (!tr->t->link_local && metadata_address_is(to->family, address)) {
		refuse_metadata(tr);
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* Also asked for a connection that is used again, for which on_socket is not. */
static int on_request(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct transfer *tr = arg;
	uint8_t address[16];
	int family = strchr(to, ':') ? AF_INET6 : AF_INET;

	(void)from, (void)to_port, (void)from_port;
	tr->connected = true;
	if (tr->t->link_local || inet_pton(family, to, address) != 1 ||
	    !metadata_address_is(family, address))
		return CURL_PREREQFUNC_OK;
	refuse_metadata(tr);
	return CURL_PREREQFUNC_ABORT;
}

/* --- set-up ---------------------------------------------------------------------------------- */

static void set_callbacks(struct transfer *tr)
{
	CURL *c = tr->easy;

	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, tr->error);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, tr);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, tr);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, tr);
	(void)curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_request);
	(void)curl_easy_setopt(c, CURLOPT_PREREQDATA, tr);
	(void)curl_easy_setopt(c, CURLOPT_PRIVATE, tr);
}

static void set_tls(struct transfer *tr)
{
	CURL *c = tr->easy;
	struct curl_blob blob = { .flags = CURL_BLOB_NOCOPY };

	(void)curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(c, CURLOPT_SHARE, tr->f->share);
	/* libcurl parses a bundle once for all connections, but only without a directory beside it. */
	(void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	if (tr->f->ca_pem) {
		blob.data = tr->f->ca_pem;
		blob.len = strlen(tr->f->ca_pem);
		(void)curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
		(void)curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	} else if (tr->f->ca_file) {
		(void)curl_easy_setopt(c, CURLOPT_CAINFO, tr->f->ca_file);
	}
	tls_clock_use(&tr->f->clock, c);
}

static void set_bounds(struct transfer *tr)
{
	const struct rouse_fetch *t = tr->t;
	long left = rouse_clock_left(t->deadline), connect = ROUSE_CONNECT_TIMEOUT;
	CURL *c = tr->easy;

	if (t->link_local && left > ROUSE_METADATA_TRY)
		left = ROUSE_METADATA_TRY;
	if (t->connect_timeout)
		connect = t->connect_timeout < INT32_MAX ? (long)t->connect_timeout : INT32_MAX;
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, left ? left : 1L); /* 0 would mean no bound */
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, connect);
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)ROUSE_STALL_TIMEOUT / 1000);
	if (t->socket)
		(void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, t->socket);
	if (t->low_port) {
		(void)curl_easy_setopt(c, CURLOPT_LOCALPORT, LOWEST_PORT);
		(void)curl_easy_setopt(c, CURLOPT_LOCALPORTRANGE, 1024L - LOWEST_PORT);
	}
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver's thread */
}

/* What libcurl is given. */
static const char *request_url(const struct transfer *tr)
{
	return tr->bucket ? tr->bucket->ops->url(tr->bucket) : tr->url;
}

static void set_version(struct transfer *tr)
{
	bool https = rouse_strip_prefix(request_url(tr), "https:") != NULL;
	/* Whoever speaks HTTP/2 alone says so by refusing the first try. */
	bool alone = tr->t->link_local || (tr->t->hold && !tr->tries);
	CURL *c = tr->easy;

	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
			       alone ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS);
	/* Rather wait for one handshake to learn whether it can be shared than make 24 of them. */
	(void)curl_easy_setopt(c, CURLOPT_PIPEWAIT, https && !alone ? 1L : 0L);
	/* curl hands on a hundred of these before it looks at another connection: where others may wait,
	 * they are its smaller, usual ones. */
	if (tr->t->sink && !tr->t->hold)
		(void)curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 64L * 1024);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "rouse/" ROUSE_VERSION);
}

int transfer_add_header(struct transfer *tr, const char *line, struct rouse_err *e)
{
	struct curl_slist *list = curl_slist_append(tr->headers, line);

	if (!list)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot prepare a request");
	tr->headers = list;
	return 0;
}

/* To an address of this machine, with the name and the certificate of the service. */
static int set_connect(struct transfer *tr, struct rouse_err *e)
{
	bool v6 = strchr(tr->t->connect, ':') != NULL;
	auto_free char *to = rouse_asprintf("::%s%s%s:", v6 ? "[" : "", tr->t->connect,
					    v6 ? "]" : "");

	tr->connect = curl_slist_append(NULL, to);
	if (!tr->connect)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot prepare a request");
	(void)curl_easy_setopt(tr->easy, CURLOPT_CONNECT_TO, tr->connect);
	return 0;
}

static int set_request(struct transfer *tr, struct rouse_err *e)
{
	const struct rouse_fetch *t = tr->t;
	bool typed = false;

	if (t->method && rouse_streq(t->method, "HEAD"))
		(void)curl_easy_setopt(tr->easy, CURLOPT_NOBODY, 1L);
	else if (t->method && !rouse_streq(t->method, "GET")) {
		(void)curl_easy_setopt(tr->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)t->body_len);
		(void)curl_easy_setopt(tr->easy, CURLOPT_POSTFIELDS, t->body_len ? t->body : "");
		(void)curl_easy_setopt(tr->easy, CURLOPT_CUSTOMREQUEST, t->method);
		/* No wait for "100 Continue": some metadata services never send it. */
		if (transfer_add_header(tr, "Expect:", e) < 0)
			return -1;
	}
	for (size_t i = 0; t->headers && !tr->foreign && t->headers[i]; i++) {
		typed |= strncasecmp(t->headers[i], "Content-Type:", 13) == 0;
		if (transfer_add_header(tr, t->headers[i], e) < 0)
			return -1;
	}
	if (!typed && transfer_add_header(tr, "Content-Type:", e) < 0)
		return -1;
	if (tr->bucket && tr->bucket->ops->add_headers(tr, e) < 0)
		return -1;
	(void)curl_easy_setopt(tr->easy, CURLOPT_HTTPHEADER, tr->headers);
	return 0;
}

int transfer_prepare(struct transfer *tr, struct rouse_err *e)
{
	struct rouse_fetcher *f = tr->f;
	char url[512];

	if (tr->bucket && tr->bucket->ops->prepare(tr, e) < 0)
		return -1;
	tr->easy = f->n_idle ? f->idle[--f->n_idle] : curl_easy_init();
	if (!tr->easy)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot prepare a request");
	tr->error[0] = '\0';
	tr->connected = false;
	set_callbacks(tr);
	set_tls(tr);
	set_bounds(tr);
	set_version(tr);
	/* A key of S3 may have "..", which is signed as it is. */
	(void)curl_easy_setopt(tr->easy, CURLOPT_PATH_AS_IS, tr->bucket ? 1L : 0L);
	if (curl_easy_setopt(tr->easy, CURLOPT_URL, request_url(tr)) != CURLE_OK)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "cannot fetch '%s': not a URL",
				  rouse_print_url(url, sizeof(url), tr->url));
	if (transfer_set_proxy(tr, request_url(tr), e) < 0)
		return -1;
	if (tr->t->connect && set_connect(tr, e) < 0)
		return -1;
	return set_request(tr, e);
}

void transfer_release(struct transfer *tr)
{
	struct rouse_fetcher *f = tr->f;

	if (tr->easy && f->n_idle < ARRAY_SIZE(f->idle)) {
		curl_easy_reset(tr->easy);
		f->idle[f->n_idle++] = tr->easy;
	} else {
		curl_easy_cleanup(tr->easy);
	}
	tr->easy = NULL;
	for (struct curl_slist *line = tr->headers; line; line = line->next)
		explicit_bzero(line->data, strlen(line->data)); /* tokens and signatures */
	curl_slist_free_all(tr->headers);
	tr->headers = NULL;
	curl_slist_free_all(tr->connect);
	tr->connect = NULL;
}

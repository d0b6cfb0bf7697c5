/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fetch.h>

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/retry.h>
#include <rouse/text.h>

#include "aws.h"
#include "bucket.h"
#include "forks.h"
#include "tokens.h"
#include "transfer.h"

/* Our deadlines run on CLOCK_BOOTTIME and poll(2) does not: a machine that was suspended finds out
 * within this time. */
#define LONGEST_POLL 1000

/* One call of rouse_fetch_many. */
struct run {
	struct rouse_fetcher *f;
	struct transfer *active;
	unsigned n_active;
	bool ended; /* a transfer ended in this turn of the loop */
	int (*done)(void *ctx, struct rouse_fetch *t, struct rouse_err *e);
	void *ctx;
};

/* --- the fetcher ----------------------------------------------------------------------------- */

/* Where distributions keep the bundle; an initramfs has the first. */
static const char *find_ca_file(void)
{
	static const char *const places[] = { "/etc/ssl/certs/ca-certificates.crt",
					      "/etc/pki/tls/certs/ca-bundle.crt",
					      "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
	const char *given = getenv("SSL_CERT_FILE");

	if (given && *given)
		return given;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

struct rouse_fetcher *rouse_fetcher_new(void)
{
	struct rouse_fetcher *f = rouse_calloc(1, sizeof(*f));

	forks_forbid();
	/* None of these fails but for want of memory, which ends the program like everywhere. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f->multi = curl_multi_init()) ||
	    !(f->share = curl_share_init())) {
		static const char line[] = "rouse: libcurl cannot be initialised\n";

		if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
			_exit(ROUSE_SYSTEM);
		_exit(ROUSE_SYSTEM);
	}
	(void)curl_multi_setopt(f->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	(void)curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)ROUSE_WALK_CONNECTIONS_FAR);
	(void)curl_share_setopt(f->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	f->ca_file = find_ca_file();
	f->aws = aws_new(NULL);
	f->tokens = tokens_new(NULL);
	forks_allow();
	return f;
}

struct rouse_fetcher *rouse_fetcher_clone(const struct rouse_fetcher *f)
{
	struct rouse_fetcher *ret = rouse_fetcher_new();

	aws_unref(ret->aws);
	ret->aws = aws_ref(f->aws);
	tokens_unref(ret->tokens);
	ret->tokens = tokens_ref(f->tokens);
	rouse_fetcher_set_ca(ret, f->ca_pem);
	ret->proxy = f->proxy ? rouse_strdup(f->proxy) : NULL;
	ret->direct = f->direct ? rouse_strdup(f->direct) : NULL;
	ret->environment = f->environment;
	ret->clock = f->clock;
	return ret;
}

void rouse_fetcher_forget(struct rouse_fetcher *f)
{
	aws_forget(f->aws);
	tokens_forget(f->tokens);
}

const char *rouse_fetcher_ca_file(const struct rouse_fetcher *f)
{
	return f->ca_pem ? NULL : f->ca_file;
}

void rouse_fetcher_free(struct rouse_fetcher *f)
{
	if (!f)
		return;
	forks_forbid();
	while (f->n_idle)
		curl_easy_cleanup(f->idle[--f->n_idle]);
	(void)curl_multi_cleanup(f->multi);
	(void)curl_share_cleanup(f->share);
	curl_global_cleanup();
	forks_allow();
	aws_unref(f->aws);
	tokens_unref(f->tokens);
	free(f->proxy);
	free(f->direct);
	free(f->ca_pem);
	free(f);
}

struct rouse_fetch_counters rouse_fetcher_counters(const struct rouse_fetcher *f)
{
	return f->counters;
}

int64_t rouse_fetcher_time(const struct rouse_fetcher *f)
{
	int64_t least = tls_clock_floor(&f->clock), now = (int64_t)time(NULL);

	return now > least ? now : least;
}

void rouse_fetcher_set_ca(struct rouse_fetcher *f, const char *pem)
{
	free(f->ca_pem);
	f->ca_pem = pem ? rouse_strdup(pem) : NULL;
}

char *rouse_fetch_file(const char *url)
{
	return rouse_strip_prefix(url, "file://") ? transfer_file_path(url) : NULL;
}

/* --- files ----------------------------------------------------------------------------------- */

static int copy_file(struct transfer *tr, int fd, const char *path, struct rouse_err *e)
{
	char block[16 * KIB];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		if (transfer_deliver(tr, block, (size_t)n, e) < 0)
			return -1;
	return n < 0 ? rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path) : 0;
}

/* libcurl would open a fifo and wait for ever, and read a device to its end. */
static int fetch_file(struct transfer *tr, struct rouse_err *e)
{
	auto_free char *path = transfer_file_path(tr->url);
	auto_fd int fd = -1;
	struct stat st;

	if (!path)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "cannot fetch '%s': not a file URL of this machine", tr->url);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return rouse_fail(
			e, errno == ENOENT || errno == ENOTDIR ? ROUSE_DOCUMENT : ROUSE_SYSTEM,
			errno, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "cannot fetch '%s': not a regular file",
				  tr->url);
	tr->t->status = 200;
	return copy_file(tr, fd, path, e);
}

/* --- one transfer through its tries ---------------------------------------------------------- */

static void detach(struct transfer *tr)
{
	if (tr->easy)
		(void)curl_multi_remove_handle(tr->f->multi, tr->easy);
	transfer_release(tr);
}

static void transfer_free(struct transfer *tr)
{
	detach(tr);
	bucket_free(tr->bucket);
	free(tr->url);
	free(tr);
}

/* Ends a transfer: result into t, transfer out of the list, and the caller's `done`. */
static int finish(struct run *run, struct transfer *tr, const struct rouse_err *failure,
		  struct rouse_err *e)
{
	struct rouse_fetch *t = tr->t;

	for (struct transfer **p = &run->active; *p; p = &(*p)->next)
		if (*p == tr) {
			*p = tr->next;
			run->n_active--;
			break;
		}
	run->ended = true;
	if (snprintf(t->effective, sizeof(t->effective), "%s", tr->url) >=
	    (int)sizeof(t->effective))
		t->effective[0] = '\0';
	t->err = failure ? *failure : (struct rouse_err){ 0 };
	t->result = failure ? -1 : 0;
	if (failure && tr->tries > 1 && failure->kind == ROUSE_UNAVAILABLE) {
		size_t n = strlen(t->err.text);

		(void)snprintf(t->err.text + n, sizeof(t->err.text) - n, ", tried %u times",
			       tr->tries);
	}
	transfer_free(tr);
	return run->done(run->ctx, t, e);
}

/* Starts a try. -1 with *failure: it could not even begin. */
static int begin(struct transfer *tr, struct rouse_err *failure)
{
	CURLMcode code;

	tr->retry_at = 0;
	if (transfer_rewind(tr, failure) < 0 || transfer_prepare(tr, failure) < 0)
		return -1;
	code = curl_multi_add_handle(tr->f->multi, tr->easy);
	if (code != CURLM_OK) {
		transfer_release(tr);
		return rouse_fail(failure, ROUSE_SYSTEM, 0, "cannot start a transfer: %s",
				  curl_multi_strerror(code));
	}
	if (!tr->tries++)
		tr->start = rouse_clock_ms();
	tr->f->counters.requests++;
	return 0;
}

static uint64_t deadline_of(const struct rouse_fetch *t)
{
	uint64_t until = t->until ? t->until(t->arg) : UINT64_MAX;

	return until < t->deadline ? until : t->deadline;
}

/* When to try again; false when the budget is spent. */
static bool schedule(struct transfer *tr)
{
	const struct rouse_fetch *t = tr->t;
	uint64_t asked = 0, now = rouse_clock_ms();
	int64_t server_time;

	if (t->max_tries && tr->tries >= t->max_tries && !tr->patient)
		return false;
	if (tr->delivered && !t->restart)
		return false;
	if (!rouse_http_date(tr->date, &server_time))
		server_time = time(NULL); /* ours must do */
	if (!rouse_retry_after(t->retry_after, server_time, &asked))
		asked = 0; /* garbage, or nothing asked for */
	if (t->max_tries && !tr->patient &&
	    (asked > ROUSE_BACKOFF_CAP || now >= tr->start + ROUSE_STALL_TIMEOUT))
		return false;
	tr->retry_at = now + rouse_retry_delay(tr->tries, asked, rouse_jitter(UINT64_MAX));
	return tr->retry_at < t->deadline;
}

/* Whoever looks at the machine while it waits sees for what; one line does for all transfers. */
static void tell(const struct transfer *tr, const struct rouse_err *failure)
{
	struct rouse_fetcher *f = tr->f;
	char left[24];

	if (tr->retry_at < tr->start + ROUSE_RETRY_TELL || tr->retry_at < f->tell_at)
		return;
	f->tell_at = tr->retry_at + ROUSE_RETRY_TELL_AGAIN;
	rouse_log(ROUSE_LOG_WARNING, "fetch", "%s; trying again, for at most %s", failure->text,
		  rouse_print_duration(left, (uint64_t)rouse_clock_left(deadline_of(tr->t))));
}

/* What failed before says more than that the last try took too long. */
static int past_deadline(const struct transfer *tr, struct rouse_err *e)
{
	const char *no_route = transfer_no_route(tr);
	const char *what = rouse_clock_left(tr->t->deadline)
				   ? "no byte has come for too long"
				   : "no complete answer before the deadline";
	char url[512];

	if (tr->last.kind)
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "%s; then %s", tr->last.text, what);
	return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "cannot fetch '%s': %s%s%s",
			  rouse_print_url(url, sizeof(url), tr->url), no_route,
			  *no_route ? ": " : "", what);
}

/* libcurl has ended a try of `tr`. */
static int settle(struct run *run, struct transfer *tr, CURLcode code, struct rouse_err *e)
{
	struct rouse_err failure = { 0 };
	enum outcome outcome = transfer_judge(tr, code, &failure);

	detach(tr);
	if (outcome == TRANSFER_AGAIN && schedule(tr)) {
		tr->last = failure;
		run->f->counters.retries++;
		tell(tr, &failure);
		return 0;
	}
	if (outcome == TRANSFER_MOVED && begin(tr, &failure) == 0) {
		tr->tries--; /* a redirect is not another try */
		return 0;
	}
	if (outcome == TRANSFER_AGAIN && tr->last.kind && !rouse_clock_left(tr->t->deadline))
		(void)past_deadline(tr, &failure);
	return finish(run, tr, outcome == TRANSFER_DONE ? NULL : &failure, e);
}

static int check(const struct rouse_fetch *t, struct rouse_err *e)
{
	char url[512];

	if (!t->url || !t->deadline || !t->max_bytes)
		return rouse_fail(e, ROUSE_BUG, 0,
				  "a transfer without URL, deadline or size limit");
	(void)rouse_print_url(url, sizeof(url), t->url);
	if (!rouse_clock_left(t->deadline))
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "cannot fetch '%s': no time is left",
				  url);
	if (!rouse_strip_prefix(t->url, "https://") && !rouse_strip_prefix(t->url, "http://") &&
	    !rouse_strip_prefix(t->url, "file://") && !bucket_is_url(t->url))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "cannot fetch '%s': not an https, http, file, s3, gs or az URL",
				  url);
	return 0;
}

static int start(struct run *run, struct rouse_fetch *t, struct rouse_err *e)
{
	struct transfer *tr = rouse_calloc(1, sizeof(*tr));
	struct rouse_err failure = { 0 };
	int r;

	tr->t = t;
	tr->f = run->f;
	tr->url = rouse_strdup(t->url ? t->url : "");
	tr->next = run->active;
	run->active = tr;
	run->n_active++;

	r = check(t, &failure);
	if (r == 0 && rouse_strip_prefix(t->url, "file://"))
		r = transfer_rewind(tr, &failure) < 0 ? -1 : fetch_file(tr, &failure);
	else if (r == 0 && bucket_is_url(t->url) && bucket_open(&tr->bucket, t, &failure) < 0)
		r = -1;
	else if (r == 0 && t->not_before > rouse_clock_ms()) {
		tr->retry_at = t->not_before;
		return 0;
	} else if (r == 0 && begin(tr, &failure) == 0)
		return 0;
	else
		r = -1;
	return finish(run, tr, r < 0 ? &failure : NULL, e);
}

/* --- the loop -------------------------------------------------------------------------------- */

static int settle_all(struct run *run, struct rouse_err *e)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(run->f->multi, &left))) {
		struct transfer *tr = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &tr);
		if (settle(run, tr, m->data.result, e) < 0)
			return -1;
	}
	return 0;
}

/* Something has ended: what waits for its turn may have it now. */
static int release_held(struct run *run, struct rouse_err *e)
{
	struct transfer *tr = run->active, *next;

	for (; tr; tr = next) {
		CURLcode code;

		next = tr->next;
		if (!tr->held || !tr->easy || tr->t->hold(tr->t->arg))
			continue;
		tr->held = false;
		/* Hands on what came already, which may end it. */
		code = curl_easy_pause(tr->easy, CURLPAUSE_CONT);
		if (code != CURLE_OK && settle(run, tr, code, e) < 0)
			return -1;
	}
	return 0;
}

/* Starts the tries whose time has come, and ends what is past its deadline. */
static int wake(struct run *run, struct rouse_err *e)
{
	struct transfer *tr = run->active, *next;
	uint64_t now = rouse_clock_ms();

	for (; tr; tr = next) {
		struct rouse_err failure = { 0 };
		int r = 0;

		next = tr->next;
		if (now >= deadline_of(tr->t))
			r = past_deadline(tr, &failure);
		else if (tr->retry_at && now >= tr->retry_at)
			r = begin(tr, &failure);
		if (r < 0 && finish(run, tr, &failure, e) < 0)
			return -1;
	}
	return 0;
}

static int poll_time(const struct run *run)
{
	int most = LONGEST_POLL;

	for (const struct transfer *tr = run->active; tr; tr = tr->next) {
		int left = rouse_clock_left(tr->retry_at ? tr->retry_at : deadline_of(tr->t));

		most = left < most ? left : most;
	}
	return most;
}

static CURLMcode wait_for_more(const struct run *run)
{
	unsigned forbidden = forks_rest();
	CURLMcode code = curl_multi_poll(run->f->multi, NULL, 0, poll_time(run), NULL);

	forks_resume(forbidden);
	return code;
}

static int loop(struct run *run, unsigned parallel, struct rouse_fetch *(*next)(void *ctx),
		struct rouse_err *e)
{
	CURLMcode code = CURLM_OK;
	struct rouse_fetch *t;
	int running;

	for (;;) {
		while (run->n_active < parallel && (t = next(run->ctx)))
			if (start(run, t, e) < 0)
				return -1;
		if (!run->n_active)
			return 0;
		run->ended = false;
		code = curl_multi_perform(run->f->multi, &running);
		if (code == CURLM_OK && settle_all(run, e) < 0)
			return -1;
		if (wake(run, e) < 0 || (run->ended && release_held(run, e) < 0))
			return -1;
		/* Whatever ended has made room, which is filled before waiting. */
		if (code == CURLM_OK && !run->ended)
			code = wait_for_more(run);
		if (code != CURLM_OK)
			return rouse_fail(e, ROUSE_SYSTEM, 0, "cannot transfer: %s",
					  curl_multi_strerror(code));
	}
}

int rouse_fetch_many(struct rouse_fetcher *f, unsigned parallel,
		     struct rouse_fetch *(*next)(void *ctx),
		     int (*done)(void *ctx, struct rouse_fetch *t, struct rouse_err *e), void *ctx,
		     struct rouse_err *e)
{
	struct run run = { .f = f, .done = done, .ctx = ctx };
	int r;

	assert(!f->running && parallel);
	f->running = true;
	forks_forbid();
	r = loop(&run, parallel, next, e);
	for (struct transfer *tr = run.active, *after; tr; tr = after) {
		after = tr->next;
		transfer_free(tr);
	}
	forks_allow();
	f->running = false;
	return r;
}

void rouse_fetcher_wake(struct rouse_fetcher *f)
{
	(void)curl_multi_wakeup(f->multi); /* if it fails, the next byte that comes wakes it */
}

/* --- one alone ------------------------------------------------------------------------------- */

static struct rouse_fetch *next_one(void *ctx)
{
	struct rouse_fetch **t = ctx;

	return take(*t, NULL);
}

static int done_one(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	(void)ctx, (void)t, (void)e; /* rouse_fetch looks at the result itself */
	return 0;
}

int rouse_fetch(struct rouse_fetcher *f, struct rouse_fetch *t, struct rouse_err *e)
{
	struct rouse_fetch *once = t;

	if (rouse_fetch_many(f, 1, next_one, done_one, &once, e) < 0)
		return -1;
	if (t->result < 0)
		*e = t->err;
	return t->result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/tls.h"

#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/proc.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define DAY 86400L
#define YEAR (365 * DAY)

/* What the metadata service says, and a server whose certificate is checked. */
struct fixture {
	struct server metadata, server;
	struct rouse_fetcher *f;
	struct rouse_buf pem;
	struct rouse_err e;
	unsigned tries;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->metadata);
	server_stop(&x->server);
	rouse_fetcher_free(x->f);
	rouse_buf_done(&x->pem);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.metadata = SERVER_INIT, .server = SERVER_INIT, .tries = 1                         \
	}

/* A self-signed certificate for localhost, valid between two times from now, and its key. */
static bool make_certificate(FILE *f, long from, long to)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
						  "DNS:localhost");
	bool good = key && alt && X509_set_version(cert, X509_VERSION_3) == 1 &&
		    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
		    X509_gmtime_adj(X509_getm_notBefore(cert), from) &&
		    X509_time_adj_ex(X509_getm_notAfter(cert), (int)(to / DAY), 0, NULL) &&
		    X509_set_pubkey(cert, key) == 1 &&
		    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					       (const unsigned char *)"rouse", -1, -1, 0) == 1 &&
		    X509_set_issuer_name(cert, name) == 1 && X509_add_ext(cert, alt, -1) == 1 &&
		    X509_sign(cert, key, EVP_sha256()) > 0 &&
		    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		    PEM_write_X509(f, cert) == 1;

	X509_EXTENSION_free(alt);
	X509_free(cert);
	EVP_PKEY_free(key);
	return good;
}

static bool begin(struct fixture *x, long from, long to)
{
	char path[] = "/tmp/rouse-pem-XXXXXX";
	int fd = mkstemp(path);
	auto_file FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	bool good = f && make_certificate(f, from, to) && fflush(f) == 0 &&
		    server_start_tls(&x->server, "{\"GET /a\": [{\"body\": \"hello\"}]}", path) &&
		    rouse_read_file(path, 1 << 20, &x->pem, &x->e) == 0;

	(void)unlink(path);
	x->f = rouse_fetcher_new();
	rouse_fetcher_set_ca(x->f, x->pem.data);
	return good;
}

static int get(struct fixture *x, struct rouse_fetcher *f, const char *url, bool link_local)
{
	struct rouse_fetch t = { .url = url,
				 .max_bytes = 4096,
				 .deadline = rouse_clock_ms() + LONG,
				 .max_tries = x->tries,
				 .link_local = link_local };
	int r = rouse_fetch(f, &t, &x->e);

	rouse_buf_done(&t.body_out);
	return r;
}

static int get_secure(struct fixture *x, struct rouse_fetcher *f)
{
	auto_free char *url = rouse_asprintf("https://localhost:%u/a", x->server.port);

	return get(x, f, url, false);
}

/* Asks the metadata service, whose clock is `ahead` of ours. */
static bool ask(struct fixture *x, long ahead, bool link_local)
{
	time_t then = time(NULL) + ahead;
	char date[64];
	struct tm tm;
	auto_free char *scenario = NULL, *url = NULL;

	(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
	scenario = rouse_asprintf("{\"*\": [{\"body\": \"x\", \"headers\": {\"Date\": \"%s\"}}]}",
				  date);
	if (!server_start(&x->metadata, scenario))
		return false;
	url = server_url(&x->metadata, "/");
	return get(x, x->f, url, link_local) == 0;
}

static void a_certificate_of_the_future_needs_to_be_told_the_time(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_fetcher struct rouse_fetcher *clone = NULL;

	T_CHECK(t, begin(&x, YEAR, 3 * YEAR));
	T_CHECK(t, get_secure(&x, x.f) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
	T_CHECK(t, ask(&x, 2 * YEAR, true));
	T_CHECK(t, get_secure(&x, x.f) == 0);
	clone = rouse_fetcher_clone(x.f);
	T_CHECK(t, get_secure(&x, clone) == 0);
}

static void only_the_metadata_service_is_believed(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, YEAR, 3 * YEAR));
	T_CHECK(t, ask(&x, 2 * YEAR, false));
	T_CHECK(t, get_secure(&x, x.f) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
}

static void a_metadata_service_that_is_behind_changes_nothing(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, -DAY, YEAR));
	T_CHECK(t, ask(&x, -40 * YEAR, true));
	T_CHECK(t, get_secure(&x, x.f) == 0);
}

static void an_expired_certificate_stays_expired(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, -2 * YEAR, -YEAR));
	T_CHECK(t, ask(&x, -2 * YEAR + DAY, true)); /* the earlier time is not taken */
	T_CHECK(t, get_secure(&x, x.f) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
}

/* Only so is a refusal the client's: the server does speak what it is to be refused for. */
static bool old_client_succeeds(const struct fixture *x)
{
	auto_free char *to = rouse_asprintf("localhost:%u", x->server.port);
	const char *const argv[] = { "openssl",         "s_client", "-tls1_1", "-cipher",
				     "ALL:@SECLEVEL=0", "-connect", to,        NULL };
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + LONG };
	struct rouse_err e;

	return rouse_proc_check(&p, &e) == 0;
}

static void a_server_of_tls_1_1_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	bool ready = setenv("IMDS_OLD_TLS", "1", 1) == 0 && begin(&x, -DAY, YEAR);

	(void)unsetenv("IMDS_OLD_TLS");
	T_CHECK(t, ready);
	T_CHECK(t, old_client_succeeds(&x));
	x.tries = 0; /* as many as there is time for */
	T_CHECK(t, get_secure(&x, x.f) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, x.e.text, "neither TLS 1.2 nor 1.3");
	T_CHECK(t, rouse_fetcher_counters(x.f).requests == 1);
	T_CHECK(t, server_count(&x.server, "/a") == 0);
}

/* While an authority is replaced, an image has both; either may stand first. */
static void either_of_two_authorities_is_trusted(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE, old = FIXTURE;
	auto_free char *both = NULL, *reversed = NULL;

	T_CHECK(t, begin(&x, -DAY, YEAR) && begin(&old, -DAY, YEAR));
	rouse_fetcher_set_ca(x.f, old.pem.data);
	T_CHECK(t, get_secure(&x, x.f) < 0 && x.e.kind == ROUSE_UNTRUSTED);
	both = rouse_asprintf("%s%s", old.pem.data, x.pem.data);
	reversed = rouse_asprintf("%s%s", x.pem.data, old.pem.data);
	rouse_fetcher_set_ca(x.f, both);
	T_CHECK(t, get_secure(&x, x.f) == 0);
	rouse_fetcher_set_ca(x.f, reversed);
	T_CHECK(t, get_secure(&x, x.f) == 0);
	T_CHECK(t, get_secure(&old, x.f) == 0);
}

static void the_build_is_the_floor(struct t *t)
{
	struct tls_clock c = { 0 };
	int64_t built = tls_clock_floor(&c);

	/* This machine's clock may be behind that of the one where it was committed. */
	T_CHECK(t, built > 1700000000 && built < 4102444800);
	tls_clock_hear(&c, "Thu, 01 Jan 1970 00:00:01 GMT");
	T_CHECK(t, tls_clock_floor(&c) == built);
	tls_clock_hear(&c, "Fri, 01 Jan 2100 00:00:00 GMT");
	T_CHECK(t, tls_clock_floor(&c) >= 4102444800);
	tls_clock_hear(&c, "not a date");
	T_CHECK(t, tls_clock_floor(&c) >= 4102444800);
	c.at -= 3000; /* it goes on */
	T_CHECK(t, tls_clock_floor(&c) >= 4102444803);
}

T_MAIN(T(a_certificate_of_the_future_needs_to_be_told_the_time),
       T(only_the_metadata_service_is_believed),
       T(a_metadata_service_that_is_behind_changes_nothing),
       T(an_expired_certificate_stays_expired), T(a_server_of_tls_1_1_is_refused),
       T(either_of_two_authorities_is_trusted), T(the_build_is_the_floor))

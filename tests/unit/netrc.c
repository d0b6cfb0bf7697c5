/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/mem.h>
#include <rouse/netrc.h>

/* The pair that a text has for a host, in base64; "" for none. */
static bool gives(const char *text, const char *url, const char *base64)
{
	auto_free char *copy = rouse_strdup(text);
	char *header = rouse_netrc_header(copy, url);
	bool same = header ? strcmp(header + strlen("Authorization: Basic "), base64) == 0
			   : !*base64;

	rouse_secret_free(header);
	return same;
}

static const char text[] = "# of the fleet\n"
			   "machine other.example login a password b\n"
			   "machine Cache.Example\n\tlogin me\n\taccount x\n\tpassword secret\n"
			   "macdef init\nmachine cache.example password wrong\n\n"
			   "default login anonymous password guest\n";

static void netrc_gives_what_is_for_the_host(struct t *t)
{
	T_CHECK(t, gives(text, "https://cache.example/x", "bWU6c2VjcmV0")); /* me:secret */
	T_CHECK(t, gives(text, "https://cache.example:8443", "bWU6c2VjcmV0"));
	T_CHECK(t, gives(text, "https://other.example/", "YTpi"));                 /* a:b */
	T_CHECK(t, gives(text, "https://third.example/", "YW5vbnltb3VzOmd1ZXN0")); /* default */
}

static void netrc_gives_nothing_to_others(struct t *t)
{
	static const char one[] = "machine cache.example login me password secret";

	T_CHECK(t, gives(one, "https://cache.example", "bWU6c2VjcmV0"));
	T_CHECK(t, gives("machine cache.example login #me password #1 # of the fleet",
			 "https://cache.example", "I21lOiMx")); /* #me:#1 */
	T_CHECK(t, gives(one, "https://cache.example.org/", ""));
	T_CHECK(t, gives(one, "https://evil/cache.example", ""));
	T_CHECK(t, gives(one, "http://cache.example/", "")); /* not in the clear */
	T_CHECK(t, gives("machine cache.example login me", "https://cache.example", ""));
	T_CHECK(t, gives("machine", "https://cache.example", ""));
	T_CHECK(t, gives("", "https://cache.example", ""));
}

static void bearer_is_one_line(struct t *t)
{
	struct rouse_err e = { 0 };
	char *header = NULL;

	T_CHECK(t, rouse_bearer_header(&header, "abc.def", &e) == 0);
	T_CHECK(t, strcmp(header, "Authorization: Bearer abc.def") == 0);
	rouse_secret_free(header);
	T_CHECK(t, rouse_bearer_header(&header, "abc\r\nX: y", &e) < 0);
	T_CHECK(t, rouse_bearer_header(&header, "", &e) < 0);
}

T_MAIN(T(netrc_gives_what_is_for_the_host), T(netrc_gives_nothing_to_others), T(bearer_is_one_line))

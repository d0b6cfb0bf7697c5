/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers are those of AWS's published test suite, and of the examples in S3's documentation. */
#include <rouse/sigv4.h>

#include <stdlib.h>

#include <rouse/mem.h>
#include <rouse/trust.h>

#include "../lib/tap.h"

#define SUITE_TIME 1440938160 /* 2015-08-30T12:36:00Z */
#define SUITE_DATE "20150830T123600Z"
#define S3_TIME 1369353600 /* 2013-05-24T00:00:00Z */
#define S3_DATE "20130524T000000Z"

static const struct rouse_aws_key suite_key = {
	.id = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
};
static const struct rouse_aws_key s3_key = { .id = "AKIAIOSFODNN7EXAMPLE",
					     .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };

static const char *signature_of(const char *authorization)
{
	const char *p = authorization ? strstr(authorization, "Signature=") : NULL;

	return p ? p + strlen("Signature=") : NULL;
}

/* Signs a GET of the suite with these headers, beside host and date. */
static char *sign_suite(const char *path, const char *query, const struct rouse_sigv4_header *more,
			size_t n)
{
	auto_free char *encoded = rouse_sigv4_encode(path, strlen(path), "/");
	struct rouse_sigv4_header headers[8] = { { "x-amz-date", SUITE_DATE },
						 { "host", "example.amazonaws.com" } };
	struct rouse_sigv4 s = { .key = &suite_key,
				 .region = "us-east-1",
				 .service = "service",
				 .time = SUITE_TIME,
				 .method = "GET",
				 .path = encoded,
				 .query = query,
				 .headers = headers,
				 .n_headers = 2 + n,
				 .payload = ROUSE_SIGV4_EMPTY };

	for (size_t i = 0; i < n; i++)
		headers[2 + i] = more[i];
	return rouse_sigv4_authorization(&s);
}

static void the_whole_header_is_right(struct t *t)
{
	auto_free char *got = sign_suite("/", "", NULL, 0);

	T_STR(t, got,
	      "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
	      "SignedHeaders=host;x-amz-date, "
	      "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

#define ALL "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static void paths_and_queries_are_signed_as_published(struct t *t)
{
	static const struct {
		const char *path, *query, *want;
	} cases[] = {
		{ "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "/" ALL, "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
		{ "/\xe1\x88\xb4", "",
		  "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
		{ "/example space/", "",
		  "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
		{ "//example//", "",
		  "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5" },
		{ "/example/..", "",
		  "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282" },
		{ "/", "Param1=value1",
		  "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
		{ "/", "Param1=value1&Param2=value2",
		  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
		{ "/", "%E1%88%B4=Value1&Param=Value2&Param-3=Value3",
		  "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac" },
		{ "/", "%E1%88%B4=bar",
		  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
		{ "/", ALL "=" ALL,
		  "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = sign_suite(cases[i].path, cases[i].query, NULL, 0);

		T_STR(t, signature_of(got), cases[i].want);
	}
}

static void headers_are_signed_as_published(struct t *t)
{
	static const struct rouse_sigv4_header blanks[] = { { "my-header2", "\"a   b   c\"" },
							    { "my-header1", " value1 " } };
	static const struct rouse_sigv4_header order[] = { { "my-header1", "value4" },
							   { "my-header1", "value1" },
							   { "my-header1", "value3" },
							   { "my-header1", "value2" } };
	static const struct rouse_sigv4_header token[] = {
		{ "x-amz-security-token",
		  "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267" }
	};
	auto_free char *a = sign_suite("/", "", blanks, 2), *b = sign_suite("/", "", order, 4),
		       *c = sign_suite("/", "", token, 1);

	T_STR(t, signature_of(a),
	      "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
	T_STR(t, signature_of(b),
	      "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01");
	T_STR(t, signature_of(c),
	      "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
	T_HAS(t, c, "SignedHeaders=host;x-amz-date;x-amz-security-token,");
}

static void a_body_is_signed_as_published(struct t *t)
{
	char payload[65];
	struct rouse_sigv4_header headers[] = { { "host", "example.amazonaws.com" },
						{ "content-type",
						  "application/x-www-form-urlencoded" },
						{ "content-length", "13" },
						{ "x-amz-date", SUITE_DATE },
						{ "x-amz-content-sha256", payload } };
	struct rouse_sigv4 s = { .key = &suite_key,
				 .region = "us-east-1",
				 .service = "service",
				 .time = SUITE_TIME,
				 .method = "POST",
				 .path = "/",
				 .query = "",
				 .headers = headers,
				 .n_headers = ARRAY_SIZE(headers),
				 .payload = payload };
	auto_free char *got = NULL;

	rouse_sha256_hex("Param1=value1", 13, payload);
	got = rouse_sigv4_authorization(&s);
	T_STR(t, signature_of(got),
	      "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b");
}

static void s3_get_object_is_signed_as_documented(struct t *t)
{
	static const struct rouse_sigv4_header headers[] = {
		{ "host", "examplebucket.s3.amazonaws.com" },
		{ "range", "bytes=0-9" },
		{ "x-amz-content-sha256", ROUSE_SIGV4_EMPTY },
		{ "x-amz-date", S3_DATE }
	};
	struct rouse_sigv4 s = { .key = &s3_key,
				 .region = "us-east-1",
				 .service = "s3",
				 .time = S3_TIME,
				 .method = "GET",
				 .path = "/test.txt",
				 .query = "",
				 .headers = headers,
				 .n_headers = ARRAY_SIZE(headers),
				 .payload = ROUSE_SIGV4_EMPTY };
	auto_free char *got = rouse_sigv4_authorization(&s);

	T_STR(t, signature_of(got),
	      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void dates_are_those_of_utc(struct t *t)
{
	char date[ROUSE_SIGV4_DATE];

	rouse_sigv4_date(date, SUITE_TIME);
	T_STR(t, date, SUITE_DATE);
	rouse_sigv4_date(date, 0);
	T_STR(t, date, "19700101T000000Z");
	rouse_sigv4_date(date, INT64_MAX); /* whatever it says, it fits */
	T_CHECK(t, strlen(date) == 16);
}

static void keys_are_wiped(struct t *t)
{
	struct rouse_aws_key k = suite_key;
	const char *p = (const char *)&k;

	rouse_aws_key_wipe(&k);
	for (size_t i = 0; i < sizeof(k); i++)
		T_CHECK(t, p[i] == 0);
}

T_MAIN(T(the_whole_header_is_right), T(paths_and_queries_are_signed_as_published),
       T(headers_are_signed_as_published), T(a_body_is_signed_as_published),
       T(s3_get_object_is_signed_as_documented), T(dates_are_those_of_utc), T(keys_are_wiped))

/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <time.h>

#include <openssl/ssl.h>

#include <rouse/clock.h>
#include <rouse/retry.h>

#ifndef ROUSE_EPOCH
#define ROUSE_EPOCH 0
#endif

void tls_clock_hear(struct tls_clock *c, const char *date)
{
	int64_t heard;

	if (!rouse_http_date(date, &heard))
		return;
	c->heard = heard;
	c->at = rouse_clock_ms();
}

int64_t tls_clock_floor(const struct tls_clock *c)
{
	int64_t heard = 0;

	if (c->heard)
		heard = c->heard + (int64_t)((rouse_clock_ms() - c->at) / 1000);
	return heard > ROUSE_EPOCH ? heard : ROUSE_EPOCH;
}

static CURLcode set_time(CURL *easy, void *context, void *arg)
{
	const struct tls_clock *c = arg;

	(void)easy;
	X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context), (time_t)tls_clock_floor(c));
	return CURLE_OK;
}

void tls_clock_use(struct tls_clock *c, CURL *easy)
{
	/* Where the system's clock is ahead, it is right, or right enough. */
	if (tls_clock_floor(c) <= (int64_t)time(NULL))
		return;
	(void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, set_time);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, c);
}

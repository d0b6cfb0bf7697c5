/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and printing of the values that documents, reports and people use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/auto.h>
#include <rouse/mem.h>

bool rouse_streq(const char *a, const char *b); /* NULL equals NULL only */
/* The rest of `s` behind `prefix`, or NULL when `s` does not begin with it. */
const char *rouse_strip_prefix(const char *s, const char *prefix);

/* Whole-string parsers: true and *ret on success; no sign, blank or suffix is accepted. */
must_check bool rouse_parse_u64(const char *s, uint64_t max, uint64_t *ret);
/* "200MB" (10^6), "1GiB" (2^30), "4096B"; also k, T, P, with and without "iB". Bytes. */
must_check bool rouse_parse_size(const char *s, uint64_t *ret_bytes);
/* "25%": 1…100. */
must_check bool rouse_parse_percent(const char *s, unsigned *ret);
/* "250ms", "90s", "5m", "2h", "7d". Milliseconds. */
must_check bool rouse_parse_duration(const char *s, uint64_t *ret_ms);
/* "0644", "755": octal, at most 07777. */
must_check bool rouse_parse_mode(const char *s, unsigned *ret);

/* "8.0 GiB", "200 MiB", "512 B"; buf is returned. */
const char *rouse_print_size(char buf[static 16], uint64_t bytes);
/* "340 ms", "12.3 s", "5 m 02 s". */
const char *rouse_print_duration(char buf[static 24], uint64_t ms);

/* Lower-case hex of n bytes into ret[2n + 1]. */
void rouse_hex(char *ret, const uint8_t *data, size_t n);
must_check bool rouse_unhex(uint8_t *ret, size_t n, const char *hex); /* exactly 2n digits */
/* RFC 4648 base64 (with padding); the decoder is strict and refuses blanks. */
char *rouse_base64(const uint8_t *data, size_t n); /* caller frees */
/* Decodes into ret (at most max bytes); returns the count, or -1. */
must_check int64_t rouse_unbase64(uint8_t *ret, size_t max, const char *text, size_t len);
/* Replaces control characters by blanks, and bytes that are not UTF-8 by "?": what documents, caches
 * and metadata say must neither add lines to a log nor steer a terminal, and must fit in a report. */
void rouse_one_line(char *s);
/* Is it valid UTF-8 (RFC 3629) without NUL? */
bool rouse_utf8_valid(const char *s, size_t len);
/* The nearest of `n` words to `s` by edit distance when it is near enough for "did you mean", else
 * one of which the other is the beginning (of four letters or more), else NULL. `word(ctx, i)` yields the i-th. */
const char *rouse_nearest(const char *s, size_t n, const char *(*word)(const void *ctx, size_t i),
			  const void *ctx);
/* Does it read like a URL of any scheme, right or wrong? Then it may have secrets in it. */
bool rouse_is_like_url(const char *s);
/* Copies `url` without userinfo and without query and fragment, for logs and reports. */
const char *rouse_print_url(char *buf, size_t size, const char *url);

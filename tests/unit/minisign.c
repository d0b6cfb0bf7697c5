/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and signatures were made by minisign 0.11. */
#include "../../agent/minisign.h"

#include "../lib/tap.h"

#include <rouse/mem.h>

#define TEXT "{ \"rouse\": 1 }\n"
#define KEY "RWQG04bvNtXxeRazFjUGmeRUsLLY57qY7rDDcy0ydcl2exDsi3CjtZiQ"
#define NAME "minisign 79F1D536EF86D306"
#define UNTRUSTED "untrusted comment: signature from minisign secret key\n"
#define HASHED                                                                                     \
	"RUQG04bvNtXxeVYpTzlMk8dLmbaRC44cOq+L+CQaSn+8hPlmY9dW0epla8dx4OzqXQyvhvQ8eCcOKS7fwx6bTSVe" \
	"CgXiy64QzA4=\n"
#define HASHED_COMMENT "trusted comment: for tests, pre-hashed\n"
#define HASHED_GLOBAL                                                                              \
	"TvR7EZpOSup7fyXmBi9xKs6+F6lGs7WdRE4/"                                                     \
	"39dq27vkGuHaK8zJec9V2yqO3zvvDbF7jNM9JATtH9Mye1gcCw==\n"
#define LEGACY                                                                                     \
	"RWQG04bvNtXxeWhFBuJueBbz3OCBkVgnzt2NRsuTpbFT7fw7nqaMd9L6rbxyR8Ai3Up9fh6SHMQTw3s9UkftBxJ6" \
	"uI00I5wU2w8=\n"
#define LEGACY_COMMENT "trusted comment: for tests, legacy\n"
#define LEGACY_GLOBAL                                                                              \
	"ZlIZJEIjjEIKQn6ZZf8rARM62qUAcNSd48z9HUU1THfI6DWcT/"                                       \
	"1nMOs99HPQ5gPhZoLRg4UaNq6+NyoCezP9Cw==\n"

static int check(const char *signature, const char *text, struct rouse_err *e)
{
	auto_free char *copy = rouse_strdup(signature);
	struct rouse_key keys[2] = { { .name = "other" } };
	const char *name = NULL;

	if (!rouse_minisign_key(&keys[1], KEY))
		return -2;
	if (rouse_minisign_check(copy, keys, 2, text, strlen(text), &name, e) < 0)
		return -1;
	return strcmp(name, NAME) == 0 ? 0 : -2;
}

static void both_kinds_of_signatures_are_accepted(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, check(UNTRUSTED HASHED HASHED_COMMENT HASHED_GLOBAL, TEXT, &e) == 0);
	T_CHECK(t, check(UNTRUSTED LEGACY LEGACY_COMMENT LEGACY_GLOBAL, TEXT, &e) == 0);
	/* The first comment is nobody's, and lines may end as on other systems. */
	T_CHECK(t, check("untrusted comment: x\r\n" HASHED HASHED_COMMENT HASHED_GLOBAL, TEXT,
			 &e) == 0);
}

static void another_text_is_refused(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, check(UNTRUSTED HASHED HASHED_COMMENT HASHED_GLOBAL, TEXT " ", &e) == -1);
	T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	T_STR(t, e.text, "the signature by '" NAME "' is wrong");
	T_CHECK(t, check(UNTRUSTED LEGACY LEGACY_COMMENT LEGACY_GLOBAL, "", &e) == -1);
}

static void a_changed_comment_is_refused(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, check(UNTRUSTED HASHED LEGACY_COMMENT HASHED_GLOBAL, TEXT, &e) == -1);
	T_STR(t, e.text, "the signature by '" NAME "' is wrong");
	T_CHECK(t, check(UNTRUSTED HASHED HASHED_COMMENT LEGACY_GLOBAL, TEXT, &e) == -1);
}

static void what_is_not_a_signature_is_refused(struct t *t)
{
	static const char *const cases[] = {
		"",
		UNTRUSTED,
		UNTRUSTED HASHED,
		UNTRUSTED HASHED HASHED_COMMENT,
		HASHED HASHED_COMMENT HASHED_GLOBAL,
		UNTRUSTED "AAAA\n" HASHED_COMMENT HASHED_GLOBAL,
		UNTRUSTED HASHED "comment: x\n" HASHED_GLOBAL,
		UNTRUSTED HASHED HASHED_COMMENT "AAAA\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rouse_err e = { 0 };

		T_CHECK(t, check(cases[i], TEXT, &e) == -1 && e.kind == ROUSE_UNTRUSTED);
		T_HAS(t, e.text, "not readable");
	}
}

static void another_key_is_named(struct t *t)
{
	auto_free char *copy = rouse_strdup(UNTRUSTED HASHED HASHED_COMMENT HASHED_GLOBAL);
	struct rouse_key key = { .name = "fleet-1" };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_minisign_check(copy, &key, 1, TEXT, strlen(TEXT), NULL, &e) < 0);
	T_STR(t, e.text, "signed by '" NAME "', which is not a trusted key (trusted: 'fleet-1')");
}

static void keys_are_those_of_minisign_or_of_nix(struct t *t)
{
	struct rouse_key key;
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_minisign_key(&key, KEY) && rouse_is_minisign_key(&key));
	T_STR(t, key.name, NAME);
	T_CHECK(t, rouse_is_document_key(KEY));
	T_CHECK(t, rouse_document_key_parse(
			   &key, "a-1:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8=", &e) == 0);
	T_CHECK(t, !rouse_is_minisign_key(&key));
	T_CHECK(t,
		!rouse_minisign_key(&key, "RWQG04bvNtXxeRazFjUGmeRUsLLY57qY7rDDcy0ydcl2exDsi3Cj"));
	T_CHECK(t, !rouse_minisign_key(&key,
				       "AAAG04bvNtXxeRazFjUGmeRUsLLY57qY7rDDcy0ydcl2exDsi3CjtZiQ"));
	T_CHECK(t, !rouse_is_document_key(""));
}

T_MAIN(T(both_kinds_of_signatures_are_accepted), T(another_text_is_refused),
       T(a_changed_comment_is_refused), T(what_is_not_a_signature_is_refused),
       T(another_key_is_named), T(keys_are_those_of_minisign_or_of_nix))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of encrypted volumes: from the document, a file, or a URL; or made here and kept in escrow.
 * A key is never logged, and is wiped when it has been used. A key in escrow is text (base64 of 64
 * random bytes), and the whole of that text is what cryptsetup takes for the key.
 */
#include "write.h"

#include <string.h>
#include <sys/random.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/text.h>

#define RANDOM 64 /* bytes: the volume key of AES-256 in XTS has as many */

void disks_key_wipe(struct rouse_buf *key)
{
	if (key->data)
		explicit_bzero(key->data, key->size);
	rouse_buf_done(key);
}

static void key_auto(struct rouse_buf *key)
{
	disks_key_wipe(key);
}
#define auto_key __attribute__((cleanup(key_auto)))

static void set(struct rouse_buf *ret, const void *data, size_t n)
{
	ret->data = rouse_calloc(1, n + 1);
	ret->size = ret->len = n;
	memcpy(ret->data, data, n);
}

static int transfer(struct rouse_fetch *t, const struct rouse_context *c, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_DISK_KEY;

	t->deadline = c->deadline && c->deadline < deadline ? c->deadline : deadline;
	t->max_bytes = ROUSE_MAX_DISK_KEY;
	if (!c->fetcher)
		return rouse_fail(e, ROUSE_BUG, 0, "there is nothing to fetch a key with");
	if (c->network && c->network(c->network_arg, t->deadline, e) < 0)
		return -1;
	return rouse_fetch(c->fetcher, t, e);
}

static int read_url(const char *url, const struct rouse_context *c, struct rouse_buf *ret,
		    struct rouse_err *e)
{
	struct rouse_fetch t = { .url = url };
	int r = transfer(&t, c, e);

	if (r == 0)
		set(ret, t.body_out.data ? t.body_out.data : "", t.body_out.len);
	disks_key_wipe(&t.body_out);
	return r;
}

/* e->sys is ENOENT when there is none. */
static int read_key(const struct disks_key *k, const struct rouse_context *c, struct rouse_buf *ret,
		    struct rouse_err *e)
{
	if (k->url)
		return read_url(k->url, c, ret, e);
	if (k->file)
		return rouse_read_file(k->file, ROUSE_MAX_DISK_KEY, ret, e);
	if (k->text) {
		set(ret, k->text, strlen(k->text));
		return 0;
	}
	set(ret, k->base64, strlen(k->base64));
	ret->len = (size_t)rouse_unbase64((uint8_t *)ret->data, ret->len, k->base64, ret->len);
	return 0; /* check() has read it before */
}

static int write_key(const struct disks_key *k, const struct rouse_context *c,
		     const struct rouse_buf *key, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_fetch t = {
		.url = k->url, .method = "PUT", .body = key->data, .body_len = key->len
	};
	int r;

	if (k->url) {
		r = transfer(&t, c, e);
		rouse_buf_done(&t.body_out);
		return r;
	}
	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, k->file, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, k->file, key->data, key->len, 0600, (uid_t)-1, (gid_t)-1, e);
}

static int generate(struct rouse_buf *ret, struct rouse_err *e)
{
	uint8_t bytes[RANDOM];
	char *text;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a key");
	text = rouse_base64(bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
	*ret = (struct rouse_buf){ .data = text, .len = strlen(text), .size = strlen(text) };
	return 0;
}

/* What was stored is read again: a server that answers "yes" and keeps nothing costs all data. */
static int put_in_escrow(const struct disks_key *k, const struct rouse_context *c,
			 struct rouse_buf *ret, struct rouse_err *e)
{
	auto_key struct rouse_buf key = { 0 }, back = { 0 };

	if (generate(&key, e) < 0)
		return -1;
	if (write_key(k, c, &key, e) < 0 || read_key(k, c, &back, e) < 0)
		return rouse_wrap(e, "cannot keep the key in escrow");
	if (back.len != key.len || memcmp(back.data, key.data, key.len) != 0)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the escrow of a key gives back another one than it was given");
	*ret = key;
	key = (struct rouse_buf){ 0 };
	return 0;
}

int disks_key_get(const struct disks_luks *l, bool make, const struct rouse_context *c,
		  struct rouse_buf *ret, struct rouse_err *e)
{
	const struct disks_key *k = l->escrow ? l->escrow : l->key;

	if (!k)
		return generate(ret, e);
	if (read_key(k, c, ret, e) == 0)
		return ret->len ? 0
				: rouse_fail(e, ROUSE_DOCUMENT, 0,
					     "the key of a LUKS volume is empty");
	if (!make || !l->escrow || e->sys != ENOENT)
		return rouse_wrap(e, "cannot read the key of a LUKS volume");
	*e = (struct rouse_err){ 0 };
	return put_in_escrow(k, c, ret, e);
}

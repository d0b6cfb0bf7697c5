/* SPDX-License-Identifier: Apache-2.0 */
#include "nar.h"

#include <string.h>

enum state {
	S_MAGIC,
	S_NODE,       /* "(" of a node */
	S_TYPE,       /* "type" */
	S_KIND,       /* "regular", "symlink", "directory" */
	S_REGULAR,    /* "executable" or "contents" */
	S_EXECUTABLE, /* the empty value of "executable" */
	S_CONTENTS,   /* "contents" */
	S_DATA,       /* the bytes of a file */
	S_TARGET_KEY, /* "target" */
	S_TARGET,
	S_CLOSE,     /* ")" of a file or symlink */
	S_DIRECTORY, /* "entry", or ")" of the directory */
	S_ENTRY,     /* "(" of an entry */
	S_NAME_KEY,  /* "name" */
	S_NAME,
	S_NODE_KEY,  /* "node" */
	S_ENTRY_END, /* ")" of an entry */
	S_END,
};

static int bad(const struct rouse_nar *n, struct rouse_err *e, const char *what)
{
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "malformed archive: %s%s%.255s%s", what,
			  n->name ? " at '" : "", n->name ? n->name : "", n->name ? "'" : "");
}

void rouse_nar_begin(struct rouse_nar *n, uint64_t size, const struct rouse_nar_ops *ops, void *arg)
{
	*n = (struct rouse_nar){
		.ops = ops, .arg = arg, .left = size, .state = S_MAGIC, .want = 8
	};
}

/* The longest string that the state allows; file contents are bounded by the archive alone. */
static uint64_t longest(unsigned state)
{
	switch (state) {
	case S_NAME:
		return ROUSE_NAR_NAME;
	case S_TARGET:
		return ROUSE_NAR_TARGET;
	case S_EXECUTABLE:
		return 0;
	case S_DATA:
		return ROUSE_MAX_NAR_SIZE;
	default:
		return ROUSE_NAR_KEYWORD;
	}
}

static uint64_t padding(uint64_t len)
{
	return (8 - len % 8) % 8;
}

static void expect(struct rouse_nar *n, enum state state)
{
	n->state = state;
	n->in_string = false;
	n->want = 8;
	n->have = 0;
}

/* `left` counts what is behind the token that is complete now. */
static int take_length(struct rouse_nar *n, struct rouse_err *e)
{
	uint64_t len = 0;

	for (unsigned i = 8; i-- > 0;)
		len = len << 8 | n->token[i];
	if (len > longest(n->state))
		return bad(n, e,
			   n->state == S_NAME     ? "a name of more than 255 bytes"
			   : n->state == S_TARGET ? "a link target of more than 4095 bytes"
						  : "a string is longer than its place allows");
	if (len > n->left || padding(len) > n->left - len)
		return bad(n, e, "a string is longer than the archive");
	n->string = len;
	n->in_string = true;
	n->have = 0;
	n->want = (size_t)(len + padding(len));
	if (n->state == S_DATA) {
		n->in_data = true;
		n->data_left = len;
		n->want = (size_t)padding(len);
		return n->ops->file ? n->ops->file(n->arg, n->name, n->executable, len, e) : 0;
	}
	return 0;
}

static bool is(const struct rouse_nar *n, const char *word)
{
	return n->string == strlen(word) && memcmp(n->token, word, n->string) == 0;
}

static int take_name(struct rouse_nar *n, struct rouse_err *e)
{
	const char *name = (const char *)n->token;
	size_t len = (size_t)n->string;
	char *last = n->names[n->depth - 1];

	n->token[len] = '\0'; /* the padding was looked at already */
	if (!len || memchr(name, '/', len) || strlen(name) != len || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return bad(n, e, "a file name that is empty, '.', '..' or holds '/' or NUL");
	/* Names ascend; so none comes twice, and none hides an earlier one. */
	if (last[0] && strcmp(last, name) >= 0)
		return bad(n, e, "file names out of order");
	memcpy(last, name, len + 1);
	n->name = last;
	expect(n, S_NODE_KEY);
	return 0;
}

static int take_target(struct rouse_nar *n, struct rouse_err *e)
{
	n->token[n->string] = '\0';
	if (!n->string || strlen((const char *)n->token) != n->string)
		return bad(n, e, "a link target that is empty or holds NUL");
	if (n->ops->symlink && n->ops->symlink(n->arg, n->name, (const char *)n->token, e) < 0)
		return -1;
	expect(n, S_CLOSE);
	return 0;
}

static int take_kind(struct rouse_nar *n, struct rouse_err *e)
{
	if (is(n, "regular")) {
		n->executable = false;
		expect(n, S_REGULAR);
		return 0;
	}
	if (is(n, "symlink")) {
		expect(n, S_TARGET_KEY);
		return 0;
	}
	if (!is(n, "directory"))
		return bad(n, e, "a node is neither file, symlink nor directory");
	if (n->ops->directory && n->ops->directory(n->arg, n->name, e) < 0)
		return -1;
	n->names[n->depth++][0] = '\0';
	expect(n, S_DIRECTORY);
	return 0;
}

static void close_node(struct rouse_nar *n)
{
	n->name = n->depth ? n->names[n->depth - 1] : NULL;
	expect(n, n->depth ? S_ENTRY_END : S_END);
}

static int take_entry_or_end(struct rouse_nar *n, struct rouse_err *e)
{
	if (is(n, "entry")) {
		if (n->depth >= ROUSE_MAX_NAR_DEPTH)
			return bad(n, e, "directories are nested too deep");
		expect(n, S_ENTRY);
		return 0;
	}
	if (!is(n, ")"))
		return bad(n, e, "expected an entry or the end of a directory");
	if (n->ops->leave && n->ops->leave(n->arg, e) < 0)
		return -1;
	n->depth--;
	close_node(n);
	return 0;
}

static int take_data_end(struct rouse_nar *n, struct rouse_err *e)
{
	if (n->ops->file_end && n->ops->file_end(n->arg, e) < 0)
		return -1;
	expect(n, S_CLOSE);
	return 0;
}

/* Keywords that leave no choice, and what follows each. */
static int take_keyword(struct rouse_nar *n, struct rouse_err *e)
{
	static const struct {
		const char *word;
		enum state next;
	} keywords[] = {
		[S_MAGIC] = { "nix-archive-1", S_NODE },
		[S_NODE] = { "(", S_TYPE },
		[S_TYPE] = { "type", S_KIND },
		[S_EXECUTABLE] = { "", S_CONTENTS },
		[S_CONTENTS] = { "contents", S_DATA },
		[S_TARGET_KEY] = { "target", S_TARGET },
		[S_ENTRY] = { "(", S_NAME_KEY },
		[S_NAME_KEY] = { "name", S_NAME },
		[S_NODE_KEY] = { "node", S_NODE },
		[S_ENTRY_END] = { ")", S_DIRECTORY },
		[S_CLOSE] = { ")", S_END },
	};

	if (n->state >= ARRAY_SIZE(keywords) || !keywords[n->state].word)
		return bad(n, e, "bytes behind its end");
	if (!is(n, keywords[n->state].word))
		return n->state == S_MAGIC ? bad(n, e, "it does not begin like one")
					   : bad(n, e, "an unexpected word");
	if (n->state == S_CLOSE)
		close_node(n);
	else
		expect(n, keywords[n->state].next);
	return 0;
}

static int take_string(struct rouse_nar *n, struct rouse_err *e)
{
	size_t len = n->in_data ? 0 : (size_t)n->string;

	for (size_t i = len; i < n->want; i++)
		if (n->token[i])
			return bad(n, e, "padding is not zero");
	n->in_data = false;
	switch (n->state) {
	case S_KIND:
		return take_kind(n, e);
	case S_REGULAR:
		if (is(n, "executable")) {
			n->executable = true;
			expect(n, S_EXECUTABLE);
			return 0;
		}
		n->state = S_CONTENTS;
		return take_keyword(n, e);
	case S_DATA:
		return take_data_end(n, e);
	case S_TARGET:
		return take_target(n, e);
	case S_DIRECTORY:
		return take_entry_or_end(n, e);
	case S_NAME:
		return take_name(n, e);
	default:
		return take_keyword(n, e);
	}
}

/* Passes on file contents; returns how many bytes were taken, or -1. */
static int64_t feed_data(struct rouse_nar *n, const unsigned char *p, size_t len,
			 struct rouse_err *e)
{
	size_t take_now = len < n->data_left ? len : (size_t)n->data_left;

	if (n->ops->data && n->ops->data(n->arg, p, take_now, e) < 0)
		return -1;
	n->data_left -= take_now;
	n->left -= take_now;
	return (int64_t)take_now;
}

static size_t feed_token(struct rouse_nar *n, const unsigned char *p, size_t len)
{
	size_t missing = n->want - n->have, take_now = len < missing ? len : missing;

	memcpy(n->token + n->have, p, take_now);
	n->have += take_now;
	n->left -= take_now;
	return take_now;
}

int rouse_nar_feed(struct rouse_nar *n, const void *data, size_t len, struct rouse_err *e)
{
	const unsigned char *p = data, *end = p + len;

	if (len > n->left)
		return bad(n, e, "it is longer than its signed size");
	while (p < end || (n->in_string && !n->data_left && n->have == n->want)) {
		if (n->state == S_END)
			return bad(n, e, "bytes behind its end");
		if (n->in_data && n->data_left) {
			int64_t took = feed_data(n, p, (size_t)(end - p), e);

			if (took < 0)
				return -1;
			p += took;
			continue;
		}
		p += feed_token(n, p, (size_t)(end - p));
		if (n->have < n->want)
			break;
		if ((n->in_string ? take_string(n, e) : take_length(n, e)) < 0)
			return -1;
	}
	return 0;
}

int rouse_nar_end(const struct rouse_nar *n, struct rouse_err *e)
{
	if (n->state != S_END || n->left)
		return bad(n, e,
			   n->state == S_END ? "it is shorter than its signed size"
					     : "it ends too early");
	return 0;
}

void rouse_nar_hash_length(struct rouse_sha256 *h, uint64_t n)
{
	unsigned char length[8];

	for (unsigned i = 0; i < sizeof(length); i++)
		length[i] = (unsigned char)(n >> 8 * i);
	rouse_sha256_update(h, length, sizeof(length));
}

void rouse_nar_hash_padding(struct rouse_sha256 *h, uint64_t n)
{
	static const char zeros[8];

	rouse_sha256_update(h, zeros, -n & 7);
}

void rouse_nar_hash_words(struct rouse_sha256 *h, const char *const *words)
{
	for (; *words; words++) {
		size_t n = strlen(*words);

		rouse_nar_hash_length(h, n);
		rouse_sha256_update(h, *words, n);
		rouse_nar_hash_padding(h, n);
	}
}

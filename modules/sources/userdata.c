/* SPDX-License-Identifier: Apache-2.0 */
#include "sources.h"

#include <string.h>

#include <zlib.h>

#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/text.h>
#include <rouse/trust.h>

/* gzip in base64 in base64 is what tools have been seen to make; one more is a mistake. */
#define MAX_WRAPPERS 4

static void inflate_release(z_stream *z)
{
	(void)inflateEnd(z);
}
AUTO_DEFINE(z_stream *, inflate, inflate_release, NULL)

static void replace(struct rouse_found *f, struct rouse_buf *with)
{
	explicit_bzero(f->user_data, f->user_data_len);
	free(f->user_data);
	f->user_data_len = with->len;
	f->user_data = with->data ? take(with->data, NULL) : rouse_strdup("");
	*with = (struct rouse_buf){ 0 };
}

/* --- gzip ------------------------------------------------------------------------------------ */

static int inflate_all(z_stream *z, struct rouse_buf *out, struct rouse_err *e)
{
	unsigned char block[16 * KIB];
	int r = Z_OK;

	while (r != Z_STREAM_END || z->avail_in) {
		/* Several gzip files behind each other are one (RFC 1952 section 2.2). */
		if (r == Z_STREAM_END && inflateReset(z) != Z_OK)
			return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot unpack user-data");
		z->next_out = block;
		z->avail_out = sizeof(block);
		r = inflate(z, Z_NO_FLUSH);
		if (rouse_buf_add(out, block, sizeof(block) - z->avail_out, ROUSE_MAX_USERDATA) < 0)
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "user-data unpacks to more than the %u bytes allowed",
					  (unsigned)ROUSE_MAX_USERDATA);
		if (r == Z_MEM_ERROR)
			return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot unpack user-data");
		if (r != Z_OK && r != Z_STREAM_END)
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "the gzip around user-data is %s",
					  r == Z_BUF_ERROR ? "cut short" : "damaged");
	}
	return 0;
}

static int undo_gzip(struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf out = { 0 };
	z_stream z = { .next_in = (unsigned char *)f->user_data,
		       .avail_in = (unsigned)f->user_data_len };
	z_stream *open auto_of(inflate) = NULL;

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* the largest window, gzip header */
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot unpack user-data");
	open = &z;
	if (inflate_all(open, &out, e) < 0)
		return -1;
	replace(f, &out);
	return 0;
}

/* --- base64 ---------------------------------------------------------------------------------- */

/* Decodes text that is base64 throughout, lines and blanks aside; false when it is not. */
static bool undo_base64(struct rouse_found *f)
{
	auto_free char *packed = rouse_calloc(f->user_data_len + 1, 1);
	auto_buf struct rouse_buf out = { 0 };
	size_t n = 0;
	int64_t got;

	for (size_t i = 0; i < f->user_data_len; i++)
		if (!strchr(" \t\r\n", f->user_data[i]) || !f->user_data[i])
			packed[n++] = f->user_data[i];
	if (n < 8) /* shorter than any gzip, document or URL */
		return false;
	out.data = rouse_calloc(n, 1);
	out.size = n;
	got = rouse_unbase64((uint8_t *)out.data, n - 1, packed, n);
	if (got <= 0)
		return false;
	out.len = (size_t)got;
	out.data[out.len] = '\0';
	replace(f, &out);
	return true;
}

/* --- what it is ------------------------------------------------------------------------------ */

static void trim(const char **text, size_t *len)
{
	while (*len && strchr(" \t\r\n", **text) && **text)
		(*text)++, (*len)--;
	while (*len && strchr(" \t\r\n", (*text)[*len - 1]) && (*text)[*len - 1])
		(*len)--;
}

int source_pointer(struct rouse_found *f, const char *text, size_t len, struct rouse_err *e)
{
	auto_free char *line = NULL;
	char *hash, *digest = NULL;

	trim(&text, &len);
	line = rouse_strndup(text, len);
	if (strlen(line) != len || strpbrk(line, " \t\r\n{}\"<>") || !strstr(line, "://"))
		return 0;
	hash = strchr(line, '#');
	if (hash) {
		*hash = '\0';
		digest = (char *)rouse_strip_prefix(hash + 1, "sha256=");
		if (!digest || !rouse_is_sha256_hex(digest))
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "what follows the '#' of the document's URL must be "
					  "\"sha256=\" and "
					  "64 lower-case hex digits");
	}
	if (!rouse_is_url(line))
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"the document's URL must be an https, http, file, s3, gs or az one, "
			"without user and "
			"password");
	free(f->url);
	free(f->sha256);
	f->url = rouse_strdup(line);
	f->sha256 = digest ? rouse_strdup(digest) : NULL;
	return 1;
}

/* What people put into user-data that is not for us, by how it begins. */
static const struct {
	const char *magic;
	size_t n;
	const char *name;
} kinds[] = {
#define KIND(magic_, name_)                                                                        \
	{                                                                                          \
		(magic_), sizeof(magic_) - 1, (name_)                                              \
	}
	KIND("#cloud-config-archive", "a cloud-config archive (cloud-init)"),
	KIND("#cloud-config", "a cloud-config (cloud-init)"),
	KIND("#cloud-boothook", "a boothook (cloud-init)"),
	KIND("#part-handler", "a part handler (cloud-init)"),
	KIND("#include", "an include list (cloud-init)"),
	KIND("## template:", "a template (cloud-init)"),
	KIND("#!", "a script"),
	KIND("From ", "a mail message"),
	KIND("---", "YAML"),
	KIND("[settings", "TOML"),
	KIND("[", "a JSON list"),
	KIND("\"", "a JSON string"),
	KIND("<", "XML or HTML"),
	KIND("-----BEGIN ", "a PEM or PGP text"),
	KIND("age-encryption.org/", "an age file"),
	KIND("\xff\xfe", "UTF-16 text"),
	KIND("\xfe\xff", "UTF-16 text"),
	KIND("\x28\xb5\x2f\xfd", "a zstd file"),
	KIND("\xfd"
	     "7zXZ",
	     "an xz file"),
	KIND("BZh", "a bzip2 file"),
	KIND("PK\x03\x04", "a zip file"),
	KIND("\x7f"
	     "ELF",
	     "a program"),
#undef KIND
};

static int refuse(const struct rouse_found *f, const char *text, size_t len, struct rouse_err *e)
{
	const char *kind = rouse_utf8_valid(text, len) ? "text" : "binary data";
	char digest[65];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (len >= kinds[i].n && memcmp(text, kinds[i].magic, kinds[i].n) == 0) {
			kind = kinds[i].name;
			break;
		}
	rouse_sha256_hex(f->user_data, f->user_data_len, digest);
	return rouse_fail(
		e, ROUSE_DOCUMENT, 0,
		"user-data is %s (%zu bytes, SHA-256 %.16s…), and rouse takes a JSON "
		"document, a pointer "
		"to one or a line \"URL#sha256=…\", each plain, in gzip, in base64, or in a "
		"MIME message",
		kind, f->user_data_len, digest);
}

/* One step: 1 when a wrapper was undone, 0 when it is settled. */
static int unwrap_once(struct rouse_found *f, struct rouse_err *e)
{
	const char *text = f->user_data;
	size_t len = f->user_data_len;
	int r;

	if (len >= 2 && memcmp(text, "\x1f\x8b", 2) == 0)
		return undo_gzip(f, e) < 0 ? -1 : 1;
	/* Some editors put a byte order mark before UTF-8; RFC 8259 lets a reader ignore it. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		memmove(f->user_data, text + 3, len - 3 + 1);
		f->user_data_len -= 3;
		return 1;
	}
	trim(&text, &len);
	if (!len) { /* nothing but blanks says nothing */
		free(f->user_data);
		f->user_data = NULL;
		f->user_data_len = 0;
		return 0;
	}
	if (*text == '{')
		return 0;
	r = source_undo_mime(f, e);
	if (r != 0)
		return r;
	r = source_pointer(f, text, len, e);
	if (r == 1) {
		free(f->user_data);
		f->user_data = NULL;
		f->user_data_len = 0;
	}
	if (r != 0)
		return r < 0 ? -1 : 0;
	return undo_base64(f) ? 1 : refuse(f, text, len, e);
}

int rouse_userdata_unwrap(struct rouse_found *f, struct rouse_err *e)
{
	for (int i = 0; f->user_data && i <= MAX_WRAPPERS; i++) {
		int r = unwrap_once(f, e);

		if (r <= 0)
			return r;
	}
	if (!f->user_data)
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "user-data is packed more than %d times",
			  MAX_WRAPPERS);
}

int source_unpack(struct rouse_buf *text, struct rouse_err *e)
{
	struct rouse_found f = { 0 };
	int r = 0;

	source_set_user_data(&f, text);
	for (int i = 0; r == 0 && f.user_data_len && i < MAX_WRAPPERS; i++) {
		if (f.user_data_len >= 2 && memcmp(f.user_data, "\x1f\x8b", 2) == 0)
			r = undo_gzip(&f, e);
		else if (!undo_base64(&f))
			break;
	}
	rouse_buf_done(text);
	text->len = f.user_data_len;
	text->size = f.user_data ? f.user_data_len + 1 : 0;
	text->data = take(f.user_data, NULL);
	rouse_found_done(&f);
	return r;
}

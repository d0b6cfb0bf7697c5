/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/source.h>

#include <zlib.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#include "../lib/tap.h"

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DOCUMENT "{ \"rouse\": 1, \"hostname\": \"web\" }\n"

static void found_done(struct rouse_found *f)
{
	rouse_found_done(f);
}
#define auto_found __attribute__((cleanup(found_done)))

static void set(struct rouse_found *f, const void *data, size_t n)
{
	struct rouse_buf b = { 0 };

	free(f->user_data);
	f->user_data = NULL;
	if (rouse_buf_add(&b, data, n, SIZE_MAX / 2) == 0)
		f->user_data = b.data;
	f->user_data_len = n;
}

static struct rouse_buf gzip(const void *data, size_t n)
{
	z_stream z = { 0 };
	struct rouse_buf out = { 0 };

	out.size = n + 1000;
	out.data = rouse_calloc(out.size, 1);
	if (deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return out;
	z.next_in = (unsigned char *)(uintptr_t)data;
	z.avail_in = (unsigned)n;
	z.next_out = (unsigned char *)out.data;
	z.avail_out = (unsigned)out.size - 1;
	(void)deflate(&z, Z_FINISH);
	out.len = out.size - 1 - z.avail_out;
	(void)deflateEnd(&z);
	return out;
}

static void a_document_stays_as_it_is(struct t *t)
{
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	set(&f, DOCUMENT, strlen(DOCUMENT));
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.user_data, DOCUMENT);
	T_CHECK(t, f.user_data_len == strlen(DOCUMENT) && !f.url);
}

static void a_pointer_document_stays_a_document(struct t *t)
{
	static const char text[] =
		"{\"rouse\":1,\"from\":{\"url\":\"s3://a/b\",\"sha256\":\"" DIGEST "\"}}";
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	set(&f, text, strlen(text));
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.user_data, text);
}

static void no_user_data_and_blanks_say_nothing(struct t *t)
{
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0 && !f.user_data && !f.url);
	set(&f, " \n\t\r\n", 5);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0 && !f.user_data && !f.url);
	set(&f, "", 0);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0 && !f.user_data && !f.url);
}

static void one_line_points_to_the_document(struct t *t)
{
	static const struct {
		const char *line, *url, *sha256;
	} cases[] = {
		{ "s3://bucket/web.json#sha256=" DIGEST "\n", "s3://bucket/web.json", DIGEST },
		{ "  https://example.com/a.json?v=2#sha256=" DIGEST,
		  "https://example.com/a.json?v=2", DIGEST },
		{ "https://example.com/signed.json\r\n", "https://example.com/signed.json", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, cases[i].line, strlen(cases[i].line));
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
		T_STR(t, f.url, cases[i].url);
		T_CHECK(t, rouse_streq(f.sha256, cases[i].sha256));
		T_CHECK(t, f.user_data == NULL);
	}
}

static void a_wrong_pointer_is_refused(struct t *t)
{
	static const char *const lines[] = { "ftp://example.com/a.json", "https://u:p@example.com/",
					     "https://example.com/a.json#sha256=123",
					     ("https://example.com/a.json#sha1=" DIGEST),
					     "https:///a.json" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, lines[i], strlen(lines[i]));
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_DOCUMENT && !f.url);
	}
}

static void gzip_and_base64_are_undone_in_any_order_and_twice(struct t *t)
{
	auto_buf struct rouse_buf z = gzip(DOCUMENT, strlen(DOCUMENT));
	auto_free char *b = rouse_base64((const uint8_t *)DOCUMENT, strlen(DOCUMENT));
	auto_free char *bb = rouse_base64((const uint8_t *)b, strlen(b));
	auto_free char *zb = rouse_base64((const uint8_t *)z.data, z.len);
	auto_buf struct rouse_buf bz = gzip(b, strlen(b));
	const struct {
		const char *data;
		size_t n;
	} cases[] = { { z.data, z.len },
		      { b, strlen(b) },
		      { bb, strlen(bb) },
		      { zb, strlen(zb) },
		      { bz.data, bz.len } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, cases[i].data, cases[i].n);
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
		T_STR(t, f.user_data, DOCUMENT);
		T_CHECK(t, f.user_data_len == strlen(DOCUMENT));
	}
}

static void base64_in_lines_is_undone(struct t *t)
{
	auto_free char *b = rouse_base64((const uint8_t *)DOCUMENT, strlen(DOCUMENT));
	auto_free char *lines = rouse_asprintf("%.20s\r\n%s\n\n", b, b + 20);
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	set(&f, lines, strlen(lines));
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.user_data, DOCUMENT);
}

static void a_packed_pointer_is_a_pointer(struct t *t)
{
	static const char line[] = "s3://bucket/web.json#sha256=" DIGEST;
	auto_buf struct rouse_buf z = gzip(line, strlen(line));
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	set(&f, z.data, z.len);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.url, "s3://bucket/web.json");
}

static void two_gzip_files_behind_each_other_are_one(struct t *t)
{
	auto_buf struct rouse_buf a = gzip("{ \"rouse\"", 9), b = gzip(": 1 }", 5);
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_buf_add(&a, b.data, b.len, 1000) == 0);
	set(&f, a.data, a.len);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.user_data, "{ \"rouse\": 1 }");
}

static void each_cut_and_each_trailing_byte_of_gzip_is_refused(struct t *t)
{
	auto_buf struct rouse_buf z = gzip(DOCUMENT, strlen(DOCUMENT));

	for (size_t n = 2; n < z.len; n++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, z.data, n);
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0 && e.kind == ROUSE_DOCUMENT);
		T_HAS(t, e.text, "cut short");
	}
	T_CHECK(t, rouse_buf_add(&z, "x", 1, 1 << 20) == 0);
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };
	set(&f, z.data, z.len);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0 && e.kind == ROUSE_DOCUMENT);
}

static void a_gzip_bomb_stops_at_the_limit(struct t *t)
{
	auto_free char *zeros = rouse_calloc(64 << 20, 1);
	auto_buf struct rouse_buf z = gzip(zeros, 64 << 20);
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, z.len < ROUSE_MAX_USERDATA);
	set(&f, z.data, z.len);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0 && e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "unpacks to more than");
}

static void what_is_packed_too_often_is_refused(struct t *t)
{
	auto_free char *text = rouse_strdup(DOCUMENT);
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	for (int i = 0; i < 6; i++) {
		char *packed = rouse_base64((const uint8_t *)text, strlen(text));

		free(text);
		text = packed;
	}
	set(&f, text, strlen(text));
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0);
	T_HAS(t, e.text, "packed more than");
}

static void what_is_not_ours_is_named_and_never_printed(struct t *t)
{
	static const struct {
		const char *text;
		size_t n;
		const char *kind;
	} cases[] = {
#define CASE(text_, kind_) { (text_), sizeof(text_) - 1, (kind_) }
		CASE("#cloud-config\npassword: hunter2\n", "a cloud-config (cloud-init)"),
		CASE("#cloud-config-archive\n- hunter2", "a cloud-config archive"),
		CASE("#!/bin/sh\necho hunter2\n", "a script"),
		CASE("#include\nhttps://hunter2/\n", "an include list"),
		CASE("---\nhunter2: 1\n", "YAML"),
		CASE("[{\"rouse\": 1}, \"hunter2\"]", "a JSON list"),
		CASE("<html>hunter2", "XML or HTML"),
		CASE("PK\x03\x04hunter2", "a zip file"),
		CASE("\x28\xb5\x2f\xfdhunter2", "a zstd file"),
		CASE("\xff\xfe{\0hunter2", "UTF-16 text"),
		CASE("hello hunter2!\n", "text"),
		CASE("\x01\x02\x00\xffhunter2", "binary data"),
		CASE("https://example.com/hunter2 https://example.com/b", "text"),
#undef CASE
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, cases[i].text, cases[i].n);
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0 && e.kind == ROUSE_DOCUMENT);
		T_HAS(t, e.text, cases[i].kind);
		T_HAS(t, e.text, "rouse takes a JSON document");
		T_CHECK(t, !strstr(e.text, "hunter2"));
	}
}

/* --- MIME ------------------------------------------------------------------------------------- */

#define HEAD                                                                                       \
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"=_x "                  \
	"y\"\r\n\r\npreamble\r\n"
#define FOREIGN                                                                                    \
	"--=_x y\r\nContent-Type: text/cloud-config; charset=utf-8\r\n\r\n#cloud-config\r\n{}\r\n"
#define OURS "--=_x y\r\ncontent-type: Application/vnd.rouse+json; a=b\r\n"
#define END "--=_x y--\r\nepilogue"
#define MIME_BODY "{\r\n\"rouse\": 1}"

static void the_part_of_a_mime_message_that_is_ours_is_taken(struct t *t)
{
	static const char *const messages[] = {
		HEAD OURS "\r\n" MIME_BODY "\r\n" END,
		HEAD FOREIGN OURS "\r\n" MIME_BODY "\r\n" FOREIGN END,
		/* eyJyb3VzZSI6IDF9 is the base64 of {"rouse": 1} */
		HEAD FOREIGN OURS
		"Content-Transfer-Encoding: base64\r\n\r\neyJyb3Vz\r\nZSI6IDF9\r\n" END,
		/* No last delimiter, and plain line ends. */
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x-rouse\n\n"
		"{\"rouse\": 1}\n",
		/* A message of one part. */
		"Content-Type: application/json\n\n{\"rouse\": 1}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, messages[i], strlen(messages[i]));
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
		T_STR(t, f.user_data, i < 2 ? MIME_BODY : "{\"rouse\": 1}");
		T_CHECK(t, f.user_data_len == strlen(f.user_data));
	}
}

static void a_pointer_in_a_mime_message_is_a_pointer(struct t *t)
{
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };
	static const char text[] = HEAD FOREIGN OURS "\r\nhttps://example.com/a.json#sha256=" DIGEST
						     "\r\n" END;

	set(&f, text, sizeof(text) - 1);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.url, "https://example.com/a.json");
	T_STR(t, f.sha256, DIGEST);
}

static void a_mime_message_without_one_part_of_ours_is_refused(struct t *t)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ HEAD FOREIGN END, "1 part, of which none is for rouse" },
		{ HEAD FOREIGN FOREIGN "--=_x y\n\nhunter2\n" END, "3 parts, of which none is" },
		{ HEAD OURS "\n{}\n" OURS "\nhunter2\n" END, "2 parts, of which more than one is" },
		{ HEAD OURS "Content-Transfer-Encoding: quoted-printable\n\n=7B hunter2\n" END,
		  "neither plain nor in base64" },
		{ "Content-Type: multipart/mixed; boundary=hunter2\n", "has no body" },
		{ "Content-Type: multipart/mixed\n\nhunter2\n", "1 part, of which none" },
		{ "MIME-Version: 1.0\nhunter2\n", "has no body" },
		{ "Content-Type: text/x-shellscript\n\nhunter2\n", "1 part, of which none" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_found struct rouse_found f = { 0 };
		struct rouse_err e = { 0 };

		set(&f, cases[i].text, strlen(cases[i].text));
		T_CHECK(t, rouse_userdata_unwrap(&f, &e) < 0 && e.kind == ROUSE_DOCUMENT);
		T_HAS(t, e.text, cases[i].why);
		T_HAS(t, e.text, "a MIME message");
		T_CHECK(t, !strstr(e.text, "hunter2"));
	}
}

static void parts_of_a_mime_message_are_counted_to_a_limit(struct t *t)
{
	for (unsigned n = ROUSE_MAX_MIME_PARTS - 1; n <= ROUSE_MAX_MIME_PARTS; n++) {
		auto_found struct rouse_found f = { 0 };
		auto_buf struct rouse_buf text = { 0 };
		struct rouse_err e = { 0 };

		rouse_buf_printf(&text, HEAD);
		for (unsigned i = 0; i < n; i++)
			rouse_buf_printf(&text, FOREIGN);
		rouse_buf_printf(&text, OURS "\r\n{}\r\n" END);
		set(&f, text.data, text.len);
		T_CHECK(t, (rouse_userdata_unwrap(&f, &e) == 0) == (n < ROUSE_MAX_MIME_PARTS));
	}
}

static void a_byte_order_mark_is_left_out(struct t *t)
{
	auto_found struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	set(&f, "\xef\xbb\xbf{}", 5);
	T_CHECK(t, rouse_userdata_unwrap(&f, &e) == 0);
	T_STR(t, f.user_data, "{}");
	T_CHECK(t, f.user_data_len == 2);
}

T_MAIN(T(a_document_stays_as_it_is), T(a_pointer_document_stays_a_document),
       T(no_user_data_and_blanks_say_nothing), T(one_line_points_to_the_document),
       T(a_wrong_pointer_is_refused), T(gzip_and_base64_are_undone_in_any_order_and_twice),
       T(base64_in_lines_is_undone), T(a_packed_pointer_is_a_pointer),
       T(two_gzip_files_behind_each_other_are_one),
       T(each_cut_and_each_trailing_byte_of_gzip_is_refused), T(a_gzip_bomb_stops_at_the_limit),
       T(what_is_packed_too_often_is_refused), T(what_is_not_ours_is_named_and_never_printed),
       T(the_part_of_a_mime_message_that_is_ours_is_taken),
       T(a_pointer_in_a_mime_message_is_a_pointer),
       T(a_mime_message_without_one_part_of_ours_is_refused),
       T(parts_of_a_mime_message_are_counted_to_a_limit), T(a_byte_order_mark_is_left_out))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MIME messages (RFC 2045, 2046) as user-data: tools put several parts for several readers into one.
 * The part that is ours is told by its type; there must be one, and all others are passed over.
 */
#include "sources.h"

#include <string.h>
#include <strings.h>

#include <rouse/limits.h>
#include <rouse/text.h>

static const char *const our_types[] = { "application/vnd.rouse+json", "text/x-rouse",
					 "application/json" };

/* A piece of the message. */
struct piece {
	const char *data;
	size_t len;
};

/* Takes the next line off `rest`, without its end; false when nothing is left. */
static bool next_line(struct piece *rest, struct piece *ret)
{
	const char *end;

	if (!rest->len)
		return false;
	end = memchr(rest->data, '\n', rest->len);
	ret->data = rest->data;
	ret->len = end ? (size_t)(end - rest->data) : rest->len;
	rest->data += ret->len + (end != NULL);
	rest->len -= ret->len + (end != NULL);
	if (ret->len && ret->data[ret->len - 1] == '\r')
		ret->len--;
	return true;
}

static bool begins_with(const struct piece *p, const char *word)
{
	size_t n = strlen(word);

	return p->len >= n && strncasecmp(p->data, word, n) == 0;
}

/* The value of a header field, unfolded; "" when it is absent. Leaves the body in `rest`. */
struct fields {
	char type[512], encoding[64];
};

static void append(char *buf, size_t size, const char *text, size_t n)
{
	size_t len = strlen(buf);

	if (len + n >= size) /* a value that long is none that is looked for */
		return;
	memcpy(buf + len, text, n);
	buf[len + n] = '\0';
}

/* Reads the header up to the empty line behind it; false when there is no such line. */
static bool read_fields(struct piece *rest, struct fields *ret)
{
	static const char type[] = "Content-Type:", encoding[] = "Content-Transfer-Encoding:";
	struct piece line;
	char *current = NULL;
	size_t size = 0;

	*ret = (struct fields){ 0 };
	while (next_line(rest, &line)) {
		if (!line.len)
			return true;
		if (*line.data == ' ' || *line.data == '\t') {
			if (current)
				append(current, size, line.data, line.len);
			continue;
		}
		current = NULL;
		if (begins_with(&line, type) && !ret->type[0]) {
			current = ret->type;
			size = sizeof(ret->type);
			append(current, size, line.data + strlen(type), line.len - strlen(type));
		} else if (begins_with(&line, encoding) && !ret->encoding[0]) {
			current = ret->encoding;
			size = sizeof(ret->encoding);
			append(current, size, line.data + strlen(encoding),
			       line.len - strlen(encoding));
		}
	}
	return false;
}

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* Is the value of a field this word, parameters aside? */
static bool is_value(const char *value, const char *word)
{
	size_t n = strlen(word);

	value = skip_blanks(value);
	return strncasecmp(value, word, n) == 0 && (!value[n] || strchr("; \t", value[n]));
}

static bool is_ours(const struct fields *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(our_types); i++)
		if (is_value(f->type, our_types[i]))
			return true;
	return false;
}

/* The parameter "boundary" of a type; at most 70 characters, RFC 2046 section 5.1.1. */
static bool read_boundary(const char *type, char ret[static 72])
{
	const char *p = strcasestr(type, "boundary=");
	size_t n;

	if (!p)
		return false;
	p += strlen("boundary=");
	n = *p == '"' ? strcspn(++p, "\"") : strcspn(p, "; \t");
	if (!n || n > 70)
		return false;
	memcpy(ret, p, n);
	ret[n] = '\0';
	return true;
}

/* 0: not a delimiter; 1: one; 2: the last. */
static int delimits(const struct piece *line, const char *boundary)
{
	size_t n = strlen(boundary), end = line->len;

	while (end && strchr(" \t", line->data[end - 1]))
		end--;
	if (end < n + 2 || memcmp(line->data, "--", 2) != 0 ||
	    memcmp(line->data + 2, boundary, n) != 0)
		return 0;
	if (end == n + 2)
		return 1;
	return end == n + 4 && memcmp(line->data + n + 2, "--", 2) == 0 ? 2 : 0;
}

/* Finds the part that is ours. Returns the number of such parts, *ret_all that of all. */
static unsigned find_part(struct piece rest, const char *boundary, struct piece *ret_body,
			  struct fields *ret_fields, unsigned *ret_all)
{
	struct piece line, part = { 0 };
	unsigned ours = 0;
	int kind = 0; /* see delimits() */

	*ret_all = 0;
	while (kind < 2 && *ret_all < ROUSE_MAX_MIME_PARTS) {
		struct fields f;
		struct piece body;

		/* Without a last delimiter, the end of the text is one. */
		bool more = next_line(&rest, &line);

		kind = more ? delimits(&line, boundary) : 2;
		if (!kind)
			continue;
		if (part.data) {
			(*ret_all)++;
			body = part;
			body.len = (size_t)((more ? line.data : rest.data) - part.data);
			if (read_fields(&body, &f) && is_ours(&f) && ours++ == 0) {
				*ret_body = body;
				*ret_fields = f;
			}
		}
		part = rest;
	}
	return ours;
}

static bool is_message(const struct rouse_found *f)
{
	struct piece text = { f->user_data, f->user_data_len };

	return begins_with(&text, "Content-Type:") || begins_with(&text, "MIME-Version:");
}

int source_undo_mime(struct rouse_found *f, struct rouse_err *e)
{
	struct piece rest = { f->user_data, f->user_data_len }, body = { 0 };
	char boundary[72];
	struct fields fields, part = { 0 };
	unsigned all = 1, ours;

	if (!is_message(f))
		return 0;
	if (!read_fields(&rest, &fields))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "user-data is a MIME message that has no body");
	if (is_value(fields.type, "multipart/mixed") && read_boundary(fields.type, boundary)) {
		ours = find_part(rest, boundary, &body, &part, &all);
	} else {
		ours = is_ours(&fields);
		body = rest;
		part = fields;
	}
	if (ours != 1)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "user-data is a MIME message with %u part%s, of which %s for "
				  "rouse: exactly one must be of type '%s'",
				  all, all == 1 ? "" : "s", ours ? "more than one is" : "none is",
				  our_types[0]);
	if (part.encoding[0] && !is_value(part.encoding, "base64") &&
	    !is_value(part.encoding, "7bit") && !is_value(part.encoding, "8bit") &&
	    !is_value(part.encoding, "binary"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "user-data is a MIME message whose part for rouse is neither "
				  "plain nor in base64");
	/* The line end before a delimiter belongs to it; base64 is undone as it is everywhere. */
	if (body.len && body.data[body.len - 1] == '\n')
		body.len--;
	if (body.len && body.data[body.len - 1] == '\r')
		body.len--;
	memmove(f->user_data, body.data, body.len);
	explicit_bzero(f->user_data + body.len, f->user_data_len - body.len);
	f->user_data_len = body.len;
	return 1;
}

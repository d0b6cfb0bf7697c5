/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/yaml.h>

#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

struct line {
	size_t indent, len;
	const char *text; /* behind the indentation, without comment and blanks at its end */
	unsigned number;
};

struct parser {
	const char *name;
	struct line *lines;
	size_t n, at;
	unsigned depth;
	struct rouse_err *e;
};

static json_t *parse_block(struct parser *p, size_t indent);

static void *refuse(struct parser *p, unsigned line, const char *why)
{
	(void)rouse_fail(p->e, ROUSE_DOCUMENT, 0, "%s:%u: %s", p->name, line, why);
	return NULL;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Where a quoted value ends (behind its quote), or `len` when it does not. */
static size_t skip_quoted(const char *s, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (*s == '"' && s[i] == '\\')
			i++;
		else if (s[i] == *s && *s == '\'' && i + 1 < len && s[i + 1] == '\'')
			i++;
		else if (s[i] == *s)
			return i + 1;
	}
	return len;
}

/* The length of a line's text without its comment. */
static size_t without_comment(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool begins = i == 0 || strchr(" [{,:-", s[i - 1]);

		if ((s[i] == '"' || s[i] == '\'') && begins)
			i += skip_quoted(s + i, len - i) - 1;
		else if (s[i] == '#' && (i == 0 || s[i - 1] == ' '))
			len = i;
	}
	while (len && s[len - 1] == ' ')
		len--;
	return len;
}

static int split(struct parser *p, const char *text, size_t len)
{
	unsigned number = 0;

	for (const char *s = text, *end = text + len, *next; s < end; s = next) {
		const char *line_end = memchr(s, '\n', (size_t)(end - s));
		struct line l = { 0 };

		l.number = ++number;
		line_end = line_end ? line_end : end;
		next = line_end + 1;
		l.len = (size_t)(line_end - s);
		if (l.len && s[l.len - 1] == '\r')
			l.len--;
		while (l.indent < l.len && s[l.indent] == ' ')
			l.indent++;
		l.text = s + l.indent;
		if (memchr(s, '\t', l.len) && without_comment(l.text, l.len - l.indent)) {
			(void)refuse(p, number, "a tab, where blanks are meant");
			return -1;
		}
		l.len = without_comment(l.text, l.len - l.indent);
		if (!l.len || (p->n == 0 && l.len == 3 && memcmp(l.text, "---", 3) == 0))
			continue;
		if (p->n == ROUSE_MAX_YAML_LINES) {
			(void)refuse(p, number, "too many lines");
			return -1;
		}
		p->lines[p->n++] = l;
	}
	return 0;
}

/* --- values of one line ----------------------------------------------------------------------- */

struct cursor {
	const char *s;
	size_t len;
	unsigned line;
};

static void skip(struct cursor *c, size_t n)
{
	c->s += n;
	c->len -= n;
}

static void skip_blanks(struct cursor *c)
{
	while (c->len && *c->s == ' ')
		skip(c, 1);
}

static json_t *parse_quoted(struct parser *p, struct cursor *c)
{
	size_t n = skip_quoted(c->s, c->len);
	auto_buf struct rouse_buf out = { 0 };
	char quote = *c->s;
	json_t *ret;

	if (n < 2 || c->s[n - 1] != quote)
		return refuse(p, c->line, "a quoted value does not end");
	for (size_t i = 1; i < n - 1; i++) {
		if (c->s[i] == '\\' && quote == '"' && !strchr("\\\"/", c->s[i + 1]))
			return refuse(p, c->line,
				      "an escape sequence, of which only \\\" and \\\\ are known");
		if ((c->s[i] == '\\' && quote == '"') || (c->s[i] == '\'' && quote == '\''))
			i++;
		rouse_buf_printf(&out, "%c", c->s[i]);
	}
	skip(c, n);
	ret = json_string(out.data ? out.data : "");
	return ret ? ret : refuse(p, c->line, "not UTF-8");
}

/* A plain value ends with the line, or in brackets with what may follow there. */
static json_t *parse_plain(struct parser *p, struct cursor *c, bool flow)
{
	size_t n = 0;
	json_t *ret;

	if (c->len && strchr("&*!|>@`%", *c->s))
		return refuse(p, c->line, "anchors, tags and block text are not read");
	while (n < c->len && !(flow && strchr(",]}", c->s[n])) &&
	       !(flow && c->s[n] == ':' && n + 1 < c->len && c->s[n + 1] == ' '))
		n++;
	for (ret = NULL; n && c->s[n - 1] == ' ';)
		n--;
	if (n == 0 || (n == 1 && *c->s == '~') || (n == 4 && memcmp(c->s, "null", 4) == 0))
		ret = json_null();
	else
		ret = json_stringn(c->s, n);
	skip(c, n);
	skip_blanks(c);
	return ret ? ret : refuse(p, c->line, "not UTF-8");
}

static json_t *parse_flow(struct parser *p, struct cursor *c);

static json_t *parse_value(struct parser *p, struct cursor *c, bool flow)
{
	json_t *ret;

	skip_blanks(c);
	if (c->len && (*c->s == '[' || *c->s == '{'))
		ret = parse_flow(p, c);
	else if (c->len && (*c->s == '"' || *c->s == '\''))
		ret = parse_quoted(p, c);
	else
		ret = parse_plain(p, c, flow);
	skip_blanks(c);
	return ret;
}

static int add_member(struct parser *p, json_t *map, const json_t *key, json_t *value,
		      unsigned line)
{
	const char *name = json_string_value(key);

	if (!value) /* its own fault was told */
		return -1;
	if (!name || json_object_get(map, name)) {
		json_decref(value);
		(void)refuse(p, line, "a key that is not text, or stands there twice");
		return -1;
	}
	rouse_json_set(map, name, value);
	return 0;
}

static json_t *parse_flow(struct parser *p, struct cursor *c)
{
	bool map = *c->s == '{';
	char close = map ? '}' : ']';
	auto_json json_t *ret = map ? json_object() : json_array();

	if (++p->depth > ROUSE_MAX_YAML_DEPTH)
		return refuse(p, c->line, "too deep");
	skip(c, 1);
	for (skip_blanks(c); c->len && *c->s != close; skip_blanks(c)) {
		auto_json json_t *key = map ? parse_value(p, c, true) : NULL;
		json_t *value;

		if (map && (!key || !c->len || *c->s != ':'))
			return key ? refuse(p, c->line, "no \":\" behind a key") : NULL;
		if (map)
			skip(c, 1);
		value = parse_value(p, c, true);
		if (!value || (map && add_member(p, ret, key, value, c->line) < 0))
			return NULL;
		if (!map)
			rouse_json_append(ret, value);
		if (c->len && *c->s == ',')
			skip(c, 1);
		else if (!c->len || *c->s != close)
			break;
	}
	if (!c->len || *c->s != close)
		return refuse(p, c->line, "a bracket that is not closed on its line");
	skip(c, 1);
	p->depth--;
	return take(ret, NULL);
}

/* What stands behind "key:" or "-" on the same line. */
static json_t *parse_rest(struct parser *p, const char *s, size_t len, unsigned line)
{
	struct cursor c = { s, len, line };
	auto_json json_t *ret = parse_value(p, &c, false);

	if (ret && c.len)
		return refuse(p, line, "something behind the end of a value");
	return take(ret, NULL);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static bool is_item(const struct line *l)
{
	return *l->text == '-' && (l->len == 1 || l->text[1] == ' ');
}

/* The length of the key, at whose end is a colon; 0 when the line has none. */
static size_t key_length(const struct line *l)
{
	size_t i = 0;

	if (*l->text == '"' || *l->text == '\'')
		i = skip_quoted(l->text, l->len);
	for (; i < l->len; i++)
		if (l->text[i] == ':' && (i + 1 == l->len || l->text[i + 1] == ' '))
			return i;
	return 0;
}

static json_t *parse_list(struct parser *p, size_t indent)
{
	auto_json json_t *ret = json_array();

	while (p->at < p->n && p->lines[p->at].indent == indent && is_item(&p->lines[p->at])) {
		struct line *l = &p->lines[p->at];
		size_t gap = 1;
		json_t *value;

		while (gap < l->len && l->text[gap] == ' ')
			gap++;
		if (gap == l->len) {
			p->at++;
			value = p->at < p->n && p->lines[p->at].indent > indent
					? parse_block(p, p->lines[p->at].indent)
					: json_null();
		} else {
			/* The item is a block that begins on this line. */
			l->text += gap;
			l->len -= gap;
			l->indent += gap;
			if (is_item(l) || (key_length(l) && !strchr("[{", *l->text))) {
				value = parse_block(p, l->indent);
			} else {
				value = parse_rest(p, l->text, l->len, l->number);
				p->at++;
			}
		}
		if (!value)
			return NULL;
		rouse_json_append(ret, value);
	}
	return take(ret, NULL);
}

static json_t *parse_member(struct parser *p, size_t indent, const struct line *l, size_t key)
{
	const struct line *next;

	p->at++;
	if (key + 1 < l->len)
		return parse_rest(p, l->text + key + 1, l->len - key - 1, l->number);
	next = p->at < p->n ? &p->lines[p->at] : NULL;
	if (next && (next->indent > indent || (next->indent == indent && is_item(next))))
		return parse_block(p, next->indent);
	return json_null();
}

static json_t *parse_map(struct parser *p, size_t indent)
{
	auto_json json_t *ret = json_object();

	while (p->at < p->n && p->lines[p->at].indent == indent && !is_item(&p->lines[p->at])) {
		const struct line l = p->lines[p->at];
		size_t n = key_length(&l);
		auto_json json_t *key = n ? parse_rest(p, l.text, n, l.number) : NULL;

		if (!n)
			return refuse(p, l.number, "neither \"key: value\" nor \"- value\"");
		if (!key || add_member(p, ret, key, parse_member(p, indent, &l, n), l.number) < 0)
			return NULL;
	}
	return take(ret, NULL);
}

static json_t *parse_block(struct parser *p, size_t indent)
{
	json_t *ret;

	if (++p->depth > ROUSE_MAX_YAML_DEPTH)
		return refuse(p, p->lines[p->at].number, "too deep");
	ret = is_item(&p->lines[p->at]) ? parse_list(p, indent) : parse_map(p, indent);
	p->depth--;
	return ret;
}

json_t *rouse_yaml_parse(const char *name, const char *text, size_t len, struct rouse_err *e)
{
	auto_free struct line *lines = rouse_calloc(ROUSE_MAX_YAML_LINES, sizeof(*lines));
	struct parser p = { .name = name, .lines = lines, .e = e };
	auto_json json_t *ret = NULL;

	if (split(&p, text, len) < 0)
		return NULL;
	if (!p.n)
		return json_null();
	if (strchr("[{", *lines[0].text) && p.n == 1) {
		ret = parse_rest(&p, lines[0].text, lines[0].len, lines[0].number);
		p.at = p.n;
	} else {
		ret = parse_block(&p, lines[0].indent);
	}
	if (ret && p.at < p.n)
		return refuse(&p, lines[p.at].number,
			      "this line is indented as no other around it");
	return take(ret, NULL);
}

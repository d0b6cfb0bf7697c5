/* SPDX-License-Identifier: Apache-2.0 */
#include "install.h"

#include <ctype.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

/* --- names ------------------------------------------------------------------------------------ */

static const char *const suffixes[] = { ".service", ".socket", ".mount", ".automount", ".swap",
					".target",  ".path",   ".timer", ".slice" };

static const char *suffix_of(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (len > n && strcmp(s + len - n, suffixes[i]) == 0)
			return s + len - n;
	}
	return NULL;
}

bool unit_is_name(const char *s)
{
	const char *at = strchr(s, '@');

	if (strlen(s) > 255 || !suffix_of(s) || at == s || *s == '.')
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p > 127 ||
		    !(isalnum((unsigned char)*p) || strchr(":-_.\\@", *p)))
			return false;
	return true;
}

bool unit_is_drop_in(const char *s)
{
	size_t len = strlen(s);

	if (len < 6 || len > 255 || *s == '.' || strcmp(s + len - 5, ".conf") != 0)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s > 127 || !(isalnum((unsigned char)*s) || strchr("-_.", *s)))
			return false;
	return true;
}

bool unit_is_template(const char *s)
{
	const char *at = strchr(s, '@');

	return at && at + 1 == suffix_of(s);
}

const char *unit_template_of(const char *name, struct rouse_arena *arena)
{
	const char *at = strchr(name, '@');

	if (!at || unit_is_template(name))
		return NULL;
	return rouse_arena_printf(arena, "%.*s@%s", (int)(at - name), name, suffix_of(name));
}

static void expand_one(char specifier, const char *unit, struct rouse_buf *out, bool *ok)
{
	const char *end = suffix_of(unit), *at = strchr(unit, '@');
	const char *prefix_end = at ? at : end, *dash = prefix_end;

	while (dash > unit && dash[-1] != '-')
		dash--;
	switch (specifier) {
	case '%':
		rouse_buf_printf(out, "%%");
		return;
	case 'n':
		rouse_buf_printf(out, "%s", unit);
		return;
	case 'N':
		rouse_buf_printf(out, "%.*s", (int)(end - unit), unit);
		return;
	case 'p':
		rouse_buf_printf(out, "%.*s", (int)(prefix_end - unit), unit);
		return;
	case 'j':
		rouse_buf_printf(out, "%.*s", (int)(prefix_end - dash), dash);
		return;
	case 'i':
		if (at)
			rouse_buf_printf(out, "%.*s", (int)(end - at - 1), at + 1);
		return;
	default:
		*ok = false;
	}
}

const char *unit_expand(const char *text, const char *unit, struct rouse_arena *arena)
{
	auto_buf struct rouse_buf out = { 0 };
	bool ok = true;

	for (; ok && *text; text++)
		if (*text != '%')
			rouse_buf_printf(&out, "%c", *text);
		else if (text[1])
			expand_one(*++text, unit, &out, &ok);
		else
			ok = false;
	return ok && out.data ? rouse_arena_strdup(arena, out.data) : NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

struct reader {
	struct unit_install *ret;
	struct rouse_arena *arena;
	bool in_section, in_install;
	const char *why;
};

static bool fail(struct reader *r, const char *why)
{
	r->why = why;
	return false;
}

/* Blank-separated names; the empty text empties the list. */
static bool add_names(struct reader *r, struct rouse_list *list, char *value)
{
	const char **items = rouse_arena_alloc(r->arena, ROUSE_MAX_INSTALL * sizeof(*items));
	char *save = NULL;

	if (!*value)
		list->n = 0;
	if (list->n)
		memcpy(items, list->items, list->n * sizeof(*items));
	list->items = items;
	for (char *name = strtok_r(value, " \t", &save); name;
	     name = strtok_r(NULL, " \t", &save)) {
		if (list->n == ROUSE_MAX_INSTALL)
			return fail(r, "too many names");
		if (strchr(name, '/'))
			return fail(r, "a name of a unit has no \"/\"");
		items[list->n++] = rouse_arena_strdup(r->arena, name);
	}
	return true;
}

static bool read_install(struct reader *r, const char *key, char *value)
{
	const struct {
		const char *key;
		struct rouse_list *list;
	} lists[] = { { "WantedBy", &r->ret->wanted_by },
		      { "RequiredBy", &r->ret->required_by },
		      { "UpheldBy", &r->ret->upheld_by },
		      { "Alias", &r->ret->alias },
		      { "Also", &r->ret->also } };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (strcmp(key, lists[i].key) == 0)
			return add_names(r, lists[i].list, value);
	if (strcmp(key, "DefaultInstance") == 0) {
		if (strchr(value, '/') || strlen(value) > 200)
			return fail(r, "no instance has this name");
		r->ret->default_instance = *value ? rouse_arena_strdup(r->arena, value) : NULL;
	}
	return true;
}

static void trim(char *s)
{
	size_t len = strlen(s), blanks = strspn(s, " \t");

	memmove(s, s + blanks, len - blanks + 1);
	for (len -= blanks; len && strchr(" \t", s[len - 1]); len--)
		s[len - 1] = '\0';
}

static bool read_line(struct reader *r, char *line)
{
	char *equals;
	size_t len;

	trim(line);
	len = strlen(line);
	if (!len || *line == '#' || *line == ';')
		return true;
	if (*line == '[') {
		if (len < 3 || line[len - 1] != ']')
			return fail(r, "a section is \"[Name]\"");
		r->in_section = true;
		r->in_install = strcmp(line, "[Install]") == 0;
		return true;
	}
	equals = strchr(line, '=');
	if (!equals || equals == line)
		return fail(r, "neither \"[Section]\" nor \"Key=value\"");
	if (!r->in_section)
		return fail(r, "it stands before the first \"[Section]\"");
	*equals = '\0';
	trim(line);
	trim(equals + 1);
	return !r->in_install || read_install(r, line, equals + 1);
}

bool unit_parse(const char *text, size_t len, struct unit_install *ret, struct rouse_arena *arena,
		unsigned *ret_line, const char **ret_why)
{
	struct reader r = { .ret = ret, .arena = arena };
	const char *end = text + len;
	unsigned number = 0;

	*ret_line = 1;
	*ret_why = "it holds a NUL byte";
	if (memchr(text, '\0', len))
		return false;
	while (text < end) {
		auto_buf struct rouse_buf line = { 0 };
		bool more = true;

		*ret_line = number + 1;
		/* A line that ends in "\" goes on in the next that is no comment. */
		while (more && text < end) {
			const char *eol = memchr(text, '\n', (size_t)(end - text));
			size_t n = (size_t)((eol ? eol : end) - text), blank = 0;

			number++;
			while (blank < n && (text[blank] == ' ' || text[blank] == '\t'))
				blank++;
			if (blank < n && strchr("#;", text[blank])) {
				more = line.len > 0;
			} else {
				more = n && text[n - 1] == '\\';
				rouse_buf_printf(&line, "%.*s ", (int)(more ? n - 1 : n), text);
			}
			text = eol ? eol + 1 : end;
		}
		if (line.data && !read_line(&r, line.data)) {
			*ret_why = r.why;
			return false;
		}
	}
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/accounts.h>

#include <ctype.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

static const char *const paths[] = {
	[ROUSE_PASSWD] = "/etc/passwd",
	[ROUSE_GROUP] = "/etc/group",
	[ROUSE_SHADOW] = "/etc/shadow",
	[ROUSE_GSHADOW] = "/etc/gshadow",
};
_Static_assert(ARRAY_SIZE(paths) == ROUSE_ACCOUNT_FILES_, "one path per file");

const char *rouse_account_path(enum rouse_account_file f)
{
	return paths[f];
}

void rouse_lines_done(struct rouse_lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct rouse_lines){ 0 };
}

void rouse_accounts_done(struct rouse_accounts *a)
{
	for (size_t i = 0; i < ROUSE_ACCOUNT_FILES_; i++)
		rouse_lines_done(&a->files[i]);
}

/* Takes ownership of `line`. */
static void insert(struct rouse_lines *l, size_t at, char *line)
{
	if (l->n == l->size) {
		l->size = l->size ? l->size * 2 : 64;
		l->items = rouse_realloc(l->items, l->size, sizeof(*l->items));
	}
	memmove(l->items + at + 1, l->items + at, (l->n - at) * sizeof(*l->items));
	l->items[at] = line;
	l->n++;
}

bool rouse_lines_parse(struct rouse_lines *l, const char *text, size_t len)
{
	if (len && memchr(text, '\0', len))
		return false;
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		insert(l, l->n, rouse_strndup(text, n));
		n += end ? 1 : 0;
		text += n;
		len -= n;
	}
	return true;
}

void rouse_lines_print(const struct rouse_lines *l, struct rouse_buf *out)
{
	for (size_t i = 0; i < l->n; i++)
		rouse_buf_printf(out, "%s\n", l->items[i]);
}

static int load_one(struct rouse_lines *l, const struct rouse_root *r, const char *path,
		    struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_fs_read(r, path, ROUSE_MAX_ACCOUNTS, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	l->exists = true;
	if (!rouse_lines_parse(l, text.data ? text.data : "", text.len))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "cannot read '%s': it holds a NUL byte; repair it", path);
	return 0;
}

int rouse_accounts_load(struct rouse_accounts *ret, const struct rouse_root *r, bool secrets,
			struct rouse_err *e)
{
	auto_accounts struct rouse_accounts a = { 0 };

	for (unsigned i = 0; i < (secrets ? ROUSE_ACCOUNT_FILES_ : ROUSE_SHADOW); i++)
		if (load_one(&a.files[i], r, paths[i], e) < 0)
			return -1;
	*ret = a;
	a = (struct rouse_accounts){ 0 };
	return 0;
}

/* The begin of a field and its length; NULL when the line has fewer. */
static const char *field_of(const char *line, unsigned field, size_t *len)
{
	for (; field; field--) {
		line = strchr(line, ':');
		if (!line)
			return NULL;
		line++;
	}
	*len = strcspn(line, ":");
	return line;
}

static bool field_is(const char *line, unsigned field, const char *value)
{
	size_t len = 0;
	const char *at = field_of(line, field, &len);

	return at && len == strlen(value) && memcmp(at, value, len) == 0;
}

static char **find(const struct rouse_lines *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		/* a line without any colon is a comment or a mistake, not an account */
		if (strchr(l->items[i], ':') && field_is(l->items[i], 0, name))
			return &l->items[i];
	return NULL;
}

const char *rouse_lines_find(const struct rouse_lines *l, const char *name)
{
	char **line = find(l, name);

	return line ? *line : NULL;
}

static char *get(const char *line, unsigned field)
{
	size_t len = 0;
	const char *at = line ? field_of(line, field, &len) : NULL;

	return at ? rouse_strndup(at, len) : NULL;
}

char *rouse_lines_get(const struct rouse_lines *l, const char *name, unsigned field)
{
	return get(rouse_lines_find(l, name), field);
}

static bool parse_id(const char *s, uint32_t *ret)
{
	uint64_t v = 0;

	/* (uid_t)-1 means "no change" to chown(2), so it is nobody's id */
	if (!rouse_parse_u64(s, UINT32_MAX - 1, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

bool rouse_lines_id(const struct rouse_lines *l, const char *name, unsigned field, uint32_t *ret)
{
	auto_free char *text = rouse_lines_get(l, name, field);

	return text && parse_id(text, ret);
}

char *rouse_lines_name_of(const struct rouse_lines *l, unsigned field, uint32_t id)
{
	for (size_t i = 0; i < l->n; i++) {
		auto_free char *text = get(l->items[i], field);
		uint32_t v = 0;

		if (text && parse_id(text, &v) && v == id)
			return get(l->items[i], 0);
	}
	return NULL;
}

bool rouse_lines_has_member(const struct rouse_lines *l, const char *name, unsigned field,
			    const char *member)
{
	auto_free char *list = rouse_lines_get(l, name, field);
	size_t len = strlen(member);

	for (const char *at = list; at && *at;) {
		size_t n = strcspn(at, ",");

		if (n == len && memcmp(at, member, n) == 0)
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}

void rouse_lines_set(struct rouse_lines *l, const char *name, unsigned field, const char *value)
{
	char **line = find(l, name);
	auto_buf struct rouse_buf out = { 0 };
	size_t n = 0;
	const char *at;

	if (!line || field_is(*line, field, value))
		return;
	for (unsigned i = 0; i < field; i++) {
		at = field_of(*line, i, &n);
		rouse_buf_printf(&out, "%.*s:", at ? (int)n : 0, at ? at : "");
	}
	rouse_buf_printf(&out, "%s", value);
	at = field_of(*line, field, &n);
	if (at)
		rouse_buf_printf(&out, "%s", at + n);
	free(*line);
	*line = rouse_strdup(out.data);
	l->changed = true;
}

void rouse_lines_add_member(struct rouse_lines *l, const char *name, unsigned field,
			    const char *member)
{
	auto_free char *list = rouse_lines_get(l, name, field);
	auto_free char *longer = NULL;

	if (!rouse_lines_find(l, name) || rouse_lines_has_member(l, name, field, member))
		return;
	longer = rouse_asprintf("%s%s%s", list ? list : "", list && *list ? "," : "", member);
	rouse_lines_set(l, name, field, longer);
}

void rouse_lines_add(struct rouse_lines *l, const char *line)
{
	size_t at = 0;

	while (at < l->n && l->items[at][0] != '+')
		at++;
	insert(l, at, rouse_strdup(line));
	l->changed = true;
}

bool rouse_account_resolve(const struct rouse_lines *l, const char *name, uint32_t *ret)
{
	return parse_id(name, ret) || rouse_lines_id(l, name, ROUSE_PW_UID, ret);
}
_Static_assert((int)ROUSE_PW_UID == (int)ROUSE_GR_GID, "the id is the third field of both files");

bool rouse_is_account_name(const char *s)
{
	size_t len = strlen(s);

	/* utmp(5) keeps 32 bytes with the NUL */
	if (!len || len > 31 || !(isalpha((unsigned char)*s) || *s == '_') || s[len - 1] == '.')
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p > 127 || !(isalnum((unsigned char)*p) || strchr("_-.", *p)))
			return false;
	return true;
}

bool rouse_is_account(const char *s)
{
	uint32_t id = 0;

	return rouse_is_account_name(s) || parse_id(s, &id);
}

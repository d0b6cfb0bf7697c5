/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fstab.h>

#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#define OPTION "x-rouse."
#define BLANKS " \t"

/* ---- one line -------------------------------------------------------------------------------- */

static void print_field(struct rouse_buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool plain = *p > ' ' && *p != '\\' && *p != '#' && *p != 0x7f;

		rouse_buf_printf(out, plain ? "%c" : "\\%03o", (unsigned char)*p);
	}
}

bool rouse_fstab_is_early(const char *target)
{
	static const char *const needs[] = { "/etc/rouse", "/var/lib/rouse", "/nix", "/usr/sbin" };

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		const char *rest = rouse_strip_prefix(needs[i], target);

		if (rest && (!*rest || *rest == '/'))
			return true;
	}
	return false;
}

void rouse_fstab_print(struct rouse_buf *out, const struct rouse_fstab_line *line)
{
	print_field(out, line->source);
	rouse_buf_printf(out, " ");
	print_field(out, line->target ? line->target : "none");
	rouse_buf_printf(out, " %s ", line->type);
	if (line->options) {
		print_field(out, line->options);
		rouse_buf_printf(out, ",");
	}
	if (line->target && !rouse_fstab_is_early(line->target))
		rouse_buf_printf(out, "x-systemd.after=rouse.service,");
	rouse_buf_printf(out, OPTION "%s 0 %d\n", line->owner, line->check ? 2 : 0);
}

/* The n-th field of a line, as it stands there; false when it has fewer, or is a comment. */
static bool field_of(const char *line, size_t len, unsigned n, const char **ret, size_t *ret_len)
{
	const char *end = line + len;

	for (const char *p = line;; n--) {
		const char *from;

		while (p < end && strchr(BLANKS, *p))
			p++;
		for (from = p; p < end && !strchr(BLANKS, *p);)
			p++;
		if (p == from || *from == '#')
			return false;
		if (n == 0) {
			*ret = from;
			*ret_len = (size_t)(p - from);
			return true;
		}
	}
}

static bool is_of(const char *owner, const char *line, size_t len)
{
	const size_t prefix = strlen(OPTION);
	const char *options = NULL, *end;
	size_t n = 0;

	if (!field_of(line, len, 3, &options, &n))
		return false;
	for (end = options + n; options < end;) {
		const char *comma = memchr(options, ',', (size_t)(end - options));
		size_t size = (size_t)((comma ? comma : end) - options);

		if (size == prefix + strlen(owner) && memcmp(options, OPTION, prefix) == 0 &&
		    memcmp(options + prefix, owner, size - prefix) == 0)
			return true;
		options += size + 1;
	}
	return false;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

json_t *rouse_fstab_read(const struct rouse_root *root, const char *owner, struct rouse_err *e)
{
	json_t *all, *own = json_array(), *others = json_array();
	auto_buf struct rouse_buf text = { 0 };
	size_t n;

	if (rouse_fs_read(root, ROUSE_FSTAB, ROUSE_MAX_FSTAB, &text, e) < 0) {
		json_decref(own);
		json_decref(others);
		return NULL;
	}
	for (const char *line = text.data ? text.data : ""; *line; line += n + (line[n] == '\n')) {
		const char *target = NULL;
		size_t len = 0;

		n = line_length(line);
		if (is_of(owner, line, n))
			rouse_json_append(own, json_stringn(line, n));
		else if (field_of(line, n, 1, &target, &len))
			rouse_json_append(others, json_stringn(target, len));
	}
	all = json_object();
	rouse_json_set(all, "own", own);
	rouse_json_set(all, "others", others);
	return all;
}

bool rouse_fstab_is(const struct rouse_list *own, const char *lines)
{
	const char *const *line = own->items;

	for (size_t i = 0; i < own->n; i++) {
		const char *rest = rouse_strip_prefix(lines, line[i]);

		if (!rest || *rest != '\n')
			return false;
		lines = rest + 1;
	}
	return !*lines;
}

int rouse_fstab_write(const struct rouse_root *root, const char *owner, const char *lines,
		      struct rouse_err *e)
{
	auto_buf struct rouse_buf old = { 0 }, text = { 0 };
	size_t n;

	if (rouse_fs_read(root, ROUSE_FSTAB, ROUSE_MAX_FSTAB, &old, e) < 0)
		return -1;
	for (const char *line = old.data ? old.data : ""; *line; line += n + (line[n] == '\n')) {
		n = line_length(line);
		if (!is_of(owner, line, n))
			rouse_buf_printf(&text, "%.*s\n", (int)n, line);
	}
	rouse_buf_printf(&text, "%s", lines);
	return rouse_fs_replace(root, ROUSE_FSTAB, text.data ? text.data : "", text.len, 0644,
				(uid_t)-1, (gid_t)-1, e);
}

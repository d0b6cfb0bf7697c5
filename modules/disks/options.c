/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which arguments a document may give to a mkfs: read as getopt_long(3) would, without its abbreviations.
 * A word that belongs to no option would be one more device, and be overwritten.
 */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

struct reader {
	const struct disks_mkfs *m;
	const struct disks_filesystem *fs;
	const char *const *at;
	struct rouse_problems *problems;
};

static const char *argument(const struct reader *r, size_t i)
{
	return ((const char *const *)r->m->options.items)[i];
}

/* Of the words in `list`, the one with these n bytes; it may be followed by ":". NULL: none. */
static const char *find_word(const char *list, const char *word, size_t n)
{
	for (const char *s = list ? list : ""; *s; s += strspn(s, " ")) {
		if (strcspn(s, " :") == n && strncmp(s, word, n) == 0)
			return s;
		s += strcspn(s, " ");
	}
	return NULL;
}

/* All of these return how many arguments they have read; after a problem, whatever is left. */
static size_t refuse(const struct reader *r, const char *what, size_t n)
{
	rouse_problem(
		r->problems, r->at,
		"\"%.*s\" is no option that %s gets from a document: label, UUID and devices are "
		"said elsewhere",
		n < 64 ? (int)n : 64, what, r->fs->program);
	return r->m->options.n;
}

/* "reflink=1,uuid=…" behind an option, or as the next argument. No value is a path; should another version of
 * the program see a device where we see a value, it finds none. */
static size_t read_value(const struct reader *r, size_t i, const char *behind)
{
	const char *value = behind;

	if (!behind && i + 1 == r->m->options.n) {
		rouse_problem(r->problems, r->at, "\"%.64s\" of %s takes a value", argument(r, i),
			      r->fs->program);
		return 1;
	}
	if (!behind)
		value = argument(r, i + 1);
	for (const char *s = value; *s; s += *s == ',') {
		size_t n = strcspn(s, ",=");

		if (find_word(r->fs->options->denied, s, n))
			return refuse(r, s, n);
		s += strcspn(s, ",");
	}
	if (strchr(value, '/'))
		return refuse(r, value, strlen(value));
	return behind ? 1 : 2;
}

/* "--data=single", "--data", "--mixed" */
static size_t read_word(const struct reader *r, size_t i)
{
	const char *s = argument(r, i) + 2;
	size_t n = strcspn(s, "=");
	const char *known = find_word(r->fs->options->words, s, n);

	if (!known || (known[n] != ':' && s[n]))
		return refuse(r, s - 2, n + 2);
	return known[n] == ':' ? read_value(r, i, s[n] ? s + n + 1 : NULL) : 1;
}

/* "-M", "-dsingle", "-Md" and then its value */
static size_t read_letters(const struct reader *r, size_t i)
{
	const char *all = argument(r, i);

	for (const char *s = all + 1; *s; s++) {
		const char *known = *s == ':' ? NULL : strchr(r->fs->options->letters, *s);

		if (!known)
			return refuse(r, all, strlen(all));
		if (known[1] == ':')
			return read_value(r, i, s[1] ? s + 1 : NULL);
	}
	return 1;
}

void disks_check_options(const struct disks_mkfs *m, const struct disks_filesystem *fs,
			 const char *const *at, struct rouse_problems *problems)
{
	const char *deep[DISKS_MAX_AT];
	const struct reader r = { .m = m, .fs = fs, .at = deep, .problems = problems };

	if (m->options.n && !fs->options) {
		rouse_problem(problems, at, "%s is not made by a program that takes \"options\"",
			      fs->name);
		return;
	}
	(void)disks_at(deep, at, "mkfs", "options");
	for (size_t i = 0; i < m->options.n;) {
		const char *s = argument(&r, i);

		if (s[0] == '-' && s[1] == '-' && s[2])
			i += read_word(&r, i);
		else if (s[0] == '-' && s[1] && s[1] != '-')
			i += read_letters(&r, i);
		else
			i += refuse(&r, s, strlen(s));
	}
}

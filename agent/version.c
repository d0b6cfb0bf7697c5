/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/version.h>

#include <string.h>

#include <rouse/text.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const char *rouse_version_in(const char *name, size_t *ret_name_len)
{
	for (const char *p = name; *p; p++)
		if (*p == '-' && p > name && p[1] && !is_letter(p[1])) {
			*ret_name_len = (size_t)(p - name);
			return p + 1;
		}
	*ret_name_len = strlen(name);
	return name + *ret_name_len;
}

struct component {
	const char *text;
	size_t len;
	bool number;
};

static struct component next_component(const char **p)
{
	struct component c = { 0 };

	while (**p == '.' || **p == '-')
		(*p)++;
	c.text = *p;
	c.number = is_digit(**p);
	while (**p && **p != '.' && **p != '-' && is_digit(**p) == c.number)
		(*p)++;
	c.len = (size_t)(*p - c.text);
	return c;
}

static int compare_numbers(struct component a, struct component b)
{
	int r;

	for (; a.len && *a.text == '0'; a.len--)
		a.text++;
	for (; b.len && *b.text == '0'; b.len--)
		b.text++;
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	r = memcmp(a.text, b.text, a.len);
	return r < 0 ? -1 : r > 0;
}

static bool is_pre(const struct component *c)
{
	return c->len == 3 && memcmp(c->text, "pre", 3) == 0;
}

static bool is_less(struct component a, struct component b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int r;

	if (a.number && b.number)
		return compare_numbers(a, b) < 0;
	if (!a.len && b.number)
		return true;
	if (is_pre(&a) || is_pre(&b))
		return is_pre(&a) && !is_pre(&b);
	if (a.number || b.number)
		return b.number; /* "2.3a" comes before "2.3.1" */
	r = memcmp(a.text, b.text, n);
	return r < 0 || (r == 0 && a.len < b.len);
}

int rouse_version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		struct component x = next_component(&a), y = next_component(&b);

		if (is_less(x, y))
			return -1;
		if (is_less(y, x))
			return 1;
	}
	return 0;
}

bool rouse_version_is_pattern(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (!is_digit(s[i]) && !is_letter(s[i]) && !strchr(".+_~*-", s[i]))
			return false;
	return n && n <= 64;
}

/* Each '*' takes as little as it can, and more when the rest does not fit. */
static bool glob(const char *pattern, const char *s)
{
	const char *star = NULL, *back = NULL;

	while (*s) {
		if (*pattern == '*') {
			star = ++pattern;
			back = s;
		} else if (*pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star;
			s = ++back;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

bool rouse_version_matches(const char *pattern, const char *version)
{
	size_t n = strlen(pattern);

	if (glob(pattern, version))
		return true;
	return n > 2 && rouse_streq(pattern + n - 2, ".*") && strlen(version) == n - 2 &&
	       strncmp(pattern, version, n - 2) == 0;
}

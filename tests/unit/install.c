/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/limits.h>

#include "../../modules/units/install.h"

struct parsed {
	struct rouse_arena arena;
	struct unit_install install;
	unsigned line;
	const char *why;
};

static void parsed_done(struct parsed *p)
{
	rouse_arena_done(&p->arena);
}
#define auto_parsed __attribute__((cleanup(parsed_done)))

static bool parse(struct parsed *p, const char *text)
{
	return unit_parse(text, strlen(text), &p->install, &p->arena, &p->line, &p->why);
}

static const char *name_of(const struct rouse_list *list, size_t i)
{
	return i < list->n ? ((const char *const *)list->items)[i] : NULL;
}

static void install_section_is_read(struct t *t)
{
	auto_parsed struct parsed p = { 0 };

	T_CHECK(t, parse(&p, "[Unit]\nWantedBy=no.target\n[Install]\nWantedBy=a.target  b.target\n"
			     "WantedBy = c.target\nDefaultInstance=x\nX-Mine=1\n"));
	T_CHECK(t, p.install.wanted_by.n == 3);
	T_STR(t, name_of(&p.install.wanted_by, 0), "a.target");
	T_STR(t, name_of(&p.install.wanted_by, 2), "c.target");
	T_STR(t, p.install.default_instance, "x");
}

static void empty_value_empties_a_list(struct t *t)
{
	auto_parsed struct parsed p = { 0 };

	T_CHECK(t, parse(&p, "[Install]\nAlias=a.service\nAlias=\nAlias=b.service\n"));
	T_CHECK(t, p.install.alias.n == 1);
	T_STR(t, name_of(&p.install.alias, 0), "b.service");
}

static void line_goes_on_behind_a_backslash(struct t *t)
{
	auto_parsed struct parsed p = { 0 };

	T_CHECK(t, parse(&p,
			 "# a comment \\\n[Install]\nWantedBy=a.target \\\n ; comment\n\tb.target\n"
			 "RequiredBy=c.target\\"));
	T_CHECK(t, p.install.wanted_by.n == 2 && p.install.required_by.n == 1);
	T_STR(t, name_of(&p.install.wanted_by, 1), "b.target");
}

static void what_is_no_unit_file_is_refused(struct t *t)
{
	static const struct {
		const char *text, *why;
		unsigned line;
	} bad[] = {
		{ "a=1\n", "before the first", 1 },
		{ "[Unit\n", "a section is", 1 },
		{ "[]\n", "a section is", 1 },
		{ "[Unit]\n\nnonsense\n", "neither", 3 },
		{ "[Unit]\n=1\n", "neither", 2 },
		{ "[Unit]\na=1 \\\n2\n=\n", "neither", 4 },
		{ "[Install]\nWantedBy=../../etc/x\n", "\"/\"", 2 },
		{ "[Install]\nDefaultInstance=a/b\n", "no instance", 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_parsed struct parsed p = { 0 };

		T_CHECK(t, !parse(&p, bad[i].text));
		T_HAS(t, p.why, bad[i].why);
		T_CHECK(t, p.line == bad[i].line);
	}
}

static void names_on_a_key_have_a_limit(struct t *t)
{
	for (unsigned more = 0; more < 2; more++) {
		auto_parsed struct parsed p = { 0 };
		auto_buf struct rouse_buf text = { 0 };

		rouse_buf_printf(&text, "[Install]\n");
		for (unsigned i = 0; i < ROUSE_MAX_INSTALL + more; i++)
			rouse_buf_printf(&text, "WantedBy=%u.target\n", i);
		T_CHECK(t, parse(&p, text.data) == !more);
	}
}

static void names_are_those_of_systemd(struct t *t)
{
	static const char *const good[] = { "a.service",   "a-b_c:d\\x2d.socket", "a@.service",
					    "a@b.service", "a@b@c.service",       "1.timer" };
	static const char *const bad[] = { "",
					   "a",
					   ".service",
					   "a.conf",
					   "a/b.service",
					   "a b.service",
					   "@b.service",
					   "a.service ",
					   "..service",
					   "\xc3\xa4.service",
					   "a.scope" };
	auto_buf struct rouse_buf longest = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		T_CHECK(t, unit_is_name(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		T_CHECK(t, !unit_is_name(bad[i]));
	for (unsigned i = 0; i < 255 - strlen(".service"); i++)
		rouse_buf_printf(&longest, "a");
	rouse_buf_printf(&longest, ".service");
	T_CHECK(t, unit_is_name(longest.data));
	rouse_buf_printf(&longest, "x");
	T_CHECK(t, !unit_is_name(longest.data));
	T_CHECK(t, unit_is_drop_in("10-a.conf") && !unit_is_drop_in("a") &&
			   !unit_is_drop_in(".conf") && !unit_is_drop_in("a/b.conf"));
}

static void specifiers_are_replaced(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };

	T_STR(t, unit_expand("%p-%i-%j-%n-%N-%%", "a-b@c.service", &arena),
	      "a-b-c-b-a-b@c.service-a-b@c-%");
	T_STR(t, unit_expand("x%i.target", "a.service", &arena), "x.target");
	T_CHECK(t, !unit_expand("%H.target", "a.service", &arena));
	T_CHECK(t, !unit_expand("a%", "a.service", &arena));
	T_STR(t, unit_template_of("a@b.service", &arena), "a@.service");
	T_CHECK(t, !unit_template_of("a@.service", &arena) && !unit_template_of("a.b", &arena));
}

T_MAIN(T(install_section_is_read), T(empty_value_empties_a_list),
       T(line_goes_on_behind_a_backslash), T(what_is_no_unit_file_is_refused),
       T(names_on_a_key_have_a_limit), T(names_are_those_of_systemd), T(specifiers_are_replaced))

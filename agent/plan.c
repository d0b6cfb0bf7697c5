/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/plan.h>

#include <stdarg.h>
#include <string.h>

#include <rouse/json.h>
#include <rouse/module.h>
#include <rouse/picture.h>
#include <rouse/text.h>
#include <rouse/trust.h>

static const struct {
	const char *word, *mark, *colour;
} effects[] = {
	[ROUSE_CREATE] = { "create", "+", "32" },
	[ROUSE_CHANGE] = { "change", "~", "33" },
	[ROUSE_DESTROY] = { "destroy", "!", "1;31" },
	[ROUSE_USE] = { "use", ">", "36" },
};
_Static_assert(ARRAY_SIZE(effects) == ROUSE_EFFECTS_, "a word for each effect");

void rouse_plan_done(struct rouse_plan *p)
{
	free(p->steps);
	free(p->rooms);
	rouse_arena_done(&p->arena);
	*p = (struct rouse_plan){ 0 };
}

void rouse_plan_add(struct rouse_plan *p, enum rouse_effect effect, unsigned op, const void *arg,
		    const char *what, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	rouse_one_line(text);
	if (p->n_steps == p->size_steps) {
		p->size_steps = p->size_steps ? 2 * p->size_steps : 32;
		p->steps = rouse_realloc(p->steps, p->size_steps, sizeof(*p->steps));
	}
	p->steps[p->n_steps++] = (struct rouse_step){
		.module = p->module,
		.effect = effect,
		.op = op,
		.arg = arg,
		.what = rouse_arena_strdup(&p->arena, text),
	};
}

void rouse_plan_basis(struct rouse_plan *p, const char *text)
{
	auto_free char *all = rouse_asprintf("%s\n%s", p->basis, text);

	rouse_sha256_hex(all, strlen(all), p->basis);
}

void rouse_plan_identify(struct rouse_plan *p, const char *document_sha256)
{
	auto_buf struct rouse_buf all = { 0 };
	char hex[65];

	rouse_buf_printf(&all, "%s\n%s\n", document_sha256, p->basis);
	for (size_t i = 0; i < p->n_steps; i++)
		rouse_buf_printf(&all, "%s %s %s\n", p->steps[i].module->name,
				 effects[p->steps[i].effect].word, p->steps[i].what);
	rouse_sha256_hex(all.data, all.len, hex);
	(void)snprintf(p->id, sizeof(p->id), "%.*s", ROUSE_PLAN_ID, hex);
}

void rouse_plan_room(struct rouse_plan *p, const char *mount, uint64_t bytes, uint64_t inodes)
{
	if (p->n_rooms == p->size_rooms) {
		p->size_rooms = p->size_rooms ? 2 * p->size_rooms : 16;
		p->rooms = rouse_realloc(p->rooms, p->size_rooms, sizeof(*p->rooms));
	}
	p->rooms[p->n_rooms++] = (struct rouse_room){
		.mount = rouse_arena_strdup(&p->arena, mount),
		.bytes = bytes,
		.inodes = inodes,
	};
}

const struct rouse_room *rouse_plan_find_room(const struct rouse_plan *p, const char *path)
{
	const struct rouse_room *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < p->n_rooms; i++) {
		size_t n = strlen(p->rooms[i].mount);

		if (n == 1)
			n = 0; /* "/" is a prefix of all */
		if (strncmp(path, p->rooms[i].mount, n) == 0 && (path[n] == '/' || !path[n]) &&
		    (!best || n > best_len)) {
			best = &p->rooms[i];
			best_len = n;
		}
	}
	return best;
}

struct rouse_plan_account {
	struct rouse_plan_account *next;
	const char *name;
	bool group;
};

void rouse_plan_account(struct rouse_plan *p, bool group, const char *name)
{
	struct rouse_plan_account *a;

	if (rouse_plan_has_account(p, group, name))
		return;
	a = rouse_arena_alloc(&p->arena, sizeof(*a));
	*a = (struct rouse_plan_account){ p->accounts, rouse_arena_strdup(&p->arena, name), group };
	p->accounts = a;
}

bool rouse_plan_has_account(const struct rouse_plan *p, bool group, const char *name)
{
	for (const struct rouse_plan_account *a = p->accounts; a; a = a->next)
		if (a->group == group && strcmp(a->name, name) == 0)
			return true;
	return false;
}

size_t rouse_plan_changes(const struct rouse_plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_steps; i++)
		n += p->steps[i].effect != ROUSE_USE;
	return n;
}

void rouse_plan_print(const struct rouse_plan *p, struct rouse_buf *out, bool colour)
{
	size_t changes = rouse_plan_changes(p);

	for (size_t i = 0; i < p->n_steps; i++) {
		const struct rouse_step *s = &p->steps[i];

		rouse_buf_printf(out, "  %s%s%s%s%s %-9s %s\n", colour ? "\033[" : "",
				 colour ? effects[s->effect].colour : "", colour ? "m" : "",
				 effects[s->effect].mark, colour ? "\033[0m" : "", s->module->name,
				 s->what);
	}
	if (changes == 0)
		rouse_buf_printf(out, "plan: nothing to change\n");
	else
		rouse_buf_printf(out, "plan: %zu change%s\n", changes, changes == 1 ? "" : "s");
}

json_t *rouse_plan_json(const struct rouse_plan *p)
{
	json_t *j = json_object(), *steps = json_array();

	for (size_t i = 0; i < p->n_steps; i++) {
		json_t *s = json_object();

		rouse_json_set_string(s, "module", p->steps[i].module->name);
		rouse_json_set_string(s, "effect", effects[p->steps[i].effect].word);
		rouse_json_set_string(s, "what", p->steps[i].what);
		rouse_json_append(steps, s);
	}
	if (*p->id)
		rouse_json_set_string(j, "id", p->id);
	rouse_json_set_int(j, "changes", rouse_plan_changes(p));
	rouse_json_set(j, "steps", steps);
	if (p->pictures)
		rouse_json_set(j, "disks", rouse_pictures_json(p->pictures));
	return j;
}

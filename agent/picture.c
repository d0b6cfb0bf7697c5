/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/picture.h>

#include <string.h>

#include <rouse/json.h>
#include <rouse/text.h>

#define DEFAULT_COLUMNS 80
#define MIN_BAR 20
#define MAX_BAR 100
/* "  before  [" and "]" */
#define BESIDE_BAR 12

static const struct {
	const char *word, *colour;
	char mark, fill;
} fates[] = {
	[ROUSE_KEPT] = { "kept", "0", '=', '=' },
	[ROUSE_GROWN] = { "grown", "33", '~', '~' },
	[ROUSE_MADE] = { "made", "32", '+', '+' },
	[ROUSE_LOST] = { "lost", "1;31", '!', '!' },
};
_Static_assert(ARRAY_SIZE(fates) == ROUSE_FATES_, "a word for each fate");

static void print_coloured(struct rouse_buf *out, enum rouse_fate fate, bool colour,
			   const char *text)
{
	if (colour)
		rouse_buf_printf(out, "\033[%sm%s\033[0m", fates[fate].colour, text);
	else
		rouse_buf_printf(out, "%s", text);
}

/* ---- the bar --------------------------------------------------------------------------------- */

/* What is at `byte` of the device; NULL: free space. */
static const struct rouse_part *part_at(const struct rouse_picture *p, uint64_t byte, bool after)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct rouse_part *part = &p->parts[i];
		uint64_t size = after ? part->size : part->old_size;

		if (byte >= part->start && byte - part->start < size)
			return part;
	}
	return NULL;
}

/* The smallest partition still has a column: where one begins inside a column, the column is its. */
static const struct rouse_part *part_of_column(const struct rouse_picture *p, uint64_t from,
					       uint64_t to, bool after)
{
	const struct rouse_part *best = part_at(p, from, after);

	for (size_t i = 0; i < p->n; i++) {
		const struct rouse_part *part = &p->parts[i];

		if (part->start > from && part->start < to &&
		    (after ? part->size : part->old_size) && (!best || part->size < to - from))
			best = part;
	}
	return best;
}

/* What takes the place of something lost is made. */
static enum rouse_fate fate_in(const struct rouse_part *part, bool after)
{
	return after && part->fate == ROUSE_LOST ? ROUSE_MADE : part->fate;
}

static char letter(const struct rouse_part *part, const struct rouse_part *previous, bool after)
{
	if (!part)
		return '.';
	if (part != previous && part->number)
		return (char)('0' + part->number % 10);
	/* Before, everything simply is there; what is given up is marked. */
	return after || part->fate == ROUSE_LOST ? fates[fate_in(part, after)].fill : '=';
}

/* Columns of one colour follow each other: said where it changes. NULL: none. */
static const char *change_colour(struct rouse_buf *out, const char *from, const char *to)
{
	if (from && from != to)
		rouse_buf_printf(out, "\033[0m");
	if (to && from != to)
		rouse_buf_printf(out, "\033[%sm", to);
	return to;
}

static void print_bar(struct rouse_buf *out, const struct rouse_picture *p, size_t width,
		      bool after, bool colour)
{
	const struct rouse_part *previous = NULL;
	const char *now = NULL;

	rouse_buf_printf(out, "  %s [", after ? "after " : "before");
	for (size_t i = 0; i < width; i++) {
		const struct rouse_part *part = part_of_column(p, p->size / width * i,
							       p->size / width * (i + 1), after);
		bool marked = part && (after || part->fate == ROUSE_LOST);
		enum rouse_fate fate = marked ? fate_in(part, after) : ROUSE_KEPT;

		now = change_colour(out, now,
				    colour && fate != ROUSE_KEPT ? fates[fate].colour : NULL);
		rouse_buf_printf(out, "%c", letter(part, previous, after));
		previous = part;
	}
	(void)change_colour(out, now, NULL);
	rouse_buf_printf(out, "]\n");
}

/* ---- the table ------------------------------------------------------------------------------- */

static void cell(char *buf, size_t size, uint64_t bytes, const char *what)
{
	char text[16];

	if (!bytes)
		(void)snprintf(buf, size, "-");
	else
		(void)snprintf(buf, size, "%s%s%s", rouse_print_size(text, bytes), what ? "  " : "",
			       what ? what : "");
}

static void print_row(struct rouse_buf *out, const struct rouse_part *part, size_t widest,
		      size_t left, bool colour)
{
	char number[12] = "all", before[256], after[256], line[640];

	if (part->number)
		(void)snprintf(number, sizeof(number), "%u", part->number);
	cell(before, sizeof(before), part->old_size, part->before);
	cell(after, sizeof(after), part->size, part->after);
	if (part->fate == ROUSE_LOST && !part->size)
		(void)snprintf(after, sizeof(after), "destroyed");
	(void)snprintf(line, sizeof(line), "%c %3s  %-*s  %-*s  %s", fates[part->fate].mark, number,
		       (int)widest, part->name ? part->name : "", (int)left, before,
		       part->fate == ROUSE_KEPT ? "the same" : after);
	rouse_buf_printf(out, "  ");
	print_coloured(out, part->fate, colour && part->fate != ROUSE_KEPT, line);
	rouse_buf_printf(out, "\n");
}

static void print_table(struct rouse_buf *out, const struct rouse_picture *p, bool colour)
{
	size_t widest = 1, left = strlen("before");

	for (size_t i = 0; i < p->n; i++) {
		size_t name = p->parts[i].name ? strlen(p->parts[i].name) : 0;
		char text[256];

		cell(text, sizeof(text), p->parts[i].old_size, p->parts[i].before);
		widest = name > widest ? name : widest;
		left = strlen(text) > left ? strlen(text) : left;
	}
	rouse_buf_printf(out, "         %-*s  %-*s  after\n", (int)widest, "", (int)left, "before");
	for (size_t i = 0; i < p->n; i++)
		print_row(out, &p->parts[i], widest, left, colour);
}

static void print_picture(struct rouse_buf *out, const struct rouse_picture *p, size_t columns,
			  bool colour)
{
	size_t width = columns > MIN_BAR + BESIDE_BAR ? columns - BESIDE_BAR : MIN_BAR;
	char size[16];

	if (width > MAX_BAR)
		width = MAX_BAR;
	if (width > p->size)
		width = MIN_BAR;
	rouse_buf_printf(out, "%s  %s  (%s)\n", p->device, rouse_print_size(size, p->size),
			 p->name);
	print_bar(out, p, width, false, colour);
	print_bar(out, p, width, true, colour);
	print_table(out, p, colour);
	rouse_buf_printf(out, "\n");
}

void rouse_pictures_print(const struct rouse_picture *first, struct rouse_buf *out, size_t columns,
			  bool colour)
{
	for (const struct rouse_picture *p = first; p; p = p->next)
		print_picture(out, p, columns ? columns : DEFAULT_COLUMNS, colour);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *part_json(const struct rouse_part *part)
{
	json_t *j = json_object();

	if (part->number)
		rouse_json_set_int(j, "number", part->number);
	rouse_json_set_string(j, "name", part->name);
	rouse_json_set_string(j, "fate", fates[part->fate].word);
	rouse_json_set_int(j, "start", part->start);
	rouse_json_set_int(j, "oldSize", part->old_size);
	rouse_json_set_int(j, "size", part->size);
	rouse_json_set_string(j, "before", part->before);
	rouse_json_set_string(j, "after", part->after);
	return j;
}

json_t *rouse_pictures_json(const struct rouse_picture *first)
{
	json_t *all = json_array();

	for (const struct rouse_picture *p = first; p; p = p->next) {
		json_t *j = json_object(), *parts = json_array();

		rouse_json_set_string(j, "device", p->device);
		rouse_json_set_string(j, "name", p->name);
		rouse_json_set_int(j, "size", p->size);
		for (size_t i = 0; i < p->n; i++)
			rouse_json_append(parts, part_json(&p->parts[i]));
		rouse_json_set(j, "parts", parts);
		rouse_json_append(all, j);
	}
	return all;
}

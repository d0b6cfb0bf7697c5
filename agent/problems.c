/* SPDX-License-Identifier: Apache-2.0 */
#include "problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rouse/text.h>

void rouse_problems_done(struct rouse_problems *p)
{
	size_t kept = p->n < ROUSE_MAX_PROBLEMS ? p->n : ROUSE_MAX_PROBLEMS;

	for (size_t i = 0; i < kept; i++) {
		for (size_t k = 0; k < p->items[i].n_keys; k++)
			free((char *)p->items[i].keys[k]);
		free(p->items[i].keys);
		free(p->items[i].path);
		free(p->items[i].message);
	}
	*p = (struct rouse_problems){ 0 };
}

char *rouse_path_of_keys(const char *const *keys, size_t n)
{
	struct rouse_buf path = { 0 };

	rouse_buf_printf(&path, "%s", "");
	for (size_t i = 0; i < n; i++) {
		if (keys[i][0] == '#')
			rouse_buf_printf(&path, "[%s]", keys[i] + 1);
		else if (keys[i][0] &&
			 strspn(keys[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789_-") == strlen(keys[i]))
			rouse_buf_printf(&path, "%s%s", path.len ? "." : "", keys[i]);
		else
			rouse_buf_printf(&path, "[\"%s\"]", keys[i]);
	}
	return path.data;
}

void problems_add(struct rouse_problems *p, const char *const *keys, size_t n_keys, bool at_key,
		  char *message)
{
	struct rouse_problem *item;

	if (p->n++ >= ROUSE_MAX_PROBLEMS) {
		free(message);
		return;
	}
	item = &p->items[p->n - 1];
	item->path = rouse_path_of_keys(keys, n_keys);
	item->message = message;
	rouse_one_line(item->path);
	rouse_one_line(item->message);
	item->at_key = at_key;
	item->n_keys = n_keys;
	item->keys = rouse_calloc(n_keys, sizeof(*item->keys));
	for (size_t i = 0; i < n_keys; i++)
		item->keys[i] = rouse_strdup(keys[i]);
}

void rouse_problem(struct rouse_problems *p, const char *const *keys, const char *fmt, ...)
{
	char message[1024];
	va_list ap;
	size_t n = 0;

	while (keys[n])
		n++;
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	problems_add(p, keys, n, false, rouse_strdup(message));
}

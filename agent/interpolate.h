/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the strings of a document: {instance.id}, {instance.tags.NAME} and so on. */
#pragma once

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_instance;

/* *ret is `s` itself when it holds no "{", else a copy in `arena` with every name replaced and "{{"
 * as "{". Without an instance only the form is checked, and names become "x". ROUSE_DOCUMENT: a brace
 * that opens no name, a name that is unknown, or that this machine has no value for. */
int interpolate(const char *s, const struct rouse_instance *instance, struct rouse_arena *arena,
		const char **ret, struct rouse_err *e);

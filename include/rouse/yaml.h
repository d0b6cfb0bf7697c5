/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of YAML in which people and tools write a small configuration: maps and lists, by indentation or
 * in brackets on one line; plain and quoted values; comments. Everything else (anchors, tags, block
 * text, several documents, tabs) is refused by name. Every value is a string; nothing is guessed to be a
 * number or a date.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include <rouse/err.h>

/* A new reference; an empty text is null. ROUSE_DOCUMENT as "NAME:LINE: …", which never holds a value. */
must_check json_t *rouse_yaml_parse(const char *name, const char *text, size_t len,
				    struct rouse_err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a device, as a table that a person can check and a bar to scale. A module draws it
 * from the same facts and document as its plan (rouse_module.draw); only the plan is applied.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/mem.h>

enum rouse_fate {
	ROUSE_KEPT,
	ROUSE_GROWN,
	ROUSE_MADE,
	ROUSE_LOST, /* what is there now is destroyed */
	ROUSE_FATES_
};

/* Strings are borrowed from the document, the facts, or the arena of the plan. */
struct rouse_part {
	unsigned number;            /* of the partition; 0: all of the device */
	const char *name;           /* the document's: "/boot"; NULL: it says nothing about it */
	const char *before, *after; /* what is there, what will be; NULL: nothing */
	uint64_t start;             /* bytes, from the beginning of the device */
	uint64_t old_size, size;    /* bytes; 0: it is not there before, after */
	enum rouse_fate fate;
};

struct rouse_picture {
	const char *device, *name; /* "/dev/vda", and what the document calls it */
	uint64_t size;             /* bytes */
	size_t n;
	const struct rouse_part *parts; /* by their start; what is lost first */
	struct rouse_picture *next;
};

/* The pictures of a plan below each other; `columns` is the width of the terminal, 0 for a default. */
void rouse_pictures_print(const struct rouse_picture *first, struct rouse_buf *out, size_t columns,
			  bool colour);
json_t *rouse_pictures_json(const struct rouse_picture *first);

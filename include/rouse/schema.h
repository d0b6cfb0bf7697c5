/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that say what a JSON text may hold. One table validates, decodes into C structs, prints
 * the JSON Schema, the section of the man page and the fuzz dictionary. Documents, the image's
 * settings and recorded facts are all read through it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/limits.h>
#include <rouse/mem.h>

enum rouse_type {               /* stored as */
		  ROUSE_STRING, /* const char *, NULL when absent; borrowed from the JSON or the arena */
		  ROUSE_BOOL,     /* bool; enum rouse_choice when the shape says so */
		  ROUSE_INT,      /* int64_t */
		  ROUSE_SIZE,     /* struct rouse_size */
		  ROUSE_DURATION, /* uint64_t, ms */
		  ROUSE_MODE,     /* uint32_t; the JSON holds an octal string */
		  ROUSE_OBJECT,   /* pointer to the struct of its fields, NULL when absent */
		  ROUSE_LIST,     /* struct rouse_list */
		  ROUSE_MAP,      /* struct rouse_list; keys keep the order of the text */
		  ROUSE_TYPES_
};

/* Where leaving it out is neither. */
enum rouse_choice { ROUSE_UNSAID, ROUSE_NO, ROUSE_YES };

struct rouse_size {
	uint64_t bytes;   /* 0 when a percentage is meant, or nothing was given */
	unsigned percent; /* 1…100, or 0 */
};

/* Items of a list or a map, n × stride bytes, in the arena. What an item is:
 *   list of strings: const char *     map of strings: struct rouse_pair
 *   list of objects: the struct       map of objects: the struct, whose first member is
 *                                     `const char *key`
 *   list of ints:    int64_t          map of maps, of lists: struct rouse_named_list */
struct rouse_list {
	size_t n;
	void *items;
};
/* Of strings: all of them with `between` in between, NULL when there are none; is this one in it? */
const char *rouse_list_join(struct rouse_arena *arena, const struct rouse_list *list,
			    const char *between);
bool rouse_list_has(const struct rouse_list *list, const char *text);
struct rouse_pair {
	const char *key, *value;
};
struct rouse_named_list {
	const char *key;
	struct rouse_list list;
};

struct rouse_shape {
	enum rouse_type type;
	const char *
		format; /* STRING, and keys of MAP: what is wanted, for messages: "an absolute path" */
	bool (*valid)(const char *s); /* … and the test of it; NULL: any text */
	const char *pattern; /* … as a regular expression, for the JSON Schema; may be NULL */
	const char *const *words; /* STRING: NULL-terminated list of the allowed values */
	bool interpolate;         /* STRING: {instance.…} is replaced */
	bool instance_keys; /* STRING in a LIST: "{instance.sshKeys}" is replaced by all of them */
	bool secret;        /* the value is never printed */
	bool percent;       /* SIZE: "25%" is allowed */
	bool choice;        /* BOOL: stored as enum rouse_choice */
	int64_t min, max;   /* INT value; STRING length and LIST/MAP count when max > 0;
	                            * DURATION in ms */
	const struct rouse_field *fields; /* OBJECT */
	size_t n_fields, size;            /* OBJECT: of the table, and of the struct */
	const char *shorthand; /* OBJECT: a JSON string stands for { shorthand: string }, or a
	                            * whole number where that field is an INT;
	                            * LIST: a single item may stand without the brackets (any value) */
	const struct rouse_shape *item; /* LIST, MAP */
	bool open; /* OBJECT: unknown keys are ignored (facts, metadata; never documents) */
};

struct rouse_field {
	const char *name;
	const char *doc; /* one sentence for people */
	size_t offset;   /* in the struct of the table */
	bool required;
	struct rouse_shape shape;
};

/* What describes an object that is read into a struct: ROUSE_OBJECT_OF(struct conf, its_fields) */
#define ROUSE_OBJECT_OF(type_, fields_)                                                            \
	.type = ROUSE_OBJECT, .fields = (fields_), .n_fields = ARRAY_SIZE(fields_),                \
	.size = sizeof(type_)
/* ROUSE_FIELD(struct conf, member, "name", "Doc.", .type = ROUSE_STRING, …) */
#define ROUSE_FIELD(type_, member_, name_, doc_, ...)                                              \
	{                                                                                          \
		.name = (name_), .doc = (doc_), .offset = offsetof(type_, member_),                \
		.shape = { __VA_ARGS__ },                                                          \
	}
#define ROUSE_REQUIRED(type_, member_, name_, doc_, ...)                                           \
	{                                                                                          \
		.name = (name_), .doc = (doc_), .offset = offsetof(type_, member_),                \
		.required = true, .shape = { __VA_ARGS__ },                                        \
	}

/* Formats that several sections use, for `valid` and `format`. */
bool rouse_is_absolute_path(
	const char *s); /* "/…", no "//", ".", "..", no trailing "/" but "/" itself */
bool rouse_is_hostname(const char *s);   /* RFC 1123, at most 64 bytes (Linux HOST_NAME_MAX) */
bool rouse_is_sha256_hex(const char *s); /* 64 lower-case hex digits */
bool rouse_is_url(
	const char *
		s); /* https, http, file, s3, gs or az with a host or path; no blanks, no userinfo */
bool rouse_is_cache_url(const char *s);  /* the same, beneath which objects can be named */
bool rouse_is_store_path(const char *s); /* /nix/store/<32 nix32>-<name> */
bool rouse_is_label(
	const char *s); /* key of disks, caches, checks…: [A-Za-z0-9][A-Za-z0-9._-]{0,62} */

/* What is wrong with a text, in the order in which it stands there. */
struct rouse_problem {
	char *path;        /* "disks.root.partitions[\"/boot\"].size"; "" for the whole text */
	char *message;     /* "expected a size such as \"200MB\", found 200" */
	size_t n_keys;     /* the same path, split, for finding it in a text: */
	const char **keys; /* "#3" is the fourth item of a list; ":shape" suffixes do not occur */
	bool at_key;       /* the key itself is wrong (unknown key), not its value */
};
struct rouse_problems {
	size_t n; /* all of them; at most ROUSE_MAX_PROBLEMS are kept in items */
	struct rouse_problem items[ROUSE_MAX_PROBLEMS];
};
void rouse_problems_done(struct rouse_problems *p);
/* Keys as people write them: disks.root.partitions["/boot"].size, replace[0]. Caller frees. */
char *rouse_path_of_keys(const char *const *keys, size_t n);
/* Adds a problem at a path given as keys, for checks beyond the tables: NULL-terminated keys. */
void rouse_problem(struct rouse_problems *p, const char *const *keys, const char *fmt, ...)
	like_printf(3, 4);

/* Values for {instance.…}; see rouse/document.h. NULL in `get` means "syntax only". */
struct rouse_instance;

/* Validates `json` against an object shape and, when `ret` is not NULL, decodes it into the
 * zeroed struct behind `ret` (shape->size bytes). Strings are borrowed from `json`, all else comes
 * from `arena`. Returns the number of problems added. With `instance`, {instance.…} in strings
 * that allow it is replaced (an unknown name is a problem); without, it is checked only. */
size_t rouse_schema_read(const struct rouse_shape *shape, const json_t *json,
			 const struct rouse_instance *instance, void *ret,
			 struct rouse_arena *arena, struct rouse_problems *problems);

/* The way back: the JSON that rouse_schema_read() decoded into `object`, with {instance.…} replaced. What
 * is false, 0 or empty is left out, as it reads the same. A new reference. */
json_t *rouse_schema_write(const struct rouse_shape *shape, const void *object);

/* The JSON Schema (draft 2020-12) of a shape; a new reference. */
json_t *rouse_schema_json(const struct rouse_shape *shape);
/* The man page section (roff: .TP lists) of a shape, down to so many levels, appended. */
void rouse_schema_man(const struct rouse_shape *shape, const char *prefix, unsigned levels,
		      struct rouse_buf *out);
/* libFuzzer dictionary lines of all names and words, appended. */
void rouse_schema_dictionary(const struct rouse_shape *shape, struct rouse_buf *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. The x-functions never return NULL: when memory runs out they write one static line and
 * exit with ROUSE_SYSTEM (the supervisor of pid 1 never calls them; its child does).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rouse/auto.h>

void *rouse_calloc(size_t n, size_t size);                    /* zeroed; caller frees */
void *rouse_realloc(void *p, size_t n, size_t size);          /* grown part is not zeroed */
char *rouse_strdup(const char *s);                            /* caller frees */
char *rouse_strndup(const char *s, size_t n);                 /* at most n bytes; caller frees */
char *rouse_asprintf(const char *fmt, ...) like_printf(1, 2); /* caller frees */

/* An arena: many small allocations, one release. */
struct rouse_arena {
	struct rouse_arena_block *head;
};

void rouse_arena_done(struct rouse_arena *a); /* frees everything; the arena is empty again */
void *rouse_arena_alloc(struct rouse_arena *a, size_t size); /* zeroed, aligned for any type */
char *rouse_arena_strdup(struct rouse_arena *a, const char *s);
char *rouse_arena_strndup(struct rouse_arena *a, const char *s, size_t n);
char *rouse_arena_printf(struct rouse_arena *a, const char *fmt, ...) like_printf(2, 3);

static inline void arena_auto(struct rouse_arena *a)
{
	rouse_arena_done(a);
}
#define auto_arena __attribute__((cleanup(arena_auto)))

/* Bytes that grow up to a bound. `data` is always NUL-terminated behind `len` once not NULL. */
struct rouse_buf {
	char *data;
	size_t len, size;
};

/* Appends n bytes. Returns -1 (and changes nothing) when len + n would exceed max. */
must_check int rouse_buf_add(struct rouse_buf *b, const void *data, size_t n, size_t max);
/* Appends formatted text, without a bound: for text of our own only. */
void rouse_buf_printf(struct rouse_buf *b, const char *fmt, ...) like_printf(2, 3);
void rouse_buf_done(struct rouse_buf *b); /* frees the bytes; accepts an empty one */

static inline void buf_auto(struct rouse_buf *b)
{
	rouse_buf_done(b);
}
#define auto_buf __attribute__((cleanup(buf_auto)))

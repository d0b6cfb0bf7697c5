/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/mem.h>

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include <rouse/err.h>
#include <rouse/limits.h>

struct rouse_arena_block {
	struct rouse_arena_block *next;
	size_t used, size;
	alignas(max_align_t) unsigned char data[];
};

static void out_of_memory(void)
{
	static const char line[] = "rouse: out of memory\n";

	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		_exit(ROUSE_SYSTEM); /* nothing else can be done about a closed stderr either */
	_exit(ROUSE_SYSTEM);
}

void *rouse_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *rouse_realloc(void *p, size_t n, size_t size)
{
	void *q = reallocarray(p, n ? n : 1, size ? size : 1);

	if (!q)
		out_of_memory();
	return q;
}

char *rouse_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = rouse_calloc(len + 1, 1);

	memcpy(p, s, len);
	return p;
}

char *rouse_strdup(const char *s)
{
	return rouse_strndup(s, strlen(s));
}

char *rouse_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return p;
}

void rouse_arena_done(struct rouse_arena *a)
{
	struct rouse_arena_block *b = a->head, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	a->head = NULL;
}

void *rouse_arena_alloc(struct rouse_arena *a, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct rouse_arena_block *b = a->head;
	void *p;

	if (size > SIZE_MAX / 2)
		out_of_memory();
	size = (size + align - 1) / align * align;
	if (!b || b->size - b->used < size) {
		size_t room = size > 4 * KIB ? size : 4 * KIB;

		b = rouse_calloc(1, sizeof(*b) + room);
		b->size = room;
		b->next = a->head;
		a->head = b;
	}
	p = b->data + b->used;
	b->used += size;
	return p;
}

char *rouse_arena_strndup(struct rouse_arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = rouse_arena_alloc(a, len + 1);

	memcpy(p, s, len);
	return p;
}

char *rouse_arena_strdup(struct rouse_arena *a, const char *s)
{
	return rouse_arena_strndup(a, s, strlen(s));
}

char *rouse_arena_printf(struct rouse_arena *a, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return rouse_arena_strdup(a, text);
}

int rouse_buf_add(struct rouse_buf *b, const void *data, size_t n, size_t max)
{
	if (n > max || b->len > max - n)
		return -1;
	if (!b->data || b->size - b->len <= n) {
		size_t size = b->size ? b->size : 256;

		while (size - b->len <= n)
			size *= 2;
		b->data = rouse_realloc(b->data, size, 1);
		b->size = size;
	}
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

void rouse_buf_printf(struct rouse_buf *b, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	if (rouse_buf_add(b, text, strlen(text), SIZE_MAX / 4) < 0)
		out_of_memory();
}

void rouse_buf_done(struct rouse_buf *b)
{
	free(b->data);
	*b = (struct rouse_buf){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/err.h>

#include <stdarg.h>
#include <string.h>

#include <rouse/text.h>

/* A cut text is still a text. */
static void append(struct rouse_err *r, const char *s)
{
	size_t n = strlen(r->text), room = sizeof(r->text) - 1 - n, len = strnlen(s, room);

	memcpy(r->text + n, s, len);
	r->text[n + len] = '\0';
}

/* What a kind says when nobody knows better. */
static enum rouse_fault fault_of(enum rouse_kind kind)
{
	switch (kind) {
	case ROUSE_OK:
	case ROUSE_DEGRADED:
		return ROUSE_FAULT_NONE;
	case ROUSE_SYSTEM:
		return ROUSE_LOCAL;
	case ROUSE_UNAVAILABLE:
		return ROUSE_TRANSIENT;
	case ROUSE_USAGE:
	case ROUSE_BUG: /* the same agent runs everywhere */
	case ROUSE_UNTRUSTED:
	case ROUSE_DOCUMENT:
		break;
	}
	return ROUSE_FLEET;
}

int rouse_fail(struct rouse_err *e, enum rouse_kind kind, int sys, const char *fmt, ...)
{
	struct rouse_err r = { .kind = kind, .fault = fault_of(kind), .sys = sys };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	if (sys) {
		append(&r, ": ");
		append(&r, strerror(sys));
	}
	rouse_one_line(r.text);
	*e = r;
	return -1;
}

int rouse_wrap(struct rouse_err *e, const char *fmt, ...)
{
	struct rouse_err r = { .kind = e->kind, .fault = e->fault, .sys = e->sys };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	append(&r, ": ");
	append(&r, e->text);
	rouse_one_line(r.text);
	*e = r;
	return -1;
}

int rouse_blame(struct rouse_err *e, enum rouse_fault fault)
{
	e->fault = fault;
	return -1;
}

static const char *const fault_words[] = {
	[ROUSE_FAULT_NONE] = "none",
	[ROUSE_LOCAL] = "local",
	[ROUSE_FLEET] = "fleet",
	[ROUSE_TRANSIENT] = "transient",
};
_Static_assert(ARRAY_SIZE(fault_words) == ROUSE_FAULTS_, "a word for each fault");

const char *rouse_fault_word(enum rouse_fault fault)
{
	return fault < ROUSE_FAULTS_ ? fault_words[fault] : "none";
}

const char *rouse_kind_word(enum rouse_kind kind)
{
	switch (kind) {
	case ROUSE_OK:
		return "ok";
	case ROUSE_DEGRADED:
		return "degraded";
	case ROUSE_USAGE:
		return "usage";
	case ROUSE_BUG:
		return "bug";
	case ROUSE_SYSTEM:
		return "system";
	case ROUSE_UNAVAILABLE:
		return "unavailable";
	case ROUSE_UNTRUSTED:
		return "untrusted";
	case ROUSE_DOCUMENT:
		return "document";
	}
	return "bug";
}

const char *rouse_kind_advice(enum rouse_kind kind)
{
	switch (kind) {
	case ROUSE_OK:
		return "";
	case ROUSE_DEGRADED:
		return "look at the report";
	case ROUSE_USAGE:
		return "fix the call";
	case ROUSE_BUG:
		return "report it";
	case ROUSE_SYSTEM:
		return "look at this machine";
	case ROUSE_UNAVAILABLE:
		return "try again";
	case ROUSE_UNTRUSTED:
		return "do not retry: check the digest, the signature and the key";
	case ROUSE_DOCUMENT:
		return "fix the document";
	}
	return "report it";
}

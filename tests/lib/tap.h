/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit test program is a table of functions that emits TAP for prove(1):
 *
 *	static void size_refuses_suffix(struct t *t) { uint64_t n; T_CHECK(t, !rouse_parse_size("1x", &n)); }
 *	T_MAIN(T(size_refuses_suffix), …)
 *
 * A failed check returns from the test, so that cleanup attributes still run.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/log.h>

struct t {
	const char *name;
	bool failed;
};

struct t_test {
	const char *name;
	void (*run)(struct t *t);
};

#define T_CHECK(t, condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(t)->failed = true;                                                        \
			printf("# %s:%d: %s: not true: %s\n", __FILE__, __LINE__, (t)->name,       \
			       #condition);                                                        \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define T_STR(t, got, want)                                                                        \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (!got_ || !want_ || strcmp(got_, want_) != 0) {                                 \
			(t)->failed = true;                                                        \
			printf("# %s:%d: %s: got '%s', want '%s'\n", __FILE__, __LINE__,           \
			       (t)->name, got_ ? got_ : "(null)", want_ ? want_ : "(null)");       \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* `got` contains `part`. */
#define T_HAS(t, got, part)                                                                        \
	do {                                                                                       \
		const char *got_ = (got), *part_ = (part);                                         \
		if (!got_ || !strstr(got_, part_)) {                                               \
			(t)->failed = true;                                                        \
			printf("# %s:%d: %s: '%s' is not in '%s'\n", __FILE__, __LINE__,           \
			       (t)->name, part_, got_ ? got_ : "(null)");                          \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define T(function)                                                                                \
	{                                                                                          \
		.name = #function, .run = (function)                                               \
	}

static inline int t_run(const struct t_test *tests, size_t n)
{
	bool failed = false;

	(void)umask(022); /* as main() does */
	if (!getenv("V")) /* make unit V=1 shows what is logged */
		rouse_log_set_level(ROUSE_LOG_ERROR);
	printf("1..%zu\n", n);
	for (size_t i = 0; i < n; i++) {
		struct t t = { .name = tests[i].name };

		tests[i].run(&t);
		printf("%sok %zu - %s\n", t.failed ? "not " : "", i + 1, t.name);
		(void)fflush(stdout);
		failed |= t.failed;
	}
	return failed;
}

#define T_MAIN(...)                                                                                \
	int main(void)                                                                             \
	{                                                                                          \
		static const struct t_test tests[] = { __VA_ARGS__ };                              \
		return t_run(tests, sizeof(tests) / sizeof(tests[0]));                             \
	}

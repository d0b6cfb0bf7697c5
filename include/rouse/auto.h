/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound release of owned values (GCC/Clang cleanup attribute).
 *
 * Every owning local is declared with auto_of(name) *and initialised where it is declared*;
 * ownership leaves the scope through take().
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Defines name_auto() for auto_of(name): releases a value that is not `empty`; keeps errno. */
#define AUTO_DEFINE(type, name, release, empty)                                                    \
	static inline void name##_auto(type *p)                                                    \
	{                                                                                          \
		int saved = errno;                                                                 \
		if (*p != (empty))                                                                 \
			release(*p);                                                               \
		*p = (empty);                                                                      \
		errno = saved;                                                                     \
	}

#define auto_of(name) __attribute__((cleanup(name##_auto)))

/* Moves a value out of an owning variable, which becomes empty. */
#define take(p, empty)                                                                             \
	__extension__({                                                                            \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = (empty);                                                                     \
		taken_;                                                                            \
	})

#define must_check __attribute__((warn_unused_result))
#define like_printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define unused_arg __attribute__((unused))

static inline void free_auto(void *p)
{
	int saved = errno;
	free(*(void **)p);
	*(void **)p = NULL;
	errno = saved;
}
#define auto_free __attribute__((cleanup(free_auto)))

AUTO_DEFINE(int, fd, (void)close, -1)
#define auto_fd auto_of(fd)

AUTO_DEFINE(FILE *, file, (void)fclose, NULL)
#define auto_file auto_of(file)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

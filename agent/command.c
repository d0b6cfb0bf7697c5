/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include <rouse/fs.h>

int rouse_usage(struct rouse_err *e, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return rouse_fail(e, ROUSE_USAGE, 0, "%s", text);
}

int rouse_one_argument(int argc, char **argv, const char *what, const char **ret,
		       struct rouse_err *e)
{
	if (argc - optind != 1)
		return rouse_usage(e, "expected one %s, found %d arguments", what, argc - optind);
	*ret = argv[optind];
	return 0;
}

int rouse_take_root(const char **ret, const char *path, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	*ret = path;
	return rouse_root_open(&root, path, e);
}

bool rouse_use_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

size_t rouse_columns(void)
{
	struct winsize size = { 0 };

	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col
										     : 0;
}

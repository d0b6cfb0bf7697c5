/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine says of itself: a file, and a program. */
#include "tools.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/proc.h>
#include <rouse/text.h>

static bool contains(const struct rouse_buf *b, const char *text)
{
	return b->data && memmem(b->data, b->len, text, strlen(text));
}

/* --- file ------------------------------------------------------------------------------------- */

static bool is_file(const struct rouse_health_check *c)
{
	return c->file;
}

static char *describe_file(const struct rouse_health_check *c)
{
	return rouse_asprintf("file %s", c->file);
}

static int try_file(const struct rouse_health_check *c, unused_arg uint64_t deadline,
		    unused_arg char **ret_note, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	struct stat st;

	if (stat(c->file, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot find '%s'", c->file);
	if (!c->contains)
		return 0;
	/* A fifo would be waited for. */
	if (!S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is not a regular file", c->file);
	if (rouse_read_file(c->file, ROUSE_MAX_CHECK_BODY, &text, e) < 0)
		return -1;
	if (!contains(&text, c->contains))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is there, without '%.128s'", c->file,
				  c->contains);
	return 0;
}

const struct health_kind health_kind_file = { .name = "file",
					      .is = is_file,
					      .describe = describe_file,
					      .timeout = ROUSE_CHECK_TIMEOUT,
					      .interval = ROUSE_CHECK_INTERVAL,
					      .try = try_file };

/* --- exec ------------------------------------------------------------------------------------- */

static bool is_exec(const struct rouse_health_check *c)
{
	return c->exec.n != 0;
}

/* Its arguments may be secret; they stay in the document. */
static char *describe_exec(const struct rouse_health_check *c)
{
	return rouse_asprintf("exec %s%s", ((const char *const *)c->exec.items)[0],
			      c->exec.n > 1 ? " …" : "");
}

/* The last line that is not empty: programs say there what went wrong. */
static void last_line(char *buf, size_t size, const struct rouse_buf *out)
{
	const char *end = out->data ? out->data + out->len : "", *begin;

	while (out->data && end > out->data && strchr("\r\n ", end[-1]))
		end--;
	begin = end;
	while (out->data && begin > out->data && begin[-1] != '\n')
		begin--;
	(void)snprintf(buf, size, "%.*s", (int)(end - begin), begin);
	rouse_one_line(buf);
}

static int try_exec(const struct rouse_health_check *c, uint64_t deadline,
		    unused_arg char **ret_note, struct rouse_err *e)
{
	static const char *const env[] = {
		"PATH=/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
		"/sbin:/bin",
		"LANG=C", NULL
	};
	const char *const *given = c->exec.items;
	const char **argv = rouse_calloc(c->exec.n + 1, sizeof(*argv));
	const struct rouse_proc p = { .argv = argv, .env = env, .deadline = deadline };
	auto_buf struct rouse_buf out = { 0 };
	char line[256];
	int status = 0, r;

	for (size_t i = 0; i < c->exec.n; i++)
		argv[i] = given[i];
	r = rouse_proc_run(&p, &status, &out, e);
	free(argv);
	if (r < 0)
		return -1;
	last_line(line, sizeof(line), &out);
	if (status != 0)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' ended with status %d%s%s", given[0],
				  status, *line ? ": " : "", line);
	if (c->contains && !contains(&out, c->contains))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' printed '%s', without '%.128s'",
				  given[0], line, c->contains);
	return 0;
}

const struct health_kind health_kind_exec = { .name = "exec",
					      .is = is_exec,
					      .describe = describe_exec,
					      .timeout = ROUSE_CHECK_TIMEOUT_EXEC,
					      .interval = ROUSE_CHECK_INTERVAL_EXEC,
					      .try = try_exec };

/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/proc.h>

#include <rouse/clock.h>

#include "../lib/tap.h"

static uint64_t soon(void)
{
	return rouse_clock_ms() + 20000;
}

static void status_and_output_come_back(struct t *t)
{
	static const char *const argv[] = { "sh", "-c", "cat; echo err >&2; exit 7", NULL };
	struct rouse_proc p = { .argv = argv, .input = "in\n", .input_len = 3, .deadline = soon() };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };
	int status = 0;

	T_CHECK(t, rouse_proc_run(&p, &status, &out, &e) == 0);
	T_CHECK(t, status == 7);
	T_STR(t, out.data, "in\nerr\n");
}

static void arguments_are_not_interpreted(struct t *t)
{
	static const char *const argv[] = { "printf", "%s", "$(id); `id` > x", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = soon() };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };
	int status = 1;

	T_CHECK(t, rouse_proc_run(&p, &status, &out, &e) == 0 && status == 0);
	T_STR(t, out.data, "$(id); `id` > x");
}

static void environment_is_small(struct t *t)
{
	static const char *const argv[] = { "env", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = soon() };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };
	int status = 1;

	T_CHECK(t, setenv("ROUSE_CANARY", "secret", 1) == 0);
	T_CHECK(t, rouse_proc_run(&p, &status, &out, &e) == 0 && status == 0);
	T_CHECK(t, !strstr(out.data, "ROUSE_CANARY"));
	T_HAS(t, out.data, "LANG=C");
}

/* The programs of a NixOS's scripted stage 1 start by nothing else. */
static void libraries_are_found_where_they_were(struct t *t)
{
	static const char *const argv[] = { "env", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = soon() };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };
	int status = 1;

	T_CHECK(t, setenv("LD_LIBRARY_PATH", "/nowhere/lib", 1) == 0);
	T_CHECK(t, rouse_proc_run(&p, &status, &out, &e) == 0 && status == 0);
	T_CHECK(t, unsetenv("LD_LIBRARY_PATH") == 0);
	T_HAS(t, out.data, "LD_LIBRARY_PATH=/nowhere/lib");
}

static void deadline_ends_the_whole_group(struct t *t)
{
	static const char *const argv[] = { "sh", "-c", "trap '' TERM; sleep 60 & sleep 60", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + 100 };
	struct rouse_err e = { 0 };
	int status = 0;

	T_CHECK(t, rouse_proc_run(&p, &status, NULL, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_SYSTEM && e.sys == ETIMEDOUT);
	T_HAS(t, e.text, "was ended at its deadline");
}

static void failures_name_the_program_and_its_last_words(struct t *t)
{
	static const char *const fails[] = { "sh", "-c",
					     "echo one; echo 'no space here' >&2; exit 3", NULL };
	static const char *const missing[] = { "no-such-program", NULL };
	static const char *const killed[] = { "sh", "-c", "kill -9 $$", NULL };
	struct rouse_proc p = { .argv = fails, .deadline = soon() };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_proc_check(&p, &e) < 0);
	T_STR(t, e.text, "'sh' ended with status 3: no space here");
	p.argv = missing;
	T_CHECK(t, rouse_proc_check(&p, &e) < 0 && e.sys == ENOENT);
	T_HAS(t, e.text, "cannot run 'no-such-program'");
	p.argv = killed;
	T_CHECK(t, rouse_proc_check(&p, &e) < 0);
	T_HAS(t, e.text, "was ended by signal 9");
}

static void much_output_is_cut_and_does_not_block(struct t *t)
{
	static const char *const argv[] = { "head", "-c", "3000000", "/dev/zero", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = soon() };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };
	int status = 1;

	T_CHECK(t, rouse_proc_run(&p, &status, &out, &e) == 0 && status == 0);
	T_CHECK(t, out.len > 1000000 && out.len <= 1 << 20);
}

/* Which nobody may be led by otherwise. */
static void the_program_itself_is_found_behind_the_kernels_link(struct t *t)
{
	char path[64];

	T_CHECK(t, rouse_proc_find(ROUSE_PROC_SELF, NULL, path, sizeof(path)));
	T_STR(t, path, "/proc/self/exe");
	T_CHECK(t, !rouse_proc_find("/proc/self/fd/0", NULL, path, sizeof(path)));
	T_CHECK(t, !rouse_proc_find("/proc/1/exe", NULL, path, sizeof(path)));
}

T_MAIN(T(status_and_output_come_back), T(arguments_are_not_interpreted), T(environment_is_small),
       T(libraries_are_found_where_they_were), T(deadline_ends_the_whole_group),
       T(failures_name_the_program_and_its_last_words),
       T(the_program_itself_is_found_behind_the_kernels_link),
       T(much_output_is_cut_and_does_not_block))

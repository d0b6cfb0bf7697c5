/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of modules: a document against a temporary root, through the real phases. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/document.h>
#include <rouse/run.h>

struct t_root {
	char path[64];
};

static inline int t_root_remove_one(const char *path, const struct stat *st, int type,
				    struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void t_root_done(struct t_root *r)
{
	(void)nftw(r->path, t_root_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
#define auto_t_root __attribute__((cleanup(t_root_done)))

static inline struct t_root t_root_new(void)
{
	struct t_root r = { .path = "/tmp/rouse-test.XXXXXX" };

	if (!mkdtemp(r.path))
		abort();
	return r;
}

/* A file of the root; its directories are made. */
static inline void t_root_write(const struct t_root *r, const char *path, const char *text,
				mode_t mode)
{
	auto_free char *full = rouse_asprintf("%s%s", r->path, path);
	int fd;

	for (char *p = full + strlen(r->path) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(full, 0755);
		*p = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    fchmod(fd, mode) < 0)
		abort();
	(void)close(fd);
}

/* Its text, "" when it cannot be read; the caller frees. */
static inline char *t_root_read(const struct t_root *r, const char *path)
{
	auto_free char *full = rouse_asprintf("%s%s", r->path, path);
	struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_read_file(full, 1 << 20, &text, &e) < 0)
		rouse_buf_done(&text);
	return text.data ? text.data : rouse_strdup("");
}

static inline struct stat t_root_stat(const struct t_root *r, const char *path)
{
	auto_free char *full = rouse_asprintf("%s%s", r->path, path);
	struct stat st = { 0 };

	(void)lstat(full, &st);
	return st;
}

/* Plans (and applies) the document for one module; `ret_plan`, which may be NULL, gets what
 * `rouse plan` would print. */
static inline int t_run_module(const struct t_root *r, const char *module, const char *json,
			       bool apply, char **ret_plan, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	auto_run struct rouse_run run = {
		.document = &d,
		.only = module,
		.context = { .root = r->path, .image = true, .deadline = rouse_clock_ms() + 60000 },
	};

	if (rouse_document_add(&d, "test.json", json, strlen(json), false, e) < 0 ||
	    rouse_document_finish(&d, NULL, e) < 0 || rouse_run_observe(&run, e) < 0 ||
	    rouse_run_plan(&run, e) < 0)
		return -1;
	rouse_plan_print(&run.plan, &text, false);
	if (ret_plan)
		*ret_plan = rouse_strdup(text.data);
	if (apply && (rouse_run_prepare(&run, e) < 0 || rouse_run_apply(&run, e) < 0)) {
		if (ret_plan) {
			free(*ret_plan);
			*ret_plan = NULL;
		}
		return -1;
	}
	return 0;
}

/* As an initramfs does: the facts are of a root that was out of sight, the steps meet the real one. */
static inline int t_run_blind(const struct t_root *r, const char *module, const char *json,
			      struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	auto_t_root struct t_root unseen = t_root_new();
	auto_run struct rouse_run run = {
		.document = &d,
		.only = module,
		.context = { .root = unseen.path,
			     .image = true,
			     .initramfs = true,
			     .deadline = rouse_clock_ms() + 60000 },
	};

	if (rouse_document_add(&d, "test.json", json, strlen(json), false, e) < 0 ||
	    rouse_document_finish(&d, NULL, e) < 0 || rouse_run_observe(&run, e) < 0)
		return -1;
	run.context.root = r->path;
	return rouse_run_plan(&run, e) < 0 || rouse_run_prepare(&run, e) < 0
		       ? -1
		       : rouse_run_apply(&run, e);
}

/* Whether the document now plans to nothing. */
static inline bool t_run_is_done(const struct t_root *r, const char *module, const char *json)
{
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	if (t_run_module(r, module, json, false, &plan, &e) < 0 ||
	    strcmp(plan, "plan: nothing to change\n") != 0) {
		printf("# still: %s%s\n", plan ? plan : "", e.text);
		return false;
	}
	return true;
}

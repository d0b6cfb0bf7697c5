/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy through which a machine reaches what is not beside it: buckets, caches, signals. The image's settings
 * say it; in a boot, the environment never does. Never asked through it: metadata services, this machine itself.
 */
#pragma once

#include <rouse/err.h>
#include <rouse/schema.h>

struct rouse_fetcher;

#define ROUSE_PROXY_FILE "proxy.json" /* in the run directory: travels to the machine's own init */

struct rouse_proxy {
	const char *url; /* http or https; may have "name:password@" */
	struct rouse_list
		except; /* const char *: names, domains and ranges that are asked directly */
};

/* { "url": …, "except": […] }, or the URL alone. */
#define ROUSE_PROXY_FIELDS 2
extern const struct rouse_field rouse_proxy_fields[ROUSE_PROXY_FIELDS];

/* For all later transfers of `f` and of its clones; a copy is kept. NULL: none. */
void rouse_fetcher_set_proxy(struct rouse_fetcher *f, const struct rouse_proxy *p);

/* Into `dir`, an absolute path, for the signals of other processes (0600, as it may have a password); NULL: what an
 * earlier boot left there is removed. */
must_check int rouse_proxy_save(const char *dir, const struct rouse_proxy *p, struct rouse_err *e);
/* Sets what was saved in `dir`, if anything was and may be read; what is damaged is logged. */
void rouse_fetcher_use_saved(struct rouse_fetcher *f, const char *dir);
/* A new one with what was saved in `dir`; NULL: none. */
struct rouse_fetcher *rouse_fetcher_new_in(const char *dir);
/* Of a command that a person typed: what http_proxy, https_proxy, all_proxy and no_proxy say, as curl(1) reads
 * them; if they say nothing, what the boot saved. */
void rouse_fetcher_use_environment(struct rouse_fetcher *f);

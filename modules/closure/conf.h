/* SPDX-License-Identifier: Apache-2.0 */
/* The sections "caches", "system", "profiles" and "environment", decoded. Two modules read them:
 * what is pulled comes before the accounts are made, what links it into homes after. */
#pragma once

#include <stdint.h>

#include <rouse/generations.h>
#include <rouse/lock.h>
#include <rouse/module.h>
#include <rouse/schema.h>

#define PROFILES "/nix/var/nix/profiles/"

struct closure_cache {
	const char *key, *url;
	struct rouse_list keys; /* const char * */
	const char *token, *netrc;
};

struct closure_manifest {
	const char *url, *sha256;
	int64_t paths, nar_size, download_size; /* 0: not said */
};

/* What the record of a lock says was wanted: a struct of its own, for the table of its fields. */
struct closure_wanted {
	struct rouse_wanted where;
};

/* The system, or a program of a profile. */
struct closure_pin {
	const char *key; /* of a program */
	const char *path, *nar_hash;
	struct closure_manifest *manifest;
	int64_t closure_size;
	struct rouse_lock_record *lock;
	struct rouse_wanted wanted;
	const char *fallback; /* of the system */
	int64_t priority;     /* of a program; 0: ROUSE_PRIORITY */
};

struct closure_conf {
	struct rouse_list caches; /* struct closure_cache */
	struct rouse_wanted where;
	struct closure_pin *system;
	struct rouse_keep *generations; /* NULL: not said, and nothing goes by itself */
	struct rouse_list profiles;     /* struct rouse_named_list of struct closure_pin */
	struct rouse_list environment;  /* struct closure_pin */
};

extern const struct rouse_module rouse_module_closure;

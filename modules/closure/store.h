/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store on disk. What is valid in it is what rouse has registered in
 * /nix/var/nix/rouse/registration *and* is there; a directory alone proves nothing, for a power cut may
 * have left it half-written.
 */
#pragma once

#include <stdint.h>

#include <rouse/err.h>
#include <rouse/fs.h>

#include "table.h"

#define ROUSE_STORE_STATE "/nix/var/nix/rouse"
#define ROUSE_REGISTRATION ROUSE_STORE_STATE "/registration"
#define ROUSE_STAGING_PREFIX ".rouse-staging-"

struct rouse_store {
	struct rouse_root root;
	int dir;     /* /nix/store */
	int lock;    /* held while it is open for writing */
	int staging; /* 0700, on the same filesystem as the store */
	char staging_name[32];
	unsigned trash;                /* names in staging for what is thrown away; atomic */
	bool keep;                     /* the staging directory stays for another run */
	struct rouse_paths kept;       /* complete in the staging directory, by an earlier run */
	struct rouse_paths registered; /* ->valid: also in the store */
};
#define ROUSE_STORE_INIT                                                                           \
	{                                                                                          \
		.root = ROUSE_ROOT_INIT, .dir = -1, .lock = -1, .staging = -1                      \
	}

void rouse_store_done(struct rouse_store *s); /* removes the staging directory; unlocks */
static inline void store_auto(struct rouse_store *s)
{
	rouse_store_done(s);
}
#define auto_store __attribute__((cleanup(store_auto)))

/* Reads what is registered below `root`. No store at all is an empty one. Writes nothing. */
must_check int rouse_store_look(struct rouse_store *s, const char *root, struct rouse_err *e);
/* Makes the directories, takes the lock (before `deadline`), removes what an interrupted run left,
 * reads what is registered, makes the staging directory. */
must_check int rouse_store_open(struct rouse_store *s, const char *root, uint64_t deadline,
				struct rouse_err *e);
/* The same, but what an interrupted run left complete in its staging directory is kept (s->kept). */
must_check int rouse_store_resume(struct rouse_store *s, const char *root, uint64_t deadline,
				  struct rouse_err *e);
/* Removes what an interrupted run left, in passing: nothing when somebody else has the lock. */
void rouse_store_tidy(const char *root);
/* The journal of the staging directory: begins it with what was kept; a path that is complete; what was
 * noted so far is durable. */
must_check int rouse_store_journal(struct rouse_store *s, int *ret_fd, struct rouse_err *e);
must_check int rouse_store_journal_add(int fd, const struct rouse_path *path, struct rouse_err *e);
must_check int rouse_store_journal_sync(int fd, struct rouse_err *e);
/* After rouse_store_look: takes the lock, and reads again what is registered. */
must_check int rouse_store_lock(struct rouse_store *s, uint64_t deadline, struct rouse_err *e);
/* Moves staging/NAME into the store. What is there under that name (it is not valid) gives way. */
must_check int rouse_store_publish(struct rouse_store *s, const char *name, struct rouse_err *e);
/* Removes staging/NAME with all that is in it; absent is well. */
must_check int rouse_store_discard(struct rouse_store *s, const char *name, struct rouse_err *e);
/* Takes a path (it is not valid) out of the store, by a rename, and removes it; absent is well. */
must_check int rouse_store_withdraw(struct rouse_store *s, const char *name, struct rouse_err *e);
/* Writes the list of what is registered and valid. */
must_check int rouse_store_write(struct rouse_store *s, struct rouse_err *e);
/* Makes everything published durable (syncfs), adds `paths` to the registered, writes the list, also
 * for a Nix to come (rouse_store_leave). */
must_check int rouse_store_register(struct rouse_store *s, struct rouse_path *const *paths,
				    size_t n, struct rouse_err *e);
/* Leaves the list as /nix-path-registration for the first Nix that comes along. */
must_check int rouse_store_leave(struct rouse_store *s, struct rouse_err *e);
/* Tells Nix: runs the closure's (or the system's) `nix-store --load-db` on the whole list, of which
 * nothing need be left then. Without one, nothing is done. */
must_check int rouse_store_tell_nix(struct rouse_store *s, uint64_t deadline, struct rouse_err *e);
/* What is in the store and not registered, and is said to be valid by a list that came with the image,
 * or by a Nix that has its own: registered from here on, when the list is written. What cannot be read
 * is as if it were not there. */
void rouse_store_adopt(struct rouse_store *s, uint64_t deadline);
/* Is there a Nix that has its own list of what is valid? */
bool rouse_store_has_nix(const struct rouse_store *s);
/* … and the program to change it? */
bool rouse_store_can_collect(const struct rouse_store *s, struct rouse_err *e);
/* Runs `nix-store --gc` (with `more`, if not NULL, behind it). */
must_check int rouse_store_collect_nix(struct rouse_store *s, const char *more, uint64_t deadline,
				       struct rouse_buf *out, struct rouse_err *e);
/* Takes the paths of `gone` out of what is left for a Nix to come. */
must_check int rouse_store_untell_nix(const struct rouse_store *s, const struct rouse_paths *gone,
				      struct rouse_err *e);
/* Reads what is left for a Nix to come; none is well. */
must_check int rouse_store_read_left(const struct rouse_store *s, struct rouse_paths *ret,
				     struct rouse_err *e);

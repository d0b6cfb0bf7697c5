/* SPDX-License-Identifier: Apache-2.0 */
/* From what a hand-written document says to the store path that is meant. */
#pragma once

#include <rouse/lock.h>

#include "channel.h"

/* Strings live as long as the channels. NULL: the source does not tell. */
struct rouse_resolved {
	const char *path;
	const char *release, *revision, *evaluation, *attribute, *version;
	const char *binary_cache; /* that the channel names */
};

/* `name` is the key in the document, and the attribute when none is given; NULL: a system. `pinned` is
 * the release to look in; NULL: the newest. What the source cannot tell is ROUSE_DOCUMENT, with what
 * there is instead. The caller names what it was looking for. */
must_check int rouse_resolve(struct rouse_channels *c, const struct rouse_wanted *w,
			     const char *name, const char *pinned, struct rouse_resolved *ret,
			     struct rouse_err *e);

/* The parts of it that need no network. */

/* The attribute of "packages" that is meant by `name`: that of this name when its version will do, else
 * the one of this "pname" with the highest version. Of several with that version the one whose name all
 * others begin with. */
must_check int rouse_resolve_attribute(const json_t *packages, const struct rouse_wanted *w,
				       const char *name, const char **ret, struct rouse_err *e);
/* The path "NAME-VERSION" with the highest version. `name` NULL: the only "nixos-system-…". */
must_check int rouse_resolve_listed(const struct rouse_store_list *list, const char *where,
				    const struct rouse_wanted *w, const char *name,
				    const char **ret, struct rouse_err *e);

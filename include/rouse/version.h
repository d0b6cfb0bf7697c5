/* SPDX-License-Identifier: Apache-2.0 */
/* Names and versions of packages, as Nix reads and orders them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The version in "postgresql-16.4": what follows the first dash that no letter follows. "" when there
 * is none; *ret_name_len is the length of the name before it. Points into `name`. */
const char *rouse_version_in(const char *name, size_t *ret_name_len);
/* Less than, equal to or greater than 0, as `nix-env --compare-versions`: by components, numbers as
 * numbers, "pre" before all. */
int rouse_version_compare(const char *a, const char *b);
/* "*", "16.*", "3.3.0": 1…64 characters that versions have, and '*' for any number of them. */
bool rouse_version_is_pattern(const char *s);
/* Also "16.*" for "16" itself. */
bool rouse_version_matches(const char *pattern, const char *version);

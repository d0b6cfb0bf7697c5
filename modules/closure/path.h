/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the store: "<32 nix32>-<name>", the base name of a store path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/trust.h>

#define ROUSE_STORE_DIR "/nix/store"
#define ROUSE_STORE_PREFIX ROUSE_STORE_DIR "/"
/* Characters of the hash part, and of the name behind the dash at most. */
#define ROUSE_HASH_PART 32
#define ROUSE_MAX_STORE_NAME 211

/* Is it a base name of the store? Name: 1…211 of [0-9a-zA-Z+._?=-], not "." or "..", and not
 * beginning with ".-" or "..-". */
bool rouse_is_store_name(const char *s, size_t len);
/* The base name within a full store path, or NULL when it is none. */
const char *rouse_store_name(const char *path);

/* The base name that content with this digest gets when it is its own address: `type` is "source"
 * or "text" with its references (":/nix/store/…" each), `hash` of the content. Writes
 * "<32 nix32>-<name>" (at most 32 + 1 + 211 and a NUL). */
#define ROUSE_STORE_NAME_SIZE (ROUSE_HASH_PART + 1 + ROUSE_MAX_STORE_NAME + 1)
void rouse_store_name_of(char ret[static ROUSE_STORE_NAME_SIZE], const char *type,
			 const uint8_t hash[static ROUSE_SHA256_LEN], const char *name);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of the document that a boot used, kept for the commands of a running machine: with them
 * `rouse edit` knows what an override changes, and `rouse plan` and `rouse apply` without a document
 * what this machine should be. The machine's own overrides are read anew, so that they are not kept.
 */
#pragma once

#include <stdbool.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/fs.h>

/* Where they are kept: below the run directory, and below the root when all was applied. */
#define ROUSE_LAYERS_NAME "layers.json"
#define ROUSE_OVERRIDE_DIR "/etc/rouse/override.d"

/* Who the machine is and how it booted, as kept with the layers. */
struct rouse_running {
	struct rouse_instance instance; /* strings in json, tags in arena */
	bool initramfs;                 /* the boot ran there */
	bool flattened; /* no layers were kept: one layer that holds overrides, too */
	char *name;     /* the file that was read, for messages */
	json_t *json;
	struct rouse_arena arena;
};
/* An instance as it is kept, and recorded in facts; strings stay in the JSON, lists are of the arena. */
void rouse_instance_read(struct rouse_instance *ret, const json_t *json, struct rouse_arena *arena);
void rouse_running_done(struct rouse_running *r);
static inline void running_auto(struct rouse_running *r)
{
	rouse_running_done(r);
}
#define auto_running __attribute__((cleanup(running_auto)))

/* The text to keep: all layers but overrides. Caller frees. */
char *rouse_layers_print(const struct rouse_document *d, const struct rouse_instance *instance,
			 bool initramfs);
/* Who the machine below `root` was when it was last provisioned: only when `who`, which need not know
 * more, is the same by its firmware. False when it is not, or nothing was kept. */
must_check bool rouse_layers_recall(const struct rouse_root *root, const struct rouse_instance *who,
				    struct rouse_running *ret);
/* Adds the layers of the machine below `root` to `d`: those of this boot, else those that it was last
 * provisioned with, else the merged document of either. */
must_check int rouse_layers_load(const struct rouse_root *root, struct rouse_document *d,
				 struct rouse_running *ret, struct rouse_err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The first two phases of a boot: who am I, where is my text; fetch it, check it, merge it. */
#pragma once

#include <stdint.h>

#include <rouse/boot.h>
#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/settings.h>
#include <rouse/source.h>

/* Asks the source that local facts identify (or the settings name). Brings the network up first
 * when the source or the document needs it. */
must_check int rouse_acquire_source(const struct rouse_boot_options *o,
				    const struct rouse_settings *s, struct rouse_fetcher *f,
				    uint64_t deadline, struct rouse_found *ret,
				    struct rouse_err *e);
/* The document with its bases and overrides, trusted, merged, valid and decoded. */
must_check int rouse_acquire_document(const struct rouse_boot_options *o,
				      const struct rouse_settings *s,
				      const struct rouse_found *found, struct rouse_fetcher *f,
				      uint64_t deadline, struct rouse_document *ret,
				      struct rouse_err *e);

/* Brings the network up, where that is the agent's task; else, and a second time, does nothing. */
must_check int rouse_acquire_network(const struct rouse_boot_options *o, uint64_t deadline,
				     struct rouse_err *e);
/* An image that lists caches lets a document choose among them, and add none. */
must_check int rouse_acquire_check_caches(const struct rouse_settings *s,
					  const struct rouse_document *d, struct rouse_err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The EC2 metadata service at another address, for tests; the machine cannot choose it. */
#pragma once

#include <rouse/source.h>

/* `asset` is the instance id that the firmware names, or NULL. */
must_check int ec2_fetch_from(const char *base, const char *asset, struct rouse_fetcher *f,
			      uint64_t deadline, struct rouse_found *ret, struct rouse_err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What most clouds share: a metadata service over HTTP, described by a table of what is asked and
 * where the answers go. A cloud's file holds its table, how it is recognised, and little else.
 */
#pragma once

#include <rouse/imds.h>
#include <rouse/source.h>

enum service_fact {
	FACT_NONE, /* the answer is fetched for the rows behind it */
	FACT_ID,
	FACT_TYPE,
	FACT_REGION,
	FACT_ZONE,
	FACT_HOSTNAME,
	FACT_USER_DATA,
	FACT_TAGS,      /* JSON: an object of strings, a list of names, or of { key, value } */
	FACT_TAG_NAMES, /* a list of names by lines; each has its value at <path>/NAME */
	FACT_KEYS,      /* of people for SSH: lines, or JSON: a list, an object of strings */
};

enum {
	ITEM_IF_UNKNOWN = 1u << 0, /* asked only when no row before has said it */
	ITEM_LAST = 1u << 1,       /* what stands behind the last "/" of the value */
	ITEM_OF_ZONE = 1u << 2,    /* a region, of a zone's name: without the last "-x" */
	ITEM_USERS = 1u << 3,      /* keys stand behind a user's name and ":" */
	ITEM_LINES = 1u << 4,      /* the answer need not be JSON: it may be lines "key: value" */
};

/* One row: an answer, a value in it, and what it is. */
struct service_item {
	const char *path;   /* of the request; NULL: the answer to the row before */
	const char *member; /* in JSON, "compute.tags.0", or the key of a line; NULL: all */
	enum service_fact fact;
	unsigned flags;
};

struct service {
	const char *cloud; /* also the name of the source */
	const struct rouse_imds_api *api;
	const struct service_item *items;
	size_t n_items;
	bool may_lack_id; /* a service that does not always say which instance this is */
};

/* Asks the service for everything in its table. `base` is its address, NULL where it always is;
 * `firmware` is the instance's id as the firmware has it, which must be the same; NULL: unknown. */
must_check int service_fetch(const struct service *s, const char *base, const char *firmware,
			     struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
			     struct rouse_err *e);

/* rouse_source.fetch of all sources that have a service. */
must_check int service_ask(const struct rouse_source *s, struct rouse_machine *m,
			   struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
			   struct rouse_err *e);

/* The value at `member` of a JSON text or of "key: value" lines; NULL when it is not there. The text
 * is in the arena. For an answer that came from elsewhere than a service. */
must_check int service_read(struct rouse_found *f, const struct service_item *items, size_t n,
			    const char *name, struct rouse_buf *body, struct rouse_err *e);

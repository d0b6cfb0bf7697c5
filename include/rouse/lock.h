/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hand-written document may say in the place of a pin, and what `rouse lock` records beside the
 * pin that it makes of it. Shared by the tables of the document and by the command.
 */
#pragma once

#include <rouse/schema.h>

/* NULL: not said. */
struct rouse_wanted {
	const char *channel;     /* "nixos-24.05", or the URL of one, or of one of its releases */
	const char *store_paths; /* the URL of a list of store paths */
	const char *attribute, *job, *output, *version, *platform;
};

/* Where a pin came from: for people, and for `rouse lock` to tell what has to be found anew. */
struct rouse_lock_record {
	struct rouse_wanted *wanted;
	const char *release, *revision, *evaluation, *attribute, *version;
};

bool rouse_is_channel(const char *s); /* a name, or an https or file URL: nothing there is signed */
bool rouse_is_index_url(const char *s); /* an https, file or s3 URL */
bool rouse_is_attribute(const char *s); /* 1…128 of [A-Za-z0-9._+-], beginning with none of ".-" */
bool rouse_is_platform(const char *s);  /* "x86_64-linux" */

/* Where to look: the keys that also stand at the top of a document, for all its closures. */
#define ROUSE_WHERE_FIELDS(type_, member_)                                                         \
	ROUSE_FIELD(type_, member_.channel, "channel",                                             \
		    "For `rouse lock`: the channel to look in, \"nixos-24.05\" or its URL.",       \
		    .type = ROUSE_STRING, .format = "a channel's name, or its https or file URL",  \
		    .valid = rouse_is_channel),                                                    \
		ROUSE_FIELD(type_, member_.store_paths, "storePaths",                              \
			    "For `rouse lock`: the list of store paths to look in, one a line.",   \
			    .type = ROUSE_STRING, .format = "an https, file or s3 URL",            \
			    .valid = rouse_is_index_url),                                          \
		ROUSE_FIELD(type_, member_.platform, "platform",                                   \
			    "For `rouse lock`: what it is built for; x86_64-linux if absent.",     \
			    .type = ROUSE_STRING, .format = "a platform such as \"x86_64-linux\"", \
			    .valid = rouse_is_platform)

#define ROUSE_WANTED_FIELDS(type_, member_)                                                        \
	ROUSE_WHERE_FIELDS(type_, member_),                                                        \
		ROUSE_FIELD(type_, member_.attribute, "attribute",                                 \
			    "For `rouse lock`: what it is called there, if not as its key.",       \
			    .type = ROUSE_STRING, .format = "an attribute such as \"htop\"",       \
			    .valid = rouse_is_attribute),                                          \
		ROUSE_FIELD(type_, member_.job, "job",                                             \
			    "For `rouse lock`: the job that builds it, by its full name.",         \
			    .type = ROUSE_STRING, .format = "a job's name",                        \
			    .valid = rouse_is_attribute),                                          \
		ROUSE_FIELD(type_, member_.output, "output",                                       \
			    "For `rouse lock`: which output of it, if not the usual one.",         \
			    .type = ROUSE_STRING, .format = "an output such as \"lib\"",           \
			    .valid = rouse_is_label),                                              \
		ROUSE_FIELD(type_, member_.version, "version",                                     \
			    "For `rouse lock`: the versions that will do; \"*\" stands for any.",  \
			    .type = ROUSE_STRING,                                                  \
			    .format = "a version such as \"16.4\", \"16.*\" or \"*\"",             \
			    .valid = rouse_version_is_pattern)

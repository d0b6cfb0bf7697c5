/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of the image: /etc/rouse/document.json, a document or a pointer to one.
 *
 *   it is there                           its content; an empty one is none
 *   others than root may write it         untrusted
 *   it cannot be read                     failed
 *   it is not there                       nothing says where this machine's document is
 */
#include "sources.h"

#include <fcntl.h>

#include <rouse/limits.h>

#define DOCUMENT "/etc/rouse/document.json"

static bool file_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
			size_t why_size)
{
	if (!rouse_machine_has(m, DOCUMENT))
		return false;
	(void)snprintf(why, why_size, "the image has '" DOCUMENT "'");
	return true;
}

static int file_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		      unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
		      struct rouse_found *ret, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s" DOCUMENT, m->sysroot);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	auto_buf struct rouse_buf text = { 0 };
	struct stat st;

	ret->instance.cloud = "file";
	if (fd < 0 || fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '" DOCUMENT "'");
	if (rouse_fs_check_owner(&st, path, e) < 0 ||
	    rouse_fs_read_fd(fd, path, ROUSE_MAX_USERDATA, &text, e) < 0)
		return -1;
	source_set_user_data(ret, &text);
	return 0;
}

const struct rouse_source source_file = { .name = "file",
					  .detect = file_detect,
					  .fetch = file_fetch };

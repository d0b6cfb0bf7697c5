/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a LUKS volume of which no document speaks, by what its header says of its key: a token of
 * systemd's, for the TPM, or rouse's own, which names a file. Whoever owns the disk can have written
 * that name: what it may lead to is the key of the same disk, and nothing that blocks a reader.
 */
#include "write.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define MAX_HEADER (256 * 1024) /* the JSON of a header that cryptsetup makes is a tenth of it */

/* Tokens as luksDump prints them; a new reference, or NULL. */
static json_t *read_header(const char *node, uint64_t deadline, struct rouse_err *e)
{
	const struct rouse_proc proc = {
		.argv = (const char *const[]){ "cryptsetup", "luksDump", "--dump-json-metadata",
					       node, NULL },
		.deadline = deadline,
		.max_output = MAX_HEADER,
	};
	auto_buf struct rouse_buf out = { 0 };
	int status = 0;

	if (rouse_proc_run(&proc, &status, &out, e) < 0)
		return NULL;
	if (status || !out.data) {
		(void)rouse_fail(e, ROUSE_SYSTEM, 0, "cannot read the LUKS2 header of '%s'", node);
		return NULL;
	}
	return rouse_json_parse(node, out.data, out.len, e);
}

/* Files of /proc and /sys have no size, or can wait for ever. */
static bool is_key_file(const char *path)
{
	struct stat st;

	return path && path[0] == '/' && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size > 0 && (uint64_t)st.st_size <= ROUSE_MAX_DISK_KEY;
}

int disks_unlock(const char *node, const char *name, struct rouse_err *e)
{
	const struct rouse_context c = { .initramfs = true };
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_CRYPTSETUP;
	auto_json json_t *header = read_header(node, deadline, e);
	const struct disks_tpm2 any = { 0 };
	struct disks_key key = { 0 };
	struct disks_luks luks = { 0 };
	const struct disks_action a = { .source = node, .name = name, .luks = &luks };
	const char *id;
	json_t *token;

	if (!header)
		return -1;
	json_object_foreach (json_object_get(header, "tokens"), id, token) {
		const char *type = json_string_value(json_object_get(token, "type"));
		const char *file = json_string_value(json_object_get(token, "file"));

		if (rouse_streq(type, "systemd-tpm2") && access("/dev/tpmrm0", F_OK) == 0)
			luks.tpm2 = &any;
		if (rouse_streq(type, DISKS_KEY_TOKEN) && is_key_file(file)) {
			key.file = file;
			luks.key = &key;
		}
	}
	if (!luks.tpm2 && !luks.key)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "no key for '%s' is at hand", node);
	return disks_crypt_apply(DISKS_OP_OPEN, &a, NULL, &c, e);
}

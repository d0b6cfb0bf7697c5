/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential named "rouse.document", as systemd.exec(5) and smbios(8) have them; whoever runs the
 * machine puts it there, and it may be all that user-data may be:
 *
 *   QEMU   -fw_cfg name=opt/io.systemd.credentials/rouse.document,file=FILE
 *          -smbios type=11,value=io.systemd.credential:rouse.document=TEXT
 *          -smbios type=11,value=io.systemd.credential.binary:rouse.document=BASE64
 *   systemd-nspawn, and everything else that systemd imports: /run/credentials/@system/rouse.document
 *
 *   one of them is there     its content is the user-data; an empty one is none
 *   it cannot be read        failed
 *   none is there            another source is asked
 */
#include "sources.h"

#include <dirent.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#define NAME "rouse.document"
/* Tables of the firmware of type 11 are few, and each has a few strings. */
#define MAX_TABLES 16

static const char *const files[] = {
	"/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/" NAME "/raw",
	"/run/credentials/@system/" NAME,
};

/* A string of an SMBIOS table, or NULL. The formatted part is followed by strings that end with a NUL,
 * and they with an empty one (SMBIOS 3.6, section 6.1.3). */
const char *credential_find(const char *table, size_t n, const char **ret_prefix, size_t *ret_len)
{
	static const char *const prefixes[] = { "io.systemd.credential:" NAME "=",
						"io.systemd.credential.binary:" NAME "=" };
	size_t at = n > 1 ? (unsigned char)table[1] : n;

	while (at < n && table[at]) {
		size_t len = strnlen(table + at, n - at);

		for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
			size_t skip = strlen(prefixes[i]);

			if (len >= skip && memcmp(table + at, prefixes[i], skip) == 0) {
				*ret_prefix = prefixes[i];
				*ret_len = len - skip;
				return table + at + skip;
			}
		}
		at += len + 1;
	}
	return NULL;
}

/* The text of one in the firmware's tables: 1, 0 when there is none, or -1. */
static int from_smbios(const struct rouse_machine *m, struct rouse_buf *ret, struct rouse_err *e)
{
	for (unsigned i = 0; i < MAX_TABLES && !m->container; i++) {
		auto_free char *path = rouse_asprintf("%s/sys/firmware/dmi/entries/11-%u/raw",
						      m->sysroot, i);
		auto_buf struct rouse_buf table = { 0 };
		const char *prefix, *text;
		size_t len = 0;

		if (access(path, F_OK) < 0)
			return 0;
		if (rouse_read_file(path, 2 * ROUSE_MAX_USERDATA, &table, e) < 0)
			return -1;
		text = table.data ? credential_find(table.data, table.len, &prefix, &len) : NULL;
		if (text)
			return rouse_buf_add(ret, text, len, 2 * ROUSE_MAX_USERDATA) < 0 ? -1 : 1;
	}
	return 0;
}

static const char *find_file(const struct rouse_machine *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		/* The firmware of a container is its host's. */
		if (!(m->container && i == 0) && rouse_machine_has(m, files[i]))
			return files[i];
	return NULL;
}

static bool credential_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			      char *why, size_t why_size)
{
	const char *file = find_file(m);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e;

	if (file)
		(void)snprintf(why, why_size, "there is '%s'", file);
	else if (from_smbios(m, &text, &e) == 1)
		(void)snprintf(why, why_size, "the firmware has a credential '" NAME "'");
	else
		return false;
	return true;
}

static int credential_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			    unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
			    struct rouse_found *ret, struct rouse_err *e)
{
	const char *file = find_file(m);
	auto_free char *path = rouse_asprintf("%s%s", m->sysroot, file ? file : "");
	auto_buf struct rouse_buf text = { 0 };

	ret->instance.cloud = "credential";
	if ((file ? rouse_read_file(path, ROUSE_MAX_USERDATA, &text, e)
		  : from_smbios(m, &text, e)) < 0)
		return -1;
	source_set_user_data(ret, &text);
	return 0;
}

const struct rouse_source source_credential = { .name = "credential",
						.detect = credential_detect,
						.fetch = credential_fetch,
						.identity = source_uuid };

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#pragma once

#include <rouse/fs.h>
#include <rouse/source.h>

extern const struct rouse_source source_cmdline, source_credential, source_nocloud,
	source_nocloud_disk, source_nocloud_net, source_nocloud_dir, source_ec2,
	source_ec2_compatible, source_gce, source_azure, source_openstack, source_configdrive,
	source_digitalocean, source_hetzner, source_oracle, source_vultr, source_scaleway,
	source_akamai, source_exoscale, source_upcloud, source_aliyun, source_cloudstack,
	source_vmware, source_lxd, source_file;

/* --- recognising ------------------------------------------------------------------------------ */

/* rouse_source.detect of a source with a table of firmware fields. */
bool source_by_dmi(const struct rouse_source *s, struct rouse_machine *m, char *why,
		   size_t why_size);
/* Does this field of the firmware match? Then `why` says so. */
bool source_dmi_is(const struct rouse_machine *m, const char *field, const char *pattern, char *why,
		   size_t why_size);
/* rouse_source.identity where the firmware's serial number, or its UUID, is the instance's id. */
bool source_serial(const struct rouse_machine *m, char *buf, size_t size);
bool source_uuid(const struct rouse_machine *m, char *buf, size_t size);

/* --- what was delivered ----------------------------------------------------------------------- */

/* Is `text` (len bytes, blanks around it are ignored) one line "URL" or "URL#sha256=…"? Then 1,
 * and the pointer is in `f`; 0 when it is something else, -1 when it is a wrong one. */
must_check int source_pointer(struct rouse_found *f, const char *text, size_t len,
			      struct rouse_err *e);

/* Copies `value` when it is printable UTF-8 without control characters, else NULL: it will stand in
 * documents, logs and reports. */
const char *source_keep(struct rouse_found *f, const char *value, size_t len);

/* Takes the body as user-data; an empty one is none. */
void source_set_user_data(struct rouse_found *f, struct rouse_buf *text);

/* Takes the instance's name and host name out of NoCloud's meta-data (lines "key: value", or a JSON
 * object); the text is used up. */
must_check int source_meta_data(struct rouse_found *f, struct rouse_buf *text, struct rouse_err *e);

/* Undoes a MIME message around user-data: picks the one part that is ours. 1 when it did, 0 when it
 * is no MIME message. */
must_check int source_undo_mime(struct rouse_found *f, struct rouse_err *e);

/* Undoes gzip and base64 around a text that is no user-data. */
must_check int source_unpack(struct rouse_buf *text, struct rouse_err *e);

/* A string of an SMBIOS table of type 11 that is our credential; NULL when it has none. `ret_prefix`
 * is what stands before it. */
const char *credential_find(const char *table, size_t n, const char **ret_prefix, size_t *ret_len);
/* The text of the first XML element of this name, in whatever namespace; NULL when there is none. */
const char *azure_element(const char *xml, const char *name, size_t *ret_len);

/* --- disks ------------------------------------------------------------------------------------ */

/* Mounts a filesystem where nobody else looks, read-only, has `read` read it, and leaves no trace. */
must_check int source_read_disk(const struct rouse_seed *seed, struct rouse_found *f,
				int (*read)(const struct rouse_root *root, struct rouse_found *f,
					    struct rouse_err *e),
				struct rouse_err *e);
/* A file of it; absent is empty. */
must_check int source_read_file(const struct rouse_root *root, const char *name, size_t max,
				struct rouse_buf *ret, struct rouse_err *e);

/* What is read of OpenStack's disk, and of Azure's. */
must_check int openstack_read_drive(const struct rouse_root *root, struct rouse_found *f,
				    struct rouse_err *e);
must_check int azure_read_disc(const struct rouse_root *root, struct rouse_found *f,
			       struct rouse_err *e);

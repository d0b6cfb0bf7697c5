/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/mount.h>

#include <libmount.h>
#include <string.h>

#include <rouse/text.h>

AUTO_DEFINE(struct libmnt_table *, table, mnt_unref_table, NULL)

int rouse_mount_options(const char *options, unsigned long *ret_flags, char **ret_data,
			struct rouse_err *e)
{
	unsigned long flags = 0;
	char *data = NULL;

	if (mnt_optstr_get_flags(options, &flags, mnt_get_builtin_optmap(MNT_LINUX_MAP)) < 0 ||
	    mnt_split_optstr(options, NULL, NULL, &data, 0, 0) < 0)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "cannot read the mount options '%s'",
				  options);
	*ret_flags = flags;
	if (ret_data)
		*ret_data = take(data, NULL);
	free(data);
	return 0;
}

bool rouse_mount_has_option(const char *options, const char *name)
{
	char *value = NULL;
	size_t n = 0;

	return mnt_optstr_get_option(options, name, &value, &n) == 0;
}

char *rouse_mounted_type(const char *root, const char *target)
{
	auto_of(table) struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
	auto_free char *path = rouse_asprintf("%s%s", rouse_streq(root, "/") ? "" : root, target);
	struct libmnt_fs *fs = table ? mnt_table_find_target(table, path, MNT_ITER_BACKWARD) : NULL;
	const char *type = fs ? mnt_fs_get_fstype(fs) : NULL;

	return type ? rouse_strdup(type) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "resolv.h"

#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/log.h>
#include <rouse/text.h>

#define RESOLV "/etc/resolv.conf"
#define COVER "/run/rouse/resolv.conf"

/* Where to write. A symlink into /run is the resolver's of later, which is not there yet and will
 * replace what stands there now. A file of an image is part of it: it is covered by a mount, and
 * comes back. The initramfs goes away as a whole. */
static void place(char path[static 300], bool *ret_cover)
{
	char target[256] = "";
	ssize_t n = readlink(RESOLV, target, sizeof(target) - 1);
	struct stat st;

	*ret_cover = false;
	(void)snprintf(path, 300, "%s", RESOLV);
	if (n > 0 && *target == '/')
		(void)snprintf(path, 300, "%s", target);
	else if (n > 0 && rouse_strip_prefix(target, "../run/"))
		(void)snprintf(path, 300, "%s", target + 2);
	if (rouse_strip_prefix(path, "/run/") || access("/etc/initrd-release", F_OK) == 0 ||
	    stat(path, &st) < 0)
		return;
	(void)snprintf(path, 300, "%s", COVER);
	*ret_cover = true;
}

int resolv_write(const struct rouse_root *root, const char *domain, const char *const *servers,
		 size_t n, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	char path[300];
	bool cover;

	if (!n)
		return 0;
	if (*domain)
		rouse_buf_printf(&text, "search %s\n", domain);
	for (size_t i = 0; i < n; i++)
		rouse_buf_printf(&text, "nameserver %s\n", servers[i]);
	place(path, &cover);
	if (rouse_fs_mkdirs(root, path, false, e) < 0 ||
	    rouse_fs_replace(root, path, text.data, text.len, 0644, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	if (cover && mount(COVER, RESOLV, NULL, MS_BIND, NULL) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' over '%s'", COVER,
				  RESOLV);
	return 0;
}

void resolv_restore(void)
{
	/* EINVAL: it is no mount point, for nothing was covered. */
	if (access(COVER, F_OK) == 0 && umount2(RESOLV, MNT_DETACH) < 0 && errno != EINVAL)
		rouse_log(ROUSE_LOG_WARNING, "net", "cannot uncover '%s': %s, ignoring", RESOLV,
			  strerror(errno));
}

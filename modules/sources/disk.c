/* SPDX-License-Identifier: Apache-2.0 */
/* Small filesystems that a cloud attaches for a boot to read. */
#include "sources.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>

#include <blkid.h>

#include <rouse/init.h>
#include <rouse/text.h>

static void probe_release(blkid_probe p)
{
	blkid_free_probe(p);
}
AUTO_DEFINE(blkid_probe, probe, probe_release, NULL)

static void dir_release(DIR *d)
{
	(void)closedir(d);
}
AUTO_DEFINE(DIR *, dir, dir_release, NULL)

/* --- finding one ------------------------------------------------------------------------------ */

static void copy_value(blkid_probe p, const char *name, char *buf, size_t size)
{
	const char *value;

	if (blkid_probe_lookup_value(p, name, &value, NULL) == 0)
		(void)snprintf(buf, size, "%s", value);
}

static void probe_device(struct rouse_machine *m, const char *path)
{
	static char vfat[] = "vfat", iso9660[] = "iso9660", udf[] = "udf";
	char *types[] = { vfat, iso9660, udf, NULL };
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	blkid_probe p auto_of(probe) = fd < 0 ? NULL : blkid_new_probe();
	struct rouse_seed s = { 0 };

	/* An empty drive or a device without a node is simply not the one; a read error is neither. */
	if (!p || blkid_probe_set_device(p, fd, 0, 0) < 0 || blkid_probe_get_size(p) <= 0 ||
	    blkid_probe_filter_superblocks_type(p, BLKID_FLTR_ONLYIN, types) < 0 ||
	    blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_TYPE |
							 BLKID_SUBLKS_UUID) < 0 ||
	    blkid_do_safeprobe(p) != 0)
		return;
	(void)snprintf(s.device, sizeof(s.device), "%s", path);
	copy_value(p, "TYPE", s.type, sizeof(s.type));
	copy_value(p, "UUID", s.uuid, sizeof(s.uuid));
	/* The label of a FAT stands in two places; the second counts where the first is empty. */
	copy_value(p, "LABEL_FATBOOT", s.label, sizeof(s.label));
	copy_value(p, "LABEL", s.label, sizeof(s.label));
	if (s.type[0] && m->n_seeds < ROUSE_MAX_SEEDS)
		m->seeds[m->n_seeds++] = s;
}

/* Memory disks hold nothing that was there before us; floppies take seconds to say that they are not. */
static bool is_candidate(const char *name)
{
	static const char *const not [] = { "ram", "zram", "fd", "nbd" };

	if (*name == '.' || strlen(name) > 50)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(not ); i++) {
		const char *rest = rouse_strip_prefix(name, not [i]);

		if (rest && *rest >= '0' && *rest <= '9')
			return false;
	}
	return true;
}

static void look(struct rouse_machine *m)
{
	auto_free char *dir = rouse_asprintf("%s/sys/class/block", m->sysroot);
	DIR *d auto_of(dir) = opendir(dir);
	struct dirent *entry;

	m->n_seeds = 0;
	m->looked = true;
	while (d && (entry = readdir(d))) {
		auto_free char *path = rouse_asprintf("%s/dev/%s", m->sysroot, entry->d_name);

		if (is_candidate(entry->d_name))
			probe_device(m, path);
	}
}

const struct rouse_seed *rouse_machine_seed(struct rouse_machine *m, const char *label, bool again,
					    unsigned *ret_n)
{
	const struct rouse_seed *first = NULL;
	unsigned n = 0;

	if (m->container) /* its disks are its host's */
		return NULL;
	if ((!m->looked || again) && !m->told)
		look(m);
	for (size_t i = 0; i < m->n_seeds; i++)
		if (strcasecmp(m->seeds[i].label, label) == 0) {
			first = first ? first : &m->seeds[i];
			n++;
		}
	if (ret_n)
		*ret_n = n;
	return first;
}

/* --- reading it ------------------------------------------------------------------------------- */

static void load_filesystem(const char *type)
{
	/* Debian's vfat wants these two tables; where a kernel has none of them, mount says so. */
	static const char *const vfat[] = { "vfat", "nls_cp437", "nls_ascii", NULL };
	struct rouse_err ignored;

	if (!rouse_streq(type, "vfat")) {
		if (rouse_kmod_load(rouse_streq(type, "udf") ? "udf" : "isofs", &ignored) < 0)
			return; /* built in, or mount fails and says why */
		return;
	}
	if (rouse_kmod_load_all(vfat, &ignored) < 0)
		return;
}

int source_read_file(const struct rouse_root *root, const char *name, size_t max,
		     struct rouse_buf *ret, struct rouse_err *e)
{
	if (rouse_fs_read(root, name, max, ret, e) == 0)
		return 0;
	return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
}

int source_read_disk(const struct rouse_seed *seed, struct rouse_found *f,
		     int (*read)(const struct rouse_root *root, struct rouse_found *f,
				 struct rouse_err *e),
		     struct rouse_err *e)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	char dir[] = "/run/rouse-seed-XXXXXX";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	int r;

	if (!mkdtemp(dir))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a directory in '/run'");
	load_filesystem(seed->type);
	if (mount(seed->device, dir, seed->type, flags, NULL) < 0) {
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' (%s)", seed->device,
			       seed->type);
	} else {
		r = rouse_root_open(&root, dir, e) < 0 ? -1 : read(&root, f, e);
		if (r < 0)
			(void)rouse_wrap(e, "the files on '%s'", seed->device);
		rouse_root_done(&root);
		(void)umount2(dir, MNT_DETACH); /* read-only: nothing can be lost */
	}
	(void)rmdir(dir);
	return r;
}

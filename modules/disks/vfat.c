/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfat by mkfs.fat, which writes into memory (a sparse memfd) and never opens the disk. What it
 * made is copied: everything but the boot sector first, the boot sector last, so that the
 * filesystem is there complete, or there is only our pending mark.
 */
#include "write.h"

#include <ctype.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/proc.h>

#define HEAD 2048 /* boot sector, and the pending mark at 1024 */

/* UEFI wants FAT32 on an ESP; FAT32 is what has at least 65525 clusters (of a sector each). */
#define FAT32_CLUSTERS (65525 + 3 * 1024)

static bool fits_fat32(const struct disks_target *t)
{
	return t->size / t->sector >= FAT32_CLUSTERS;
}

/* Sectors of a cluster: up to 4 KiB, as far as it stays FAT32. mkfs.fat takes one sector below 260 MB,
 * and tables of several MiB that have to be written. */
static unsigned cluster(const struct disks_target *t)
{
	unsigned n = 1;

	while (2 * n * t->sector <= 4096 && t->size / t->sector / (2 * n) >= FAT32_CLUSTERS)
		n *= 2;
	return n;
}

static void volume_id(const uint8_t uuid[static 16], char *buf, size_t size, const char *between)
{
	(void)snprintf(buf, size, "%02X%02X%s%02X%02X", uuid[0], uuid[1], between, uuid[2],
		       uuid[3]);
}

static void print_volume_id(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN])
{
	volume_id(uuid, ret, DISKS_GUID_LEN, "-");
}

/* FAT labels are upper-case; mkfs.fat warns about others, and Windows shows them mangled. */
static void volume_label(const char *label, char *buf, size_t size)
{
	size_t n = 0;

	for (; label[n] && n + 1 < size; n++) {
		unsigned char c = (unsigned char)label[n];

		buf[n] = isalnum(c) || c == '-' || c == '_' || c == ' ' ? (char)toupper(c) : '_';
	}
	buf[n] = '\0';
}

static int run_mkfs(const struct disks_target *t, int fd, struct rouse_err *e)
{
	char sector[16], id[16], label[12], clusters[16], path[64];
	const char *argv[16] = { "mkfs.fat" };
	size_t n = 1;
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_MKFS;
	const struct rouse_proc proc = { .argv = argv,
					 .deadline = t->deadline && t->deadline < deadline
							     ? t->deadline
							     : deadline };

	(void)snprintf(sector, sizeof(sector), "%llu", (unsigned long long)t->sector);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	volume_id(t->uuid, id, sizeof(id), "");
	volume_label(t->label, label, sizeof(label));
	argv[n++] =
		"--invariant"; /* no clock in it: images are reproducible; sets an -i, so it comes first */
	argv[n++] = "-S";
	argv[n++] = sector;
	argv[n++] = "-i";
	argv[n++] = id;
	if (*label) {
		argv[n++] = "-n";
		argv[n++] = label;
	}
	if (fits_fat32(t)) {
		(void)snprintf(clusters, sizeof(clusters), "%u", cluster(t));
		argv[n++] = "-F";
		argv[n++] = "32";
		argv[n++] = "-s";
		argv[n++] = clusters;
	}
	argv[n++] = path;
	return rouse_proc_check(&proc, e);
}

static int make_vfat(const struct disks_target *t, struct rouse_err *e)
{
	uint64_t head = t->sector > HEAD ? t->sector : HEAD;
	auto_fd int fd = memfd_create("vfat", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)t->size) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make vfat on %s", t->what);
	if (run_mkfs(t, fd, e) < 0)
		return rouse_wrap(e, "cannot make vfat on %s", t->what);
	if (disks_copy_data(t, fd, head, t->size, e) < 0)
		return -1;
	return disks_copy_head(t, fd, head, e);
}

static void room_of_vfat(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	*bytes = size / 100 * 97; /* two FATs of 4 bytes a cluster */
	*inodes = 0;
}

/* Debian's default iocharset is ascii, Fedora's and upstream's iso8859-1, which a mount that fails tells. */
static const char *const modules[] = { "vfat", "nls_cp437", "nls_ascii", NULL };
static const char *const more_modules[] = { "nls_iso8859-1", NULL };

const struct disks_filesystem disks_vfat = {
	.name = "vfat",
	.modules = modules,
	.more_modules = more_modules,
	.program = "mkfs.fat",
	.min = 1 * MIB,
	.max_label = 11,
	.check = true,
	.checker = "fsck.fat",
	.room = room_of_vfat,
	.print_uuid = print_volume_id,
	.make = make_vfat,
};

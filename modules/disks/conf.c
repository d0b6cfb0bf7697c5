/* SPDX-License-Identifier: Apache-2.0 */
/* The sections `seed` and `disks`: tables, and what tables cannot say. */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

static bool is_mount_or_name(const char *s)
{
	return rouse_is_absolute_path(s) || rouse_is_label(s);
}

/* "ext4", "ntfs:Temporary Storage", "anything" */
static bool is_consent(const char *s)
{
	size_t n = strcspn(s, ":");

	return n > 0 && n <= 32 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789_-") >= n;
}

static bool is_mount_option(const char *s)
{
	/* libmount reads quotes, and refuses what has no name: too late, the disk is made by then */
	return *s && *s != '=' && strlen(s) <= 128 && !strpbrk(s, ", \t\n\"");
}

static bool is_volume_label(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return *s && rouse_utf8_valid(s, strlen(s));
}

static const struct rouse_shape mount_option = {
	.type = ROUSE_STRING,
	.format = "a mount option",
	.valid = is_mount_option,
};

static const struct rouse_field key_fields[] = {
	ROUSE_FIELD(struct disks_key, file, "file",
		    "A file that the agent sees; in an initramfs, one of the initramfs.",
		    .type = ROUSE_STRING, .format = "an absolute path",
		    .valid = rouse_is_absolute_path),
	ROUSE_FIELD(struct disks_key, url, "url", "https or s3; all of what is there is the key.",
		    .type = ROUSE_STRING, .interpolate = true, .format = "a URL",
		    .valid = rouse_is_url),
	ROUSE_FIELD(struct disks_key, text, "text", "The key itself, as text.",
		    .type = ROUSE_STRING, .secret = true, .min = 1, .max = 512),
	ROUSE_FIELD(struct disks_key, base64, "base64", "The key itself (RFC 4648).",
		    .type = ROUSE_STRING, .secret = true, .min = 1, .max = 8192),
};

static const struct rouse_shape pcr_shape = { .type = ROUSE_INT, .min = 0, .max = 23 };

static const struct rouse_field tpm2_fields[] = {
	ROUSE_FIELD(struct disks_tpm2, pcrs, "pcrs",
		    "Registers that must be as they are now; 7 (secure boot) by default.",
		    .type = ROUSE_LIST, .item = &pcr_shape, .max = 24, .shorthand = "item"),
};

static const struct rouse_field luks_fields[] = {
	ROUSE_FIELD(struct disks_luks, name, "name",
		    "Its name below /dev/mapper; by default of its mount point.",
		    .type = ROUSE_STRING,
		    .format = "a name of letters, digits, \".\", \"_\", \"-\"",
		    .valid = rouse_is_label),
	ROUSE_FIELD(struct disks_luks, key, "key", "The key: a URL, or where else it is.",
		    .type = ROUSE_OBJECT, .fields = key_fields, .n_fields = ARRAY_SIZE(key_fields),
		    .size = sizeof(struct disks_key), .shorthand = "url"),
	ROUSE_FIELD(
		struct disks_luks, escrow, "escrow",
		"Where a key that is made here is kept, before anything is encrypted with it, and "
		"read at every boot: a URL that takes PUT, or a \"file\".",
		.type = ROUSE_OBJECT, .fields = key_fields, .n_fields = 2,
		.size = sizeof(struct disks_key), .shorthand = "url"),
	ROUSE_FIELD(struct disks_luks, tpm2, "tpm2",
		    "The TPM of this machine keeps a key; without \"key\" and \"escrow\" the only "
		    "one.",
		    .type = ROUSE_OBJECT, .fields = tpm2_fields,
		    .n_fields = ARRAY_SIZE(tpm2_fields), .size = sizeof(struct disks_tpm2)),
	ROUSE_FIELD(struct disks_luks, discard, "discard",
		    "What is deleted is discarded below, which shows how much is in use.",
		    .type = ROUSE_BOOL),
};

#define LUKS(type_)                                                                                \
	ROUSE_FIELD(type_, luks, "luks", "Encrypts what is there (LUKS2).", .type = ROUSE_OBJECT,  \
		    .fields = luks_fields, .n_fields = ARRAY_SIZE(luks_fields),                    \
		    .size = sizeof(struct disks_luks))

static bool is_uuid(const char *s)
{
	uint8_t uuid[16];

	return strlen(s) == 36 && disks_parse_uuid(s, uuid);
}

/* Relative to the root of the filesystem. */
static bool is_subvolume(const char *s)
{
	auto_free char *path = rouse_asprintf("/%s", s);

	return strlen(s) < 256 && rouse_is_absolute_path(path) && *s;
}

static const struct rouse_shape share_shape = { .type = ROUSE_INT, .min = 0, .max = 50 };
static const struct rouse_shape argument_shape = { .type = ROUSE_STRING, .min = 1, .max = 128 };
static const struct rouse_shape subvolume_shape = {
	.type = ROUSE_STRING,
	.format = "a path inside the filesystem, such as \"@home\"",
	.valid = is_subvolume,
};

static const struct rouse_field mkfs_fields[] = {
	ROUSE_FIELD(struct disks_mkfs, uuid, "uuid",
		    "Its UUID, where another one than that of rouse is wanted.",
		    .type = ROUSE_STRING, .format = "a UUID", .valid = is_uuid),
	ROUSE_FIELD(struct disks_mkfs, reserved, "reserved",
		    "ext4: percent of the blocks that only root gets; 5 by default.",
		    .type = ROUSE_LIST, .item = &share_shape, .min = 1, .max = 1,
		    .shorthand = "item"),
	ROUSE_FIELD(struct disks_mkfs, inode_ratio, "inodeRatio",
		    "ext4: bytes for each inode; 16KiB by default.", .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_mkfs, options, "options",
		    "xfs, btrfs, f2fs: arguments of the program that makes it.", .type = ROUSE_LIST,
		    .item = &argument_shape, .max = 32, .shorthand = "item"),
	ROUSE_FIELD(struct disks_mkfs, subvolumes, "subvolumes",
		    "btrfs: subvolumes by mount point, or by a name when they are not mounted.",
		    .type = ROUSE_MAP, .format = "a mount point or a name",
		    .valid = is_mount_or_name, .max = 32, .item = &subvolume_shape),
};

#define MKFS(type_)                                                                                \
	ROUSE_FIELD(type_, mkfs, "mkfs", "How its filesystem is made.", .type = ROUSE_OBJECT,      \
		    .fields = mkfs_fields, .n_fields = ARRAY_SIZE(mkfs_fields),                    \
		    .size = sizeof(struct disks_mkfs))

static const struct rouse_field spread_fields[] = {
	ROUSE_REQUIRED(struct disks_spread, level, "level", "0 (stripes), 1 (mirrors), 5, 6 or 10.",
		       .type = ROUSE_INT, .min = 0, .max = 10),
	ROUSE_FIELD(struct disks_spread, devices, "devices",
		    "On how many physical volumes; two for level 1, else all of them.",
		    .type = ROUSE_INT, .min = 2, .max = ROUSE_MAX_MEMBERS),
};

static const struct rouse_field volume_fields[] = {
	ROUSE_FIELD(struct disks_partition, spread, "raid",
		    "Spreads it over several physical volumes; a number is the level.",
		    .type = ROUSE_OBJECT, .fields = spread_fields,
		    .n_fields = ARRAY_SIZE(spread_fields), .size = sizeof(struct disks_spread),
		    .shorthand = "level"),
	ROUSE_FIELD(struct disks_partition, pool, "pool",
		    "It is a pool for thin volumes, and is not mounted.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct disks_partition, thin, "thin",
		    "Makes it a thin volume of this pool; its size may be larger than the pool.",
		    .type = ROUSE_STRING, .format = "the name of a volume with \"pool\"",
		    .valid = rouse_is_label),
	LUKS(struct disks_partition),
	MKFS(struct disks_partition),
	ROUSE_FIELD(struct disks_partition, size, "size",
		    "How large to make it (\"200MB\", \"25%\"); absent: whatever is left.",
		    .type = ROUSE_SIZE, .percent = true),
	ROUSE_FIELD(
		struct disks_partition, filesystem, "filesystem",
		"What to make on it. Absent: what is there is kept, a new partition stays empty.",
		.type = ROUSE_STRING, .words = disks_filesystem_words),
	ROUSE_FIELD(struct disks_partition, label, "label",
		    "Label of the filesystem; by default of its mount point.", .type = ROUSE_STRING,
		    .format = "a label of printable UTF-8", .valid = is_volume_label),
	ROUSE_FIELD(struct disks_partition, mount_options, "mountOptions", "Options of mount(8).",
		    .type = ROUSE_LIST, .item = &mount_option, .max = 32, .shorthand = "item"),
};

static const struct rouse_shape volume_shape = {
	.type = ROUSE_OBJECT,
	.fields = volume_fields,
	.n_fields = ARRAY_SIZE(volume_fields),
	.size = sizeof(struct disks_partition),
};

static const struct rouse_field lvm_fields[] = {
	ROUSE_REQUIRED(
		struct disks_lvm, group, "group",
		"The volume group; every partition that names it is one of its physical volumes.",
		.type = ROUSE_STRING, .format = "a name of letters, digits, \".\", \"_\", \"-\"",
		.valid = rouse_is_label),
	ROUSE_FIELD(struct disks_lvm, volumes, "volumes",
		    "Logical volumes by mount point, or by a name when it is not mounted.",
		    .type = ROUSE_MAP, .format = "a mount point or a name",
		    .valid = is_mount_or_name, .max = ROUSE_MAX_VOLUMES, .item = &volume_shape),
};

static const struct rouse_shape attribute_shape = {
	.type = ROUSE_STRING,
	.format = "an attribute such as \"read-only\", or the number of a bit from 48 to 63",
	.valid = disks_is_attribute,
};

static const char *const metadata_words[] = { "1.0", "1.2", NULL };

static const struct rouse_field raid_fields[] = {
	ROUSE_REQUIRED(struct disks_raid, level, "level", "0, 1, 5, 6 or 10.", .type = ROUSE_INT,
		       .min = 0, .max = 10),
	ROUSE_FIELD(
		struct disks_raid, metadata, "metadata",
		"Version of the superblock: \"1.2\", or \"1.0\", which firmware and boot loaders "
		"do not see (the default for a RAID 1 with vfat or at /boot).",
		.type = ROUSE_STRING, .words = metadata_words),
	ROUSE_FIELD(struct disks_raid, chunk, "chunk",
		    "Bytes on one device before the next one comes; 512KiB by default.",
		    .type = ROUSE_SIZE),
};

static const char *const image_words[] = {
	"erofs", "squashfs", "ext4", "xfs", "btrfs", "vfat", NULL
};

static const struct rouse_field image_fields[] = {
	ROUSE_REQUIRED(struct disks_image, url, "url", "Where the image is.", .type = ROUSE_STRING,
		       .format = "a URL", .valid = rouse_is_url),
	ROUSE_REQUIRED(struct disks_image, sha256, "sha256", "Its digest.", .type = ROUSE_STRING,
		       .format = "64 lower-case hex digits", .valid = rouse_is_sha256_hex),
	ROUSE_FIELD(struct disks_image, type, "type", "As what it is mounted (read-only).",
		    .type = ROUSE_STRING, .words = image_words),
};

static const struct rouse_field verity_fields[] = {
	ROUSE_REQUIRED(struct disks_verity, hash, "hash",
		       "The partition of the same disk that holds the tree of hashes.",
		       .type = ROUSE_STRING, .format = "the name of a partition",
		       .valid = is_mount_or_name),
	ROUSE_REQUIRED(struct disks_verity, root_hash, "rootHash", "The hash of all of it.",
		       .type = ROUSE_STRING, .format = "64 lower-case hex digits",
		       .valid = rouse_is_sha256_hex),
};

static const struct rouse_field partition_fields[] = {
	ROUSE_FIELD(struct disks_partition, image, "image",
		    "It is written from an image, which is checked before the partition is "
		    "published, and is never written over.",
		    .type = ROUSE_OBJECT, .fields = image_fields,
		    .n_fields = ARRAY_SIZE(image_fields), .size = sizeof(struct disks_image)),
	ROUSE_FIELD(struct disks_partition, verity, "verity",
		    "It is read through dm-verity, by its root hash.", .type = ROUSE_OBJECT,
		    .fields = verity_fields, .n_fields = ARRAY_SIZE(verity_fields),
		    .size = sizeof(struct disks_verity)),
	LUKS(struct disks_partition),
	MKFS(struct disks_partition),
	ROUSE_FIELD(struct disks_partition, raid, "raid",
		    "Makes it a member of this array: the disk of that name that says \"raid\".",
		    .type = ROUSE_STRING,
		    .format = "a name of letters, digits, \".\", \"_\", \"-\"",
		    .valid = rouse_is_label),
	ROUSE_FIELD(struct disks_partition, lvm, "lvm",
		    "Makes it a physical volume of this volume group, with one volume for its "
		    "mount point, "
		    "or with the volumes that are listed.",
		    .type = ROUSE_OBJECT, .fields = lvm_fields, .n_fields = ARRAY_SIZE(lvm_fields),
		    .size = sizeof(struct disks_lvm), .shorthand = "group"),
	ROUSE_FIELD(struct disks_partition, size, "size",
		    "How large to make it (\"200MB\", \"25%\"); absent: whatever is left.",
		    .type = ROUSE_SIZE, .percent = true),
	ROUSE_FIELD(
		struct disks_partition, filesystem, "filesystem",
		"What to make on it. Absent: what is there is kept, a new partition stays empty.",
		.type = ROUSE_STRING, .words = disks_filesystem_words),
	ROUSE_FIELD(struct disks_partition, label, "label",
		    "Name in the GPT and label of the filesystem; by default of its mount point.",
		    .type = ROUSE_STRING, .format = "a label of printable UTF-8",
		    .valid = is_volume_label),
	ROUSE_FIELD(struct disks_partition, type, "type",
		    "Partition type: a name of the Discoverable Partitions Specification "
		    "(\"esp\", \"root-arm64\", \"linux-raid\"…) or a GUID; by default of its "
		    "mount point.",
		    .type = ROUSE_STRING,
		    .format = "a partition type such as \"esp\" or \"linux-lvm\", or a GUID",
		    .valid = disks_is_type),
	ROUSE_FIELD(struct disks_partition, mount_options, "mountOptions", "Options of mount(8).",
		    .type = ROUSE_LIST, .item = &mount_option, .max = 32, .shorthand = "item"),
	ROUSE_FIELD(struct disks_partition, min, "min",
		    "Without \"size\": at least this much of what is left.", .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_partition, max, "max",
		    "Without \"size\": at most this much of what is left.", .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_partition, weight, "weight",
		    "Without \"size\": its share of what is left, beside the weights of others; "
		    "1 by default.",
		    .type = ROUSE_INT, .min = 1, .max = 1000000),
	ROUSE_FIELD(struct disks_partition, number, "number",
		    "Its number; by default the first that is free.", .type = ROUSE_INT, .min = 1,
		    .max = ROUSE_MAX_PARTITIONS),
	ROUSE_FIELD(struct disks_partition, start, "start",
		    "Where it begins on the disk; by default behind the one before it.",
		    .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_partition, guid, "guid",
		    "Its unique GUID; by default derived from the seed and its name.",
		    .type = ROUSE_STRING, .format = "a GUID", .valid = disks_is_guid),
	ROUSE_FIELD(struct disks_partition, attributes, "attributes",
		    "Attributes: \"read-only\", \"no-auto\", \"grow-filesystem\", "
		    "\"legacy-boot\", \"required\", \"no-block-io\", or the number of a bit from "
		    "48 on.",
		    .type = ROUSE_LIST, .item = &attribute_shape, .max = 16, .shorthand = "item"),
};

static const struct rouse_shape partition_shape = {
	.type = ROUSE_OBJECT,
	.fields = partition_fields,
	.n_fields = ARRAY_SIZE(partition_fields),
	.size = sizeof(struct disks_partition),
};

static const struct rouse_shape consent_shape = {
	.type = ROUSE_STRING,
	.format = "a signature such as \"ext4\" or \"ntfs:Temporary Storage\", or \"anything\"",
	.valid = is_consent,
};

static const char *const missing_words[] = { "fail", "skip", NULL };
static const char *const hybrid_words[] = { "refuse", "keep", NULL };

static const struct rouse_field disk_fields[] = {
	ROUSE_FIELD(struct disks_disk, device, "device",
		    "Which disk: \"root\", a path, or a matcher; with \"raid\", every disk that "
		    "matches. Absent there: the partitions that name the array.",
		    .type = ROUSE_OBJECT, .fields = disks_device_fields,
		    .n_fields = DISKS_N_DEVICE_FIELDS, .size = sizeof(struct disks_device),
		    .shorthand = "path"),
	ROUSE_FIELD(struct disks_disk, raid, "raid",
		    "Makes an array of these disks or partitions, which is then used like a disk "
		    "without partitions; a number is its level.",
		    .type = ROUSE_OBJECT, .fields = raid_fields,
		    .n_fields = ARRAY_SIZE(raid_fields), .size = sizeof(struct disks_raid),
		    .shorthand = "level"),
	LUKS(struct disks_disk),
	MKFS(struct disks_disk),
	ROUSE_FIELD(struct disks_disk, lvm, "lvm",
		    "Makes the whole disk a physical volume of this volume group.",
		    .type = ROUSE_OBJECT, .fields = lvm_fields, .n_fields = ARRAY_SIZE(lvm_fields),
		    .size = sizeof(struct disks_lvm), .shorthand = "group"),
	ROUSE_FIELD(struct disks_disk, partitions, "partitions",
		    "Partitions by mount point, or by a name when it is not mounted.",
		    .type = ROUSE_MAP, .format = "a mount point or a name",
		    .valid = is_mount_or_name, .max = ROUSE_MAX_PARTITIONS,
		    .item = &partition_shape),
	ROUSE_FIELD(struct disks_disk, filesystem, "filesystem",
		    "A filesystem on the whole disk, without a partition table.",
		    .type = ROUSE_STRING, .words = disks_filesystem_words),
	ROUSE_FIELD(struct disks_disk, mount, "mount",
		    "Where the whole disk's filesystem is mounted.", .type = ROUSE_STRING,
		    .format = "an absolute path", .valid = rouse_is_absolute_path),
	ROUSE_FIELD(struct disks_disk, label, "label", "Label of the whole disk's filesystem.",
		    .type = ROUSE_STRING, .format = "a label of printable UTF-8",
		    .valid = is_volume_label),
	ROUSE_FIELD(struct disks_disk, mount_options, "mountOptions", "Options of mount(8).",
		    .type = ROUSE_LIST, .item = &mount_option, .max = 32, .shorthand = "item"),
	ROUSE_FIELD(struct disks_disk, missing, "missing",
		    "What to do when it is not there: \"fail\" (by default), or \"skip\" it.",
		    .type = ROUSE_STRING, .words = missing_words),
	ROUSE_FIELD(struct disks_disk, wait, "wait",
		    "How long a boot waits for it to appear; 30s by default, and not at all where "
		    "it may be missing.",
		    .type = ROUSE_DURATION, .min = 1, .max = ROUSE_MAX_DEVICE_WAIT),
	ROUSE_FIELD(struct disks_disk, sector_size, "sectorSize",
		    "Of an image file: bytes of a sector, from 512 to 4096.", .type = ROUSE_INT,
		    .min = 512, .max = 4096),
	ROUSE_FIELD(struct disks_disk, hybrid, "hybridMbr",
		    "A table whose MBR lists partitions, too, is not changed (\"refuse\", by "
		    "default), or the MBR is kept in step (\"keep\").",
		    .type = ROUSE_STRING, .words = hybrid_words),
	ROUSE_FIELD(struct disks_disk, replace, "replace",
		    "What may be destroyed on it: signatures (\"ext4\", \"ntfs:Temporary "
		    "Storage\"), or "
		    "\"anything\". Spent once: what rouse made is never destroyed.",
		    .type = ROUSE_LIST, .item = &consent_shape, .max = 32, .shorthand = "item"),
};

static const struct rouse_shape disk_shape = {
	.type = ROUSE_OBJECT,
	.fields = disk_fields,
	.n_fields = ARRAY_SIZE(disk_fields),
	.size = sizeof(struct disks_disk),
};

const struct rouse_field disks_conf_fields[] = {
	ROUSE_FIELD(struct disks_conf, seed, "seed",
		    "Key of the identities (GUIDs) that rouse gives to what it makes; \"rouse\" by "
		    "default.",
		    .type = ROUSE_STRING, .min = 1, .max = 256),
	ROUSE_FIELD(struct disks_conf, disks, "disks", "Disks by name.", .type = ROUSE_MAP,
		    .format = "a name of letters, digits, \".\", \"_\", \"-\"",
		    .valid = rouse_is_label, .max = ROUSE_MAX_DISKS, .item = &disk_shape),
};
const size_t disks_n_conf_fields = ARRAY_SIZE(disks_conf_fields);

const char *disks_seed(const struct disks_conf *conf)
{
	return conf->seed ? conf->seed : "rouse";
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void check_label(const char *filesystem, const char *label, const char *const *keys,
			struct rouse_problems *problems)
{
	const struct disks_filesystem *fs = filesystem ? disks_filesystem_find(filesystem) : NULL;

	if (fs && label && strlen(label) > fs->max_label)
		rouse_problem(problems, keys,
			      "\"%.64s\" has %zu bytes, a label of %s has at most %zu", label,
			      strlen(label), fs->name, fs->max_label);
}

/* Volume names are what lvm(8) takes, and what is left when a mount point loses its slashes. */
static bool is_volume_name(const char *s)
{
	return rouse_is_label(s) && strncmp(s, "snapshot", 8) != 0 && strncmp(s, "pvmove", 6) != 0;
}

static void check_volume(const struct disks_partition *v, const char *const *at,
			 struct rouse_problems *problems)
{
	char name[256];

	if (!is_volume_name(disks_volume_name(v->key, name, sizeof(name))))
		rouse_problem(problems, at, "\"%.64s\" cannot be the name of a volume", name);
	if (rouse_streq(v->filesystem, "swap") && disks_is_mount_point(v->key))
		rouse_problem(problems, at, "swap is not mounted: give the volume a plain name");
	disks_check_spread(v, at, problems);
	disks_check_mkfs(v, at, problems);
}

/* `at`: "disks", its name, "partitions", its key; without the last two for a whole disk. */
static void check_lvm(const char *const *at, const struct disks_partition *p,
		      struct rouse_problems *problems)
{
	const struct disks_partition *v = p->lvm->volumes.items;
	const char *deep[9], *deeper[10];
	size_t n = 0;

	if (p->type && strcmp(p->type, "linux-lvm") != 0)
		rouse_problem(problems, at, "a physical volume has the type \"linux-lvm\"");
	if (!p->lvm->volumes.n && (p->filesystem || disks_is_mount_point(p->key)))
		check_volume(p, at, problems);
	if (p->lvm->volumes.n &&
	    (p->filesystem || p->mount_options.n || disks_is_mount_point(p->key)))
		rouse_problem(problems, at,
			      "lists \"volumes\": mount points, filesystems and options belong "
			      "into them, and the partition has a plain name");
	for (; at[n]; n++)
		deep[n] = deeper[n] = at[n];
	deep[n] = deeper[n] = "lvm";
	deep[n + 1] = deeper[n + 1] = "volumes";
	deep[n + 3] = deeper[n + 4] = NULL;
	deeper[n + 3] = "label";
	for (size_t i = 0; i < p->lvm->volumes.n; i++) {
		deep[n + 2] = deeper[n + 2] = v[i].key;
		check_volume(&v[i], deep, problems);
		check_label(v[i].filesystem, v[i].label, deeper, problems);
		if (v[i].mount_options.n && !disks_is_mount_point(v[i].key))
			rouse_problem(problems, deep, "\"mountOptions\" without a mount point");
	}
}

static void check_raid_member(const char *const *at, const struct disks_partition *p,
			      struct rouse_problems *problems)
{
	if (p->filesystem || p->mount_options.n || disks_is_mount_point(p->key))
		rouse_problem(problems, at,
			      "is a member of array \"%s\": mount point, filesystem and options "
			      "belong to disks.%s, and the partition has a plain name",
			      p->raid, p->raid);
}

static void check_partition(const struct disks_disk *d, const struct disks_partition *p,
			    struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "partitions", p->key, NULL };
	const char *const at_label[] = { "disks", d->key, "partitions", p->key, "label", NULL };
	char buf[256];

	if (disks_utf16_units(disks_partition_label(p, buf, sizeof(buf))) > 36)
		rouse_problem(problems, p->label ? at_label : at,
			      "the name of a GPT partition has at most 36 UTF-16 units%s",
			      p->label ? "" : ": give it a shorter \"label\"");
	check_label(p->filesystem, p->label, at_label, problems);
	disks_check_mkfs(p, at, problems);
	disks_check_image(d, p, at, problems);
	if (p->lvm && p->raid)
		rouse_problem(problems, at,
			      "\"lvm\" and \"raid\" exclude each other: put \"lvm\" "
			      "into disks.%s",
			      p->raid);
	if (p->lvm)
		check_lvm(at, p, problems);
	else if (p->raid)
		check_raid_member(at, p, problems);
	else if (rouse_streq(p->filesystem, "swap") && disks_is_mount_point(p->key))
		rouse_problem(problems, at, "swap is not mounted: give the partition a plain name");
	if (p->mount_options.n && !disks_is_mount_point(p->key))
		rouse_problem(problems, at,
			      "\"mountOptions\" without a mount point: the key of a mounted "
			      "partition is its path");
}

/* Percentages must fit. Labels tell partitions apart. */
static void check_partitions(const struct disks_disk *d, struct rouse_problems *problems)
{
	const struct disks_partition *p = d->partitions.items;
	unsigned percent = 0;

	for (size_t i = 0; i < d->partitions.n; i++) {
		const char *const at[] = { "disks", d->key, "partitions", p[i].key, NULL };
		char mine[256], other[256];

		check_partition(d, &p[i], problems);
		percent += p[i].size.percent;
		for (size_t k = 0; k < i; k++)
			if (strcmp(disks_partition_label(&p[i], mine, sizeof(mine)),
				   disks_partition_label(&p[k], other, sizeof(other))) == 0)
				rouse_problem(problems, at,
					      "would be named '%s' like \"%s\": give it another "
					      "\"label\"",
					      mine, p[k].key);
	}
	if (percent > 100) {
		const char *const at[] = { "disks", d->key, "partitions", NULL };

		rouse_problem(problems, at, "the sizes add up to %u%%", percent);
	}
}

/* What is wanted of a whole disk, or an array, as it would be said of a partition. */
static struct disks_partition whole_of(const struct disks_disk *d)
{
	return (struct disks_partition){ .key = d->mount ? d->mount : d->key,
					 .filesystem = d->filesystem,
					 .label = d->label,
					 .lvm = d->lvm,
					 .luks = d->luks,
					 .mkfs = d->mkfs,
					 .mount_options = d->mount_options };
}

static void check_whole(const struct disks_disk *d, struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, NULL };
	const char *const at_label[] = { "disks", d->key, "label", NULL };
	const struct disks_partition whole = whole_of(d);
	const char *also = d->filesystem ? "filesystem"
			   : d->mount    ? "mount"
			   : d->lvm      ? "lvm"
					 : NULL;

	if (d->lvm)
		check_lvm(at, &whole, problems);
	else if (rouse_streq(d->filesystem, "swap") && d->mount)
		rouse_problem(problems, at, "swap is not mounted: leave \"mount\" out");
	if (d->partitions.n && also)
		rouse_problem(problems, at,
			      "has \"partitions\" and \"%s\": a disk has partitions, or one "
			      "filesystem on all of it",
			      also);
	else if (!d->partitions.n && !also && !d->raid)
		rouse_problem(problems, at,
			      "neither \"partitions\" nor \"filesystem\": nothing is wanted of it");
	else if (d->partitions.n && (d->label || d->mount_options.n || d->luks))
		rouse_problem(problems, at, "\"%s\" belongs into a partition here",
			      d->luks    ? "luks"
			      : d->label ? "label"
					 : "mountOptions");
	check_label(d->filesystem, d->label, at_label, problems);
	disks_check_mkfs(&whole, at, problems);
}

struct mounts {
	size_t n;
	const char *paths[ROUSE_MAX_DISKS * ROUSE_MAX_PARTITIONS];
};

static void check_mount(struct mounts *m, const char *mount, const char *const *at,
			struct rouse_problems *problems)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->paths[i], mount) == 0)
			rouse_problem(problems, at, "\"%s\" is mounted twice", mount);
	if (m->n < ARRAY_SIZE(m->paths))
		m->paths[m->n++] = mount;
}

static void check_mounts_of_volumes(struct mounts *m, const char *const *at,
				    const struct disks_lvm *lvm, struct rouse_problems *problems)
{
	const struct disks_partition *v = lvm ? lvm->volumes.items : NULL;
	const char *deep[8];
	size_t n = 0;

	for (; at[n]; n++)
		deep[n] = at[n];
	deep[n] = "lvm";
	deep[n + 1] = "volumes";
	deep[n + 3] = NULL;
	for (size_t i = 0; v && i < lvm->volumes.n; i++) {
		deep[n + 2] = v[i].key;
		if (disks_is_mount_point(v[i].key))
			check_mount(m, v[i].key, deep, problems);
	}
}

/* All partitions that name a group speak of the same one. */
struct wanted_volume {
	const char *group, *key;
	const struct rouse_size *size;
};

static void check_against(const struct wanted_volume *all, size_t n, const char *const *at,
			  struct rouse_problems *problems)
{
	const struct wanted_volume *v = &all[n];
	char mine[256], other[256];

	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i].group, v->group) != 0)
			continue;
		if (strcmp(disks_volume_name(v->key, mine, sizeof(mine)),
			   disks_volume_name(all[i].key, other, sizeof(other))) == 0)
			rouse_problem(problems, at, "volume '%s' of '%s' is there twice", mine,
				      v->group);
		if (!all[i].size->bytes && !all[i].size->percent && !v->size->bytes &&
		    !v->size->percent)
			rouse_problem(problems, at,
				      "no \"size\", and \"%s\" has none either: only one volume of "
				      "'%s' can take what is left",
				      all[i].key, v->group);
	}
}

struct wanted_volumes {
	size_t n;
	struct wanted_volume items[ROUSE_MAX_GROUPS * ROUSE_MAX_VOLUMES];
};

static void check_volumes(struct wanted_volumes *all, const struct disks_partition *p,
			  const char *const *at, struct rouse_problems *problems)
{
	static const struct rouse_size rest;
	size_t volumes = p->lvm ? p->lvm->volumes.n : 0;
	const struct disks_partition *v = volumes ? p->lvm->volumes.items : p;

	if (!p->lvm || (!volumes && !p->filesystem && !disks_is_mount_point(p->key)))
		return;
	for (size_t j = 0; j < (volumes ? volumes : 1) && all->n < ARRAY_SIZE(all->items); j++) {
		all->items[all->n] = (struct wanted_volume){ p->lvm->group, v[j].key,
							     volumes ? &v[j].size : &rest };
		check_against(all->items, all->n++, at, problems);
	}
}

static void check_groups(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;
	struct disks_partition whole[ROUSE_MAX_DISKS];
	struct wanted_volumes all = { 0 };

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;
		const char *const at_whole[] = { "disks", d[i].key, NULL };

		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const at[] = { "disks", d[i].key, "partitions", p[k].key,
						   NULL };

			check_volumes(&all, &p[k], at, problems);
		}
		whole[i] = whole_of(&d[i]);
		check_volumes(&all, &whole[i], at_whole, problems);
	}
}

static void check_mounts(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;
	auto_free struct mounts *m = rouse_calloc(1, sizeof(*m));

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;
		const char *const at_disk[] = { "disks", d[i].key, "mount", NULL };
		const char *const at_whole[] = { "disks", d[i].key, NULL };

		if (d[i].mount)
			check_mount(m, d[i].mount, at_disk, problems);
		check_mounts_of_volumes(m, at_whole, d[i].lvm, problems);
		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const at[] = { "disks", d[i].key, "partitions", p[k].key,
						   NULL };

			if (disks_is_mount_point(p[k].key))
				check_mount(m, p[k].key, at, problems);
			check_mounts_of_volumes(m, at, p[k].lvm, problems);
		}
	}
}

void disks_conf_check(const void *conf_, struct rouse_problems *problems)
{
	const struct disks_conf *conf = conf_;
	const struct disks_disk *d = conf->disks.items;

	disks_check_arrays(conf, problems);
	for (size_t i = 0; i < conf->disks.n; i++) {
		const char *const at[] = { "disks", d[i].key, "device", NULL };

		if (d[i].device)
			disks_device_check(&d[i], problems);
		for (size_t k = 0; k < i; k++)
			if (d[i].device && d[k].device &&
			    disks_same_device(d[i].device, d[k].device))
				rouse_problem(problems, at, "is the same device as disks.%s",
					      d[k].key);
		check_whole(&d[i], problems);
		check_partitions(&d[i], problems);
		disks_places_check(&d[i], problems);
	}
	check_mounts(conf, problems);
	check_groups(conf, problems);
	disks_check_pools(conf, problems);
	disks_check_luks(conf, problems);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the sections `seed` and `disks`. */
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

#define MOUNT_OPTIONS                                                                              \
	"Options of mount(8), and those for systemd that fstab has: with \"x-systemd.automount\" " \
	"it "                                                                                      \
	"is mounted when somebody goes there (nothing of the document may), with \"nofail\" the "  \
	"boot "                                                                                    \
	"does without it."
static const struct rouse_shape mount_option = {
	.type = ROUSE_STRING,
	.format = "one mount option such as \"noatime\" (more in a list)",
	.valid = is_mount_option,
};

/* A key does not cross a network in the clear. */
static bool is_key_url(const char *s)
{
	return rouse_is_url(s) && !rouse_strip_prefix(s, "http://");
}

static const struct rouse_field key_fields[] = {
	ROUSE_FIELD(struct disks_key, file, "file",
		    "A file that the agent sees; in an initramfs, one of the initramfs.",
		    .type = ROUSE_STRING, .format = "an absolute path",
		    .valid = rouse_is_absolute_path),
	ROUSE_FIELD(struct disks_key, url, "url",
		    "https or a bucket's; all of what is there is the key.", .type = ROUSE_STRING,
		    .interpolate = true, .format = "an https, file, s3, gs or az URL",
		    .valid = is_key_url),
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
		    ROUSE_OBJECT_OF(struct disks_key, key_fields), .shorthand = "url"),
	ROUSE_FIELD(
		struct disks_luks, escrow, "escrow",
		"Where a key that is made here is kept, before anything is encrypted with it, and "
		"read at every boot: a URL that takes PUT, or a \"file\".",
		.type = ROUSE_OBJECT, .fields = key_fields, .n_fields = 2,
		.size = sizeof(struct disks_key), .shorthand = "url"),
	ROUSE_FIELD(struct disks_luks, tpm2, "tpm2",
		    "The TPM of this machine keeps a key; without \"key\" and \"escrow\" the only "
		    "one.",
		    ROUSE_OBJECT_OF(struct disks_tpm2, tpm2_fields)),
	ROUSE_FIELD(struct disks_luks, discard, "discard",
		    "What is deleted is discarded below, which shows how much is in use.",
		    .type = ROUSE_BOOL),
};

#define LUKS(type_)                                                                                \
	ROUSE_FIELD(type_, luks, "luks", "Encrypts what is there (LUKS2).",                        \
		    ROUSE_OBJECT_OF(struct disks_luks, luks_fields))

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
		    "xfs, btrfs, f2fs: arguments of the program that makes it, but for label, UUID "
		    "and devices.",
		    .type = ROUSE_LIST, .item = &argument_shape, .max = 32, .shorthand = "item"),
	ROUSE_FIELD(struct disks_mkfs, subvolumes, "subvolumes",
		    "btrfs: subvolumes by mount point, or by a name when they are not mounted.",
		    .type = ROUSE_MAP, .format = "a mount point or a name",
		    .valid = is_mount_or_name, .max = 32, .item = &subvolume_shape),
};

#define MKFS(type_)                                                                                \
	ROUSE_FIELD(type_, mkfs, "mkfs", "How its filesystem is made.",                            \
		    ROUSE_OBJECT_OF(struct disks_mkfs, mkfs_fields))

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
		    ROUSE_OBJECT_OF(struct disks_spread, spread_fields), .shorthand = "level"),
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
		    "Label of the filesystem; by default of its mount point, where that fits.",
		    .type = ROUSE_STRING, .format = "a label of printable UTF-8",
		    .valid = is_volume_label),
	ROUSE_FIELD(struct disks_partition, mount_options, "mountOptions", MOUNT_OPTIONS,
		    .type = ROUSE_LIST, .item = &mount_option, .max = 32, .shorthand = "item"),
};

static const struct rouse_shape volume_shape = {
	ROUSE_OBJECT_OF(struct disks_partition, volume_fields),
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
		    ROUSE_OBJECT_OF(struct disks_image, image_fields)),
	ROUSE_FIELD(struct disks_partition, verity, "verity",
		    "It is read through dm-verity, by its root hash.",
		    ROUSE_OBJECT_OF(struct disks_verity, verity_fields)),
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
		    ROUSE_OBJECT_OF(struct disks_lvm, lvm_fields), .shorthand = "group"),
	ROUSE_FIELD(struct disks_partition, size, "size",
		    "How large to make it (\"200MB\", \"25%\"); absent: whatever is left.",
		    .type = ROUSE_SIZE, .percent = true),
	ROUSE_FIELD(
		struct disks_partition, filesystem, "filesystem",
		"What to make on it. Absent: what is there is kept, a new partition stays empty.",
		.type = ROUSE_STRING, .words = disks_filesystem_words),
	ROUSE_FIELD(struct disks_partition, label, "label",
		    "Name in the GPT and label of the filesystem; by default of its mount point, "
		    "as a label where that fits.",
		    .type = ROUSE_STRING, .format = "a label of printable UTF-8",
		    .valid = is_volume_label),
	ROUSE_FIELD(struct disks_partition, type, "type",
		    "Partition type: a name of the Discoverable Partitions Specification "
		    "(\"esp\", \"root-arm64\", \"linux-raid\"…) or a GUID; by default of its "
		    "mount point.",
		    .type = ROUSE_STRING,
		    .format = "a partition type such as \"esp\" or \"linux-lvm\", or a GUID",
		    .valid = disks_is_type),
	ROUSE_FIELD(struct disks_partition, mount_options, "mountOptions", MOUNT_OPTIONS,
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
	ROUSE_OBJECT_OF(struct disks_partition, partition_fields),
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
		    ROUSE_OBJECT_OF(struct disks_raid, raid_fields), .shorthand = "level"),
	LUKS(struct disks_disk),
	MKFS(struct disks_disk),
	ROUSE_FIELD(struct disks_disk, lvm, "lvm",
		    "Makes the whole disk a physical volume of this volume group.",
		    ROUSE_OBJECT_OF(struct disks_lvm, lvm_fields), .shorthand = "group"),
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
	ROUSE_FIELD(struct disks_disk, mount_options, "mountOptions", MOUNT_OPTIONS,
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

static const struct rouse_shape disk_shape = { ROUSE_OBJECT_OF(struct disks_disk, disk_fields) };

const struct rouse_field disks_conf_fields[] = {
	ROUSE_FIELD(struct disks_conf, seed, "seed",
		    "Key of the identities (GUIDs) that rouse gives to what it makes; \"rouse\" by "
		    "default.",
		    .type = ROUSE_STRING, .min = 1, .max = 256),
	ROUSE_FIELD(struct disks_conf, disks, "disks", "Disks by name.", .type = ROUSE_MAP,
		    .format = "a name of letters, digits, \".\", \"_\", \"-\"",
		    .valid = rouse_is_label, .max = ROUSE_MAX_DISKS, .item = &disk_shape),
};

const char *disks_seed(const struct disks_conf *conf)
{
	return conf->seed ? conf->seed : "rouse";
}

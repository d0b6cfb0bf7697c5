/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the facts. Recorded facts may come from a newer rouse, so objects are open. */
#include "disks.h"

#include <string.h>

const char *const disks_class_words[] = {
	[DISKS_BLANK] = "blank",
	[DISKS_OPAQUE] = "opaque",
	[DISKS_GPT] = "gpt",
	[DISKS_GPT_GROWN] = "gpt-grown",
	[DISKS_GPT_REPAIR] = "gpt-repair",
	[DISKS_GPT_DAMAGED] = "gpt-damaged",
	[DISKS_OTHER_TABLE] = "other-table",
	[DISKS_SIGNED] = "signed",
	[DISKS_AMBIGUOUS] = "ambiguous",
	NULL,
};
_Static_assert(ARRAY_SIZE(disks_class_words) == DISKS_CLASSES_ + 1, "one word for each class");

enum disks_class disks_class_of(const struct disks_fact *f)
{
	for (size_t i = 0; f->class_word && i < DISKS_CLASSES_; i++)
		if (strcmp(disks_class_words[i], f->class_word) == 0)
			return (enum disks_class)i;
	return DISKS_OPAQUE; /* unknown to us: the class that is left alone */
}

#define TEXT(type_, member_, name_, doc_)                                                          \
	ROUSE_FIELD(type_, member_, name_, doc_, .type = ROUSE_STRING)
#define NUMBER(type_, member_, name_, doc_)                                                        \
	ROUSE_FIELD(type_, member_, name_, doc_, .type = ROUSE_INT, .min = 0, .max = INT64_MAX)
#define FLAG(type_, member_, name_, doc_)                                                          \
	ROUSE_FIELD(type_, member_, name_, doc_, .type = ROUSE_BOOL)

static const struct rouse_shape text_shape = { .type = ROUSE_STRING };

static const struct rouse_field signature_fields[] = {
	TEXT(struct disks_signature, type, "type", "As libblkid names it."),
	TEXT(struct disks_signature, label, "label", "Label."),
	TEXT(struct disks_signature, uuid, "uuid", "UUID."),
	FLAG(struct disks_signature, torn, "torn", "What makes it was cut off."),
	FLAG(struct disks_signature, damaged, "damaged", "It has not the checksum that it says."),
};

static const struct rouse_shape signature_shape = {
	ROUSE_OBJECT_OF(struct disks_signature, signature_fields),
	.open = true,
};

static const struct rouse_field content_fields[] = {
	ROUSE_FIELD(struct disks_content, signatures, "signatures",
		    "Every signature that is there.", .type = ROUSE_LIST, .item = &signature_shape,
		    .max = ROUSE_MAX_DISK_SIGNATURES),
	FLAG(struct disks_content, zero, "zero", "The first and the last MiB hold only zeros."),
	NUMBER(struct disks_content, size, "size", "Bytes of the filesystem."),
	NUMBER(struct disks_content, free, "free", "Bytes free in it."),
	NUMBER(struct disks_content, inodes, "inodes", "Inodes free in it."),
	ROUSE_FIELD(struct disks_content, mounts, "mounts", "Where it is mounted.",
		    .type = ROUSE_LIST, .item = &text_shape),
	FLAG(struct disks_content, read_only, "readOnly", "It is mounted read-only."),
	FLAG(struct disks_content, swapped, "swapped", "The kernel swaps to it."),
	TEXT(struct disks_content, busy, "busy", "Why it must not be written."),
};

#define CONTENT(type_, member_)                                                                    \
	ROUSE_FIELD(type_, member_, "content", "What lies there.",                                 \
		    ROUSE_OBJECT_OF(struct disks_content, content_fields), .open = true)

static const struct rouse_field entry_fields[] = {
	ROUSE_FIELD(struct disks_entry, number, "number", "From 1.", .type = ROUSE_INT, .min = 1,
		    .max = ROUSE_MAX_PARTITIONS),
	TEXT(struct disks_entry, guid, "guid", "Unique GUID."),
	TEXT(struct disks_entry, type, "type", "Type GUID."),
	TEXT(struct disks_entry, label, "label", "Name."),
	TEXT(struct disks_entry, device, "device", "Its node."),
	FLAG(struct disks_entry, unseen, "unseen",
	     "The kernel does not have it, or with another size."),
	TEXT(struct disks_entry, attributes, "attributes", "Attribute bits, in hexadecimal."),
	NUMBER(struct disks_entry, start, "start", "First byte."),
	NUMBER(struct disks_entry, size, "size", "Bytes."),
	CONTENT(struct disks_entry, content),
};

static const struct rouse_shape entry_shape = {
	ROUSE_OBJECT_OF(struct disks_entry, entry_fields),
	.open = true,
};

static const struct rouse_field range_fields[] = {
	NUMBER(struct disks_range, start, "start", "First byte."),
	NUMBER(struct disks_range, size, "size", "Bytes."),
	CONTENT(struct disks_range, content),
};

static const struct rouse_shape range_shape = {
	ROUSE_OBJECT_OF(struct disks_range, range_fields),
	.open = true,
};

static const struct rouse_field disk_fields[] = {
	TEXT(struct disks_fact, device, "device", "Its node, or the image file."),
	TEXT(struct disks_fact, bound, "bound", "The document's name of it, by --disk."),
	FLAG(struct disks_fact, file, "file", "A regular file."),
	FLAG(struct disks_fact, root, "root", "It holds the running root filesystem."),
	FLAG(struct disks_fact, boots, "boots",
	     "The kernel's command line or the boot loader names it."),
	FLAG(struct disks_fact, removable, "removable", "Removable."),
	FLAG(struct disks_fact, read_only, "readOnly", "Write-protected."),
	FLAG(struct disks_fact, config_drive, "configDrive", "It carries metadata of the cloud."),
	NUMBER(struct disks_fact, size, "size", "Bytes."),
	NUMBER(struct disks_fact, sector, "sector", "Bytes of a logical sector."),
	NUMBER(struct disks_fact, first, "first", "Where the space for partitions begins."),
	NUMBER(struct disks_fact, end, "end", "Where the space for partitions ends."),
	TEXT(struct disks_fact, serial, "serial", "Serial number."),
	TEXT(struct disks_fact, wwn, "wwn", "World wide name."),
	TEXT(struct disks_fact, model, "model", "Model."),
	TEXT(struct disks_fact, ebs, "ebs", "Name in the EC2 block device mapping."),
	TEXT(struct disks_fact, volume, "volume", "Id of the EBS volume."),
	TEXT(struct disks_fact, gce, "gce", "Name in the GCE instance."),
	TEXT(struct disks_fact, pci, "pci", "PCI address."),
	TEXT(struct disks_fact, vmbus, "vmbus", "GUID of the Hyper-V controller."),
	NUMBER(struct disks_fact, lun, "lun", "LUN behind that controller."),
	NUMBER(struct disks_fact, nsid, "nsid", "Number of the NVMe namespace."),
	FLAG(struct disks_fact, hybrid, "hybrid", "Its MBR has partitions beside the GPT."),
	ROUSE_FIELD(struct disks_fact, names, "names",
		    "Other paths of it, as far as the document has them.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct disks_fact, class_word, "class", "What kind of content it has.",
		    .type = ROUSE_STRING, .words = disks_class_words),
	TEXT(struct disks_fact, guid, "guid", "GUID of its partition table."),
	TEXT(struct disks_fact, damage, "damage", "What is wrong with its partition table."),
	TEXT(struct disks_fact, unusual, "unusual", "Why its partition table is not to be edited."),
	NUMBER(struct disks_fact, entries, "entries", "Partitions for which its table has room."),
	NUMBER(struct disks_fact, diskseq, "diskseq", "The kernel's number of this very disk."),
	ROUSE_FIELD(struct disks_fact, partitions, "partitions", "Its GPT.", .type = ROUSE_LIST,
		    .item = &entry_shape, .max = ROUSE_MAX_PARTITIONS),
	CONTENT(struct disks_fact, content),
	ROUSE_FIELD(struct disks_fact, pending, "pending",
		    "Free space that the document would use.", .type = ROUSE_LIST,
		    .item = &range_shape, .max = ROUSE_MAX_PARTITIONS),
	TEXT(struct disks_fact, fingerprint, "fingerprint", "SHA-256 of what a plan is built on."),
};

const struct rouse_shape disks_fact_shape = {
	ROUSE_OBJECT_OF(struct disks_fact, disk_fields),
	.open = true,
};

static const struct rouse_field physical_fields[] = {
	TEXT(struct disks_physical, device, "device", "Its node."),
	NUMBER(struct disks_physical, start, "start", "Bytes before its first extent."),
	NUMBER(struct disks_physical, extents, "extents", "How many extents it has."),
	NUMBER(struct disks_physical, allocated, "allocated", "How many of them volumes have."),
};

static const struct rouse_shape physical_shape = {
	ROUSE_OBJECT_OF(struct disks_physical, physical_fields),
	.open = true,
};

static const struct rouse_field volume_fields[] = {
	TEXT(struct disks_volume, name, "name", "Name in its group."),
	TEXT(struct disks_volume, layout, "layout", "As lvm names it."),
	NUMBER(struct disks_volume, size, "size", "Bytes."),
	FLAG(struct disks_volume, active, "active", "The kernel has it."),
	ROUSE_FIELD(struct disks_volume, tags, "tags", "Tags.", .type = ROUSE_LIST,
		    .item = &text_shape),
	CONTENT(struct disks_volume, content),
};

static const struct rouse_shape volume_shape = {
	ROUSE_OBJECT_OF(struct disks_volume, volume_fields),
	.open = true,
};

static const struct rouse_field group_fields[] = {
	TEXT(struct disks_group, name, "name", "Name."),
	TEXT(struct disks_group, uuid, "uuid", "UUID."),
	NUMBER(struct disks_group, extent, "extent", "Bytes of an extent."),
	NUMBER(struct disks_group, missing, "missing", "How many physical volumes are not there."),
	ROUSE_FIELD(struct disks_group, tags, "tags", "Tags.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct disks_group, physical, "physical", "What it stands on.",
		    .type = ROUSE_LIST, .item = &physical_shape),
	ROUSE_FIELD(struct disks_group, volumes, "volumes", "Its volumes.", .type = ROUSE_LIST,
		    .item = &volume_shape),
};

static const struct rouse_shape group_shape = {
	ROUSE_OBJECT_OF(struct disks_group, group_fields),
	.open = true,
};

static const struct rouse_field array_member_fields[] = {
	TEXT(struct disks_array_member, device, "device", "Its node."),
	NUMBER(struct disks_array_member, offset, "offset", "Bytes before its data."),
};

static const struct rouse_shape array_member_shape = {
	ROUSE_OBJECT_OF(struct disks_array_member, array_member_fields),
	.open = true,
};

static const struct rouse_field array_fields[] = {
	TEXT(struct disks_array, device, "device", "Its node."),
	TEXT(struct disks_array, uuid, "uuid", "UUID, as its members bear it."),
	TEXT(struct disks_array, level, "level", "As the kernel names it."),
	NUMBER(struct disks_array, devices, "devices", "How many devices it has when it is whole."),
	NUMBER(struct disks_array, degraded, "degraded", "How many of them it lacks."),
	NUMBER(struct disks_array, size, "size", "Bytes."),
	NUMBER(struct disks_array, component, "component", "Bytes that it uses of each member."),
	FLAG(struct disks_array, active, "active", "It runs."),
	ROUSE_FIELD(struct disks_array, members, "members", "What it stands on.",
		    .type = ROUSE_LIST, .item = &array_member_shape),
	CONTENT(struct disks_array, content),
};

static const struct rouse_shape array_shape = {
	ROUSE_OBJECT_OF(struct disks_array, array_fields),
	.open = true,
};

static const struct rouse_field mapping_fields[] = {
	TEXT(struct disks_mapping, device, "device", "Its node."),
	TEXT(struct disks_mapping, name, "name", "Its name below /dev/mapper."),
	TEXT(struct disks_mapping, uuid, "uuid", "UUID of the LUKS volume."),
	NUMBER(struct disks_mapping, size, "size", "Bytes."),
	CONTENT(struct disks_mapping, content),
};

static const struct rouse_shape mapping_shape = {
	ROUSE_OBJECT_OF(struct disks_mapping, mapping_fields),
	.open = true,
};

static const struct rouse_field fstab_fields[] = {
	ROUSE_FIELD(struct disks_fstab, own, "own", "Its lines that are of rouse.",
		    .type = ROUSE_LIST, .item = &text_shape),
	ROUSE_FIELD(struct disks_fstab, others, "others", "What the other lines mount.",
		    .type = ROUSE_LIST, .item = &text_shape),
	FLAG(struct disks_fstab, systemd, "systemd", "It is systemd that reads it."),
};

const struct rouse_field disks_facts_fields[] = {
	ROUSE_FIELD(struct disks_facts, fstab, "fstab", "What /etc/fstab says.",
		    ROUSE_OBJECT_OF(struct disks_fstab, fstab_fields), .open = true),
	ROUSE_FIELD(struct disks_facts, units, "units",
		    "Units of systemd, where there is no fstab.", .type = ROUSE_OBJECT,
		    .fields = rouse_units_fact_fields, .n_fields = ROUSE_N_UNITS_FACT_FIELDS,
		    .size = sizeof(struct rouse_units_fact), .open = true),
	ROUSE_FIELD(struct disks_facts, mappings, "mappings", "Encrypted volumes that are open.",
		    .type = ROUSE_LIST, .item = &mapping_shape),
	ROUSE_FIELD(struct disks_facts, arrays, "arrays", "Arrays that the kernel knows.",
		    .type = ROUSE_LIST, .item = &array_shape),
	ROUSE_FIELD(struct disks_facts, groups, "groups", "LVM volume groups.", .type = ROUSE_LIST,
		    .item = &group_shape),
	ROUSE_FIELD(struct disks_facts, orphans, "orphans", "Physical volumes in no group.",
		    .type = ROUSE_LIST, .item = &text_shape),
	ROUSE_FIELD(struct disks_facts, disks, "disks", "Every whole disk.", .type = ROUSE_LIST,
		    .item = &disks_fact_shape),
	ROUSE_FIELD(struct disks_facts, missing, "missing",
		    "Programs that this document needs and that are not there.", .type = ROUSE_LIST,
		    .item = &text_shape),
	FLAG(struct disks_facts, can_mount, "canMount", "What is in an image can be mounted."),
};
_Static_assert(ARRAY_SIZE(disks_facts_fields) == DISKS_N_FACTS, "all of them");

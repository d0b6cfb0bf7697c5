/* SPDX-License-Identifier: Apache-2.0 */
/* The section `device`: its table, its checks, and what each of its matchers means. Pure. */
#include "disks.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#include <rouse/text.h>

/* ---- the table ------------------------------------------------------------------------------- */

static bool is_device(const char *s)
{
	return strcmp(s, "root") == 0 || rouse_is_absolute_path(s);
}

static const char *const kinds[] = { "instance-store", "local", "temporary", NULL };
static const char *const largest[] = { "blank", NULL };

static const struct rouse_shape lun_shape = { .type = ROUSE_INT, .min = 0, .max = 16383 };

static const struct rouse_field span_fields[] = {
	ROUSE_FIELD(struct disks_span, about, "about", "This size, or one percent beside it.",
		    .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_span, min, "min", "At least this size.", .type = ROUSE_SIZE),
	ROUSE_FIELD(struct disks_span, max, "max", "At most this size.", .type = ROUSE_SIZE),
};

#define TEXT(member_, max_, doc_)                                                                  \
	ROUSE_FIELD(struct disks_device, member_, #member_, doc_, .type = ROUSE_STRING, .min = 1,  \
		    .max = (max_))

const struct rouse_field disks_device_fields[] = {
	ROUSE_FIELD(struct disks_device, path, "path",
		    "\"root\" (the disk that holds, or in the initramfs will hold, the root "
		    "filesystem), or a path that survives reordering, such as "
		    "/dev/disk/by-id/…, which is understood without udev, too.",
		    .type = ROUSE_STRING, .format = "\"root\" or an absolute path",
		    .valid = is_device),
	TEXT(serial, 128, "The serial number; a virtio disk shows its first 20 bytes."),
	TEXT(wwn, 128, "The world wide name, with or without its type."),
	TEXT(model, 128, "The model; \"*\" stands for anything."),
	TEXT(label, 255,
	     "Label of a filesystem on the disk, or the name of one of its GPT partitions."),
	TEXT(ebs, 32,
	     "The name in the EC2 block device mapping (\"/dev/sdf\"), or the id of the EBS volume "
	     "(\"vol-0123…\"), read from the NVMe controller."),
	TEXT(gce, 64, "The name that the disk has in the GCE instance."),
	ROUSE_FIELD(struct disks_device, pci, "pci",
		    "The PCI address (\"0000:00:1f.0\"), where one disk is behind it.",
		    .type = ROUSE_STRING, .format = "a PCI address such as \"0000:00:1f.0\"",
		    .valid = disks_is_pci_address),
	ROUSE_FIELD(
		struct disks_device, kind, "kind",
		"What kind of disk: local ones of EC2, GCE and Azure (\"local\"), the temporary "
		"one of Azure (\"temporary\"), or either (\"instance-store\").",
		.type = ROUSE_STRING, .words = kinds),
	ROUSE_FIELD(struct disks_device, largest, "largest",
		    "The largest disk that holds nothing (\"blank\"); takes a \"size\", and no "
		    "other disk may be nearly as large.",
		    .type = ROUSE_STRING, .words = largest),
	ROUSE_FIELD(struct disks_device, lun, "lun", "The LUN of an Azure data disk.",
		    .type = ROUSE_LIST, .item = &lun_shape, .min = 1, .max = 1,
		    .shorthand = "item"),
	ROUSE_FIELD(struct disks_device, size, "size",
		    "Narrows \"kind\", \"model\" and \"largest\" to disks of this size.",
		    ROUSE_OBJECT_OF(struct disks_span, span_fields), .shorthand = "about"),
	ROUSE_FIELD(struct disks_device, count, "count",
		    "How many disks \"kind\" or \"model\" must mean; one, unless several make what "
		    "is wanted.",
		    .type = ROUSE_INT, .min = 1, .max = ROUSE_MAX_MEMBERS),
};
_Static_assert(ARRAY_SIZE(disks_device_fields) == DISKS_N_DEVICE_FIELDS, "as the header says");

/* ---- names that a disk has ------------------------------------------------------------------- */

bool disks_is_pci_address(const char *s)
{
	static const char pattern[] = "xxxx:xx:xx.x";

	for (size_t i = 0; i < sizeof(pattern); i++)
		if (pattern[i] == 'x' ? !strchr("0123456789abcdef", s[i]) || !s[i]
				      : s[i] != pattern[i])
			return false;
	return true;
}

static bool same_serial(const char *shown, const char *want)
{
	const char *volume = rouse_strip_prefix(want, "vol-");
	const char *number = shown ? rouse_strip_prefix(shown, "vol") : NULL;

	if (!shown)
		return false;
	/* EBS shows "vol0abc" for "vol-0abc"; virtio-blk cuts to 20 bytes (VIRTIO_BLK_ID_BYTES). */
	if (strcmp(shown, want) == 0 || (volume && rouse_streq(number, volume)))
		return true;
	return strlen(shown) == 20 && strlen(want) > 20 && strncmp(shown, want, 20) == 0;
}

/* "0x5000…", "naa.5000…", "eui.…", "5000…" */
static const char *bare_wwn(const char *s)
{
	static const char *const prefixes[] = {
		"0x", "naa.", "eui.", "uuid.", "nvme.", "t10.", NULL
	};

	for (const char *const *p = prefixes; *p; p++)
		if (strncasecmp(s, *p, strlen(*p)) == 0)
			return s + strlen(*p);
	return s;
}

static bool same_wwn(const char *shown, const char *want)
{
	return shown && strcasecmp(bare_wwn(shown), bare_wwn(want)) == 0;
}

static bool is_gce(const struct disks_fact *f, const char *want)
{
	return rouse_streq(f->gce, want);
}

/* The disk that Azure calls by this number: on SCSI a LUN of a controller for data, on NVMe the
 * namespaces from the second one on. */
static bool is_lun(const struct disks_fact *f, int64_t want)
{
	static const char *const data[] = { "f8b3781b-", "f8b3781c-", "f8b3781d-", NULL };

	for (const char *const *p = data; f->vmbus && *p; p++)
		if (rouse_strip_prefix(f->vmbus, *p))
			return f->lun == want;
	return f->model && rouse_strip_prefix(f->model, "MSFT NVMe Accelerator") &&
	       f->nsid - 2 == want;
}

/* Azure's temporary disk is the second one of the controller of the first. */
static bool is_temporary(const struct disks_fact *f)
{
	if (!f->vmbus)
		return false;
	return rouse_strip_prefix(f->vmbus, "00000000-0001-") ||
	       (rouse_strip_prefix(f->vmbus, "f8b3781a-") && f->lun == 1);
}

static bool is_local(const struct disks_fact *f)
{
	static const char *const models[] = { "Amazon EC2 NVMe Instance Storage*",
					      "Microsoft NVMe Direct Disk*",
					      "nvme_card",
					      "nvme_card[0-9]*", /* GCE; "nvme_card-pd" is none */
					      "EphemeralDisk",
					      NULL };

	for (const char *const *m = models; f->model && *m; m++)
		if (fnmatch(*m, f->model, 0) == 0)
			return true;
	return false;
}

/* ---- links as udev makes them, where there is no udev ------------------------------------------ */

/* udev writes a blank as "_". */
static bool same_name(const char *shown, const char *want, size_t n)
{
	size_t i;

	for (i = 0; i < n && shown[i]; i++)
		if (want[i] != (shown[i] == ' ' || shown[i] == '/' ? '_' : shown[i]))
			return false;
	return i == n && !shown[n];
}

/* "nvme-MODEL_SERIAL", and "…_1" or "…-ns-1" for a namespace of it */
static bool is_nvme_id(const struct disks_fact *f, const char *want)
{
	auto_free char *name = NULL, *ns = NULL, *number = NULL;

	if (!f->model || !f->serial)
		return f->wwn && same_wwn(f->wwn, want);
	name = rouse_asprintf("%s_%s", f->model, f->serial);
	ns = rouse_asprintf("%s-ns-%lld", name, (long long)f->nsid);
	number = rouse_asprintf("%s_%lld", name, (long long)f->nsid);
	return same_name(name, want, strlen(want)) || same_name(ns, want, strlen(want)) ||
	       same_name(number, want, strlen(want)) || same_wwn(f->wwn, want);
}

static bool is_virtio_id(const struct disks_fact *f, const char *want)
{
	return same_serial(f->serial, want);
}

static bool is_wwn_id(const struct disks_fact *f, const char *want)
{
	return same_wwn(f->wwn, want);
}

/* "scsi-3" and the digits of an NAA; "scsi-0Google_PersistentDisk_NAME" */
static bool is_scsi_id(const struct disks_fact *f, const char *want)
{
	const char *gce = rouse_strip_prefix(want, "0Google_PersistentDisk_");

	return gce ? is_gce(f, gce) : *want && same_wwn(f->wwn, want + 1);
}

static bool is_pci_path(const struct disks_fact *f, const char *want)
{
	const char *rest = f->pci ? rouse_strip_prefix(want, f->pci) : NULL;
	auto_free char *ns = rouse_asprintf("-nvme-%lld", (long long)f->nsid);

	return rest && (!*rest || (f->nsid && strcmp(rest, ns) == 0));
}

static bool is_azure_lun(const struct disks_fact *f, const char *want)
{
	uint64_t lun;

	return rouse_parse_u64(want, 16383, &lun) && is_lun(f, (int64_t)lun);
}

static bool is_azure_temporary(const struct disks_fact *f, const char *want)
{
	return !*want && is_temporary(f);
}

static const struct {
	const char *prefix;
	bool (*is)(const struct disks_fact *f, const char *rest);
} links[] = {
	{ "/dev/disk/by-id/nvme-", is_nvme_id },
	{ "/dev/disk/by-id/virtio-", is_virtio_id },
	{ "/dev/disk/by-id/google-", is_gce },
	{ "/dev/disk/by-id/wwn-", is_wwn_id },
	{ "/dev/disk/by-id/scsi-", is_scsi_id },
	{ "/dev/disk/by-path/pci-", is_pci_path },
	{ "/dev/disk/by-path/virtio-pci-", is_pci_path },
	{ "/dev/disk/azure/data/by-lun/", is_azure_lun },
	{ "/dev/disk/azure/scsi1/lun", is_azure_lun },
	{ "/dev/disk/azure/resource", is_azure_temporary },
	{ "/dev/disk/cloud/azure_resource", is_azure_temporary },
};

static bool is_link(const struct disks_fact *f, const char *want)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		const char *rest = rouse_strip_prefix(want, links[i].prefix);

		if (rest)
			return links[i].is(f, rest);
	}
	return false;
}

/* ---- matchers -------------------------------------------------------------------------------- */

static bool by_path(const struct disks_fact *f, const struct disks_device *d)
{
	for (size_t i = 0; i < f->names.n; i++)
		if (rouse_streq(((const char *const *)f->names.items)[i], d->path))
			return true;
	return rouse_streq(f->device, d->path) || is_link(f, d->path);
}

static bool by_serial(const struct disks_fact *f, const struct disks_device *d)
{
	return same_serial(f->serial, d->serial) || same_serial(f->volume, d->serial);
}

static bool by_wwn(const struct disks_fact *f, const struct disks_device *d)
{
	return same_wwn(f->wwn, d->wwn);
}

static bool by_model(const struct disks_fact *f, const struct disks_device *d)
{
	return f->model && fnmatch(d->model, f->model, 0) == 0;
}

static bool content_has_label(const struct disks_content *c, const char *want)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++)
		if (rouse_streq(s[i].label, want))
			return true;
	return false;
}

static bool by_label(const struct disks_fact *f, const struct disks_device *d)
{
	const struct disks_entry *entry = f->partitions.items;

	for (size_t i = 0; i < f->partitions.n; i++)
		if (rouse_streq(entry[i].label, d->label) ||
		    content_has_label(entry[i].content, d->label))
			return true;
	return content_has_label(f->content, d->label);
}

/* "/dev/sdf", "sdf" and "xvdf" are one name: images differ in what Xen made of it. */
static const char *bare_ebs(const char *s)
{
	const char *rest = rouse_strip_prefix(s, "/dev/");

	s = rest ? rest : s;
	if ((rest = rouse_strip_prefix(s, "xvd")) || (rest = rouse_strip_prefix(s, "sd")))
		return rest;
	return s;
}

static bool by_ebs(const struct disks_fact *f, const struct disks_device *d)
{
	const char *xen = rouse_strip_prefix(f->device ? f->device : "", "/dev/xvd");

	if (rouse_strip_prefix(d->ebs, "vol"))
		return same_serial(f->volume ? f->volume : f->serial, d->ebs);
	return (f->ebs && strcmp(bare_ebs(f->ebs), bare_ebs(d->ebs)) == 0) ||
	       (xen && strcmp(xen, bare_ebs(d->ebs)) == 0);
}

static bool by_gce(const struct disks_fact *f, const struct disks_device *d)
{
	return is_gce(f, d->gce);
}

static bool by_pci(const struct disks_fact *f, const struct disks_device *d)
{
	return rouse_streq(f->pci, d->pci);
}

static bool by_kind(const struct disks_fact *f, const struct disks_device *d)
{
	if (strcmp(d->kind, "local") == 0)
		return is_local(f);
	return is_temporary(f) || (strcmp(d->kind, "temporary") != 0 && is_local(f));
}

static bool by_lun(const struct disks_fact *f, const struct disks_device *d)
{
	return is_lun(f, ((const int64_t *)d->lun.items)[0]);
}

static bool by_largest(const struct disks_fact *f, const struct disks_device *d unused_arg)
{
	return disks_class_of(f) == DISKS_BLANK;
}

static const struct disks_matcher matchers[] = {
	{ "path", false, by_path },      { "serial", false, by_serial }, { "wwn", false, by_wwn },
	{ "model", true, by_model },     { "label", false, by_label },   { "ebs", false, by_ebs },
	{ "gce", false, by_gce },        { "pci", false, by_pci },       { "kind", true, by_kind },
	{ "largest", true, by_largest }, { "lun", false, by_lun },
};

/* In the order of the rows. */
static void list_used(const struct disks_device *d, bool ret[static ARRAY_SIZE(matchers)])
{
	const bool used[] = { d->path, d->serial, d->wwn,  d->model,   d->label, d->ebs,
			      d->gce,  d->pci,    d->kind, d->largest, d->lun.n };

	_Static_assert(ARRAY_SIZE(used) == ARRAY_SIZE(matchers), "one for each row");
	memcpy(ret, used, sizeof(used));
}

const struct disks_matcher *disks_matcher_of(const struct disks_device *d)
{
	bool used[ARRAY_SIZE(matchers)];

	list_used(d, used);
	for (size_t i = 0; i < ARRAY_SIZE(matchers); i++)
		if (used[i])
			return &matchers[i];
	return &matchers[0]; /* check() has refused such a document */
}

bool disks_has_size(const struct disks_fact *f, const struct disks_span *s)
{
	uint64_t size = (uint64_t)f->size, about;

	if (!s)
		return true;
	about = s->about.bytes;
	return (!about || (size >= about - about / 100 && size <= about + about / 100)) &&
	       size >= s->min.bytes && (!s->max.bytes || size <= s->max.bytes);
}

/* ---- checks ---------------------------------------------------------------------------------- */

bool disks_takes_several(const struct disks_disk *d)
{
	return d->raid != NULL;
}

static bool same_span(const struct disks_span *a, const struct disks_span *b)
{
	static const struct disks_span any;

	a = a ? a : &any;
	b = b ? b : &any;
	return a->about.bytes == b->about.bytes && a->min.bytes == b->min.bytes &&
	       a->max.bytes == b->max.bytes;
}

bool disks_same_device(const struct disks_device *a, const struct disks_device *b)
{
	const int64_t *x = a->lun.items, *y = b->lun.items;

	return rouse_streq(a->path, b->path) && rouse_streq(a->serial, b->serial) &&
	       rouse_streq(a->wwn, b->wwn) && rouse_streq(a->model, b->model) &&
	       rouse_streq(a->label, b->label) && rouse_streq(a->ebs, b->ebs) &&
	       rouse_streq(a->gce, b->gce) && rouse_streq(a->pci, b->pci) &&
	       rouse_streq(a->kind, b->kind) && rouse_streq(a->largest, b->largest) &&
	       a->lun.n == b->lun.n && (!a->lun.n || x[0] == y[0]) && same_span(a->size, b->size);
}

static void check_qualifiers(const struct disks_disk *d, const char *const *at,
			     struct rouse_problems *problems)
{
	const struct disks_device *v = d->device;
	const struct disks_matcher *m = disks_matcher_of(v);
	const struct disks_span *s = v->size;

	if ((s || v->count) && !m->selects)
		rouse_problem(problems, at,
			      "\"%s\" narrows kind, model and largest; \"%s\" names one disk",
			      s ? "size" : "count", m->name);
	if (v->largest && !s)
		rouse_problem(problems, at,
			      "\"largest\" takes a \"size\", such as { \"min\": \"100GB\", "
			      "\"max\": \"2TB\" }: which sizes can be meant");
	if (s && s->min.bytes && s->max.bytes && s->min.bytes > s->max.bytes)
		rouse_problem(problems, at, "the \"min\" of \"size\" is above its \"max\"");
	if (v->count > 1 && (v->largest || !disks_takes_several(d)))
		rouse_problem(problems, at, "one disk is wanted here, and \"count\" says %lld",
			      (long long)v->count);
}

void disks_device_check(const struct disks_disk *d, struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "device", NULL };
	bool used[ARRAY_SIZE(matchers)];
	size_t n = 0;

	list_used(d->device, used);
	for (size_t i = 0; i < ARRAY_SIZE(matchers); i++)
		n += used[i];
	if (n == 1)
		check_qualifiers(d, at, problems);
	else
		rouse_problem(problems, at,
			      "expected exactly one of path, serial, wwn, model, label, ebs, gce, "
			      "pci, kind, largest, lun");
}

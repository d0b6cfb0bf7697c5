/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a GPT (UEFI 2.10, 5.3) and says in which state it is. libfdisk writes tables here, but
 * it repairs what it reads, hides which header it believed, and sees no table at all where only
 * the protective MBR is gone; a planner that promises to destroy nothing has to know all that.
 */
#include "disks.h"

#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include <rouse/json.h>
#include <rouse/text.h>

#define ENTRY 128
#define ENTRIES_MAX ((size_t)ROUSE_MAX_PARTITIONS * ENTRY)

struct header {
	bool trace, valid, foreign; /* has the magic; and is right; is not as others make it */
	uint64_t alternate, first_usable, last_usable, entries_at;
	char guid[DISKS_GUID_LEN];
	uint32_t n, crc;  /* entries, and the CRC over them */
	uint8_t *entries; /* n × ENTRY; owned */
};

struct reader {
	int fd;
	uint64_t sectors, sector;
	struct rouse_err *e;
};

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* The first three fields of a GUID are little-endian on disk. */
static void print_guid(const uint8_t *p, char ret[static DISKS_GUID_LEN])
{
	const uint8_t u[16] = { p[3], p[2], p[1],  p[0],  p[5],  p[4],  p[7],  p[6],
				p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15] };

	disks_uuid_print(u, ret);
}

/* Reads whole sectors; -1 with r->e. */
static int read_at(const struct reader *r, uint64_t lba, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(r->fd, (char *)buf + done, n - done,
				    (off_t)(lba * r->sector + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return rouse_fail(r->e, ROUSE_SYSTEM, got < 0 ? errno : EIO,
					  "cannot read sector %llu", (unsigned long long)lba);
		done += (size_t)got;
	}
	return 0;
}

static int read_entries(const struct reader *r, const uint8_t *raw, struct header *h)
{
	uint64_t lba = le64(raw + 72), sectors;
	uint32_t n = le32(raw + 80), entry = le32(raw + 84);
	size_t bytes = (size_t)n * ENTRY;

	h->n = n;
	h->entries_at = lba;
	if (n == 0 || n > ROUSE_MAX_PARTITIONS || entry != ENTRY) {
		h->foreign = true; /* right, maybe, but of a size that is not read here */
		return 0;
	}
	sectors = (bytes + r->sector - 1) / r->sector;
	if (lba < 2 || lba >= r->sectors || sectors > r->sectors - lba)
		return 0;
	h->entries = rouse_calloc(1, bytes);
	if (read_at(r, lba, h->entries, bytes) < 0)
		return -1;
	h->crc = le32(raw + 88);
	h->valid = crc32_z(0, h->entries, bytes) == h->crc;
	return 0;
}

static int read_header(const struct reader *r, uint64_t lba, struct header *h)
{
	auto_free uint8_t *raw = rouse_calloc(1, r->sector);
	uint32_t size, crc;

	if (read_at(r, lba, raw, r->sector) < 0)
		return -1;
	h->trace = memcmp(raw, "EFI PART", 8) == 0;
	size = le32(raw + 12);
	crc = le32(raw + 16);
	if (!h->trace || size < 92 || size > r->sector || le64(raw + 24) != lba)
		return 0;
	memset(raw + 16, 0, 4);
	if (crc32_z(0, raw, size) != crc)
		return 0;
	h->alternate = le64(raw + 32);
	h->first_usable = le64(raw + 40);
	h->last_usable = le64(raw + 48);
	print_guid(raw + 56, h->guid);
	return read_entries(r, raw, h);
}

static void header_free(struct header *h)
{
	free(h->entries);
	*h = (struct header){ 0 };
}

struct state {
	struct header primary, backup, old; /* old: where the primary says that its backup is */
	bool pmbr, pmbr_stale, hybrid;
};

/* A protective MBR of ours or of any common tool has one entry, of the whole disk; a hybrid one
 * has several, and its sizes are somebody's choice. */
static int read_pmbr(const struct reader *r, struct state *s)
{
	auto_free uint8_t *raw = rouse_calloc(1, r->sector);
	uint32_t full = r->sectors - 1 < UINT32_MAX ? (uint32_t)(r->sectors - 1) : UINT32_MAX,
		 size = full;
	int protective = 0, others = 0;

	if (read_at(r, 0, raw, r->sector) < 0)
		return -1;
	for (int i = 0; raw[510] == 0x55 && raw[511] == 0xaa && i < 4; i++) {
		const uint8_t *entry = raw + 446 + 16 * i;

		if (entry[4] == 0xee) {
			protective++;
			size = le32(entry + 12);
		} else {
			others += entry[4] != 0;
		}
	}
	s->pmbr = protective > 0;
	s->hybrid = protective > 0 && others > 0;
	s->pmbr_stale = protective == 1 && !others && size != full && size != UINT32_MAX;
	return 0;
}

static bool is_one_of(const char *guid, const char *const *list)
{
	for (; list && *list; list++)
		if (strcmp(*list, guid) == 0)
			return true;
	return false;
}

/* UTF-16LE of 36 units; a lone surrogate becomes U+FFFD. */
static void print_name(const uint8_t *p, char ret[static 36 * 3 + 1])
{
	size_t n = 0;

	for (int i = 0; i < 36; i++) {
		uint32_t c = (uint32_t)p[2 * i] | (uint32_t)p[2 * i + 1] << 8, low;

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 1 < 36) {
			low = (uint32_t)p[2 * i + 2] | (uint32_t)p[2 * i + 3] << 8;
			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i++;
			}
		}
		if (c >= 0xd800 && c < 0xe000)
			c = 0xfffd;
		if (c < 0x80) {
			ret[n++] = (char)c;
		} else if (c < 0x800) {
			ret[n++] = (char)(0xc0 | c >> 6);
			ret[n++] = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			ret[n++] = (char)(0xe0 | c >> 12);
			ret[n++] = (char)(0x80 | (c >> 6 & 0x3f));
			ret[n++] = (char)(0x80 | (c & 0x3f));
		} else {
			ret[n++] = (char)(0xf0 | c >> 18);
			ret[n++] = (char)(0x80 | (c >> 12 & 0x3f));
			ret[n++] = (char)(0x80 | (c >> 6 & 0x3f));
			ret[n++] = (char)(0x80 | (c & 0x3f));
		}
	}
	ret[n] = '\0';
}

static bool overlaps(const json_t *list, uint64_t start, uint64_t size)
{
	const json_t *other;
	size_t i;

	json_array_foreach ((json_t *)list, i, other) {
		uint64_t s = (uint64_t)json_integer_value(json_object_get(other, "start"));
		uint64_t n = (uint64_t)json_integer_value(json_object_get(other, "size"));

		if (start < s + n && s < start + size)
			return true;
	}
	return false;
}

/* Adds the entries to `list`; false when they contradict the disk or each other. */
static bool list_entries(const struct reader *r, const struct header *h, json_t *list)
{
	for (uint32_t i = 0; i < h->n; i++) {
		const uint8_t *p = h->entries + (size_t)i * ENTRY;
		uint64_t first = le64(p + 32), last = le64(p + 40);
		char type[DISKS_GUID_LEN], guid[DISKS_GUID_LEN], name[36 * 3 + 1];
		json_t *entry;

		print_guid(p, type);
		if (strcmp(type, "00000000-0000-0000-0000-000000000000") == 0)
			continue;
		if (first < 2 || last < first || last >= r->sectors ||
		    overlaps(list, first * r->sector, (last - first + 1) * r->sector))
			return false;
		print_guid(p + 16, guid);
		print_name(p + 56, name);
		entry = json_object();
		rouse_json_set_int(entry, "number", i + 1);
		rouse_json_set_int(entry, "start", first * r->sector);
		rouse_json_set_int(entry, "size", (last - first + 1) * r->sector);
		rouse_json_set_string(entry, "guid", guid);
		rouse_json_set_string(entry, "type", type);
		rouse_json_set_string(entry, "label", name);
		if (le64(p + 48)) {
			auto_free char *bits = rouse_asprintf("0x%016llx",
							      (unsigned long long)le64(p + 48));

			rouse_json_set_string(entry, "attributes", bits);
		}
		rouse_json_append(list, entry);
	}
	return true;
}

/* A table that differs from its backup was being written when the power went, or is ours over a
 * stranger's: our own header counts, and else the primary one. */
static const struct header *choose(const struct header *primary, const struct header *backup,
				   const char *const *ours)
{
	if (primary->valid && backup->valid && is_one_of(backup->guid, ours) &&
	    !is_one_of(primary->guid, ours))
		return backup;
	if (primary->valid)
		return primary;
	return backup->valid ? backup : NULL;
}

static enum disks_class classify(const struct state *s, uint64_t last, bool is_ours,
				 const char **why)
{
	const struct header *p = &s->primary, *b = &s->backup;

	*why = NULL;
	if (!p->valid && !b->valid) {
		*why = p->foreign || b->foreign
			       ? "its entries have a number or size that nobody uses"
		       : p->trace || b->trace ? "neither of its two headers is right"
					      : "a protective MBR without a GPT";
		return DISKS_GPT_DAMAGED;
	}
	if (!s->pmbr) { /* libfdisk writes it last: a table of ours may have been cut off before it */
		*why = "its protective MBR is missing";
		return is_ours && (!p->valid || p->alternate == last) ? DISKS_GPT_REPAIR
								      : DISKS_GPT_DAMAGED;
	}
	if (!p->valid) {
		*why = "its primary header is lost";
		return DISKS_GPT_REPAIR;
	}
	if (p->alternate > last) {
		*why = "the disk is smaller than its table says";
		return DISKS_GPT_DAMAGED;
	}
	if (p->alternate < last && !b->valid) {
		if (s->old.valid)
			return DISKS_GPT_GROWN;
		*why = "the disk has grown, and the backup at its old end is lost";
		return DISKS_GPT_DAMAGED;
	}
	if (!b->valid) {
		*why = "its backup is lost";
		return DISKS_GPT_REPAIR;
	}
	if (strcmp(p->guid, b->guid) != 0 || p->crc != b->crc || p->alternate != last) {
		*why = "its backup differs";
		return DISKS_GPT_REPAIR;
	}
	if (s->pmbr_stale) { /* the last write of growing was cut off */
		*why = "its protective MBR has another size";
		return DISKS_GPT_REPAIR;
	}
	return DISKS_GPT;
}

static void describe(const struct reader *r, const struct header *h, json_t *disk,
		     enum disks_class *class, const char **why)
{
	json_t *list = json_array();
	uint64_t size = r->sectors * r->sector, end = disks_usable_end(size, r->sector);

	rouse_json_set(disk, "partitions", list);
	if (!h)
		return;
	rouse_json_set_string(disk, "guid", h->guid);
	if (!list_entries(r, h, list)) {
		*class = DISKS_GPT_DAMAGED;
		*why = "its partitions overlap, or lie beyond the end of the disk";
	}
	if (*class == DISKS_GPT && (h->last_usable + 1) * r->sector < end)
		end = (h->last_usable + 1) * r->sector;
	rouse_json_set_int(disk, "end", end);
}

static int read_state(const struct reader *r, struct state *s)
{
	uint64_t last = r->sectors - 1;

	if (read_pmbr(r, s) < 0 || read_header(r, 1, &s->primary) < 0 ||
	    read_header(r, last, &s->backup) < 0)
		return -1;
	if (s->primary.valid && s->primary.alternate < last && s->primary.alternate > 1)
		return read_header(r, s->primary.alternate, &s->old);
	return 0;
}

static void state_free(struct state *s)
{
	header_free(&s->primary);
	header_free(&s->backup);
	header_free(&s->old);
}

/* What libfdisk would not keep when it writes the table. */
static void add_peculiarities(const struct state *s, const struct header *h, uint64_t sector,
			      json_t *disk)
{
	if (s->hybrid)
		rouse_json_set_bool(disk, "hybrid", true);
	if (!h)
		return;
	if (h->n != ROUSE_MAX_PARTITIONS)
		rouse_json_set_int(disk, "entries", h->n);
	if (h->first_usable < UINT64_MAX / 4096)
		rouse_json_set_int(disk, "first", h->first_usable * sector);
	if (s->primary.valid && s->primary.entries_at != 2)
		rouse_json_set_string(disk, "unusual", "its entries do not follow its header");
}

int disks_gpt_read(int fd, uint64_t size, uint64_t sector, const char *const *ours, json_t *disk,
		   enum disks_class *ret, struct rouse_err *e)
{
	const struct reader r = { .fd = fd, .sectors = size / sector, .sector = sector, .e = e };
	__attribute__((cleanup(state_free))) struct state s = { 0 };
	enum disks_class class = DISKS_BLANK;
	const char *why = NULL;

	if (r.sectors < 64) { /* no room for two tables and anything between them */
		*ret = DISKS_BLANK;
		return 0;
	}
	if (read_state(&r, &s) < 0)
		return -1;
	if (s.pmbr || s.primary.trace || s.backup.trace) {
		const struct header *h = choose(&s.primary, &s.backup, ours);

		class = classify(&s, r.sectors - 1, h && is_one_of(h->guid, ours), &why);
		describe(&r, h, disk, &class, &why);
		add_peculiarities(&s, h, sector, disk);
	}
	if (why)
		rouse_json_set_string(disk, "damage", why);
	*ret = class;
	return 0;
}

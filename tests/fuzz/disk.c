/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk says of itself: a GPT, and the identify pages of an NVMe controller. Whatever is there, the
 * facts that come of it are sound: partitions lie within the disk and beside each other.
 *
 * The first byte chooses the sector and whether checksums are put right (bit 7: without them nothing gets
 * past the header); two bytes say how much of the rest lies at the beginning of the disk, what is left of it
 * lies at the end.
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <rouse/json.h>
#include <rouse/text.h>

#include "../../modules/disks/disks.h"

#define SECTORS 256
#define FIX 0x80

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> 8 * i);
}

static void fix(uint8_t *disk, size_t size, uint8_t *header)
{
	uint64_t at = le32(header + 72) * (size / SECTORS), n = (uint64_t)le32(header + 80) * 128;
	uint32_t length = le32(header + 12);

	if (at < size && n <= size - at)
		put32(header + 88, (uint32_t)crc32(0, disk + at, (unsigned)n));
	put32(header + 16, 0);
	if (length <= size / SECTORS)
		put32(header + 16, (uint32_t)crc32(0, header, length));
}

static uint64_t number(const json_t *entry, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(entry, key));
}

static void check_partitions(const json_t *list, uint64_t size)
{
	const json_t *a, *b;
	size_t i, k;

	json_array_foreach ((json_t *)list, i, a) {
		const char *label = json_string_value(json_object_get(a, "label"));

		HOLDS(number(a, "number") >= 1 && number(a, "number") <= ROUSE_MAX_PARTITIONS);
		HOLDS(number(a, "size") > 0 && number(a, "start") < size &&
		      number(a, "size") <= size - number(a, "start"));
		HOLDS(label && rouse_utf8_valid(label, strlen(label)));
		json_array_foreach ((json_t *)list, k, b)
			HOLDS(k >= i ||
			      number(a, "start") >= number(b, "start") + number(b, "size") ||
			      number(b, "start") >= number(a, "start") + number(a, "size"));
	}
}

static void read_gpt(const uint8_t *data, size_t n, size_t front, uint64_t sector, bool repair)
{
	size_t size = SECTORS * sector;
	uint8_t *disk = calloc(1, size);
	int fd = memfd_create("disk", MFD_CLOEXEC);
	json_t *facts = json_object();
	enum disks_class class = DISKS_BLANK;
	struct rouse_err e = { 0 };
	ssize_t r;

	front = front < n ? front : n;
	HOLDS(disk && fd >= 0 && n <= size);
	memcpy(disk, data, front);
	memcpy(disk + size - (n - front), data + front, n - front);
	if (repair) {
		fix(disk, size, disk + sector);
		fix(disk, size, disk + size - sector);
	}
	r = pwrite(fd, disk, size, 0);
	HOLDS(r == (ssize_t)size);
	HOLDS(disks_gpt_read(fd, size, sector, NULL, facts, &class, &e) == 0);
	if (class == DISKS_GPT || class == DISKS_GPT_GROWN || class == DISKS_GPT_REPAIR) {
		check_partitions(json_object_get(facts, "partitions"), size);
		HOLDS(number(facts, "end") <= size);
		HOLDS(json_object_get(facts, "guid"));
	}
	json_decref(facts);
	(void)close(fd);
	free(disk);
}

static void read_pages(const uint8_t *data, size_t n)
{
	static const char *const models[] = { "Amazon Elastic Block Store", "nvme_card-pd",
					      "nvme_card", NULL };
	static const char *const keys[] = { "ebs", "volume", "gce", NULL };
	uint8_t controller[4096] = { 0x0f, 0x1d }, namespace[4096] = { 0 };

	memcpy(namespace, data, n < sizeof(namespace) ? n : sizeof(namespace));
	memcpy(controller + 2, data, n < sizeof(controller) - 2 ? n : sizeof(controller) - 2);
	for (const char *const *m = models; *m; m++) {
		json_t *facts = json_object();

		rouse_json_set_int(facts, "nsid", 1);
		disks_nvme_parse(m == models ? controller : NULL, namespace, *m, facts);
		for (const char *const *k = keys; *k; k++) {
			const char *s = json_string_value(json_object_get(facts, *k));

			HOLDS(!s || (*s && fuzz_is_one_line(s)));
		}
		json_decref(facts);
	}
}

FUZZ(disk)
{
	if (size < 3 || size > 32768)
		return 0;
	read_gpt(data + 3, size - 3, data[1] | (size_t)data[2] << 8, UINT64_C(512) << (data[0] & 3),
		 data[0] & FIX);
	read_pages(data + 3, size - 3);
	return 0;
}

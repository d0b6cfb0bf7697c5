/* SPDX-License-Identifier: Apache-2.0 */
/* What a range of a disk holds, as whoever wrote it wants it to be seen. */
#include "../lib/tap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <rouse/json.h>

#include "../../modules/disks/write.h"

#define SIZE (8 * MIB)

struct range {
	int fd;
	json_t *content;
};

static void begin(struct range *r)
{
	*r = (struct range){ .fd = memfd_create("range", MFD_CLOEXEC) };
	if (ftruncate(r->fd, SIZE) < 0)
		abort();
}

static void end(struct range *r)
{
	json_decref(r->content);
	(void)close(r->fd);
}

static void put(const struct range *r, uint64_t at, const void *data, size_t n)
{
	if (pwrite(r->fd, data, n, (off_t)at) != (ssize_t)n)
		abort();
}

static const json_t *look(struct range *r)
{
	struct rouse_err e = { 0 };

	if (disks_content_read(r->fd, 0, SIZE, 512, &r->content, &e) < 0)
		return NULL;
	return json_array_get(json_object_get(r->content, "signatures"), 0);
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* A primary volume descriptor; its UUID is the date of its last change, letter by letter. */
static void put_iso(const struct range *r, const char date[static 17])
{
	uint8_t sector[2048] = "\1CD001\1", last[2048] = "\377CD001\1";

	memcpy(sector + 40, "OLD                             ", 32);
	memcpy(sector + 830, date, 17);
	put(r, 32 * KIB, sector, sizeof(sector));
	put(r, 34 * KIB, last, sizeof(last));
}

static void uuid_is_read(struct t *t)
{
	struct range r;
	const json_t *s;

	begin(&r);
	put_iso(&r, "2026112702174200");
	s = look(&r);
	T_STR(t, text(s, "type"), "iso9660");
	T_STR(t, text(s, "uuid"), "2026-11-27-02-17-42-00");
	end(&r);
}

static void uuid_of_other_bytes_is_left_out(struct t *t)
{
	static const char *const dates[] = { "20\n6112702174200", "../../../../../..",
					     "2026112702\033[2J00" };

	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		struct range r;
		const json_t *s;

		begin(&r);
		put_iso(&r, dates[i]);
		s = look(&r);
		T_STR(t, text(s, "type"), "iso9660");
		T_CHECK(t, !json_object_get(s, "uuid"));
		end(&r);
	}
}

static void label_that_is_no_text_is_left_out(struct t *t)
{
	uint8_t page[4096] = { 0 };
	struct range r;
	const json_t *s;

	begin(&r);
	page[1024] = 1;
	page[1028] = 255;
	memcpy(page + 1036, "0123456789abcdef", 16);
	memcpy(page + 1052, "ab\xff\xfe", 4);
	memcpy(page + 4086, "SWAPSPACE2", 10);
	put(&r, 0, page, sizeof(page));
	s = look(&r);
	T_STR(t, text(s, "type"), "swap");
	T_CHECK(t, !json_object_get(s, "label"));
	end(&r);
}

/* Whoever writes it: at each place at which it counts, and nowhere else, and only where nothing else is. */
static void second_mark_is_unfinished_work(struct t *t)
{
	static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	static const uint64_t at[] = { DISKS_MARK_OF_LVM, SIZE - DISKS_MARK_OF_MKFS, 4 * MIB };
	char shown[DISKS_GUID_LEN];

	disks_pending_guid(uuid, shown);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct disks_target target = { .size = SIZE, .uuid = uuid, .what = "it" };
		struct rouse_err e = { 0 };
		struct range r;
		const json_t *s;

		begin(&r);
		target.fd = r.fd;
		T_CHECK(t, disks_mark_again(&target, at[i], &e) == 0);
		s = look(&r);
		T_CHECK(t, at[i] == 4 * MIB ? !s : s != NULL);
		if (s) {
			T_STR(t, text(s, "label"), DISKS_PENDING_LABEL);
			T_STR(t, text(s, "uuid"), shown);
		}
		json_decref(r.content);
		put_iso(&r, "2026112702174200");
		s = look(&r);
		T_STR(t, text(s, "type"), "iso9660");
		end(&r);
	}
}

T_MAIN(T(uuid_is_read), T(uuid_of_other_bytes_is_left_out), T(label_that_is_no_text_is_left_out),
       T(second_mark_is_unfinished_work))

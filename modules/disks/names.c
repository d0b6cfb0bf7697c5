/* SPDX-License-Identifier: Apache-2.0 */
/* Identities and names. */
#include "disks.h"

#include <ctype.h>
#include <string.h>

#include <rouse/text.h>
#include <rouse/trust.h>

const char *disks_partition_label(const struct disks_partition *p, char *buf, size_t size)
{
	if (p->label)
		(void)snprintf(buf, size, "%s", p->label);
	else if (p->lvm && disks_is_mount_point(p->key))
		(void)snprintf(buf, size, "%s", p->lvm->group);
	else if (strcmp(p->key, "/") == 0)
		(void)snprintf(buf, size, "root");
	else
		(void)snprintf(buf, size, "%s", disks_is_mount_point(p->key) ? p->key + 1 : p->key);
	for (char *s = buf; !p->label && *s; s++)
		if (*s == '/')
			*s = '-'; /* /var/lib is var-lib */
	return buf;
}

const char *disks_volume_name(const char *key, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s", strcmp(key, "/") == 0 ? "root" : key + (key[0] == '/'));
	for (char *s = buf; *s; s++)
		if (*s == '/')
			*s = '-';
	return buf;
}

/* Of valid UTF-8: a sequence of four bytes is a surrogate pair, any other one unit. */
size_t disks_utf16_units(const char *s)
{
	size_t n = 0;

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c & 0xc0) != 0x80)
			n += c >= 0xf0 ? 2 : 1;
	}
	return n;
}

void disks_uuid(const char *seed, const char *disk, const char *name, const char *kind,
		uint8_t ret[static 16])
{
	auto_free char *text = rouse_asprintf("%s/%s/%s", disk, name, kind);
	uint8_t mac[ROUSE_SHA256_LEN];

	rouse_hmac_sha256(seed, strlen(seed), text, strlen(text), mac);
	memcpy(ret, mac, 16);
	ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40); /* version 4 */
	ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80); /* RFC 9562 variant */
}

void disks_uuid_print(const uint8_t u[static 16], char ret[static DISKS_GUID_LEN])
{
	(void)snprintf(ret, DISKS_GUID_LEN,
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
		       u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		       u[13], u[14], u[15]);
}

bool disks_parse_uuid(const char *s, uint8_t ret[static 16])
{
	char hex[33];
	size_t n = 0;

	for (; *s; s++) {
		if (*s == '-')
			continue;
		if (n == 32)
			return false;
		hex[n++] = *s;
	}
	hex[n] = '\0';
	return rouse_unhex(ret, 16, hex);
}

void disks_guid(const char *seed, const char *disk, const char *name, const char *kind,
		char ret[static DISKS_GUID_LEN])
{
	uint8_t uuid[16];

	disks_uuid(seed, disk, name, kind, uuid);
	disks_uuid_print(uuid, ret);
}

void disks_guid_of(const struct disks_conf *conf, const struct disks_disk *d,
		   const struct disks_partition *p, char ret[static DISKS_GUID_LEN])
{
	if (!p->guid) {
		auto_free char *kind = p->image ? rouse_asprintf("image:%s", p->image->sha256)
						: rouse_strdup("partition");

		disks_guid(disks_seed(conf), d->key, p->key, kind, ret);
		return;
	}
	for (size_t i = 0; i < DISKS_GUID_LEN; i++)
		ret[i] = (char)tolower((unsigned char)p->guid[i]);
}

const char *const *disks_our_guids(const struct disks_conf *conf, struct rouse_arena *arena)
{
	const char **guids = rouse_arena_alloc(arena, (conf->disks.n + 1) * sizeof(*guids));
	const struct disks_disk *d = conf->disks.items;

	for (size_t i = 0; i < conf->disks.n; i++) {
		char guid[DISKS_GUID_LEN];

		disks_guid(disks_seed(conf), d[i].key, "", "disk", guid);
		guids[i] = rouse_arena_strdup(arena, guid);
	}
	return guids;
}

const char *disks_node(const char *device, unsigned number, char *buf, size_t size)
{
	size_t n = strlen(device);

	(void)snprintf(buf, size, "%s%s%u", device,
		       n && isdigit((unsigned char)device[n - 1]) ? "p" : "", number);
	return buf;
}

const char *disks_below(const char *root, const char *mount, char *buf, size_t size)
{
	if (strcmp(root, "/") == 0)
		(void)snprintf(buf, size, "%s", mount);
	else
		(void)snprintf(buf, size, "%s%s", root, strcmp(mount, "/") == 0 ? "" : mount);
	return buf;
}

/* Labels come from a disk that anybody may have written: no control byte reaches a terminal. */
const char *disks_printable(const char *s, struct rouse_arena *arena)
{
	char *copy = rouse_arena_strndup(arena, s ? s : "", 72);

	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	return copy;
}

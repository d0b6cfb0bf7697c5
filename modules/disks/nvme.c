/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cloud says about an NVMe disk in the vendor's bytes of its identify pages; no udev rule
 * needed. Amazon: the name in the block device mapping, in the namespace (newer, with the volume's
 * id) or in the controller. Google: the name of a persistent disk, as JSON in the namespace.
 */
#include "disks.h"

#include <ctype.h>
#include <linux/nvme_ioctl.h>
#include <string.h>
#include <sys/ioctl.h>

#include <rouse/json.h>
#include <rouse/text.h>

#define IDENTIFY 0x06
#define CNS_NAMESPACE 0
#define CNS_CONTROLLER 1
#define PAGE 4096
#define AMAZON 0x1d0f
#define VENDOR_NAMESPACE 384
#define VENDOR_CONTROLLER 3072
#define NAME_LEN 32
#define VOLUME_LEN 64

static bool identify(int fd, uint32_t nsid, uint32_t cns, uint8_t data[static PAGE])
{
	struct nvme_admin_cmd cmd = {
		.opcode = IDENTIFY,
		.nsid = nsid,
		.addr = (uint64_t)(uintptr_t)data,
		.data_len = PAGE,
		.cdw10 = cns,
		.timeout_ms = 5000,
	};

	return ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd) == 0;
}

/* A field of `n` bytes, padded with blanks or zeros: a word of letters, digits and "-" only, without
 * "/dev/" before it. */
static bool word_of(const uint8_t *raw, size_t n, char *buf, size_t size)
{
	const char *s = (const char *)raw;
	size_t len = 0;

	if (n > 5 && memcmp(s, "/dev/", 5) == 0) {
		s += 5;
		n -= 5;
	}
	while (len < n && (isalnum((unsigned char)s[len]) || s[len] == '-'))
		len++;
	if (len == 0 || len >= size || (len < n && s[len] != '\0' && s[len] != ' '))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	return true;
}

static void parse_amazon(const uint8_t *controller, const uint8_t *namespace, json_t *disk)
{
	char name[NAME_LEN + 1], volume[VOLUME_LEN + 1];

	/* One controller may carry several volumes: what the namespace says comes first. */
	if (word_of(namespace + VENDOR_NAMESPACE, NAME_LEN, name, sizeof(name)) ||
	    word_of(controller + VENDOR_CONTROLLER, NAME_LEN, name, sizeof(name)))
		rouse_json_set_string(disk, "ebs", name);
	if (word_of(namespace + VENDOR_NAMESPACE + NAME_LEN, VOLUME_LEN, volume, sizeof(volume)) &&
	    rouse_strip_prefix(volume, "vol"))
		rouse_json_set_string(disk, "volume", volume);
}

/* {"device_name":"data","disk_type":"PERSISTENT"} */
static void parse_google(const uint8_t *namespace, json_t *disk)
{
	const char *text = (const char *)namespace + VENDOR_NAMESPACE;
	size_t n = strnlen(text, PAGE - VENDOR_NAMESPACE);
	struct rouse_err e = { 0 };
	auto_json json_t *json = rouse_json_parse("identify namespace", text, n, &e);
	const char *name = json_string_value(json_object_get(json, "device_name"));

	if (name && rouse_is_label(name))
		rouse_json_set_string(disk, "gce", name);
}

/* Local disks have names by number: google-local-nvme-ssd-0 is namespace 1. */
static void name_local(const char *model, json_t *disk)
{
	json_int_t nsid = json_integer_value(json_object_get(disk, "nsid"));
	auto_free char *name = NULL;

	if (!rouse_strip_prefix(model, "nvme_card") || nsid < 1)
		return;
	name = rouse_asprintf("local-nvme-ssd-%lld", (long long)nsid - 1);
	rouse_json_set_string(disk, "gce", name);
}

void disks_nvme_parse(const uint8_t *controller, const uint8_t *namespace, const char *model,
		      json_t *disk)
{
	if (controller && (controller[0] | controller[1] << 8) == AMAZON)
		parse_amazon(controller, namespace, disk);
	else if (model && strcmp(model, "nvme_card-pd") == 0)
		parse_google(namespace, disk);
	else if (model)
		name_local(model, disk);
}

void disks_nvme_read(int fd, const char *model, json_t *disk)
{
	auto_free uint8_t *controller = rouse_calloc(1, PAGE);
	auto_free uint8_t *namespace = rouse_calloc(1, PAGE);
	int nsid = ioctl(fd, NVME_IOCTL_ID);

	if (nsid <= 0)
		return;
	rouse_json_set_int(disk, "nsid", (uint64_t)nsid);
	if (!identify(fd, 0, CNS_CONTROLLER, controller))
		return;
	if (!identify(fd, (uint32_t)nsid, CNS_NAMESPACE, namespace))
		memset(namespace, 0, PAGE); /* older controllers say it all themselves */
	disks_nvme_parse(controller, namespace, model, disk);
}

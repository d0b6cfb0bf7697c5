/* SPDX-License-Identifier: Apache-2.0 */
/* The name of an EBS volume in the block device mapping, which its NVMe controller tells: in the
 * vendor's bytes of identify namespace (newer), or of identify controller. No udev rule needed. */
#include "disks.h"

#include <ctype.h>
#include <linux/nvme_ioctl.h>
#include <string.h>
#include <sys/ioctl.h>

#include <rouse/text.h>

#define IDENTIFY 0x06
#define CNS_NAMESPACE 0
#define CNS_CONTROLLER 1
#define AMAZON 0x1d0f
#define BDEV_LEN 32

static bool identify(int fd, uint32_t nsid, uint32_t cns, uint8_t data[static 4096])
{
	struct nvme_admin_cmd cmd = {
		.opcode = IDENTIFY,
		.nsid = nsid,
		.addr = (uint64_t)(uintptr_t)data,
		.data_len = 4096,
		.cdw10 = cns,
		.timeout_ms = 5000,
	};

	return ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd) == 0;
}

/* "/dev/sdf    " or "sdf": the bare name, of [a-z0-9] only. */
static bool name_of(const uint8_t *raw, char *buf, size_t size)
{
	char text[BDEV_LEN + 1] = { 0 };
	const char *s;
	size_t n;

	memcpy(text, raw, BDEV_LEN);
	s = rouse_strip_prefix(text, "/dev/");
	if (!s)
		s = text;
	for (n = 0; islower((unsigned char)s[n]) || isdigit((unsigned char)s[n]); n++)
		;
	if (n == 0 || n >= size || (s[n] != '\0' && s[n] != ' '))
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return true;
}

bool disks_nvme_ebs(int fd, char *buf, size_t size)
{
	auto_free uint8_t *controller = rouse_calloc(1, 4096);
	auto_free uint8_t *namespace = rouse_calloc(1, 4096);
	int nsid = ioctl(fd, NVME_IOCTL_ID);

	if (nsid <= 0 || !identify(fd, 0, CNS_CONTROLLER, controller) ||
	    (controller[0] | controller[1] << 8) != AMAZON)
		return false;
	/* One controller may carry several volumes: what the namespace says comes first. */
	if (identify(fd, (uint32_t)nsid, CNS_NAMESPACE, namespace) &&
	    name_of(namespace + 384, buf, size))
		return true;
	return name_of(controller + 3072, buf, size);
}

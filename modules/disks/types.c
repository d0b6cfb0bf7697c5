/* SPDX-License-Identifier: Apache-2.0 */
/* Types of partitions: UAPI.2, the Discoverable Partitions Specification, and what else a disk of a
 * cloud machine has. */
#include "disks.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <rouse/text.h>

#if defined(__x86_64__)
#define NATIVE "x86-64"
#elif defined(__i386__)
#define NATIVE "x86"
#elif defined(__aarch64__)
#define NATIVE "arm64"
#elif defined(__arm__)
#define NATIVE "arm"
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE "riscv64"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define NATIVE "ppc64-le"
#elif defined(__s390x__)
#define NATIVE "s390x"
#elif defined(__loongarch64)
#define NATIVE "loongarch64"
#else
#error "which partition type has a root filesystem here?"
#endif

/* Words for this architecture, and what they stand for. */
static const char *const native[][2] = {
	{ "root", "root-" NATIVE },
	{ "root-verity", "root-" NATIVE "-verity" },
	{ "root-verity-sig", "root-" NATIVE "-verity-sig" },
	{ "usr", "usr-" NATIVE },
	{ "usr-verity", "usr-" NATIVE "-verity" },
	{ "usr-verity-sig", "usr-" NATIVE "-verity-sig" },
};

static const struct {
	const char *word, *guid;
} types[] = {
	{ "esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" },
	{ "xbootldr", "bc13c2ff-59e6-4262-a352-b275fd6f7172" },
	{ "swap", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" },
	{ "home", "933ac7e1-2eb4-4f13-b844-0e14e2aef915" },
	{ "srv", "3b8f8425-20e0-4f3b-907f-1a25a76f98e8" },
	{ "var", "4d21b016-b534-45c2-a9fb-5c16e091fd2d" },
	{ "tmp", "7ec6f557-3bc5-4aca-b293-16ef5df639d1" },
	{ "user-home", "773f91ef-66d4-49b5-bd83-d683bf40ad16" },
	{ "linux", "0fc63daf-8483-4772-8e79-3d69d8477de4" },
	{ "linux-generic", "0fc63daf-8483-4772-8e79-3d69d8477de4" },
	{ "linux-lvm", "e6d6d379-f507-44c2-a23c-238f2a3df928" },
	{ "linux-raid", "a19d880f-05fc-4d3b-a006-743f0f84911e" },
	{ "linux-luks", "ca7d7ccb-63ed-4c53-861c-1742536059cc" },
	{ "linux-reserved", "8da63339-0007-60c0-c436-083ac8230908" },
	{ "bios-boot", "21686148-6449-6e6f-744e-656564454649" },
	{ "prep-boot", "9e1a2d38-c612-4316-aa26-8b49521e5a8b" },
	{ "microsoft-basic-data", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" },
	{ "microsoft-reserved", "e3c9e316-0b5c-4db8-817d-f92df00215ae" },
	{ "root-arm", "69dad710-2ce4-4e3c-b16c-21a1d49abed3" },
	{ "root-arm-verity", "7386cdf2-203c-47a9-a498-f2ecce45a2d6" },
	{ "root-arm-verity-sig", "42b0455f-eb11-491d-98d3-56145ba9d037" },
	{ "root-arm64", "b921b045-1df0-41c3-af44-4c6f280d3fae" },
	{ "root-arm64-verity", "df3300ce-d69f-4c92-978c-9bfb0f38d820" },
	{ "root-arm64-verity-sig", "6db69de6-29f4-4758-a7a5-962190f00ce3" },
	{ "root-loongarch64", "77055800-792c-4f94-b39a-98c91b762bb6" },
	{ "root-loongarch64-verity", "f3393b22-e9af-4613-a948-9d3bfbd0c535" },
	{ "root-loongarch64-verity-sig", "5afb67eb-ecc8-4f85-ae8e-ac1e7c50e7d0" },
	{ "root-ppc64-le", "c31c45e6-3f39-412e-80fb-4809c4980599" },
	{ "root-ppc64-le-verity", "906bd944-4589-4aae-a4e4-dd983917446a" },
	{ "root-ppc64-le-verity-sig", "d4a236e7-e873-4c07-bf1d-bf6cf7f1c3c6" },
	{ "root-riscv64", "72ec70a6-cf74-40e6-bd49-4bda08e8f224" },
	{ "root-riscv64-verity", "b6ed5582-440b-4209-b8da-5ff7c419ea3d" },
	{ "root-riscv64-verity-sig", "efe0f087-ea8d-4469-821a-4c2a96a8386a" },
	{ "root-s390x", "5eead9a9-fe09-4a1e-a1d7-520d00531306" },
	{ "root-s390x-verity", "b325bfbe-c7be-4ab8-8357-139e652d2f6b" },
	{ "root-s390x-verity-sig", "c80187a5-73a3-491a-901a-017c3fa953e9" },
	{ "root-x86", "44479540-f297-41b2-9af7-d131d5f0458a" },
	{ "root-x86-64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709" },
	{ "root-x86-64-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5" },
	{ "root-x86-64-verity-sig", "41092b05-9fc8-4523-994f-2def0408b176" },
	{ "root-x86-verity", "d13c5d3b-b5d1-422a-b29f-9454fdc89d76" },
	{ "root-x86-verity-sig", "5996fc05-109c-48de-808b-23fa0830b676" },
	{ "usr-arm", "7d0359a3-02b3-4f0a-865c-654403e70625" },
	{ "usr-arm-verity", "c215d751-7bcd-4649-be90-6627490a4c05" },
	{ "usr-arm-verity-sig", "d7ff812f-37d1-4902-a810-d76ba57b975a" },
	{ "usr-arm64", "b0e01050-ee5f-4390-949a-9101b17104e9" },
	{ "usr-arm64-verity", "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e" },
	{ "usr-arm64-verity-sig", "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a" },
	{ "usr-loongarch64", "e611c702-575c-4cbe-9a46-434fa0bf7e3f" },
	{ "usr-loongarch64-verity", "f46b2c26-59ae-48f0-9106-c50ed47f673d" },
	{ "usr-loongarch64-verity-sig", "b024f315-d330-444c-8461-44bbde524e99" },
	{ "usr-ppc64-le", "15bb03af-77e7-4d4a-b12b-c0d084f7491c" },
	{ "usr-ppc64-le-verity", "ee2b9983-21e8-4153-86d9-b6901a54d1ce" },
	{ "usr-ppc64-le-verity-sig", "c8bfbd1e-268e-4521-8bba-bf314c399557" },
	{ "usr-riscv64", "beaec34b-8442-439b-a40b-984381ed097d" },
	{ "usr-riscv64-verity", "8f1056be-9b05-47c4-81d6-be53128e5b54" },
	{ "usr-riscv64-verity-sig", "d2f9000a-7a18-453f-b5cd-4d32f77a7b32" },
	{ "usr-s390x", "8a4f5770-50aa-4ed3-874a-99b710db6fea" },
	{ "usr-s390x-verity", "31741cc4-1a2a-4111-a581-e00b447d2d06" },
	{ "usr-s390x-verity-sig", "3f324816-667b-46ae-86ee-9b0c0c6c11b4" },
	{ "usr-x86", "75250d76-8cc6-458e-bd66-bd47cc81a812" },
	{ "usr-x86-64", "8484680c-9521-48c6-9c11-b0720656f69e" },
	{ "usr-x86-64-verity", "77ff5f63-e7b6-4633-acf4-1565b864c0e6" },
	{ "usr-x86-64-verity-sig", "e7bb33fb-06cf-4e81-8273-e543b413e2e2" },
	{ "usr-x86-verity", "8f461b0d-14ee-4e81-9aa9-049b6fb97abd" },
	{ "usr-x86-verity-sig", "974a71c0-de41-43c3-be5d-5c5ccd1ad2c0" },
};

bool disks_is_guid(const char *s)
{
	static const char pattern[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	for (size_t i = 0; i < sizeof(pattern); i++)
		if (pattern[i] == 'x' ? !isxdigit((unsigned char)s[i]) : s[i] != pattern[i])
			return false;
	return strcmp(s, "00000000-0000-0000-0000-000000000000") != 0;
}

bool disks_same_guid(const char *a, const char *b)
{
	return a && b && strcasecmp(a, b) == 0;
}

const char *disks_type_guid(const char *word)
{
	if (disks_is_guid(word))
		return word;
	for (size_t i = 0; i < ARRAY_SIZE(native); i++)
		if (strcmp(native[i][0], word) == 0)
			word = native[i][1];
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].word, word) == 0)
			return types[i].guid;
	return NULL;
}

bool disks_is_type(const char *s)
{
	return disks_type_guid(s) != NULL;
}

/* What a mount point is for; "/" and "/usr" are of this architecture. */
static const char *const mounts[][2] = {
	{ "/", "root" },        { "/usr", "usr" },       { "/efi", "esp" },
	{ "/boot/efi", "esp" }, { "/boot", "xbootldr" }, { "/home", "home" },
	{ "/srv", "srv" },      { "/var", "var" },       { "/var/tmp", "tmp" },
};

/* A vfat /boot is the ESP mounted there, which is what firmware looks for; see the BLS. */
const char *disks_partition_type(const struct disks_partition *p)
{
	if (p->type)
		return p->type;
	if (p->lvm)
		return "linux-lvm";
	if (p->raid)
		return "linux-raid";
	if (rouse_streq(p->filesystem, "swap"))
		return "swap";
	if (strcmp(p->key, "/boot") == 0 && rouse_streq(p->filesystem, "vfat"))
		return "esp";
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
		if (strcmp(mounts[i][0], p->key) == 0)
			return mounts[i][1];
	return "linux";
}

static const struct {
	const char *word;
	unsigned bit;
} attributes[] = {
	{ "required", 0 },   { "no-block-io", 1 },      { "legacy-boot", 2 },
	{ "read-only", 60 }, { "grow-filesystem", 59 }, { "no-auto", 63 },
};

/* A word, or the number of a bit that belongs to the partition's type (48 to 63). */
static bool parse_attribute(const char *s, uint64_t *ret)
{
	uint64_t bit;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		if (strcmp(attributes[i].word, s) == 0) {
			*ret = UINT64_C(1) << attributes[i].bit;
			return true;
		}
	if (!rouse_parse_u64(s, 63, &bit) || bit < 48)
		return false;
	*ret = UINT64_C(1) << bit;
	return true;
}

bool disks_is_attribute(const char *s)
{
	uint64_t bit;

	return parse_attribute(s, &bit);
}

uint64_t disks_attributes(const struct disks_partition *p)
{
	const char *const *words = p->attributes.items;
	uint64_t all = 0, bit;

	for (size_t i = 0; i < p->attributes.n; i++)
		all |= parse_attribute(words[i], &bit) ? bit : 0;
	return all;
}

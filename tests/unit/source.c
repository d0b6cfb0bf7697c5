/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/source.h>

#include <sys/stat.h>

#include <rouse/fs.h>

#include "../lib/tap.h"

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A machine as a tree of files. */
struct fixture {
	char dir[64];
	struct rouse_machine m;
	struct rouse_found found;
	struct rouse_err e;
	char why[256];
};

static void put(const struct fixture *x, const char *path, const char *text)
{
	auto_free char *full = rouse_asprintf("%s%s", x->dir, path);
	auto_file FILE *f = NULL;

	for (char *p = full + strlen(x->dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		(void)mkdir(full, 0755);
	}
	f = fopen(full, "we");
	if (f)
		(void)fputs(text, f);
}

static void fixture_done(struct fixture *x)
{
	static const char *const made[] = { "/proc/cmdline",
					    "/proc",
					    "/sys/class/dmi/id/sys_vendor",
					    "/sys/class/dmi/id/product_uuid",
					    "/sys/class/dmi/id/bios_version",
					    "/sys/class/dmi/id/product_serial",
					    "/sys/class/dmi/id",
					    "/sys/class/dmi",
					    "/sys/class/block/vdb",
					    "/sys/class/block",
					    "/sys/class",
					    "/sys/hypervisor/uuid",
					    "/sys/hypervisor",
					    "/sys",
					    "/dev/vdb",
					    "/dev",
					    "" };

	rouse_machine_done(&x->m);
	rouse_found_done(&x->found);
	for (size_t i = 0; *x->dir && i < ARRAY_SIZE(made); i++) {
		auto_free char *full = rouse_asprintf("%s%s", x->dir, made[i]);

		(void)remove(full);
	}
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

static bool make(struct fixture *x, const char *cmdline)
{
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/rouse-source-XXXXXX");
	if (!mkdtemp(x->dir))
		return false;
	put(x, "/proc/cmdline", cmdline);
	return rouse_machine_open(&x->m, x->dir, &x->e) == 0;
}

static const char *detected(struct fixture *x)
{
	const struct rouse_source *s = rouse_source_detect(&x->m, x->why, sizeof(x->why));

	return s ? s->name : "nothing";
}

/* --- the machine ------------------------------------------------------------------------------ */

static void a_command_line_is_read_as_the_kernel_does(struct t *t)
{
	auto_fixture struct fixture x = { 0 };
	static const struct {
		const char *name, *value;
	} cases[] = { { "a", "2" },
		      { "bare", "" },
		      { "quoted", "x y" },
		      { "outer", "p q" },
		      { "empty", "" } };

	T_CHECK(t, make(&x, "a=1 bare abc=9 quoted=\"x y\" \"outer=p q\" empty= a=2\n"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *value = rouse_machine_cmdline(&x.m, cases[i].name);

		T_STR(t, value, cases[i].value);
	}
	T_CHECK(t, rouse_machine_cmdline(&x.m, "ab") == NULL);
	T_CHECK(t, rouse_machine_cmdline(&x.m, "y") == NULL);
}

static void firmware_values_are_trimmed_and_erased_ones_are_absent(struct t *t)
{
	auto_fixture struct fixture x = { 0 };
	char buf[64];

	T_CHECK(t, make(&x, ""));
	put(&x, "/sys/class/dmi/id/sys_vendor", "  Amazon EC2 \n");
	put(&x, "/sys/class/dmi/id/product_uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff\n");
	put(&x, "/sys/class/dmi/id/product_serial", "\xff\xff\xff\n");
	put(&x, "/sys/class/dmi/id/bios_version", " \n");
	T_CHECK(t, rouse_machine_dmi(&x.m, "sys_vendor", buf, sizeof(buf)));
	T_STR(t, buf, "Amazon EC2");
	T_CHECK(t, !rouse_machine_dmi(&x.m, "product_uuid", buf, sizeof(buf)));
	T_CHECK(t, !rouse_machine_dmi(&x.m, "product_serial", buf, sizeof(buf)));
	T_CHECK(t, !rouse_machine_dmi(&x.m, "bios_version", buf, sizeof(buf)));
	T_CHECK(t, !rouse_machine_dmi(&x.m, "chassis_asset_tag", buf, sizeof(buf)));
}

static void nothing_local_means_no_source(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, "quiet ro rouse.documents=x rouse.document="));
	put(&x, "/sys/class/dmi/id/sys_vendor", "QEMU\n");
	T_STR(t, detected(&x), "nothing");
}

static void a_uuid_alone_does_not_make_it_ec2(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, ""));
	put(&x, "/sys/class/dmi/id/sys_vendor", "QEMU\n");
	put(&x, "/sys/class/dmi/id/product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n");
	T_STR(t, detected(&x), "nothing");
}

static void ec2_is_known_by_its_vendor_or_by_xen_and_uuid(struct t *t)
{
	static const char *const uuids[] = { "ec2e1916-9099-7caf-fd21-012345abcdef\n",
					     "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n" };
	auto_fixture struct fixture nitro = { 0 };

	T_CHECK(t, make(&nitro, ""));
	put(&nitro, "/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
	T_STR(t, detected(&nitro), "ec2");
	T_STR(t, nitro.why, "the firmware's vendor is 'Amazon EC2'");
	for (size_t i = 0; i < 2; i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, make(&x, ""));
		put(&x, "/sys/class/dmi/id/sys_vendor", "Xen\n");
		put(&x, i ? "/sys/class/dmi/id/product_uuid" : "/sys/hypervisor/uuid", uuids[i]);
		T_STR(t, detected(&x), "nothing");
		put(&x, "/sys/class/dmi/id/bios_version", "4.11.amazon\n");
		T_STR(t, detected(&x), "ec2");
	}
}

static void a_byte_swapped_uuid_is_known_too(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, ""));
	put(&x, "/sys/class/dmi/id/bios_version", "4.2.amazon\n");
	put(&x, "/sys/class/dmi/id/product_uuid", "45e12aec-dcd1-b213-94ed-012345abcdef\n");
	T_STR(t, detected(&x), "ec2");
}

static void the_command_line_comes_before_the_firmware(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, "rouse.document=https://example.com/a.json?token=secret"));
	put(&x, "/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
	T_STR(t, detected(&x), "cmdline");
	T_STR(t, x.why, "the kernel command line has rouse.document=https://example.com/a.json");
}

/* --- the command line as a source ------------------------------------------------------------- */

static int fetch(struct fixture *x)
{
	const struct rouse_source *s = rouse_source_detect(&x->m, x->why, sizeof(x->why));

	return s ? s->fetch(s, &x->m, NULL, 0, &x->found, &x->e) : -2;
}

static void the_command_line_gives_url_and_digest(struct t *t)
{
	static const char *const lines[] = {
		"rouse.document=https://example.com/a.json rouse.sha256=" DIGEST,
		"rouse.document=https://example.com/a.json#sha256=" DIGEST
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, make(&x, lines[i]));
		T_CHECK(t, fetch(&x) == 0);
		T_STR(t, x.found.url, "https://example.com/a.json");
		T_STR(t, x.found.sha256, DIGEST);
	}
}

static void a_path_on_the_command_line_is_a_file(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, "rouse.document=/etc/rouse/document.json"));
	T_CHECK(t, fetch(&x) == 0);
	T_STR(t, x.found.url, "file:///etc/rouse/document.json");
	T_CHECK(t, x.found.sha256 == NULL);
}

static void a_wrong_command_line_is_refused(struct t *t)
{
	static const char *const lines[] = {
		"rouse.document=example.com/a.json",
		"rouse.document=ftp://example.com/a.json",
		"rouse.document=https://u:p@example.com/a.json",
		"rouse.document=https://example.com/a.json rouse.sha256=abc",
		"rouse.document=https://example.com/a.json rouse.sha256=",
		"rouse.document=https://example.com/a.json#sha256=abc",
		"rouse.document=https://example.com/a.json#part"
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, make(&x, lines[i]));
		T_CHECK(t, fetch(&x) == -1);
		T_CHECK(t, x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, "rouse.");
	}
}

static void two_digests_are_refused(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, "rouse.document=https://example.com/#sha256=" DIGEST " rouse.sha256="
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
	T_CHECK(t, fetch(&x) < 0);
	T_HAS(t, x.e.text, "two digests");
}

/* --- NoCloud by URL --------------------------------------------------------------------------- */

static void ds_nocloud_is_read_from_firmware_and_command_line(struct t *t)
{
	static const struct {
		const char *serial, *cmdline, *want;
	} cases[] = {
		{ "ds=nocloud;s=http://10.0.2.2:8000/\n", "", "nocloud-net" },
		{ "ds=nocloud-net;s=http://10.0.2.2:8000/;h=web\n", "", "nocloud-net" },
		{ "ds=nocloud;seedfrom=http://10.0.2.2/\n", "", "nocloud-net" },
		{ "x\n", "quiet ds=nocloud;s=http://10.0.2.2/ ro", "nocloud-net" },
		{ "x\n", "\"ds=nocloud;s=http://10.0.2.2/\"", "nocloud-net" },
		{ "ds=nocloud\n", "", "nocloud" },
		{ "ds=nocloudy\n", "", "nothing" },
		{ "ds=ec2\n", "", "nothing" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, make(&x, cases[i].cmdline));
		put(&x, "/sys/class/dmi/id/product_serial", cases[i].serial);
		T_STR(t, detected(&x), cases[i].want);
	}
}

static void a_promised_disk_that_does_not_come_is_unavailable(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, make(&x, "ds=nocloud"));
	T_CHECK(t, fetch(&x) == -1);
	T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "no disk labelled cidata has appeared");
}

T_MAIN(T(a_command_line_is_read_as_the_kernel_does),
       T(firmware_values_are_trimmed_and_erased_ones_are_absent), T(nothing_local_means_no_source),
       T(a_uuid_alone_does_not_make_it_ec2), T(ec2_is_known_by_its_vendor_or_by_xen_and_uuid),
       T(a_byte_swapped_uuid_is_known_too), T(the_command_line_comes_before_the_firmware),
       T(the_command_line_gives_url_and_digest), T(a_path_on_the_command_line_is_a_file),
       T(a_wrong_command_line_is_refused), T(two_digests_are_refused),
       T(ds_nocloud_is_read_from_firmware_and_command_line),
       T(a_promised_disk_that_does_not_come_is_unavailable))

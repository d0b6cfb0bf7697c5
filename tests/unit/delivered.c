/* SPDX-License-Identifier: Apache-2.0 */
/* What disks, firmware, tools and files deliver, and who a machine is that nobody can be asked about. */
#include "../../modules/sources/sources.h"

#include <rouse/clock.h>

#include "../../agent/layers.h"
#include "../lib/run.h"
#include "../lib/tap.h"

/* A machine as a tree of files. */
struct fixture {
	struct t_root root;
	struct rouse_machine m;
	struct rouse_found found;
	struct rouse_err e;
	char why[256];
};

static void fixture_done(struct fixture *x)
{
	rouse_machine_done(&x->m);
	rouse_found_done(&x->found);
	t_root_done(&x->root);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

static bool begin(struct fixture *x)
{
	x->root = t_root_new();
	t_root_write(&x->root, "/proc/cmdline", "quiet", 0644);
	x->m.told = true;
	if (rouse_machine_open(&x->m, x->root.path, &x->e) < 0)
		return false;
	x->m.told = true;
	return true;
}

/* Fetches from the source that is detected; -2 when that is another than `name`. */
static int fetch(struct fixture *x, const char *name, uint64_t budget)
{
	const struct rouse_source *s = rouse_source_detect(&x->m, x->why, sizeof(x->why));

	rouse_found_done(&x->found);
	if (!s || strcmp(s->name, name) != 0)
		return -2;
	return s->fetch(s, &x->m, NULL, rouse_clock_ms() + budget, &x->found, &x->e);
}

/* --- disks ------------------------------------------------------------------------------------ */

static int read_tree(struct fixture *x, int (*read)(const struct rouse_root *root,
						    struct rouse_found *f, struct rouse_err *e))
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	rouse_found_done(&x->found);
	return rouse_root_open(&root, x->root.path, &x->e) < 0 ? -2 : read(&root, &x->found, &x->e);
}

static void a_config_drive_is_read(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	T_CHECK(t, read_tree(&x, openstack_read_drive) == -1 && x.e.kind == ROUSE_SYSTEM);
	T_HAS(t, x.e.text, "there is no openstack/latest/meta_data.json");
	t_root_write(
		&x.root, "/openstack/latest/meta_data.json",
		"{\"uuid\": \"b0fa911b\", \"hostname\": \"web\", \"availability_zone\": \"nova\", "
		"\"meta\": {\"role\": \"db\"}, \"public_keys\": {\"a\": \"ssh-ed25519 AAAA a\"}}",
		0644);
	T_CHECK(t, read_tree(&x, openstack_read_drive) == 0);
	T_CHECK(t, !x.found.user_data);
	t_root_write(&x.root, "/openstack/latest/user_data", "{}", 0644);
	T_CHECK(t, read_tree(&x, openstack_read_drive) == 0);
	T_STR(t, x.found.user_data, "{}");
	T_STR(t, x.found.instance.id, "b0fa911b");
	T_STR(t, x.found.instance.zone, "nova");
	T_STR(t, x.found.instance.hostname, "web");
	T_CHECK(t, x.found.instance.tags.n == 1 && x.found.instance.ssh_keys.n == 1);
	t_root_write(&x.root, "/openstack/latest/meta_data.json", "<html>", 0644);
	T_CHECK(t, read_tree(&x, openstack_read_drive) == -1 && x.e.kind == ROUSE_SYSTEM);
}

static void custom_data_of_azures_disc_is_read(struct t *t)
{
	static const char *const none[] = { "<Environment/>", "<E><CustomData/></E>",
					    "<E><a:CustomData></a:CustomData></E>", "" };
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	T_CHECK(t, read_tree(&x, azure_read_disc) == 0 && !x.found.user_data);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		t_root_write(&x.root, "/ovf-env.xml", none[i], 0644);
		T_CHECK(t, read_tree(&x, azure_read_disc) == 0 && !x.found.user_data);
	}
	t_root_write(&x.root, "/ovf-env.xml",
		     "<?xml version=\"1.0\"?><ns0:Environment xmlns:ns1=\"x\"><ns1:CustomDataX>no"
		     "</ns1:CustomDataX><ns1:CustomData a=\"b\">eyJyb3VzZSI6IDF9</ns1:CustomData>",
		     0644);
	T_CHECK(t, read_tree(&x, azure_read_disc) == 0);
	T_CHECK(t, rouse_userdata_unwrap(&x.found, &x.e) == 0);
	T_STR(t, x.found.user_data, "{\"rouse\": 1}");
}

/* --- credentials ------------------------------------------------------------------------------ */

static void put_bytes(struct fixture *x, const char *path, const char *data, size_t n)
{
	auto_free char *full = rouse_asprintf("%s%s", x->root.path, path);
	auto_file FILE *f = NULL;

	t_root_write(&x->root, path, "", 0644);
	f = fopen(full, "we");
	if (!f || fwrite(data, 1, n, f) != n)
		abort();
}

static void a_credential_of_the_firmware_is_user_data(struct t *t)
{
	static const char other[] = "\x0b\x05\x00\x0b\x01io.systemd.credential:other=x\0",
			  plain[] = "\x0b\x05\x01\x0b\x02"
				    "vendor\0io.systemd.credential:rouse.document={\"rouse\": 1}\0",
			  packed[] =
				  "\x0b\x05\x01\x0b\x01"
				  "io.systemd.credential.binary:rouse.document=eyJyb3VzZSI6IDF9\0",
			  cut[] = "\x0b\xff\x01\x0b";
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	put_bytes(&x, "/sys/firmware/dmi/entries/11-0/raw", other, sizeof(other));
	T_CHECK(t, fetch(&x, "credential", 0) == -2);
	put_bytes(&x, "/sys/firmware/dmi/entries/11-1/raw", plain, sizeof(plain));
	T_CHECK(t, fetch(&x, "credential", 0) == 0);
	T_HAS(t, x.why, "the firmware has a credential");
	T_STR(t, x.found.user_data, "{\"rouse\": 1}");
	put_bytes(&x, "/sys/firmware/dmi/entries/11-1/raw", packed, sizeof(packed));
	T_CHECK(t, fetch(&x, "credential", 0) == 0);
	T_CHECK(t, rouse_userdata_unwrap(&x.found, &x.e) == 0);
	T_STR(t, x.found.user_data, "{\"rouse\": 1}");
	put_bytes(&x, "/sys/firmware/dmi/entries/11-1/raw", cut, sizeof(cut) - 1);
	T_CHECK(t, fetch(&x, "credential", 0) == -2);
}

static void a_credential_of_qemu_is_user_data(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(
		&x.root,
		"/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/rouse.document/raw",
		"{}", 0400);
	T_CHECK(t, fetch(&x, "credential", 0) == 0);
	T_STR(t, x.found.user_data, "{}");
	T_HAS(t, x.why, "qemu_fw_cfg");
}

/* --- VMware ----------------------------------------------------------------------------------- */

static const char *guest_user, *guest_meta;
static bool guest_fails;

static int guestinfo(const char *key, struct rouse_buf *ret, struct rouse_err *e)
{
	const char *value = strcmp(key, "userdata") == 0 ? guest_user : guest_meta;

	if (guest_fails)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the tool fails");
	if (!value)
		return 0;
	return rouse_buf_add(ret, value, strlen(value), 4096) < 0 ? -1 : 1;
}

static void guestinfo_is_read_plain_and_packed(struct t *t)
{
	/* instance-id: vm-7, local-hostname: web */
	static const char *const metas[] = {
		"instance-id: vm-7\nlocal-hostname: web\n",
		"{\"instance-id\": \"vm-7\", \"local-hostname\": \"web\"}",
		"aW5zdGFuY2UtaWQ6IHZtLTcKbG9jYWwtaG9zdG5hbWU6IHdlYgo="
	};
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(&x.root, "/sys/class/dmi/id/sys_vendor", "VMware, Inc.\n", 0644);
	x.m.guestinfo = guestinfo;
	guest_fails = false;
	guest_user = "{}";
	for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
		guest_meta = metas[i];
		T_CHECK(t, fetch(&x, "vmware", 0) == 0);
		T_STR(t, x.found.instance.id, "vm-7");
		T_STR(t, x.found.instance.hostname, "web");
		T_STR(t, x.found.user_data, "{}");
	}
	guest_user = guest_meta = NULL;
	T_CHECK(t, fetch(&x, "vmware", 0) == -2); /* others run on VMware, too */
	guest_fails = true;
	T_CHECK(t, fetch(&x, "vmware", 0) == -1 && x.e.kind == ROUSE_SYSTEM);
}

/* --- what is promised ------------------------------------------------------------------------- */

static void a_socket_that_does_not_come_is_unavailable(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(&x.root, "/sys/class/virtio-ports/vport0p1/name",
		     "org.linuxcontainers.incus\n", 0644);
	T_CHECK(t, fetch(&x, "lxd", 300) == -1 && x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "has not made its socket");
}

static void cloudstack_without_a_lease_is_this_machines_fault(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(&x.root, "/sys/class/dmi/id/product_name", "CloudStack KVM Hypervisor\n",
		     0644);
	t_root_write(&x.root, "/run/systemd/netif/leases/3", "X_SERVER_ADDRESS=1.2.3.4\n", 0644);
	T_CHECK(t, fetch(&x, "cloudstack", 300) == -1 && x.e.kind == ROUSE_SYSTEM);
	T_HAS(t, x.e.text, "nothing here says which DHCP server");
}

static void a_file_that_others_may_write_is_untrusted(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(&x.root, "/etc/rouse/document.json", "{}", 0644);
	T_CHECK(t, fetch(&x, "file", 0) == 0);
	T_STR(t, x.found.user_data, "{}");
	t_root_write(&x.root, "/etc/rouse/document.json", "{}", 0666);
	T_CHECK(t, fetch(&x, "file", 0) == -1 && x.e.kind == ROUSE_UNTRUSTED);
}

/* --- who am I --------------------------------------------------------------------------------- */

static bool recall(const struct fixture *x, const struct rouse_instance *who,
		   struct rouse_running *ret)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };

	return rouse_root_open(&root, x->root.path, &e) == 0 &&
	       rouse_layers_recall(&root, who, ret);
}

static void a_machine_that_nobody_can_be_asked_about_knows_itself(struct t *t)
{
	static const struct rouse_pair tags[] = { { "role", "db" } };
	static const char *const keys[] = { "ssh-ed25519 AAAA a" };
	const struct rouse_instance before = { .cloud = "gce",
					       .id = "42",
					       .zone = "europe-west1-b",
					       .firmware = "11111111-2222",
					       .tags = { 1, (void *)tags },
					       .ssh_keys = { 1, (void *)keys } };
	struct rouse_instance now = { .cloud = "gce" };
	auto_fixture struct fixture x = { 0 };
	auto_running struct rouse_running same = { 0 }, other = { 0 }, another = { 0 };
	auto_document struct rouse_document d = { 0 };
	auto_free char *text = NULL;

	T_CHECK(t, begin(&x));
	T_CHECK(t, rouse_document_add(&d, "user-data", "{\"rouse\": 1}", 12, false, &x.e) == 0);
	text = rouse_layers_print(&d, &before, true);
	t_root_write(&x.root, "/var/lib/rouse/layers.json", text, 0600);
	T_CHECK(t, !recall(&x, &now, &other)); /* its firmware says nothing */
	now.firmware = "11111111-2222";
	T_CHECK(t, recall(&x, &now, &same));
	T_STR(t, same.instance.id, "42");
	T_STR(t, same.instance.zone, "europe-west1-b");
	T_CHECK(t, same.instance.tags.n == 1 && same.instance.ssh_keys.n == 1);
	/* A copy of the disk is in another machine, or in another instance. */
	now.firmware = "99999999-2222";
	T_CHECK(t, !recall(&x, &now, &another));
	now.firmware = "11111111-2222";
	now.id = "43";
	rouse_running_done(&another);
	T_CHECK(t, !recall(&x, &now, &another));
}

static void the_firmware_gives_identity_without_a_network(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, begin(&x));
	t_root_write(&x.root, "/sys/class/dmi/id/sys_vendor", "Amazon EC2\n", 0644);
	t_root_write(&x.root, "/sys/class/dmi/id/board_asset_tag", "i-0abc\n", 0644);
	t_root_write(&x.root, "/sys/class/dmi/id/product_uuid", "EC2E-1\n", 0644);
	rouse_source_recall(&source_ec2, &x.m, &x.found);
	T_STR(t, x.found.instance.id, "i-0abc");
	T_STR(t, x.found.instance.cloud, "ec2");
	T_STR(t, x.found.instance.firmware, "EC2E-1");
	rouse_found_done(&x.found);
	rouse_source_recall(&source_openstack, &x.m, &x.found);
	T_STR(t, x.found.instance.id, "ec2e-1");
}

T_MAIN(T(a_config_drive_is_read), T(custom_data_of_azures_disc_is_read),
       T(a_credential_of_the_firmware_is_user_data), T(a_credential_of_qemu_is_user_data),
       T(guestinfo_is_read_plain_and_packed), T(a_socket_that_does_not_come_is_unavailable),
       T(cloudstack_without_a_lease_is_this_machines_fault),
       T(a_file_that_others_may_write_is_untrusted),
       T(a_machine_that_nobody_can_be_asked_about_knows_itself),
       T(the_firmware_gives_identity_without_a_network))

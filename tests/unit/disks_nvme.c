/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../../modules/disks/disks.h"

#include <rouse/json.h>

struct pages {
	uint8_t controller[4096], namespace[4096];
	json_t *facts;
};

static void begin(struct pages *p)
{
	memset(p, 0, sizeof(*p));
	p->facts = json_object();
	rouse_json_set_int(p->facts, "nsid", 2);
}

/* A field as firmware writes it: padded with blanks. */
static void field(uint8_t *at, size_t n, const char *text)
{
	memset(at, ' ', n);
	memcpy(at, text, strlen(text));
}

static const char *fact(const struct pages *p, const char *key)
{
	return json_string_value(json_object_get(p->facts, key));
}

static void amazon(struct pages *p)
{
	p->controller[0] = 0x0f;
	p->controller[1] = 0x1d;
}

static void ebs_name_is_in_the_controller(struct t *t)
{
	struct pages p;

	begin(&p);
	amazon(&p);
	field(p.controller + 3072, 32, "/dev/sdf");
	disks_nvme_parse(p.controller, p.namespace, "Amazon Elastic Block Store", p.facts);
	T_STR(t, fact(&p, "ebs"), "sdf");
	T_CHECK(t, !fact(&p, "volume") && !fact(&p, "gce"));
	json_decref(p.facts);
}

static void ebs_namespace_comes_first(struct t *t)
{
	struct pages p;

	begin(&p);
	amazon(&p);
	field(p.controller + 3072, 32, "sdf");
	field(p.namespace + 384, 32, "/dev/sdg");
	memcpy(p.namespace + 416, "vol-0123456789abcdef0", 21);
	disks_nvme_parse(p.controller, p.namespace, "Amazon Elastic Block Store", p.facts);
	T_STR(t, fact(&p, "ebs"), "sdg");
	T_STR(t, fact(&p, "volume"), "vol-0123456789abcdef0");
	json_decref(p.facts);
}

static void ebs_name_may_fill_its_field(struct t *t)
{
	struct pages p;

	begin(&p);
	amazon(&p);
	memset(p.namespace + 384, 'a', 32);
	disks_nvme_parse(p.controller, p.namespace, NULL, p.facts);
	T_STR(t, fact(&p, "ebs"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	json_decref(p.facts);
}

static void ebs_ignores_what_is_no_name(struct t *t)
{
	struct pages p;

	begin(&p);
	amazon(&p);
	memcpy(p.namespace + 384, "sd\x1b[31m", 7);
	memcpy(p.controller + 3072, "../sda", 6);
	memcpy(p.namespace + 416, "disk-1", 6);
	disks_nvme_parse(p.controller, p.namespace, NULL, p.facts);
	T_CHECK(t, !fact(&p, "ebs") && !fact(&p, "volume"));
	json_decref(p.facts);
}

static void other_vendors_say_nothing(struct t *t)
{
	struct pages p;

	begin(&p);
	field(p.controller + 3072, 32, "/dev/sdf");
	disks_nvme_parse(p.controller, p.namespace, "QEMU NVMe Ctrl", p.facts);
	T_CHECK(t, !fact(&p, "ebs"));
	json_decref(p.facts);
}

static void google_names_its_disk_in_json(struct t *t)
{
	struct pages p;

	begin(&p);
	memcpy(p.namespace + 384, "{\"device_name\":\"data-1\",\"disk_type\":\"PERSISTENT\"}", 49);
	disks_nvme_parse(p.controller, p.namespace, "nvme_card-pd", p.facts);
	T_STR(t, fact(&p, "gce"), "data-1");
	json_decref(p.facts);
}

static void google_json_may_be_broken(struct t *t)
{
	struct pages p;

	begin(&p);
	memcpy(p.namespace + 384, "{\"device_name\":\"data", 20);
	disks_nvme_parse(p.controller, p.namespace, "nvme_card-pd", p.facts);
	T_CHECK(t, !fact(&p, "gce"));
	memset(p.namespace + 384, '{', 4096 - 384);
	disks_nvme_parse(p.controller, p.namespace, "nvme_card-pd", p.facts);
	T_CHECK(t, !fact(&p, "gce"));
	json_decref(p.facts);
}

static void google_local_disk_is_numbered(struct t *t)
{
	struct pages p;

	begin(&p);
	disks_nvme_parse(p.controller, p.namespace, "nvme_card", p.facts);
	T_STR(t, fact(&p, "gce"), "local-nvme-ssd-1");
	json_decref(p.facts);
}

T_MAIN(T(ebs_name_is_in_the_controller), T(ebs_namespace_comes_first),
       T(ebs_name_may_fill_its_field), T(ebs_ignores_what_is_no_name), T(other_vendors_say_nothing),
       T(google_names_its_disk_in_json), T(google_json_may_be_broken),
       T(google_local_disk_is_numbered))

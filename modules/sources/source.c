/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/source.h>

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "sources.h"

/*
 * The first that recognises itself is asked. What a person typed at the boot loader comes first, then
 * what whoever runs the machine put into its firmware; then the cloud that the firmware names, which
 * whoever attaches a disk cannot change; then disks; then what the image itself has.
 */
const struct rouse_source *const rouse_sources[] = {
	&source_cmdline,      &source_nocloud_net,
	&source_nocloud,      &source_credential,
	&source_ec2,          &source_gce,
	&source_azure,        &source_aliyun,
	&source_oracle,       &source_digitalocean,
	&source_hetzner,      &source_vultr,
	&source_scaleway,     &source_akamai,
	&source_exoscale,     &source_upcloud,
	&source_cloudstack,   &source_lxd,
	&source_vmware,       &source_ec2_compatible,
	&source_configdrive,  &source_openstack,
	&source_nocloud_disk, &source_nocloud_dir,
	&source_file,         NULL,
};

static bool is_named(const struct rouse_machine *m, const struct rouse_source *s)
{
	auto_free char *name = rouse_machine_cmdline(m, "rouse.source");

	return name && rouse_streq(name, s->name);
}

const struct rouse_source *rouse_source_detect(struct rouse_machine *m, char *why, size_t why_size)
{
	m->looked = false;
	/* A machine whose firmware says nothing is told by a person. */
	for (size_t i = 0; rouse_sources[i]; i++)
		if (is_named(m, rouse_sources[i])) {
			(void)snprintf(why, why_size, "the kernel command line has rouse.source=%s",
				       rouse_sources[i]->name);
			return rouse_sources[i];
		}
	for (size_t i = 0; rouse_sources[i]; i++)
		if (rouse_sources[i]->detect(rouse_sources[i], m, why, why_size))
			return rouse_sources[i];
	return NULL;
}

/* Where UUIDs are read, each board and each virtual machine has its own. */
void rouse_source_recall(const struct rouse_source *s, const struct rouse_machine *m,
			 struct rouse_found *ret)
{
	struct rouse_instance *i = &ret->instance;
	char id[128];

	if (s && s->identity && s->identity(m, id, sizeof(id)) && !i->id)
		i->id = source_keep(ret, id, strlen(id));
	if (!i->cloud && s)
		i->cloud = s->name;
	if (rouse_machine_dmi(m, "product_uuid", id, sizeof(id)) ||
	    rouse_machine_dmi(m, "product_serial", id, sizeof(id)))
		i->firmware = source_keep(ret, id, strlen(id));
}

/* --- the machine ------------------------------------------------------------------------------ */

bool rouse_machine_has(const struct rouse_machine *m, const char *path)
{
	auto_free char *full = rouse_asprintf("%s%s", m->sysroot, path);

	return access(full, F_OK) == 0;
}

/* An init says so itself; without one, the environment of the first process does. */
static bool is_container(const struct rouse_machine *m)
{
	auto_free char *path = rouse_asprintf("%s/proc/1/environ", m->sysroot);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e;

	if (rouse_machine_has(m, "/run/systemd/container"))
		return true;
	if (rouse_read_file(path, ROUSE_MAX_METADATA, &text, &e) < 0)
		return false;
	for (size_t i = 0; i < text.len; i += strlen(text.data + i) + 1)
		if (rouse_strip_prefix(text.data + i, "container="))
			return true;
	return false;
}

/* Reads `<sysroot>PATH`, whose words end with a blank or a NUL. */
static int read_words(struct rouse_machine *m, const char *path, struct rouse_err *e)
{
	auto_free char *full = rouse_asprintf("%s%s", m->sysroot, path);
	auto_buf struct rouse_buf line = { 0 };

	if (rouse_read_file(full, ROUSE_MAX_CMDLINE, &line, e) < 0 && e->sys != ENOENT)
		return -1;
	for (size_t i = 0; i < line.len; i++)
		if (!line.data[i])
			line.data[i] = ' ';
	m->cmdline = rouse_strdup(line.data ? line.data : "");
	return 0;
}

int rouse_machine_open(struct rouse_machine *m, const char *sysroot, struct rouse_err *e)
{
	*m = (struct rouse_machine){ .sysroot = sysroot };
	m->container = is_container(m);
	/* The kernel's command line is about the host of a container. */
	return read_words(m, m->container ? "/proc/1/cmdline" : "/proc/cmdline", e);
}

void rouse_machine_done(struct rouse_machine *m)
{
	free(m->cmdline);
	*m = (struct rouse_machine){ 0 };
}

/* Firmware that was never filled in reads as all ones. */
static bool is_erased(const char *s)
{
	return strspn(s, "\xff") == strlen(s) || strspn(s, "Ff-") == strlen(s);
}

bool rouse_machine_dmi(const struct rouse_machine *m, const char *name, char *buf, size_t size)
{
	auto_free char *path = rouse_asprintf("%s/sys/class/dmi/id/%s", m->sysroot, name);
	size_t skip, n;

	if (m->container || !rouse_read_line(path, buf, size))
		return false;
	skip = strspn(buf, " \t");
	memmove(buf, buf + skip, strlen(buf) - skip + 1);
	for (n = strlen(buf); n && strchr(" \t\r\n", buf[n - 1]); n--)
		buf[n - 1] = '\0';
	return *buf && !is_erased(buf);
}

static const char *name_of_field(const char *field)
{
	static const struct {
		const char *field, *name;
	} names[] = { { "sys_vendor", "vendor" },
		      { "product_name", "product name" },
		      { "product_serial", "serial number" },
		      { "product_uuid", "UUID" },
		      { "chassis_asset_tag", "chassis tag" },
		      { "board_name", "board name" } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (rouse_streq(names[i].field, field))
			return names[i].name;
	return field;
}

bool source_dmi_is(const struct rouse_machine *m, const char *field, const char *pattern, char *why,
		   size_t why_size)
{
	char value[128];

	if (!rouse_machine_dmi(m, field, value, sizeof(value)) || fnmatch(pattern, value, 0) != 0)
		return false;
	rouse_one_line(value);
	(void)snprintf(why, why_size, "the firmware's %s is '%s'", name_of_field(field), value);
	return true;
}

bool source_by_dmi(const struct rouse_source *s, struct rouse_machine *m, char *why,
		   size_t why_size)
{
	for (size_t i = 0; i < ROUSE_SOURCE_MAX_DMI && s->dmi[i].field; i++)
		if (source_dmi_is(m, s->dmi[i].field, s->dmi[i].pattern, why, why_size))
			return true;
	return false;
}

bool source_serial(const struct rouse_machine *m, char *buf, size_t size)
{
	return rouse_machine_dmi(m, "product_serial", buf, size);
}

bool source_uuid(const struct rouse_machine *m, char *buf, size_t size)
{
	if (!rouse_machine_dmi(m, "product_uuid", buf, size))
		return false;
	for (char *p = buf; *p; p++) /* old firmware writes capitals */
		*p = (char)tolower((unsigned char)*p);
	return true;
}

/* The end of the word that begins at `p`; quotes keep blanks inside, as the kernel does. */
static const char *end_of_word(const char *p)
{
	bool quoted = false;

	for (; *p && (quoted || !strchr(" \t\n", *p)); p++)
		if (*p == '"')
			quoted = !quoted;
	return p;
}

static char *unquoted(const char *p, size_t n)
{
	char *ret = rouse_calloc(n + 1, 1);
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i] != '"')
			ret[len++] = p[i];
	return ret;
}

char *rouse_machine_cmdline(const struct rouse_machine *m, const char *name)
{
	size_t n = strlen(name);
	char *value = NULL;

	for (const char *p = m->cmdline, *end; *p; p = end) {
		p += strspn(p, " \t\n");
		end = end_of_word(p);
		p += *p == '"'; /* "name=a value" is also spelled with the name inside the quotes */
		if ((size_t)(end - p) < n || strncmp(p, name, n) != 0 ||
		    (p + n != end && p[n] != '='))
			continue;
		free(value);
		value = p + n == end ? rouse_strdup("")
				     : unquoted(p + n + 1, (size_t)(end - p) - n - 1);
	}
	return value;
}

void rouse_found_done(struct rouse_found *f)
{
	rouse_arena_done(&f->arena);
	if (f->user_data)
		explicit_bzero(f->user_data, f->user_data_len);
	free(f->user_data);
	free(f->url);
	free(f->sha256);
	*f = (struct rouse_found){ 0 };
}

void source_set_user_data(struct rouse_found *f, struct rouse_buf *text)
{
	if (!text->len)
		return;
	f->user_data_len = text->len;
	f->user_data = take(text->data, NULL);
}

const char *source_keep(struct rouse_found *f, const char *value, size_t len)
{
	if (!len || !rouse_utf8_valid(value, len))
		return NULL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return NULL;
	return rouse_arena_strndup(&f->arena, value, len);
}

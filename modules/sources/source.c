/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/source.h>

#include <string.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "sources.h"

/*
 * The first that recognises itself is asked. What a person typed at the boot loader comes first;
 * then what the firmware says, which whoever attaches a disk cannot change; then disks.
 */
const struct rouse_source *const rouse_sources[] = { &source_cmdline, &source_ec2,
						     &source_nocloud_net, &source_nocloud, NULL };

const struct rouse_source *rouse_source_detect(const struct rouse_machine *m, char *why,
					       size_t why_size)
{
	for (size_t i = 0; rouse_sources[i]; i++)
		if (rouse_sources[i]->detect(m, why, why_size))
			return rouse_sources[i];
	return NULL;
}

int rouse_machine_open(struct rouse_machine *m, const char *sysroot, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/proc/cmdline", sysroot);
	auto_buf struct rouse_buf line = { 0 };

	*m = (struct rouse_machine){ 0 };
	if (rouse_read_file(path, ROUSE_MAX_CMDLINE, &line, e) < 0 && e->sys != ENOENT)
		return -1;
	m->sysroot = sysroot;
	m->cmdline = rouse_strdup(line.data ? line.data : "");
	return 0;
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

	if (!rouse_read_line(path, buf, size))
		return false;
	skip = strspn(buf, " \t");
	memmove(buf, buf + skip, strlen(buf) - skip + 1);
	for (n = strlen(buf); n && strchr(" \t\r\n", buf[n - 1]); n--)
		buf[n - 1] = '\0';
	return *buf && !is_erased(buf);
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

const char *source_keep(struct rouse_found *f, const char *value, size_t len)
{
	if (!len || !rouse_utf8_valid(value, len))
		return NULL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return NULL;
	return rouse_arena_strndup(&f->arena, value, len);
}

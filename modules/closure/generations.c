/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: NAME -> NAME-7-link -> a store path. Nix takes all of them as roots of its collector. */
#include <rouse/closure.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "nix32.h"
#include "profile.h"

#define ROOTS "/nix/var/nix/gcroots/"
#define PROFILES "/nix/var/nix/profiles/"

/* Where a symlink in `dir` points; "" when it is none, or points too far. */
static void read_link(int dir, const char *name, char *buf, size_t size)
{
	ssize_t n = readlinkat(dir, name, buf, size);

	buf[n > 0 && (size_t)n < size ? n : 0] = '\0';
}

uint64_t rouse_generation_number(const char *link, const char *profile)
{
	const char *digits = rouse_strip_prefix(link, profile), *end;
	char text[24];
	uint64_t n = 0;

	if (!digits || *digits != '-')
		return 0;
	digits++;
	end = strchr(digits, '-');
	if (!end || strcmp(end, "-link") != 0 || (size_t)(end - digits) >= sizeof(text))
		return 0;
	(void)snprintf(text, sizeof(text), "%.*s", (int)(end - digits), digits);
	return rouse_parse_u64(text, UINT32_MAX, &n) ? n : 0;
}

static int find_highest(int dir, const char *profile, uint64_t *ret, struct rouse_err *e)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list the generations of '%s'",
				 profile);
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	*ret = 0;
	while ((entry = readdir(d))) {
		uint64_t n = rouse_generation_number(entry->d_name, profile);

		if (n > *ret)
			*ret = n;
	}
	(void)closedir(d);
	return 0;
}

int rouse_generation_read_in(const struct rouse_root *root, const char *profile,
			     struct rouse_generation *ret, struct rouse_err *e)
{
	struct rouse_generation g = { 0 };
	const char *name = strrchr(profile, '/') + 1;
	char link[PATH_MAX], target[NAME_MAX + 16];
	auto_free char *parent = rouse_strndup(profile, (size_t)(name - profile));
	auto_fd int dir = -1;

	dir = rouse_fs_open(root, parent, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0 && errno == ENOENT) {
		*ret = g;
		return 0;
	}
	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", parent);
	if (find_highest(dir, name, &g.highest, e) < 0)
		return -1;
	(void)snprintf(target, sizeof(target), "%s-%llu-link", name, (unsigned long long)g.highest);
	if (g.highest)
		read_link(dir, target, g.last, sizeof(g.last));
	read_link(dir, name, link, sizeof(link));
	g.number = rouse_generation_number(strrchr(link, '/') ? strrchr(link, '/') + 1 : link,
					   name);
	if (g.number) {
		(void)snprintf(target, sizeof(target), "%s-%llu-link", name,
			       (unsigned long long)g.number);
		read_link(dir, target, g.path, sizeof(g.path));
	}
	*ret = g;
	return 0;
}

int rouse_generation_read(const char *root_path, const char *profile, struct rouse_generation *ret,
			  struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, root_path, e) < 0)
		return -1;
	return rouse_generation_read_in(&root, profile, ret, e);
}

uint64_t rouse_generation_next(const struct rouse_generation *g, const char *path)
{
	if (rouse_streq(g->path, path))
		return g->number;
	return rouse_streq(g->last, path) ? g->highest : g->highest + 1;
}

int rouse_generation_make_in(const struct rouse_root *root, const char *profile, const char *path,
			     uint64_t *ret_number, struct rouse_err *e)
{
	struct rouse_generation g = { 0 };
	auto_free char *link = NULL;
	uint64_t n;

	if (rouse_generation_read_in(root, profile, &g, e) < 0)
		return -1;
	n = rouse_generation_next(&g, path);
	link = rouse_asprintf("%s-%llu-link", profile, (unsigned long long)n);
	if (!rouse_streq(g.path, path)) {
		if (rouse_fs_mkdirs(root, profile, false, e) < 0)
			return -1;
		if (n > g.highest && rouse_fs_symlink(root, path, link, e) < 0)
			return -1;
		/* The switch: until here, the machine boots what it booted before. */
		if (rouse_fs_symlink(root, strrchr(link, '/') + 1, profile, e) < 0)
			return -1;
	}
	*ret_number = n;
	return 0;
}

/* A profile that lies where no collector looks for roots is told to them as Nix does it: a link to the
 * generation, which keeps nothing any more once that is gone. */
static int keep_elsewhere(const struct rouse_root *root, const char *profile, uint64_t number,
			  struct rouse_err *e)
{
	auto_free char *link = rouse_asprintf("%s-%llu-link", profile, (unsigned long long)number);
	auto_free char *from = NULL;
	uint8_t hash[ROUSE_SHA256_LEN];
	char name[ROUSE_NIX32_LEN(20) + 1];

	if (rouse_strip_prefix(profile, PROFILES) || rouse_strip_prefix(profile, ROOTS))
		return 0;
	rouse_sha256_of(link, strlen(link), hash);
	rouse_nix32(name, hash, 20);
	from = rouse_asprintf(ROOTS "auto/%s", name);
	if (rouse_fs_mkdirs(root, from, false, e) < 0 || rouse_fs_symlink(root, link, from, e) < 0)
		return -1;
	return 0;
}

int rouse_generation_make(const char *root_path, const char *profile, const char *path,
			  uint64_t *ret_number, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, root_path, e) < 0)
		return -1;
	if (rouse_generation_make_in(&root, profile, path, ret_number, e) < 0)
		return -1;
	return keep_elsewhere(&root, profile, *ret_number, e);
}

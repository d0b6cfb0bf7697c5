/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of the journal: "boot ID", then for each complete path "NAME nix32-of-the-NAR-hash SIZE", and
 * "durable" when a sync has covered all above it. After a kill the page cache is as it was, so that in the
 * same boot every line counts; after a power cut, those above the last "durable".
 */
#include "journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "nix32.h"
#include "path.h"
#include "tree.h"

#define JOURNAL ".journal"

static void boot_id(char *buf, size_t size)
{
	if (!rouse_read_line("/proc/sys/kernel/random/boot_id", buf, size))
		(void)snprintf(buf, size, "unknown-%08x", (unsigned)rouse_jitter(UINT32_MAX));
}

static void take_line(struct rouse_paths *kept, char *line)
{
	char *save = NULL, *name = strtok_r(line, " ", &save), *hash = strtok_r(NULL, " ", &save),
	     *size = strtok_r(NULL, " ", &save);
	struct rouse_path p = { 0 };

	if (!size || !rouse_is_store_name(name, strlen(name)) ||
	    !rouse_unnix32(p.nar_hash, sizeof(p.nar_hash), hash, strlen(hash)) ||
	    !rouse_parse_u64(size, ROUSE_MAX_NAR_SIZE, &p.nar_size))
		return;
	rouse_path_copy(kept, rouse_paths_add(kept, name), &p);
}

/* What counts of the text; a last line that was cut does not. */
static void read_journal(struct rouse_paths *kept, char *text)
{
	char now[64], *end = strrchr(text, '\n'), *line, *save = NULL;
	const char *boot;

	if (!end)
		return;
	end[1] = '\0';
	boot_id(now, sizeof(now));
	boot = rouse_strip_prefix(text, "boot ");
	if (!boot || strncmp(boot, now, strlen(now)) != 0 || boot[strlen(now)] != '\n') {
		char *durable = NULL;

		for (char *p = text; (p = strstr(p, "\ndurable\n")); p++)
			durable = p;
		if (!durable)
			return;
		durable[1] = '\0';
	}
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		take_line(kept, line);
}

/* Others may make names in a store; only we make this. */
static bool is_ours(int fd, mode_t type, mode_t mode)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
	       (st.st_mode & 07777) == mode;
}

static bool load(int dir, struct rouse_paths *kept)
{
	auto_fd int fd = openat(dir, JOURNAL, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	if (fd < 0 || !is_ours(dir, S_IFDIR, 0700) || !is_ours(fd, S_IFREG, 0600) ||
	    rouse_fs_read_fd(fd, JOURNAL, ROUSE_MAX_REGISTRATION, &text, &e) < 0 || !text.data)
		return false;
	read_journal(kept, text.data);
	return kept->n > 0;
}

/* Removes what was not complete. */
static bool sweep(int dir, struct rouse_paths *kept)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool good = d != NULL;

	while (good && (entry = readdir(d))) {
		struct rouse_path *p = rouse_paths_find(kept, entry->d_name);

		if (p)
			p->complete = true;
		else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			 strcmp(entry->d_name, JOURNAL) != 0)
			good = rouse_tree_remove(dir, entry->d_name) == 0;
	}
	if (d)
		(void)closedir(d);
	for (size_t i = 0; i < kept->n; i++) /* what has moved into the store is kept no longer */
		kept->items[i]->known = kept->items[i]->complete;
	return good;
}

void rouse_journal_adopt(struct rouse_store *s)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (d && s->staging < 0 && (entry = readdir(d))) {
		size_t n = strlen(entry->d_name);
		auto_fd int dir = -1;

		if (!rouse_strip_prefix(entry->d_name, ROUSE_STAGING_PREFIX) ||
		    n >= sizeof(s->staging_name))
			continue;
		dir = openat(s->dir, entry->d_name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rouse_paths_done(&s->kept);
		if (dir < 0 || !load(dir, &s->kept) || !sweep(dir, &s->kept)) {
			rouse_paths_done(&s->kept);
			continue;
		}
		memcpy(s->staging_name, entry->d_name, n + 1);
		s->staging = take(dir, -1);
	}
	if (d)
		(void)closedir(d);
}

static int journal_error(struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write the journal of '%s'",
			  ROUSE_STORE_DIR);
}

int rouse_store_journal(struct rouse_store *s, int *ret_fd, struct rouse_err *e)
{
	auto_fd int fd = -1;
	auto_buf struct rouse_buf text = { 0 };
	char boot[64];

	boot_id(boot, sizeof(boot));
	rouse_buf_printf(&text, "boot %s\n", boot);
	/* Made anew under another name, so that a cut leaves the old one or this one. */
	(void)unlinkat(s->staging, JOURNAL ".new", 0);
	fd = openat(s->staging, JOURNAL ".new",
		    O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0600) < 0 || rouse_write_all(fd, text.data, text.len) < 0)
		return journal_error(e);
	for (size_t i = 0; i < s->kept.n; i++)
		if (s->kept.items[i]->known && rouse_store_journal_add(fd, s->kept.items[i], e) < 0)
			return -1;
	if (renameat(s->staging, JOURNAL ".new", s->staging, JOURNAL) < 0)
		return journal_error(e);
	*ret_fd = take(fd, -1);
	return 0;
}

int rouse_store_journal_add(int fd, const struct rouse_path *path, struct rouse_err *e)
{
	char hash[ROUSE_NIX32_LEN(ROUSE_SHA256_LEN) + 1], line[512];
	int n;

	rouse_nix32(hash, path->nar_hash, sizeof(path->nar_hash));
	n = snprintf(line, sizeof(line), "%s %s %llu\n", path->name, hash,
		     (unsigned long long)path->nar_size);
	return rouse_write_all(fd, line, (size_t)n) < 0 ? journal_error(e) : 0;
}

int rouse_store_journal_sync(int fd, struct rouse_err *e)
{
	static const char line[] = "durable\n";

	return rouse_write_all(fd, line, sizeof(line) - 1) < 0 || fdatasync(fd) < 0
		       ? journal_error(e)
		       : 0;
}

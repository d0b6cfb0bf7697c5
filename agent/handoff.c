/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/init.h>

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#define PROFILES "/nix/var/nix/profiles"

int rouse_handoff_write(const struct rouse_handoff *h, struct rouse_err *e)
{
	auto_root struct rouse_root here = ROUSE_ROOT_INIT;
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;

	if (rouse_root_open(&here, "/", e) < 0)
		return -1;
	rouse_json_set_string(j, "root", h->root);
	rouse_json_set_string(j, "init", h->init);
	rouse_json_set_bool(j, "kexec", h->kexec);
	text = rouse_json_print(j);
	if (rouse_fs_mkdirs(&here, ROUSE_HANDOFF_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(&here, ROUSE_HANDOFF_FILE, text, strlen(text), 0600, (uid_t)-1,
				(gid_t)-1, e);
}

static int get(const json_t *j, const char *key, char *buf, size_t size, struct rouse_err *e)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s || *s != '/' || strlen(s) >= size)
		return rouse_fail(e, ROUSE_BUG, 0, "'%s' in '%s' is not a path", key,
				  ROUSE_HANDOFF_FILE);
	memcpy(buf, s, strlen(s) + 1);
	return 0;
}

int rouse_handoff_read(struct rouse_handoff *ret, struct rouse_err *e)
{
	struct rouse_handoff h = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;

	if (rouse_read_file(ROUSE_HANDOFF_FILE, ROUSE_MAX_SETTINGS, &text, e) < 0)
		return -1;
	j = rouse_json_parse(ROUSE_HANDOFF_FILE, text.data, text.len, e);
	if (!j || get(j, "root", h.root, sizeof(h.root), e) < 0 ||
	    get(j, "init", h.init, sizeof(h.init), e) < 0)
		return -1;
	h.kexec = json_is_true(json_object_get(j, "kexec"));
	*ret = h;
	return 0;
}

/* The linker's name for our own ELF header: what we run on is what must be able to run. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* The interpreter that an ELF file asks for: 1 and its path, 0 when it wants none, -1 with errno.
 * Everything that the kernel will load must be there: a file that was cut is found here, and not
 * when there is no way back. */
static int elf_interpreter(int fd, const ElfW(Ehdr) * h, char *buf, size_t size)
{
	struct stat st = { 0 };
	bool loads = false;
	int found = 0;

	if (fstat(fd, &st) < 0)
		return -1;
	for (unsigned i = 0; i < h->e_phnum; i++) {
		ElfW(Phdr) p = { 0 };
		ssize_t n = pread(fd, &p, sizeof(p), (off_t)(h->e_phoff + i * sizeof(p)));

		if (n != sizeof(p) ||
		    (p.p_type == PT_LOAD && (p.p_filesz > (uint64_t)st.st_size ||
					     p.p_offset > (uint64_t)st.st_size - p.p_filesz)))
			return errno = ENOEXEC, -1;
		loads |= p.p_type == PT_LOAD;
		if (p.p_type != PT_INTERP)
			continue;
		if (!p.p_filesz || p.p_filesz > size ||
		    pread(fd, buf, p.p_filesz, (off_t)p.p_offset) != (ssize_t)p.p_filesz ||
		    buf[p.p_filesz - 1])
			return errno = ENOEXEC, -1;
		found = 1;
	}
	return loads ? found : (errno = ENOEXEC, -1);
}

/* What a file needs to be started: 1 and the path of its interpreter, 0 for nothing. */
static int interpreter(int fd, const char *path, char buf[static 256], struct rouse_err *e)
{
	union {
		ElfW(Ehdr) elf;
		char text[256];
	} head = { 0 };
	ssize_t n = pread(fd, &head, sizeof(head) - 1, 0);
	char *start, *end;
	int r;

	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path);
	if (n > 2 && memcmp(head.text, "#!", 2) == 0) {
		start = head.text + 2 + strspn(head.text + 2, " \t");
		end = start + strcspn(start, " \t\n");
		if (end == start || !*end)
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "the first line of '%s' names no interpreter", path);
		*end = '\0';
		memcpy(buf, start, (size_t)(end - start) + 1);
		return 1;
	}
	if (n < (ssize_t)sizeof(head.elf) || memcmp(head.elf.e_ident, ELFMAG, SELFMAG) != 0)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' is neither an ELF program nor a script with '#!'", path);
	if (head.elf.e_ident[EI_CLASS] != __ehdr_start.e_ident[EI_CLASS] ||
	    head.elf.e_ident[EI_DATA] != __ehdr_start.e_ident[EI_DATA] ||
	    head.elf.e_machine != __ehdr_start.e_machine)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' is built for another machine (ELF machine %u, this is %u)",
				  path, head.elf.e_machine, __ehdr_start.e_machine);
	if (head.elf.e_type != ET_EXEC && head.elf.e_type != ET_DYN)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is an ELF file, but no program",
				  path);
	r = elf_interpreter(fd, &head.elf, buf, 256);
	if (r < 0)
		return rouse_fail(e, ROUSE_DOCUMENT, errno, "'%s' is damaged or was cut", path);
	return r;
}

int rouse_handoff_prove(const struct rouse_root *r, const char *init, struct rouse_err *e)
{
	char path[512] = "", next[256] = "";

	(void)snprintf(path, sizeof(path), "%s", init);
	/* The kernel follows five interpreters (BINPRM_MAX_RECURSION) and so do we. */
	for (int depth = 0; depth < 6; depth++) {
		auto_fd int fd = rouse_fs_open(r, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		struct stat st = { 0 };
		int more;

		if (fd < 0 || fstat(fd, &st) < 0)
			return rouse_fail(e, ROUSE_DOCUMENT, errno,
					  "cannot start '%s': '%s' inside '%s'", init, path,
					  r->path);
		if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
			return rouse_fail(e, ROUSE_DOCUMENT, EACCES,
					  "cannot start '%s': '%s' is not an executable file", init,
					  path);
		more = interpreter(fd, path, next, e);
		if (more < 0)
			return rouse_wrap(e, "cannot start '%s'", init);
		if (!more)
			return 0;
		(void)snprintf(path, sizeof(path), "%s", next);
	}
	return rouse_fail(e, ROUSE_DOCUMENT, ELOOP, "cannot start '%s': too many interpreters",
			  init);
}

/* The init of a NixOS is a script that activates the system, or, with systemd in its initrd, a copy of systemd,
 * which does not; "prepare-root" does, and goes on to start it. With system.nixos-init there is none, either. */
static int check_activates(const struct rouse_root *r, const char *system, int init,
			   struct rouse_err *e)
{
	auto_free char *version = rouse_asprintf("%s/nixos-version", system);
	auto_fd int nixos = rouse_fs_open(r, version, O_PATH, 0);
	char head[2] = "";

	if (nixos < 0 || (pread(init, head, sizeof(head), 0) == sizeof(head) &&
			  memcmp(head, "#!", sizeof(head)) == 0))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, ENOTSUP,
			  "the system '%s' is activated by its own initrd and nothing else: build "
			  "it without system.nixos-init, or say \"mode\": \"kexec\" in handoff",
			  system);
}

int rouse_handoff_init(const struct rouse_root *r, const char *system, char *buf, size_t size,
		       struct rouse_err *e)
{
	static const char *const names[] = { "prepare-root", "init" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_fd int fd = -1;

		if ((size_t)snprintf(buf, size, "%s/%s", system, names[i]) >= size)
			return rouse_fail(e, ROUSE_DOCUMENT, ENAMETOOLONG, "'%s'", system);
		fd = rouse_fs_open(r, buf, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (rouse_handoff_prove(r, buf, e) < 0)
			return -1;
		return i == 0 ? 0 : check_activates(r, system, fd, e);
	}
	return rouse_fail(e, ROUSE_DOCUMENT, ENOENT,
			  "the system '%s' has neither 'prepare-root' nor 'init'", system);
}

static const struct rouse_system *choose(const struct rouse_systems *s, const char *avoid)
{
	const struct rouse_system *chosen = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].current && rouse_streq(s->items[i].path, s->rolled_to))
			chosen = &s->items[i];
	if (chosen && !rouse_streq(chosen->path, avoid))
		return chosen;
	return rouse_systems_healthy(s, avoid);
}

static bool starts(const struct rouse_root *r, const char *system, const char *avoid, char *buf,
		   size_t size, struct rouse_err *e)
{
	return system && !rouse_streq(system, avoid) &&
	       rouse_handoff_init(r, system, buf, size, e) == 0;
}

int rouse_handoff_fallback(const struct rouse_root *r, const char *avoid, const char *baked,
			   bool proven_only, char *buf, size_t size, struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };
	const struct rouse_system *chosen;

	if (rouse_systems_read(r->path, &s, e) < 0)
		return -1;
	(void)rouse_fail(e, ROUSE_SYSTEM, 0, "no system on this machine was ever healthy");
	chosen = choose(&s, avoid);
	if (starts(r, chosen ? chosen->path : NULL, avoid, buf, size, e) ||
	    starts(r, baked, avoid, buf, size, e))
		return 0;
	if (proven_only)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (!s.items[i].current || rouse_streq(s.items[i].path, avoid))
			continue;
		if (rouse_handoff_init(r, s.items[i].path, buf, size, e) == 0)
			return 0;
		rouse_log(ROUSE_LOG_WARNING, "handoff", "%s; taking the previous generation",
			  e->text);
	}
	return rouse_handoff_previous(r, avoid ? avoid : "", buf, size) ? 0 : -1;
}

/* N of "system-N-link"; 0 when the name is not of this form. */
static uint64_t generation_of(const char *name)
{
	const char *rest = rouse_strip_prefix(name, "system-");
	char digits[24] = "";
	size_t len = rest ? strcspn(rest, "-") : 0;
	uint64_t n = 0;

	if (!len || len >= sizeof(digits) || !rouse_streq(rest + len, "-link"))
		return 0;
	memcpy(digits, rest, len);
	return rouse_parse_u64(digits, UINT64_MAX, &n) ? n : 0;
}

bool rouse_handoff_previous(const struct rouse_root *r, const char *system, char *buf, size_t size)
{
	int fd = rouse_fs_open(r, PROFILES, O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t below = UINT64_MAX, best;
	bool found = false;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	/* Few generations exist: looking for the next lower one each time needs no list. */
	do {
		char target[512] = "", name[64];
		struct dirent *d;
		struct rouse_err e;

		best = 0;
		for (rewinddir(dir); (d = readdir(dir));) {
			uint64_t n = generation_of(d->d_name);

			if (n > best && n < below)
				best = n;
		}
		below = best;
		(void)snprintf(name, sizeof(name), "system-%llu-link", (unsigned long long)best);
		found = best && readlinkat(dirfd(dir), name, target, sizeof(target) - 1) > 0 &&
			*target == '/' && !rouse_streq(target, system) &&
			rouse_handoff_init(r, target, buf, size, &e) == 0;
	} while (best && !found);
	(void)closedir(dir); /* nothing was written */
	return found;
}

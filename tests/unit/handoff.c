/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#include <elf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <rouse/init.h>

#include "../../modules/handoff/ways.h"

#define STORE "/nix/store/"
#define A STORE "0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-a"
#define B STORE "1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-b"
#define SHELL "#!/bin/sh\n"
#define LONG 60000 /* no test waits for it */

struct t_prove {
	struct t_root dir;
	struct rouse_root root;
};

static struct t_prove begin(void)
{
	struct t_prove p = { .dir = t_root_new(), .root = ROUSE_ROOT_INIT };
	struct rouse_err e;

	if (rouse_root_open(&p.root, p.dir.path, &e) < 0)
		abort();
	t_root_write(&p.dir, "/bin/sh", "", 0755);
	return p;
}

static void end(struct t_prove *p)
{
	rouse_root_done(&p->root);
	t_root_done(&p->dir);
}
#define auto_prove __attribute__((cleanup(end)))

static void t_link(const struct t_prove *p, const char *target, const char *path)
{
	struct rouse_err e;

	if (rouse_fs_mkdirs(&p->root, path, false, &e) < 0 ||
	    rouse_fs_symlink(&p->root, target, path, &e) < 0)
		abort();
}

/* A program that needs nothing, for `machine` (0: ours), of one segment that is `lack` bytes longer
 * than the file. */
static void t_elf_of(const struct t_prove *p, const char *path, unsigned machine, unsigned lack)
{
	auto_buf struct rouse_buf self = { 0 };
	auto_free char *full = rouse_asprintf("%s%s", p->dir.path, path);
	Elf64_Phdr load = { .p_type = PT_LOAD };
	struct rouse_err e;
	Elf64_Ehdr h;
	int fd;

	t_root_write(&p->dir, path, "", 0755);
	if (rouse_read_file("/proc/self/exe", 64 << 20, &self, &e) < 0)
		abort();
	memcpy(&h, self.data, sizeof(h));
	h.e_phoff = sizeof(h);
	h.e_phnum = 1;
	if (machine)
		h.e_machine = (Elf64_Half)machine;
	load.p_filesz = sizeof(h) + sizeof(load) + lack;
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || rouse_write_all(fd, &h, sizeof(h)) < 0 ||
	    rouse_write_all(fd, &load, sizeof(load)) < 0)
		abort();
	(void)close(fd);
}

static void t_elf(const struct t_prove *p, const char *path)
{
	t_elf_of(p, path, 0, 0);
}

static bool proved(const struct t_prove *p, const char *path, struct rouse_err *e)
{
	e->text[0] = '\0';
	return rouse_handoff_prove(&p->root, path, e) == 0;
}

/* A static busybox as the root's /bin/sh; false where this machine has none. */
static bool t_busybox(const struct t_prove *p)
{
	auto_free char *to = rouse_asprintf("%s/bin/sh", p->dir.path);
	auto_buf struct rouse_buf program = { 0 };
	struct rouse_err e;
	int fd;

	if (rouse_read_file("/bin/busybox", 16 << 20, &program, &e) < 0)
		return false;
	fd = open(to, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0 || rouse_write_all(fd, program.data, program.len) < 0)
		abort();
	(void)close(fd);
	return true;
}

static void init_behind_absolute_symlinks_is_found_inside_the_root(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, A "/real-init", SHELL, 0755);
	t_link(&p, A "/real-init", A "/init");
	t_link(&p, A "/init", "/sbin/init");
	T_CHECK(t, proved(&p, "/sbin/init", &e));
}

static void init_that_is_missing_or_dangling_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_link(&p, STORE "gone/init", "/sbin/init");
	T_CHECK(t, !proved(&p, "/sbin/init", &e) && e.sys == ENOENT && e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "'/sbin/init'");
	T_CHECK(t, !proved(&p, "/init", &e) && e.sys == ENOENT);
	/* The host has this one; the root has not. */
	t_link(&p, "/proc/self/exe", "/outside");
	T_CHECK(t, !proved(&p, "/outside", &e));
}

static void init_that_is_no_executable_file_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, "/init", SHELL, 0644);
	T_CHECK(t, !proved(&p, "/init", &e) && e.sys == EACCES);
	T_CHECK(t, !proved(&p, "/bin", &e));
	T_HAS(t, e.text, "not an executable file");
	t_root_write(&p.dir, "/text", "hello\n", 0755);
	T_CHECK(t, !proved(&p, "/text", &e));
	T_HAS(t, e.text, "neither an ELF program nor a script");
	t_root_write(&p.dir, "/empty", "", 0755);
	T_CHECK(t, !proved(&p, "/empty", &e));
}

static void init_for_another_machine_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_elf(&p, "/init");
	T_CHECK(t, proved(&p, "/init", &e));
	t_elf_of(&p, "/init", EM_S390, 0);
	T_CHECK(t, !proved(&p, "/init", &e));
	T_HAS(t, e.text, "built for another machine");
}

static void init_that_was_cut_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_elf_of(&p, "/init", 0, 1);
	T_CHECK(t, !proved(&p, "/init", &e) && e.sys == ENOEXEC);
	T_HAS(t, e.text, "'/init' is damaged or was cut");
}

static void script_without_its_interpreter_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	t_root_write(&p.dir, "/init", "#! " B "/bin/bash -e\n", 0755);
	T_CHECK(t, !proved(&p, "/init", &e) && e.sys == ENOENT);
	T_HAS(t, e.text, B "/bin/bash");
	t_elf(&p, B "/bin/bash");
	T_CHECK(t, proved(&p, "/init", &e));
	t_root_write(&p.dir, "/loop", "#!/loop\n", 0755);
	T_CHECK(t, !proved(&p, "/loop", &e) && e.sys == ELOOP);
}

static void dynamic_program_needs_its_loader_inside_the_root(struct t *t)
{
	auto_prove struct t_prove p = begin();
	auto_free char *full = rouse_asprintf("%s/init", p.dir.path);
	auto_buf struct rouse_buf self = { 0 };
	struct rouse_err e;
	int fd;

	t_root_write(&p.dir, "/init", "", 0755);
	T_CHECK(t, rouse_read_file("/proc/self/exe", 64 << 20, &self, &e) == 0);
	fd = open(full, O_WRONLY | O_CLOEXEC);
	T_CHECK(t, fd >= 0 && rouse_write_all(fd, self.data, self.len) == 0 && close(fd) == 0);
	T_CHECK(t, !proved(&p, "/init", &e) && e.sys == ENOENT);
	T_HAS(t, e.text, "ld-");
}

static void prepare_root_is_preferred_to_init(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;
	char path[512];

	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, A "/init", SHELL, 0755);
	T_CHECK(t, rouse_handoff_init(&p.root, A, path, sizeof(path), &e) == 0);
	T_STR(t, path, A "/init");
	t_root_write(&p.dir, A "/prepare-root", SHELL, 0755);
	T_CHECK(t, rouse_handoff_init(&p.root, A, path, sizeof(path), &e) == 0);
	T_STR(t, path, A "/prepare-root");
	T_CHECK(t, rouse_handoff_init(&p.root, B, path, sizeof(path), &e) < 0 && e.sys == ENOENT);
}

static void system_that_only_its_own_initrd_activates_is_refused(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;
	char path[512];

	t_elf(&p, "/bin/sh");
	t_elf(&p, A "/init"); /* as every init of a system that is no NixOS */
	T_CHECK(t, rouse_handoff_init(&p.root, A, path, sizeof(path), &e) == 0);
	t_root_write(&p.dir, A "/nixos-version", "25.11", 0444);
	T_CHECK(t, rouse_handoff_init(&p.root, A, path, sizeof(path), &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT && e.sys == ENOTSUP);
	T_HAS(t, e.text, "system.nixos-init");
	T_STR(t, path, A "/init"); /* what its own kernel is told */
	t_root_write(&p.dir, A "/prepare-root", SHELL, 0755);
	T_CHECK(t, rouse_handoff_init(&p.root, A, path, sizeof(path), &e) == 0);
	t_root_write(&p.dir, B "/init", SHELL, 0755);
	t_root_write(&p.dir, B "/nixos-version", "24.05", 0444);
	T_CHECK(t, rouse_handoff_init(&p.root, B, path, sizeof(path), &e) == 0);
}

static void previous_generation_is_the_newest_other_that_starts(struct t *t)
{
	auto_prove struct t_prove p = begin();
	char path[512] = "";

	T_CHECK(t, !rouse_handoff_previous(&p.root, A, path, sizeof(path)));
	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, A "/init", SHELL, 0755);
	t_root_write(&p.dir, B "/init", SHELL, 0755);
	t_link(&p, B, "/nix/var/nix/profiles/system-2-link");
	t_link(&p, STORE "gone", "/nix/var/nix/profiles/system-9-link");
	t_link(&p, A, "/nix/var/nix/profiles/system-10-link");
	t_link(&p, A, "/nix/var/nix/profiles/system-11-link");
	t_link(&p, A, "/nix/var/nix/profiles/system-x-link");
	T_CHECK(t, rouse_handoff_previous(&p.root, A, path, sizeof(path)));
	T_STR(t, path, B "/init");
	T_CHECK(t, rouse_handoff_previous(&p.root, B, path, sizeof(path)));
	T_STR(t, path, A "/init");
}

/* What is planned in a given place for a given section. */
static int plan_in(const char *section, const char *facts, char **ret, struct rouse_err *e)
{
	auto_free char *text = rouse_asprintf("{\"rouse\":1%s}", section);
	auto_document struct rouse_document d = { 0 };
	auto_buf struct rouse_buf out = { 0 };
	auto_run struct rouse_run run = { .document = &d, .only = "handoff", .context.root = "/" };

	run.facts = json_loads(facts, 0, NULL);
	if (rouse_document_add(&d, "t", text, strlen(text), false, e) < 0 ||
	    rouse_document_finish(&d, NULL, e) < 0 || rouse_run_plan(&run, e) < 0)
		return -1;
	rouse_plan_print(&run.plan, &out, false);
	*ret = rouse_strdup(out.data);
	return 0;
}

#define FACTS(initramfs, notify) "{\"handoff\":{\"initramfs\":" initramfs ",\"notify\":" notify "}}"

static void mode_follows_the_place(struct t *t)
{
	auto_free char *inside = NULL, *outside = NULL, *service = NULL;
	struct rouse_err e;

	T_CHECK(t, plan_in("", FACTS("true", "false"), &inside, &e) == 0);
	T_HAS(t, inside, "> handoff");
	T_HAS(t, inside, "switch root to the system's init");
	T_CHECK(t, plan_in("", FACTS("false", "true"), &service, &e) == 0);
	T_HAS(t, service, "let the boot go on");
	T_CHECK(t, plan_in("", FACTS("false", "false"), &outside, &e) == 0);
	T_CHECK(t, !strstr(outside, "handoff"));
}

static void mode_of_another_place_is_refused(struct t *t)
{
	auto_free char *text = NULL;
	struct rouse_err e;

	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"switch-root\"}", FACTS("false", "false"),
			   &text, &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "refused in a running system");
	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"continue\"}", FACTS("true", "false"), &text,
			   &e) < 0);
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"soft-reboot\"}", FACTS("true", "false"), &text,
			   &e) < 0);
	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"hibernate\"}", FACTS("true", "false"), &text,
			   &e) < 0);
}

static void kexec_is_planned_in_both_places(struct t *t)
{
	auto_free char *inside = NULL, *outside = NULL;
	struct rouse_err e;

	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"kexec\"}", FACTS("true", "false"), &inside,
			   &e) == 0);
	T_HAS(t, inside, "start the system's kernel");
	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"kexec\"}", FACTS("false", "true"), &outside,
			   &e) == 0);
	T_HAS(t, outside, "unless it is the one that runs");
	T_HAS(t, outside, "let the boot go on");
}

#define SYSTEMD(version)                                                                           \
	"{\"handoff\":{\"initramfs\":false,\"notify\":false,\"systemd\":" version "}}"

static void soft_reboot_needs_a_systemd_that_has_it(struct t *t)
{
	auto_free char *text = NULL;
	struct rouse_err e;

	T_CHECK(t,
		plan_in(",\"handoff\":{\"mode\":\"soft-reboot\"}", SYSTEMD("252"), &text, &e) < 0);
	T_HAS(t, e.text, "needs systemd 254, and this machine has 252");
	T_CHECK(t, plan_in(",\"handoff\":{\"mode\":\"soft-reboot\"}", SYSTEMD("0"), &text, &e) < 0);
	T_CHECK(t,
		plan_in(",\"handoff\":{\"mode\":\"soft-reboot\"}", SYSTEMD("254"), &text, &e) == 0);
	T_HAS(t, text, "start userspace anew");
}

static void systemd_tells_its_version(struct t *t)
{
	T_CHECK(t, ways_systemd_version("systemd 252 (252.38-1~deb12u1)\n+PAM\n") == 252);
	T_CHECK(t, ways_systemd_version("systemd 257.4\n") == 257);
	T_CHECK(t, ways_systemd_version("systemctl: command not found") == 0);
	T_CHECK(t, ways_systemd_version("systemd 99999999999 (x)") == 0);
	T_CHECK(t, ways_systemd_version("") == 0);
}

/* What switch-to-configuration may say; in a child, because it becomes root of the tree. */
static int activate_with(const struct t_prove *p, const char *script, uint64_t time,
			 enum ways_activation *ret, struct rouse_err *e)
{
	t_root_write(&p->dir, A "/bin/switch-to-configuration", script, 0755);
	return ways_activate(p->dir.path, A, rouse_clock_ms() + time, ret, e);
}

static void activation_is_done_partly_or_not(struct t *t)
{
	auto_prove struct t_prove p = begin();
	enum ways_activation done;
	struct rouse_err e;

	T_CHECK(t, ways_activate(p.dir.path, A, rouse_clock_ms() + LONG, &done, &e) == 0);
	T_CHECK(t, done == WAYS_NONE);
	if (geteuid() != 0 || !t_busybox(&p)) /* needs chroot(2) and a shell that needs nothing */
		return;
	T_CHECK(t, activate_with(&p, SHELL "[ \"$1\" = switch ]\n", LONG, &done, &e) == 0);
	T_CHECK(t, done == WAYS_ACTIVE);
	T_CHECK(t, activate_with(&p, SHELL "exit 4\n", LONG, &done, &e) == 0);
	T_CHECK(t, done == WAYS_UNITS_FAILED);
	T_CHECK(t, activate_with(&p, SHELL "echo 'no space'\nexit 1\n", LONG, &done, &e) < 0);
	T_HAS(t, e.text, "ended with status 1: no space");
	T_CHECK(t, activate_with(&p, SHELL "while :; do :; done\n", 3000, &done, &e) < 0);
	T_HAS(t, e.text, "the system was not activated");
}

static void system_is_prepared_for_another_userspace(struct t *t)
{
	auto_prove struct t_prove p = begin();
	auto_free char *system = rouse_asprintf("%s" A, p.dir.path);
	struct rouse_err e;

	T_CHECK(t,
		ways_prepare(system, rouse_clock_ms() + LONG, &e) == 0); /* it has nothing to do */
	t_root_write(&p.dir, A "/activate", "#!/bin/sh\necho done > \"${0%/*}/well\"\n", 0755);
	T_CHECK(t, ways_prepare(system, rouse_clock_ms() + LONG, &e) == 0);
	T_CHECK(t, faccessat(p.root.fd, &A "/well"[1], F_OK, 0) == 0);
	t_root_write(&p.dir, A "/activate", "#!/bin/sh\necho 'no space'\nexit 1\n", 0755);
	T_CHECK(t, ways_prepare(system, rouse_clock_ms() + LONG, &e) < 0);
	T_HAS(t, e.text, "the system was not activated");
	T_HAS(t, e.text, "no space");
}

static void kernel_is_looked_for_inside_the_root(struct t *t)
{
	auto_prove struct t_prove p = begin();
	struct rouse_err e;

	T_CHECK(t, ways_modules_match(&p.root, A, "6.1.0")); /* it brings none */
	t_root_write(&p.dir, A "/kernel-modules/lib/modules/6.6.0/modules.dep", "", 0644);
	T_CHECK(t, ways_modules_match(&p.root, A, "6.6.0"));
	T_CHECK(t, !ways_modules_match(&p.root, A, "6.1.0"));
	T_CHECK(t, !ways_has_kernel(&p.root, A));
	T_CHECK(t, ways_load_kernel(&p.root, A, &e) < 0 && e.kind == ROUSE_DOCUMENT);
	t_root_write(&p.dir, B "/bzImage", "no kernel", 0644);
	t_link(&p, B "/bzImage", A "/kernel");
	t_root_write(&p.dir, A "/initrd", "", 0644);
	T_CHECK(t, ways_has_kernel(&p.root, A));
	t_root_write(&p.dir, A "/kernel-params", "", 0644);
	T_CHECK(t, ways_load_kernel(&p.root, A, &e) < 0);
	T_HAS(t, e.text, A);
}

static void fallback_is_what_was_healthy_last(struct t *t)
{
	auto_prove struct t_prove p = begin();
	char path[512] = "";
	struct rouse_err e;

	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, A "/init", SHELL, 0755);
	t_root_write(&p.dir, B "/init", SHELL, 0755);
	t_link(&p, A, "/nix/var/nix/profiles/system-1-link");
	t_link(&p, B, "/nix/var/nix/profiles/system-2-link");
	t_link(&p, "system-2-link", "/nix/var/nix/profiles/system");
	/* Nothing was ever healthy: what is current, or was before */
	T_CHECK(t, rouse_handoff_fallback(&p.root, NULL, NULL, false, path, sizeof(path), &e) == 0);
	T_STR(t, path, B "/init");
	T_CHECK(t, rouse_handoff_fallback(&p.root, B, NULL, false, path, sizeof(path), &e) == 0);
	T_STR(t, path, A "/init");
	T_CHECK(t, rouse_handoff_fallback(&p.root, B, NULL, true, path, sizeof(path), &e) < 0);
	T_HAS(t, e.text, "ever healthy");
	/* The baked one counts as proven */
	T_CHECK(t, rouse_handoff_fallback(&p.root, B, A, true, path, sizeof(path), &e) == 0);
	T_STR(t, path, A "/init");
	T_CHECK(t, rouse_handoff_fallback(&p.root, A, A, true, path, sizeof(path), &e) < 0);
}

static void ready_is_told_to_the_service_manager(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *path = rouse_asprintf("%s/notify", r.path);
	auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = {
		.document = &d,
		.only = "handoff",
		.context = { .root = "/", .deadline = rouse_clock_ms() + LONG },
	};
	struct rouse_err e;
	char text[128] = "";

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	T_CHECK(t, bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
			   setenv("NOTIFY_SOCKET", path, 1) == 0);
	T_CHECK(t, rouse_document_add(&d, "t", "{\"rouse\":1}", 11, false, &e) == 0);
	T_CHECK(t, rouse_document_finish(&d, NULL, &e) == 0 && rouse_run_observe(&run, &e) == 0 &&
			   rouse_run_plan(&run, &e) == 0 && rouse_run_apply(&run, &e) == 0);
	(void)unsetenv("NOTIFY_SOCKET");
	T_CHECK(t, recv(fd, text, sizeof(text) - 1, 0) > 0);
	T_HAS(t, text, "READY=1\n");
}

/* In a child, because it takes a /run of its own. The root holds nothing but /run and what the
 * closure has; the copied agent must start there. */
static bool travels(void)
{
	auto_prove struct t_prove p = begin();
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = {
		.document = &d,
		.only = "handoff",
		.context = { .root = p.dir.path,
			     .initramfs = true,
			     .deadline = rouse_clock_ms() + LONG },
	};
	auto_free char *run_dir = rouse_asprintf("%s/run", p.dir.path);
	struct rouse_handoff h = { 0 };
	struct rouse_err e = { 0 };
	int status = 0;
	pid_t pid;

	t_elf(&p, "/bin/sh");
	t_root_write(&p.dir, A "/init", SHELL, 0755);
	t_link(&p, A, "/nix/var/nix/profiles/system-1-link");
	t_link(&p, "system-1-link", "/nix/var/nix/profiles/system");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, NULL) < 0)
		return false;
	if (rouse_document_add(&d, "t", "{\"rouse\":1}", 11, false, &e) < 0 ||
	    rouse_document_finish(&d, NULL, &e) < 0 || rouse_run_observe(&run, &e) < 0 ||
	    rouse_run_plan(&run, &e) < 0 || rouse_run_apply(&run, &e) < 0 ||
	    rouse_handoff_read(&h, &e) < 0) {
		printf("# %s\n", e.text);
		return false;
	}
	if (strcmp(h.init, A "/init") != 0 || strcmp(h.root, p.dir.path) != 0 ||
	    access("/run/systemd/system/multi-user.target.wants/rouse-health.service", R_OK) < 0 ||
	    mkdir(run_dir, 0755) < 0 || mount("/run", run_dir, NULL, MS_BIND, NULL) < 0)
		return false;
	pid = fork();
	if (pid == 0) {
		if (chroot(p.dir.path) < 0 || chdir("/") < 0)
			_exit(1);
		(void)execl("/run/rouse/agent/ld.so", "ld.so", "--library-path", "/run/rouse/agent",
			    "/run/rouse/agent/rouse", "health", NULL);
		_exit(1);
	}
	(void)waitpid(pid, &status, 0);
	(void)umount2(run_dir, MNT_DETACH);
	return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

static void agent_starts_in_a_root_that_has_nothing_of_it(struct t *t)
{
	int status = 0;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return;
	}
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		bool well = travels();

		(void)fflush(stdout);
		_exit(well ? 0 : 1);
	}
	(void)waitpid(pid, &status, 0);
	T_CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
	static const struct t_test tests[] = {
		T(init_behind_absolute_symlinks_is_found_inside_the_root),
		T(init_that_is_missing_or_dangling_is_refused),
		T(init_that_is_no_executable_file_is_refused),
		T(init_for_another_machine_is_refused),
		T(init_that_was_cut_is_refused),
		T(script_without_its_interpreter_is_refused),
		T(dynamic_program_needs_its_loader_inside_the_root),
		T(prepare_root_is_preferred_to_init),
		T(system_that_only_its_own_initrd_activates_is_refused),
		T(previous_generation_is_the_newest_other_that_starts),
		T(mode_follows_the_place),
		T(mode_of_another_place_is_refused),
		T(kexec_is_planned_in_both_places),
		T(soft_reboot_needs_a_systemd_that_has_it),
		T(system_is_prepared_for_another_userspace),
		T(systemd_tells_its_version),
		T(activation_is_done_partly_or_not),
		T(kernel_is_looked_for_inside_the_root),
		T(fallback_is_what_was_healthy_last),
		T(ready_is_told_to_the_service_manager),
		T(agent_starts_in_a_root_that_has_nothing_of_it),
	};

	/* The traveling agent is a copy of this program; a sanitizer would want /proc at exit(3). */
	if (argc == 2 && strcmp(argv[1], "health") == 0)
		_exit(42);
	return t_run(tests, ARRAY_SIZE(tests));
}

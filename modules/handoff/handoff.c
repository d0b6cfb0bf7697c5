/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `handoff`: who goes on when everything is applied. In an initramfs the agent is process 1 and
 * leaves for the system's init (agent/init.c does, when the worker has said where to). In an image
 * the boot goes on by itself and only has to be told that it may.
 */
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/module.h>
#include <rouse/text.h>

#include "travel.h"
#include "ways.h"

#define SYSTEM_PROFILE "/nix/var/nix/profiles/system"
#define CURRENT_SYSTEM "/run/current-system"
#define SOFT_REBOOT_FILE "/run/rouse/" ROUSE_SOFT_REBOOT_NAME
#define STARTED_FILE "/run/rouse/started"
#define ACTIVATION_FILE "/run/rouse/" ROUSE_ACTIVATION_NAME
#define PLAIN_INIT "/sbin/init" /* of a root without a system profile */

struct handoff {
	const char *mode;
};

struct conf {
	const struct handoff *handoff;
};

struct facts {
	bool initramfs;
	bool notify;
	bool nixos;      /* a NixOS runs, whose configuration can be switched */
	int64_t systemd; /* version of the systemd that runs; 0: none */
};

enum { OP_SWITCH, OP_CONTINUE, OP_ACTIVATE, OP_KEXEC, OP_SOFT_REBOOT };

static const char *const modes[] = { "switch-root", "continue", "kexec", "soft-reboot", NULL };

static const struct rouse_field handoff_fields[] = {
	ROUSE_FIELD(
		struct handoff, mode, "mode",
		"\"switch-root\": leave the initramfs for the system's init, the default there, "
		"unless the kernel is another one than the system has modules for; \"kexec\": "
		"start "
		"the system's own kernel and initrd, and where the kernel forbids that, as "
		"switch-root (from an initramfs) or not at all; \"soft-reboot\": activate the "
		"system and start userspace anew, with systemd 254 or newer; \"continue\": let the "
		"running boot go on, and "
		"switch a NixOS to its configuration, the default everywhere else.",
		.type = ROUSE_STRING, .words = modes),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, handoff, "handoff", "How control is given to the system's init.",
		    ROUSE_OBJECT_OF(struct handoff, handoff_fields)),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, initramfs, "initramfs", "The agent runs in an initramfs.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, notify, "notify", "A service manager waits for the agent's word.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, nixos, "nixos", "A NixOS runs here.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, systemd, "systemd", "Version of the systemd that runs here.",
		    .type = ROUSE_INT, .min = 0, .max = 100000),
};

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   unused_arg struct rouse_err *e)
{
	const struct conf *want = conf;
	const char *mode = want->handoff ? want->handoff->mode : NULL;
	bool here = rouse_streq(c->root, "/") && !c->initramfs;

	rouse_json_set_bool(facts, "initramfs", c->initramfs);
	rouse_json_set_bool(facts, "notify", getenv("NOTIFY_SOCKET") != NULL);
	rouse_json_set_bool(facts, "nixos", here && access(CURRENT_SYSTEM, F_OK) == 0);
	/* Asked only where it matters: it starts a program. */
	rouse_json_set_int(
		facts, "systemd",
		here && rouse_streq(mode, "soft-reboot") ? (uint64_t)ways_running_systemd() : 0);
	return 0;
}

static int plan_initramfs(const char *mode, struct rouse_plan *p, struct rouse_err *e)
{
	if (rouse_streq(mode, "continue") || rouse_streq(mode, "soft-reboot"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "handoff.mode \"%s\" leads nowhere in an initramfs: "
				  "remove it, or say \"switch-root\" or \"kexec\"",
				  mode);
	if (rouse_streq(mode, "kexec"))
		rouse_plan_add(p, ROUSE_USE, OP_KEXEC, NULL, "start the system's kernel");
	else
		rouse_plan_add(p, ROUSE_USE, OP_SWITCH, mode, "switch root to the system's init");
	return 0;
}

static int plan_running(const char *mode, const struct facts *is, struct rouse_plan *p,
			struct rouse_err *e)
{
	if (rouse_streq(mode, "switch-root"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "handoff.mode \"switch-root\" is refused in a running system: "
				  "remove it, or boot the agent as /init of an initramfs");
	if (rouse_streq(mode, "soft-reboot") && is->systemd < ROUSE_SOFT_REBOOT_SYSTEMD)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "handoff.mode \"soft-reboot\" needs systemd %d, and this machine "
				  "%s%lld: say \"continue\" or \"kexec\"",
				  ROUSE_SOFT_REBOOT_SYSTEMD,
				  is->systemd ? "has " : "runs none: ", (long long)is->systemd);
	if (rouse_streq(mode, "kexec"))
		rouse_plan_add(p, ROUSE_USE, OP_KEXEC, NULL,
			       "start the system's kernel, unless it is the one that runs");
	else if (rouse_streq(mode, "soft-reboot"))
		rouse_plan_add(p, ROUSE_USE, OP_SOFT_REBOOT, NULL,
			       "start userspace anew, unless it is the system's");
	else if (is->nixos)
		rouse_plan_add(
			p, ROUSE_USE, OP_ACTIVATE, NULL,
			"switch to the system's configuration, unless it is the one that runs");
	if (is->notify)
		rouse_plan_add(p, ROUSE_USE, OP_CONTINUE, NULL, "let the boot go on");
	return 0;
}

static int plan(const void *conf, const void *facts, const struct rouse_context *c,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct conf *want = conf;
	const struct facts *is = facts;
	const char *mode = want->handoff ? want->handoff->mode : NULL;

	if (c->image) /* nothing runs there that could go on */
		return 0;
	return is->initramfs ? plan_initramfs(mode, p, e) : plan_running(mode, is, p, e);
}

/* Follows the profile inside the root: to a generation, and from there to the store. */
static int read_profile(const struct rouse_root *root, char *buf, size_t size, struct rouse_err *e)
{
	auto_fd int fd = rouse_fs_open(root, SYSTEM_PROFILE, O_PATH | O_DIRECTORY, 0);
	char link[64], path[512] = "";
	const char *rest;

	if (fd < 0)
		return rouse_fail(e, ROUSE_DOCUMENT, errno, "cannot follow '%s' inside '%s'",
				  SYSTEM_PROFILE, root->path);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", link);
	rest = rouse_streq(root->path, "/") ? path : rouse_strip_prefix(path, root->path);
	if (!rest || !rouse_is_store_path(rest))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' leads to '%s', which is not a store path", SYSTEM_PROFILE,
				  rest ? rest : path);
	(void)snprintf(buf, size, "%s", rest);
	return 0;
}

static int find_init(const struct rouse_root *root, const struct rouse_context *c, char *buf,
		     size_t size, struct rouse_err *e)
{
	char system[512] = "";
	struct rouse_err why = { 0 };

	if (c->fallback &&
	    rouse_handoff_fallback(root, c->avoid, c->baked, c->proven_only, buf, size, &why) == 0)
		return 0;
	if (c->fallback && c->proven_only) {
		*e = why;
		return -1;
	}
	if (read_profile(root, system, sizeof(system), e) == 0)
		return rouse_handoff_init(root, system, buf, size, e);
	if (e->sys != ENOENT)
		return -1;
	(void)snprintf(buf, size, "%s", PLAIN_INIT);
	return rouse_handoff_prove(root, buf, e);
}

/* Would the running kernel find its modules in the system? One that is baked for another kernel boots
 * with what is built in, at best. */
static bool wants_its_kernel(const struct rouse_root *root, const char *system)
{
	struct utsname u = { 0 };

	(void)uname(&u); /* cannot fail with this argument */
	return !ways_modules_match(root, system, u.release) && ways_has_kernel(root, system);
}

/* "/nix/store/x-system" of "/nix/store/x-system/init"; false where init is no system's. */
static bool system_of(const char *init, char buf[static 512])
{
	(void)snprintf(buf, 512, "%s", init);
	if (strrchr(buf, '/'))
		*strrchr(buf, '/') = '\0';
	return rouse_is_store_path(buf);
}

/* Loads the kernel of the system that `h` starts; else says why it is not, and the running one stays. */
static bool load_kernel(const struct rouse_root *root, const struct rouse_handoff *h)
{
	char system[512];
	struct rouse_err e;

	if (!system_of(h->init, system))
		(void)rouse_fail(&e, ROUSE_DOCUMENT, 0, "'%s' belongs to no system with a kernel",
				 h->init);
	else if (ways_load_kernel(root, system, &e) == 0)
		return true;
	rouse_log(ROUSE_LOG_WARNING, "handoff", "%s; switching root instead", e.text);
	return false;
}

/* The kernel of a system was started with its init as parameter; see ways_load_kernel(). */
static bool kernel_runs(const char *system)
{
	auto_free char *init = rouse_asprintf("init=%s/init", system);
	char line[ROUSE_MAX_CMDLINE] = "";

	return rouse_read_line("/proc/cmdline", line, sizeof(line)) && strstr(line, init);
}

/* Whether to start the kernel of the system: when the document says so (`mode`, may be NULL), or it would not
 * find its modules otherwise. An initrd of it that holds the agent, too, must not start it for ever. */
static bool wants_kexec(const struct rouse_root *root, const char *mode, const char *init)
{
	char system[512];

	if (mode && !rouse_streq(mode, "kexec"))
		return false;
	if (!system_of(init, system)) /* load_kernel() says why not */
		return mode;
	return !kernel_runs(system) && (mode || wants_its_kernel(root, system));
}

/* What is found cannot be started here, which says `e`: can it by its own kernel and initrd? */
static int start_elsewhere(const struct rouse_root *root, const char *mode, struct rouse_handoff *h,
			   struct rouse_err *e)
{
	struct rouse_err why = *e;
	char system[512];

	if (why.sys != ENOTSUP || !rouse_streq(mode, "kexec") || !system_of(h->init, system) ||
	    rouse_handoff_prove(root, h->init, e) < 0)
		return -1;
	if (!kernel_runs(system) && ways_load_kernel(root, system, e) == 0) {
		h->kexec = true;
		return 0;
	}
	*e = why;
	return -1;
}

/* `mode`: what the document says, or NULL. */
static int apply_switch(const struct rouse_context *c, const char *mode, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_handoff h = { 0 };
	int r;

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	r = find_init(&root, c, h.init, sizeof(h.init), e);
	if (r < 0 && start_elsewhere(&root, mode, &h, e) < 0)
		return -1;
	if (strlen(c->root) >= sizeof(h.root))
		return rouse_fail(e, ROUSE_BUG, ENAMETOOLONG, "'%s'", c->root);
	(void)snprintf(h.root, sizeof(h.root), "%s", c->root);
	if (r == 0 && wants_kexec(&root, mode, h.init))
		h.kexec = load_kernel(&root, &h);
	if (travel_prepare(e) < 0)
		return -1;
	rouse_log(ROUSE_LOG_INFO, "handoff", "next is %s'%s'", h.kexec ? "the kernel of " : "",
		  h.init);
	return rouse_handoff_write(&h, e);
}

/* --- in a running system ---------------------------------------------------------------------- */

static bool runs_already(const char *system)
{
	char now[512] = "";

	return (readlink(CURRENT_SYSTEM, now, sizeof(now) - 1) > 0 && rouse_streq(now, system)) ||
	       kernel_runs(system);
}

static bool note_system(const char *path, const char *system)
{
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd >= 0 && rouse_write_all(fd, system, strlen(system)) == 0;
}

/* Told once: a system that does not become the running one must not start for ever. */
static bool first_time(const char *system)
{
	char last[512] = "";

	if (rouse_read_line(STARTED_FILE, last, sizeof(last)) && rouse_streq(last, system))
		return false;
	return note_system(STARTED_FILE, system);
}

static int start_kernel(const struct rouse_root *root, const char *system, struct rouse_err *e)
{
	struct rouse_err why;

	if (ways_load_kernel(root, system, &why) == 0)
		return ways_systemctl("kexec", NULL, e);
	rouse_log(ROUSE_LOG_WARNING, "handoff", "%s; the boot goes on with this kernel", why.text);
	return 0;
}

static int activate(const char *root, const char *system, uint64_t deadline, struct rouse_err *e)
{
	enum ways_activation done;

	/* What early boot starts waits for early boot: then it is done behind it, by a unit, or the
	 * health checks will say that it was not. */
	if (rouse_streq(root, "/") && rouse_started_by_init()) {
		if (!note_system(ACTIVATION_FILE, system))
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write '%s'",
					  ACTIVATION_FILE);
		return ways_systemctl("start", "rouse-activate.service", e);
	}
	if (ways_activate(root, system, deadline, &done, e) < 0)
		return -1;
	if (done == WAYS_UNITS_FAILED)
		rouse_log(ROUSE_LOG_WARNING, "handoff",
			  "'%s' is active, but not all of its units run", system);
	return 0;
}

static int apply_running(const struct rouse_context *c, unsigned op, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	uint64_t own = rouse_clock_ms() + ROUSE_DEADLINE_SWITCH;
	struct rouse_err none = { 0 };
	char system[512] = "";

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	if (read_profile(&root, system, sizeof(system), &none) < 0) {
		if (none.sys == ENOENT) /* the document wants no system, and never did */
			return 0;
		*e = none;
		return -1;
	}
	if (runs_already(system))
		return 0;
	if (op == OP_ACTIVATE)
		return activate(c->root, system, c->deadline < own ? c->deadline : own, e);
	if (!first_time(system)) {
		rouse_log(ROUSE_LOG_WARNING, "handoff",
			  "'%s' was started, and is not what runs: going on with this one", system);
		return 0;
	}
	if (op == OP_KEXEC)
		return start_kernel(&root, system, e);
	/* systemd starts itself again, in the same root: what it then finds there is to be the system's. */
	if (ways_prepare(system, c->deadline < own ? c->deadline : own, e) < 0)
		return -1;
	(void)note_system(SOFT_REBOOT_FILE, system); /* without it, one crash too many is counted */
	return ways_systemctl("soft-reboot", NULL, e);
}

/* sd_notify(3), whose protocol is one datagram. A service manager that does not listen is no
 * reason to fail: it has its own time-out. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	auto_fd int fd = -1;

	if (len < 2 || len >= sizeof(a.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(a.sun_path, path, len);
	if (*path == '@') /* an abstract name begins with NUL and has no end but its length */
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&a,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		rouse_log(ROUSE_LOG_WARNING, "handoff", "cannot reach '%s': %s, ignoring", path,
			  strerror(errno));
}

static int apply(const struct rouse_step *step, const struct rouse_context *c,
		 unused_arg void *state, struct rouse_err *e)
{
	if (c->initramfs)
		return apply_switch(c, step->op == OP_KEXEC ? "kexec" : step->arg, e);
	if (step->op != OP_CONTINUE)
		return apply_running(c, step->op, e);
	notify("READY=1\nSTATUS=Everything is as the document says");
	return 0;
}

int rouse_handoff_activate(bool *ret_units_failed, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	enum ways_activation done = WAYS_NONE;
	char system[512] = "";

	(void)unlink(ACTIVATION_FILE); /* how this ends is in the report */
	if (rouse_root_open(&root, "/", e) < 0 ||
	    read_profile(&root, system, sizeof(system), e) < 0 ||
	    ways_activate("/", system, rouse_clock_ms() + ROUSE_DEADLINE_SWITCH, &done, e) < 0)
		return -1;
	*ret_units_failed = done == WAYS_UNITS_FAILED;
	return 0;
}

const struct rouse_module rouse_module_handoff = {
	.name = "handoff",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.observe = observe,
	.plan = plan,
	.apply = apply,
};

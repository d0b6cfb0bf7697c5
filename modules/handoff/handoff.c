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

#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/module.h>
#include <rouse/text.h>

#include "travel.h"

#define SYSTEM_PROFILE "/nix/var/nix/profiles/system"
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
};

enum { OP_SWITCH, OP_CONTINUE };

static const char *const modes[] = { "switch-root", "continue", NULL };

static const struct rouse_field handoff_fields[] = {
	ROUSE_FIELD(
		struct handoff, mode, "mode",
		"\"switch-root\": leave the initramfs for the system's init, the default there; "
		"\"continue\": let the running boot go on, the default everywhere else.",
		.type = ROUSE_STRING, .words = modes),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, handoff, "handoff", "How control is given to the system's init.",
		    .type = ROUSE_OBJECT, .fields = handoff_fields,
		    .n_fields = ARRAY_SIZE(handoff_fields), .size = sizeof(struct handoff)),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, initramfs, "initramfs", "The agent runs in an initramfs.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, notify, "notify", "A service manager waits for the agent's word.",
		    .type = ROUSE_BOOL),
};

static int observe(unused_arg const void *conf, const struct rouse_context *c, json_t *facts,
		   unused_arg struct rouse_err *e)
{
	rouse_json_set_bool(facts, "initramfs", c->initramfs);
	rouse_json_set_bool(facts, "notify", getenv("NOTIFY_SOCKET") != NULL);
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
	if (!mode)
		mode = is->initramfs ? "switch-root" : "continue";
	if (rouse_streq(mode, "continue")) {
		if (is->initramfs)
			return rouse_fail(
				e, ROUSE_DOCUMENT, 0,
				"handoff.mode \"continue\" leads nowhere in an initramfs: "
				"remove it, or say \"switch-root\"");
		if (is->notify)
			rouse_plan_add(p, ROUSE_USE, OP_CONTINUE, NULL, "let the boot go on");
		return 0;
	}
	if (!is->initramfs)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "handoff.mode \"switch-root\" is refused in a running system: "
				  "remove it, or boot the agent as /init of an initramfs");
	rouse_plan_add(p, ROUSE_USE, OP_SWITCH, NULL, "switch root to the system's init");
	return 0;
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

static int apply_switch(const struct rouse_context *c, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_handoff h = { 0 };

	if (rouse_root_open(&root, c->root, e) < 0 ||
	    find_init(&root, c, h.init, sizeof(h.init), e) < 0)
		return -1;
	if (strlen(c->root) >= sizeof(h.root))
		return rouse_fail(e, ROUSE_BUG, ENAMETOOLONG, "'%s'", c->root);
	(void)snprintf(h.root, sizeof(h.root), "%s", c->root);
	if (travel_prepare(e) < 0)
		return -1;
	rouse_log(ROUSE_LOG_INFO, "handoff", "next is '%s'", h.init);
	return rouse_handoff_write(&h, e);
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
	if (step->op == OP_SWITCH)
		return apply_switch(c, e);
	notify("READY=1\nSTATUS=Everything is as the document says");
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `hostname`: /etc/hostname of the root and, unless the root is an image, the kernel's host name.
 *
 * The other half of a machine's identity, /etc/machine-id, is left to systemd: it makes one when
 * the file is missing or empty, and an image must ship it like that.
 */
#include <limits.h>
#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/module.h>
#include <rouse/text.h>

#define HOSTNAME_PATH "/etc/hostname"

struct conf {
	const char *hostname;
};

struct facts {
	const char *file;    /* the name in /etc/hostname, NULL when there is none */
	const char *running; /* the kernel's, NULL when that is not the target's */
};

enum { OP_FILE, OP_KERNEL };

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, hostname, "hostname",
		    "The machine's host name, written to /etc/hostname and given to the kernel.",
		    .type = ROUSE_STRING, .format = "a host name (RFC 1123, at most 64 bytes)",
		    .valid = rouse_is_hostname, .interpolate = true),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, file, "file", "The name in /etc/hostname.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct facts, running, "running", "The kernel's host name.",
		    .type = ROUSE_STRING),
};

/* hostname(5): the first line that is neither blank nor a comment. */
static char *name_in(const char *text)
{
	while (*text) {
		size_t n;

		text += strspn(text, " \t\r\n");
		n = strcspn(text, "\r\n");
		while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
			n--;
		if (n && *text != '#')
			return rouse_strndup(text, n);
		text += strcspn(text, "\n");
	}
	return NULL;
}

/* NULL in *ret_name: there is none. */
static int read_name(const char *root_path, char **ret_name, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_root_open(&root, root_path, e) < 0 ||
	    rouse_fs_read(&root, HOSTNAME_PATH, ROUSE_MAX_METADATA, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (rouse_utf8_valid(text.data, text.len))
		*ret_name = name_in(text.data);
	return 0;
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	const struct conf *want = conf;
	auto_free char *file = NULL;
	char running[HOST_NAME_MAX + 1] = "";

	if (!want->hostname)
		return 0;
	if (read_name(c->root, &file, e) < 0)
		return -1;
	rouse_json_set_string(facts, "file", file);
	if (!c->image && gethostname(running, sizeof(running)) == 0)
		rouse_json_set_string(facts, "running",
				      rouse_utf8_valid(running, strlen(running)) ? running : "");
	return 0;
}

static int plan(const void *conf, const void *facts, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct conf *want = conf;
	const struct facts *is = facts;
	const char *name = want->hostname;

	if (!name)
		return 0;
	/* {instance.…} is replaced by what a metadata service says */
	if (!rouse_is_hostname(name))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' is not a host name (RFC 1123, at most 64 bytes)", name);
	if (!rouse_streq(is->file, name))
		rouse_plan_add(p, is->file ? ROUSE_CHANGE : ROUSE_CREATE, OP_FILE, name,
			       "set host name '%s' in " HOSTNAME_PATH "%s%s%s", name,
			       is->file ? " (was '" : "", is->file ? is->file : "",
			       is->file ? "')" : "");
	if (is->running && !rouse_streq(is->running, name))
		rouse_plan_add(p, ROUSE_USE, OP_KERNEL, name, "set the running host name to '%s'",
			       name);
	return 0;
}

static int write_file(const char *name, const struct rouse_context *c, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *line = rouse_asprintf("%s\n", name), *old = NULL;

	/* In an initramfs the root was out of sight when the plan was made. */
	if (read_name(c->root, &old, e) < 0)
		return -1;
	if (rouse_streq(old, name))
		return 0;
	if (rouse_root_open(&root, c->root, e) < 0 ||
	    rouse_fs_mkdirs(&root, HOSTNAME_PATH, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, HOSTNAME_PATH, line, strlen(line), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

static int apply(const struct rouse_step *step, const struct rouse_context *c,
		 void *state unused_arg, struct rouse_err *e)
{
	const char *name = step->arg;

	if (step->op == OP_FILE)
		return write_file(name, c, e);
	if (sethostname(name, strlen(name)) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot set the host name to '%s'", name);
	return 0;
}

const struct rouse_module rouse_module_identity = {
	.name = "identity",
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

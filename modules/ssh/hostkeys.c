/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ssh.hostKeys`: a machine does not keep the SSH host keys that its image was baked with, or that the machine had
 * whose disk was copied: who has one of these machines could pretend to be all others (CVE-2018-10896).
 *
 * The keys are made by the root's own ssh-keygen (`ssh-keygen -A`, of the kinds that its sshd wants) beside the old
 * ones, and take their place. A root without it, such as a NixOS, has an sshd that makes what is missing when it
 * starts. Which instance the keys are of is in STATE.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/document.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/module.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define SSH_DIR "/etc/ssh"
#define STATE "/var/lib/rouse/host-keys"
/* `ssh-keygen -A -f` puts them into an etc/ssh of its own. */
#define NEW_ROOT SSH_DIR "/.rouse-new"
#define NEW_DIR NEW_ROOT SSH_DIR

struct ssh {
	const char *host_keys;
};

struct conf {
	const struct ssh *ssh;
};

struct facts {
	const char *
		of; /* the instance whose keys they are, "": one without a name; NULL: nobody said */
	int64_t keys; /* so many private ones */
	bool keygen;  /* the root has what makes them */
	bool unseen;  /* the root is not mounted yet */
};

static const char *const host_keys_words[] = { "instance", "keep", NULL };

static const struct rouse_field ssh_fields[] = {
	ROUSE_FIELD(
		struct ssh, host_keys, "hostKeys",
		"\"instance\": keys that the image brought, or another instance made, are "
		"replaced by new ones, once for each instance; \"keep\", the default: they stay.",
		.type = ROUSE_STRING, .words = host_keys_words),
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, ssh, "ssh", "The machine's SSH server.",
		    ROUSE_OBJECT_OF(struct ssh, ssh_fields)),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, of, "of", "The instance whose host keys these are.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct facts, keys, "keys", "How many host keys there are.", .type = ROUSE_INT,
		    .max = 1000),
	ROUSE_FIELD(struct facts, keygen, "keygen", "There is an ssh-keygen.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, unseen, "unseen", "The root filesystem was not mounted.",
		    .type = ROUSE_BOOL),
};

static bool is_wanted(const struct conf *want)
{
	return want->ssh && rouse_streq(want->ssh->host_keys, "instance");
}

/* "ssh_host_ed25519_key", and what belongs to it: ".pub", "-cert.pub". */
static bool is_host_key(const char *name, bool only_private)
{
	const char *rest = rouse_strip_prefix(name, "ssh_host_");
	const char *key = rest ? strstr(rest, "_key") : NULL;

	if (!key)
		return false;
	key += strlen("_key");
	return !*key ||
	       (!only_private && (rouse_streq(key, ".pub") || rouse_streq(key, "-cert.pub")));
}

static DIR *open_dir(const struct rouse_root *root, const char *path)
{
	int fd = rouse_fs_open(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		(void)close(fd);
	return dir;
}

/* No such directory has none. */
static unsigned count_keys(const struct rouse_root *root, const char *path)
{
	DIR *dir = open_dir(root, path);
	const struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir)))
		n += is_host_key(entry->d_name, true);
	if (dir)
		(void)closedir(dir);
	return n;
}

/* NULL in *ret: nobody has said. Caller frees. */
static int read_state(const struct rouse_root *root, char **ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	*ret = NULL;
	if (rouse_fs_read(root, STATE, ROUSE_MAX_METADATA, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (rouse_utf8_valid(text.data ? text.data : "", text.len))
		*ret = text.len ? rouse_strndup(text.data, strcspn(text.data, "\n"))
				: rouse_strdup("");
	return 0;
}

static bool has_keygen(const char *root)
{
	char program[256];

	return rouse_proc_find("ssh-keygen", rouse_streq(root, "/") ? NULL : root, program,
			       sizeof(program));
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *of = NULL;

	if (!is_wanted(conf))
		return 0;
	rouse_json_set_bool(facts, "unseen", c->initramfs);
	if (c->initramfs)
		return 0;
	if (rouse_root_open(&root, c->root, e) < 0 || read_state(&root, &of, e) < 0)
		return -1;
	rouse_json_set_string(facts, "of", of);
	rouse_json_set_int(facts, "keys", count_keys(&root, SSH_DIR));
	rouse_json_set_bool(facts, "keygen", has_keygen(c->root));
	return 0;
}

static const char *instance_of(const struct rouse_context *c)
{
	return c->instance && c->instance->id ? c->instance->id : "";
}

/* When nobody can say which instance this is, now or ever, it is the one that it was. */
static bool are_own(const struct facts *is, const char *instance)
{
	bool same = is->of && (!*instance || rouse_streq(is->of, instance));

	return same && (is->keys || !is->keygen);
}

static int plan(const void *conf, const void *facts, const struct rouse_context *c,
		struct rouse_plan *p, struct rouse_err *e unused_arg)
{
	const struct facts *is = facts;

	if (!is_wanted(conf) || c->image) /* an image is no instance */
		return 0;
	if (is->unseen)
		rouse_plan_add(p, ROUSE_USE, 0, NULL,
			       "make SSH host keys for this instance, unless it has them");
	else if (!are_own(is, instance_of(c)))
		rouse_plan_add(p, is->keys ? ROUSE_CHANGE : ROUSE_CREATE, 0, NULL,
			       "make SSH host keys for this instance%s",
			       is->keys ? ", in the place of those that are there" : "");
	return 0;
}

/* --- apply ------------------------------------------------------------------------------------ */

/* Deletes the host keys of `path`, or moves them from there to SSH_DIR. */
static int take_keys(const struct rouse_root *root, const char *path, bool move,
		     struct rouse_err *e)
{
	auto_fd int to = rouse_fs_open(root, SSH_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = open_dir(root, path);
	const struct dirent *entry;
	int r = 0, sys = 0;

	while (dir && r == 0 && (entry = readdir(dir))) {
		if (!is_host_key(entry->d_name, false))
			continue;
		r = move ? renameat(dirfd(dir), entry->d_name, to, entry->d_name)
			 : unlinkat(dirfd(dir), entry->d_name, 0);
		sys = r < 0 ? errno : 0;
	}
	if (dir && r == 0 && (fsync(dirfd(dir)) < 0 || fsync(to) < 0)) {
		r = -1;
		sys = errno;
	}
	if (dir)
		(void)closedir(dir);
	return r < 0 ? rouse_fail(e, ROUSE_SYSTEM, sys, "cannot %s the SSH host keys in '%s'",
				  move ? "move" : "remove", path)
		     : 0;
}

/* What an earlier run left of its own. */
static void remove_new(const struct rouse_root *root)
{
	static const char *const paths[] = { NEW_DIR, NEW_ROOT "/etc", NEW_ROOT };
	struct rouse_err ignored;

	(void)take_keys(root, NEW_DIR, false, &ignored);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *name;
		auto_fd int parent = rouse_fs_open_parent(root, paths[i], &name, &ignored);

		if (parent >= 0)
			(void)unlinkat(parent, name, AT_REMOVEDIR);
	}
}

/* In SSH_DIR when this returns, the old ones are gone. */
static int make_keys(const struct rouse_root *root, const struct rouse_context *c,
		     struct rouse_err *e)
{
	const char *chroot = rouse_streq(c->root, "/") ? NULL : c->root;
	const char *argv[] = { "ssh-keygen", "-q", "-A", "-f", NEW_ROOT, NULL };
	const struct rouse_proc p = { .argv = argv, .chroot = chroot, .deadline = c->deadline };

	remove_new(root);
	if (rouse_fs_mkdirs(root, NEW_DIR, true, e) < 0)
		return -1;
	if (rouse_proc_check(&p, e) < 0 ||
	    (!count_keys(root, NEW_DIR) &&
	     rouse_fail(e, ROUSE_SYSTEM, 0, "ssh-keygen has made no SSH host keys") < 0) ||
	    take_keys(root, SSH_DIR, false, e) < 0 || take_keys(root, NEW_DIR, true, e) < 0) {
		remove_new(root);
		return -1;
	}
	remove_new(root);
	return 0;
}

static int apply(const struct rouse_step *step unused_arg, const struct rouse_context *c,
		 void *state unused_arg, struct rouse_err *e)
{
	auto_free char *of = NULL, *line = rouse_asprintf("%s\n", instance_of(c));
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct facts is;

	if (rouse_root_open(&root, c->root, e) < 0 || read_state(&root, &of, e) < 0)
		return -1;
	/* In an initramfs the root was out of sight when the plan was made. */
	is = (struct facts){ .of = of,
			     .keys = count_keys(&root, SSH_DIR),
			     .keygen = has_keygen(c->root) };
	if (are_own(&is, instance_of(c)))
		return 0;
	if (is.keygen ? make_keys(&root, c, e) < 0 : take_keys(&root, SSH_DIR, false, e) < 0)
		return -1;
	if (!is.keygen)
		rouse_log(ROUSE_LOG_INFO, "ssh",
			  "no ssh-keygen here: the SSH server makes its host keys");
	if (rouse_fs_mkdirs(&root, STATE, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, STATE, line, strlen(line), 0644, (uid_t)-1, (gid_t)-1, e);
}

const struct rouse_module rouse_module_ssh = {
	.name = "ssh",
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

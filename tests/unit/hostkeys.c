/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/text.h>

#include "../lib/run.h"
#include "../lib/tap.h"

#define DOC "{\"rouse\":1,\"ssh\":{\"hostKeys\":\"instance\"}}"
#define KEY "/etc/ssh/ssh_host_ed25519_key"
#define STATE "/var/lib/rouse/host-keys"
/* What it is started as: `-q -A -f DIR` */
#define KEYGEN                                                                                     \
	"#!/bin/sh\n"                                                                              \
	"echo new > \"$4/etc/ssh/ssh_host_ed25519_key\"\n"                                         \
	"echo new.pub > \"$4/etc/ssh/ssh_host_ed25519_key.pub\"\n"

/* A boot of the instance `id` whose root is `r`; 1: nothing was planned. */
static int boot(const struct t_root *r, const char *json, const char *id, bool initramfs,
		struct rouse_err *e)
{
	const struct rouse_instance instance = { .cloud = "ec2", .id = id };
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = {
		.document = &d,
		.only = "ssh",
		.context = { .root = r->path,
			     .instance = &instance,
			     .initramfs = initramfs,
			     .deadline = rouse_clock_ms() + 60000 },
	};

	if (rouse_document_add(&d, "test.json", json, strlen(json), false, e) < 0 ||
	    rouse_document_finish(&d, NULL, e) < 0 || rouse_run_observe(&run, e) < 0 ||
	    rouse_run_plan(&run, e) < 0)
		return -1;
	if (!run.plan.n_steps)
		return 1;
	return rouse_run_prepare(&run, e) < 0 ? -1 : rouse_run_apply(&run, e);
}

/* The keys of an image, and what is beside them. */
static void make_root(const struct t_root *r)
{
	t_root_write(r, KEY, "old\n", 0600);
	t_root_write(r, KEY ".pub", "old.pub\n", 0644);
	t_root_write(r, "/etc/ssh/ssh_host_dsa_key", "weak\n", 0600);
	t_root_write(r, "/etc/ssh/ssh_host_dsa_key-cert.pub", "weak\n", 0600);
	t_root_write(r, "/etc/ssh/sshd_config", "kept\n", 0644);
	t_root_write(r, "/etc/ssh/ssh_host_key_notes", "kept\n", 0644);
}

static bool is_text(const struct t_root *r, const char *path, const char *text)
{
	auto_free char *is = t_root_read(r, path);

	return rouse_streq(is, text);
}

static bool is_there(const struct t_root *r, const char *path)
{
	return t_root_stat(r, path).st_mode != 0;
}

/* A program of the root is run in it: with a shell that needs no libraries. */
static bool add_keygen(const struct t_root *r, const char *script)
{
	auto_free char *copy = rouse_asprintf("mkdir -p '%s/bin' && cp /bin/busybox '%s/bin/sh'",
					      r->path, r->path);

	t_root_write(r, "/usr/bin/ssh-keygen", script, 0755);
	return system(copy) == 0;
}

static bool is_without_rest(const struct t_root *r)
{
	return is_text(r, "/etc/ssh/sshd_config", "kept\n") &&
	       is_text(r, "/etc/ssh/ssh_host_key_notes", "kept\n") &&
	       !is_there(r, "/etc/ssh/ssh_host_dsa_key") &&
	       !is_there(r, "/etc/ssh/ssh_host_dsa_key-cert.pub") &&
	       !is_there(r, "/etc/ssh/.rouse-new");
}

static void keys_of_the_image_are_replaced(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0) /* chroot(2) */
		return;
	make_root(&r);
	T_CHECK(t, add_keygen(&r, KEYGEN));
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 0);
	T_CHECK(t, is_text(&r, KEY, "new\n") && is_text(&r, KEY ".pub", "new.pub\n"));
	T_CHECK(t, is_without_rest(&r) && is_text(&r, STATE, "i-1\n"));
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 1);
}

static void keys_are_made_where_there_are_none(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0) /* chroot(2) */
		return;
	T_CHECK(t, add_keygen(&r, KEYGEN));
	T_CHECK(t, boot(&r, DOC, "", false, &e) == 0);
	T_CHECK(t, is_text(&r, KEY, "new\n"));
	T_CHECK(t, boot(&r, DOC, "", false, &e) == 1);
}

static void keys_of_another_instance_are_replaced(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0) /* chroot(2) */
		return;
	make_root(&r);
	t_root_write(&r, STATE, "i-1\n", 0644);
	T_CHECK(t, add_keygen(&r, KEYGEN));
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 1);
	T_CHECK(t, boot(&r, DOC, "i-2", false, &e) == 0);
	T_CHECK(t, is_text(&r, KEY, "new\n") && is_text(&r, STATE, "i-2\n"));
}

static void an_initramfs_looks_when_the_root_is_there(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0) /* chroot(2) */
		return;
	make_root(&r);
	t_root_write(&r, STATE, "i-1\n", 0644);
	T_CHECK(t, add_keygen(&r, KEYGEN));
	T_CHECK(t, boot(&r, DOC, "i-1", true, &e) == 0 && is_text(&r, KEY, "old\n"));
	T_CHECK(t, boot(&r, DOC, "i-2", true, &e) == 0 && is_text(&r, KEY, "new\n"));
}

static void without_ssh_keygen_the_old_ones_go_and_the_server_makes_others(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	make_root(&r);
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 0);
	T_CHECK(t, !is_there(&r, KEY) && !is_there(&r, KEY ".pub") && is_without_rest(&r));
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 1); /* it has not started yet */
	t_root_write(&r, KEY, "server\n", 0600);
	T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 1);
	T_CHECK(t, boot(&r, DOC, "i-2", false, &e) == 0 && !is_there(&r, KEY));
}

static void a_machine_without_a_name_gets_keys_once(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0) /* chroot(2) */
		return;
	make_root(&r);
	T_CHECK(t, add_keygen(&r, KEYGEN));
	T_CHECK(t, boot(&r, DOC, NULL, false, &e) == 0 && is_text(&r, KEY, "new\n"));
	T_CHECK(t, boot(&r, DOC, NULL, false, &e) == 1);
}

static void a_boot_that_cannot_tell_keeps_the_keys(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	make_root(&r);
	t_root_write(&r, STATE, "i-1\n", 0644);
	T_CHECK(t, boot(&r, DOC, NULL, false, &e) == 1);
	T_CHECK(t, boot(&r, DOC, NULL, true, &e) == 0 && is_text(&r, KEY, "old\n"));
	T_CHECK(t, is_text(&r, STATE, "i-1\n"));
}

static void nobody_asked_and_nothing_is_done(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	make_root(&r);
	T_CHECK(t, boot(&r, "{\"rouse\":1}", "i-1", false, &e) == 1);
	T_CHECK(t,
		boot(&r, "{\"rouse\":1,\"ssh\":{\"hostKeys\":\"keep\"}}", "i-1", false, &e) == 1);
	T_CHECK(t, t_run_is_done(&r, "ssh", DOC)); /* an image is no instance */
}

static void a_failure_leaves_the_keys_that_were_there(struct t *t)
{
	static const char *const scripts[] = {
		"#!/bin/sh\necho half > $4/etc/ssh/ssh_host_rsa_key\n"
		"echo no entropy\nexit 1\n",
		"#!/bin/sh\nexit 0\n"
	};

	if (geteuid() != 0) /* chroot(2) */
		return;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		auto_t_root struct t_root r = t_root_new();
		struct rouse_err e = { 0 };

		make_root(&r);
		T_CHECK(t, add_keygen(&r, scripts[i]));
		T_CHECK(t, boot(&r, DOC, "i-1", false, &e) < 0 && e.kind == ROUSE_SYSTEM);
		T_HAS(t, e.text, "ssh-keygen");
		T_CHECK(t, is_text(&r, KEY, "old\n") && !is_there(&r, STATE));
		T_CHECK(t, !is_there(&r, "/etc/ssh/.rouse-new"));
		T_CHECK(t, add_keygen(&r, KEYGEN));
		T_CHECK(t, boot(&r, DOC, "i-1", false, &e) == 0 && is_text(&r, KEY, "new\n"));
	}
}

static void a_link_out_of_the_root_is_not_followed(struct t *t)
{
	auto_t_root struct t_root r = t_root_new(), outside = t_root_new();
	auto_free char *link = rouse_asprintf("%s/etc/ssh", r.path);
	struct rouse_err e = { 0 };

	t_root_write(&outside, "/ssh_host_rsa_key", "kept\n", 0600);
	t_root_write(&r, "/etc/hostname", "web\n", 0644);
	T_CHECK(t, symlink(outside.path, link) == 0);
	(void)boot(&r, DOC, "i-1", false, &e);
	T_CHECK(t, is_text(&outside, "/ssh_host_rsa_key", "kept\n"));
}

T_MAIN(T(keys_of_the_image_are_replaced), T(keys_are_made_where_there_are_none),
       T(keys_of_another_instance_are_replaced), T(an_initramfs_looks_when_the_root_is_there),
       T(without_ssh_keygen_the_old_ones_go_and_the_server_makes_others),
       T(a_machine_without_a_name_gets_keys_once), T(a_boot_that_cannot_tell_keeps_the_keys),
       T(nobody_asked_and_nothing_is_done), T(a_failure_leaves_the_keys_that_were_there),
       T(a_link_out_of_the_root_is_not_followed))

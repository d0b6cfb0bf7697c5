/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/sshkey.h>

#include "../lib/tap.h"

#include "../lib/run.h"

#include "../../modules/users/users.h"

#define DOC(users) "{\"rouse\":1,\"users\":{" users "}}"
#define KEY1 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde8Ds/ k1"
#define KEY2                                                                                       \
	"ecdsa-sha2-nistp256 "                                                                     \
	"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBN+nKKNJ/"                            \
	"uxbNsN1xGW+oNPufK1kiutw1EzGOxySW/jh8EFfVnOi/7miT66jvGgazmugZ5NlP9uYd4XzGXyh1RQ= k2"
#define RSA                                                                                        \
	"ssh-rsa "                                                                                 \
	"AAAAB3NzaC1yc2EAAAADAQABAAABAQDj19nXKiLyuD1T36We1u3ucfnvwOwAp6G7DfZoT7iq6KF4CQHLyXCx8I+"  \
	"U4PukFo1Pr476+4iL9UBr8LAxEGGmzKzAqtfv+zsYE616NSRZGm9OsJv+"                                \
	"PSQFc2Naj2Ckoz60VvvQi6xgPgGxSKrw1t+NNSS1kV0ZXPYLHmGfWIi1R/"                               \
	"zRxWt4xOEXtzctQfNF2Xu5HtrATkbIigtkEA43eEhClzJIZeBPMqroLtF6L+O7JuFwXXBOGibkvR1n03NZh0Q+"   \
	"aaiFQGWGKg0pBLUqveFt+Vare8vS/itqulnmfL208fGvRd89+igRgmKpLCJM16WJDsHQbsxFHbB8t0qZk+/n k3"

/* Making accounts means giving files away. */
#define NEEDS_ROOT                                                                                 \
	do {                                                                                       \
		if (geteuid() != 0)                                                                \
			return;                                                                    \
	} while (0)

static void user_in_an_empty_root_can_log_in(struct t *t)
{
	static const char doc[] = DOC(
		"\"deploy\":{\"groups\":[\"wheel\",\"docker\"],\"sshKeys\":[\"" KEY1 "\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *passwd = NULL, *group = NULL, *shadow = NULL, *gshadow = NULL,
		       *keys = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	T_CHECK(t, t_run_module(&r, "users", doc, true, &plan, &e) == 0);
	T_STR(t, plan,
	      "  + users     make /etc/passwd and /etc/group with root and nobody\n"
	      "  + users     make group 'docker' (gid 999)\n"
	      "  + users     make user 'deploy' (uid 1000, home /home/deploy, shell /bin/sh, "
	      "in group 'wheel', in group 'docker')\n"
	      "  + users     make home /home/deploy\n"
	      "  + users     allow 1 SSH key for 'deploy'\n"
	      "plan: 5 changes\n");
	passwd = t_root_read(&r, "/etc/passwd");
	T_STR(t, passwd,
	      "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	      "deploy:x:1000:1000::/home/deploy:/bin/sh\n");
	group = t_root_read(&r, "/etc/group");
	T_STR(t, group,
	      "root:x:0:\nwheel:x:1:deploy\nnogroup:x:65534:\ndocker:x:999:deploy\ndeploy:x:1000:"
	      "\n");
	shadow = t_root_read(&r, "/etc/shadow");
	T_STR(t, shadow, "root:*::0:99999:7:::\nnobody:*::0:99999:7:::\ndeploy:*::0:99999:7:::\n");
	gshadow = t_root_read(&r, "/etc/gshadow");
	T_STR(t, gshadow, "root:!::\nwheel:!::deploy\nnogroup:!::\ndocker:!::deploy\ndeploy:!::\n");
	keys = t_root_read(&r, "/home/deploy/.ssh/authorized_keys");
	T_STR(t, keys, "# begin rouse\n" KEY1 "\n# end rouse\n");
	T_CHECK(t, t_run_is_done(&r, "users", doc));
}

/* As a boot does in the system that it configures, where others may edit accounts, too. */
static int run_in_place(const struct t_root *r, const char *json, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = {
		.document = &d,
		.only = "users",
		.context = { .root = r->path, .deadline = rouse_clock_ms() + 60000 },
	};

	return rouse_document_add(&d, "test.json", json, strlen(json), false, e) < 0 ||
			       rouse_document_finish(&d, NULL, e) < 0 ||
			       rouse_run_observe(&run, e) < 0 || rouse_run_plan(&run, e) < 0 ||
			       rouse_run_prepare(&run, e) < 0
		       ? -1
		       : rouse_run_apply(&run, e);
}

static void accounts_are_locked_also_where_there_is_no_etc(struct t *t)
{
	static const char doc[] = DOC("\"deploy\":{}");
	auto_t_root struct t_root r = t_root_new(), other = t_root_new();
	auto_free char *lock = rouse_asprintf("%s/etc/.pwd.lock", other.path);
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	T_CHECK(t, run_in_place(&r, doc, &e) == 0);
	T_CHECK(t, S_ISREG(t_root_stat(&r, "/etc/.pwd.lock").st_mode));
	/* What would be waited for for ever is refused. */
	t_root_write(&other, "/etc/hostname", "h", 0644);
	T_CHECK(t, mkfifo(lock, 0600) == 0);
	T_CHECK(t, run_in_place(&other, doc, &e) < 0);
	T_HAS(t, e.text, "/etc/.pwd.lock");
}

static void modes_and_owners_are_those_that_sshd_wants(struct t *t)
{
	static const char doc[] = DOC("\"deploy\":{\"uid\":4242,\"sshKeys\":[\"" KEY1 "\"]}");
	static const struct {
		const char *path;
		mode_t mode;
		uid_t uid;
	} want[] = {
		{ "/etc/passwd", 0644, 0 },
		{ "/etc/group", 0644, 0 },
		{ "/etc/shadow", 0640, 0 },
		{ "/etc/gshadow", 0600, 0 },
		{ "/home", 0755, 0 },
		{ "/home/deploy", 0700, 4242 },
		{ "/home/deploy/.ssh", 0700, 4242 },
		{ "/home/deploy/.ssh/authorized_keys", 0600, 4242 },
	};
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct stat st = t_root_stat(&r, want[i].path);

		if ((st.st_mode & 07777) != want[i].mode || st.st_uid != want[i].uid)
			printf("# %s: %o %u\n", want[i].path, st.st_mode, st.st_uid);
		T_CHECK(t, (st.st_mode & 07777) == want[i].mode && st.st_uid == want[i].uid);
	}
}

static void debian_files_keep_modes_order_and_lines(struct t *t)
{
	static const char doc[] = DOC("\"deploy\":{\"groups\":[\"sudo\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *passwd = NULL, *group = NULL, *shadow = NULL,
		       *path = rouse_asprintf("%s/etc/shadow", r.path);
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd",
		     "root:x:0:0:root:/root:/bin/bash\n# "
		     "ours\nadmin:x:1000:1000::/home/admin:/bin/bash\n+@staff::::::\n",
		     0644);
	t_root_write(&r, "/etc/group", "root:x:0:\nsudo:x:27:admin\nshadow:x:42:\nadmin:x:1000:\n",
		     0644);
	t_root_write(&r, "/etc/shadow",
		     "root:$y$secret:19000:0:99999:7:::\nadmin:!:19000:0:99999:7:::\n", 0600);
	t_root_write(&r, "/bin/bash", "", 0755);
	T_CHECK(t, chown(path, 0, 7) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	passwd = t_root_read(&r, "/etc/passwd");
	T_STR(t, passwd,
	      "root:x:0:0:root:/root:/bin/bash\n# ours\nadmin:x:1000:1000::/home/admin:/bin/bash\n"
	      "deploy:x:1001:1001::/home/deploy:/bin/bash\n+@staff::::::\n");
	group = t_root_read(&r, "/etc/group");
	T_STR(t, group,
	      "root:x:0:\nsudo:x:27:admin,deploy\nshadow:x:42:\nadmin:x:1000:\ndeploy:x:1001:\n");
	shadow = t_root_read(&r, "/etc/shadow");
	T_HAS(t, shadow,
	      "root:$y$secret:19000:0:99999:7:::\nadmin:!:19000:0:99999:7:::\ndeploy:*:");
	T_CHECK(t, (t_root_stat(&r, "/etc/shadow").st_mode & 07777) == 0600);
	T_CHECK(t, t_root_stat(&r, "/etc/shadow").st_gid == 7);
	T_CHECK(t, t_root_stat(&r, "/etc/gshadow").st_mode == 0); /* it was not there */
	T_CHECK(t, t_run_is_done(&r, "users", doc));
}

static void existing_user_is_changed_where_declared(struct t *t)
{
	static const char doc[] = DOC("\"admin\":{\"shell\":\"/bin/zsh\",\"groups\":[\"adm\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *passwd = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd", "admin:x:1000:1000:The Admin:/home/admin:/bin/bash\n",
		     0644);
	t_root_write(&r, "/etc/group", "adm:x:4:\nadmin:x:1000:\n", 0644);
	T_CHECK(t, t_run_module(&r, "users", doc, true, &plan, &e) == 0);
	T_STR(t, plan,
	      "  ~ users     change user 'admin' (shell '/bin/zsh', in group 'adm')\nplan: 1 "
	      "change\n");
	passwd = t_root_read(&r, "/etc/passwd");
	T_STR(t, passwd, "admin:x:1000:1000:The Admin:/home/admin:/bin/zsh\n");
	T_CHECK(t, t_run_is_done(&r, "users", doc));
}

static void another_uid_for_an_existing_user_is_refused(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/etc/passwd", "admin:x:1000:1000::/home/admin:/bin/bash\n", 0644);
	T_CHECK(t, t_run_module(&r, "users", DOC("\"admin\":{\"uid\":2000}"), false, NULL, &e) < 0);
	T_STR(t, e.text,
	      "users: user 'admin' exists with uid 1000; uid 2000 would orphan its files");
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
}

static void uid_of_somebody_else_is_refused(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/etc/passwd", "admin:x:1000:1000::/home/admin:/bin/bash\n", 0644);
	T_CHECK(t, t_run_module(&r, "users", DOC("\"x\":{\"uid\":1000}"), false, NULL, &e) < 0);
	T_STR(t, e.text, "users: uid 1000, wanted for 'x', belongs to 'admin' on this machine");
}

static void password_is_compared_by_digest_and_never_printed(struct t *t)
{
	static const char doc[] = DOC(
		"\"admin\":{\"passwordHash\":\"$6$saltsalt$AbCdEfGhIjKlMnOpQrStUvWxYz\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *shadow = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd", "admin:x:1000:1000::/home/admin:/bin/bash\n", 0644);
	t_root_write(&r, "/etc/shadow", "admin:!:19000:0:99999:7:::\n", 0640);
	T_CHECK(t, t_run_module(&r, "users", doc, true, &plan, &e) == 0);
	T_STR(t, plan, "  ~ users     change user 'admin' (another password)\nplan: 1 change\n");
	shadow = t_root_read(&r, "/etc/shadow");
	T_STR(t, shadow, "admin:$6$saltsalt$AbCdEfGhIjKlMnOpQrStUvWxYz:19000:0:99999:7:::\n");
	T_CHECK(t, t_run_is_done(&r, "users", doc));
}

static void leftover_password_of_a_deleted_user_is_not_inherited(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *shadow = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0644);
	t_root_write(&r, "/etc/shadow", "eve:$6$old$old:19000:0:99999:7:::\n", 0640);
	T_CHECK(t, t_run_module(&r, "users", DOC("\"eve\":{}"), true, NULL, &e) == 0);
	shadow = t_root_read(&r, "/etc/shadow");
	T_STR(t, shadow, "eve:*:19000:0:99999:7:::\n");
}

static void run_that_was_cut_short_ends_with_the_same_numbers(struct t *t)
{
	static const char doc[] = DOC("\"deploy\":{}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *passwd = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	/* power failed between /etc/group and /etc/passwd */
	t_root_write(&r, "/etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0644);
	t_root_write(&r, "/etc/group", "root:x:0:\ndeploy:x:1000:\n", 0644);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	passwd = t_root_read(&r, "/etc/passwd");
	T_HAS(t, passwd, "deploy:x:1000:1000:");
}

static void system_user_has_a_low_number_and_no_home(struct t *t)
{
	static const char doc[] = DOC("\"app\":{\"system\":true}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *passwd = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/usr/sbin/nologin", "", 0755);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	passwd = t_root_read(&r, "/etc/passwd");
	T_HAS(t, passwd, "app:x:999:999::/nonexistent:/usr/sbin/nologin\n");
	T_CHECK(t, t_root_stat(&r, "/nonexistent").st_mode == 0 &&
			   t_root_stat(&r, "/home").st_mode == 0);
	T_CHECK(t, t_run_is_done(&r, "users", doc));
}

static void keys_of_others_are_kept_and_ours_are_withdrawn(struct t *t)
{
	static const char with[] = DOC("\"root\":{\"sshKeys\":[\"" KEY1 "\",\"" KEY2 "\"]}");
	static const char without[] = DOC("\"root\":{}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *keys = NULL, *after = NULL, *plan = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0644);
	t_root_write(&r, "/root/.ssh/authorized_keys", "# mine\nssh-rsa AAAA me", 0600);
	T_CHECK(t, t_run_module(&r, "users", with, true, NULL, &e) == 0);
	keys = t_root_read(&r, "/root/.ssh/authorized_keys");
	T_STR(t, keys, "# mine\nssh-rsa AAAA me\n# begin rouse\n" KEY1 "\n" KEY2 "\n# end rouse\n");
	T_CHECK(t, t_run_is_done(&r, "users", with));
	T_CHECK(t, t_run_module(&r, "users", without, true, &plan, &e) == 0);
	T_HAS(t, plan, "~ users     withdraw the SSH keys of 'root'");
	after = t_root_read(&r, "/root/.ssh/authorized_keys");
	T_STR(t, after, "# mine\nssh-rsa AAAA me\n");
	T_CHECK(t, t_run_is_done(&r, "users", without));
}

static void users_that_are_right_are_not_written_by_a_blind_plan(struct t *t)
{
	static const char doc[] = DOC("\"deploy\":{\"groups\":[\"docker\"],\"sshKeys\":[\"" KEY1
				      "\"]}");
	static const char *const paths[] = { "/etc/passwd",  "/etc/group",
					     "/etc/shadow",  "/etc/gshadow",
					     "/home/deploy", "/home/deploy/.ssh/authorized_keys" };
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };
	ino_t before[ARRAY_SIZE(paths)];

	NEEDS_ROOT;
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		before[i] = t_root_stat(&r, paths[i]).st_ino;
	T_CHECK(t, t_run_blind(&r, "users", doc, &e) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		T_CHECK(t, before[i] && t_root_stat(&r, paths[i]).st_ino == before[i]);
}

static void blind_plan_withdraws_the_keys_of_an_older_document(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *keys = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	T_CHECK(t, t_run_module(&r, "users", DOC("\"a\":{\"sshKeys\":[\"" KEY1 "\"]},\"b\":{}"),
				true, NULL, &e) == 0);
	T_CHECK(t, t_run_blind(&r, "users", DOC("\"a\":{},\"b\":{},\"c\":{\"system\":true}"), &e) ==
			   0);
	keys = t_root_read(&r, "/home/a/.ssh/authorized_keys");
	T_STR(t, keys, "");
	T_CHECK(t, t_root_stat(&r, "/home/b/.ssh").st_mode == 0);
}

static void block_without_an_end_keeps_the_lines_behind_it(struct t *t)
{
	struct rouse_list none = { 0 };
	auto_buf struct rouse_buf out = { 0 };

	home_edit_keys("a\n# begin rouse\nb\n# begin rouse\nold\n# end rouse\nc\n", &none, &out);
	T_STR(t, out.data, "a\nb\nc\n");
}

static void planted_ssh_symlink_is_refused(struct t *t)
{
	static const char doc[] = DOC("\"eve\":{\"sshKeys\":[\"" KEY1 "\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *link = rouse_asprintf("%s/home/eve/.ssh", r.path),
		       *home = rouse_asprintf("%s/home/eve", r.path);
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd",
		     "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n", 0644);
	t_root_write(&r, "/root/.ssh/id", "", 0600);
	t_root_write(&r, "/home/eve/x", "", 0600);
	T_CHECK(t, chown(home, 1000, 1000) == 0 && symlink("/root/.ssh", link) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) < 0);
	T_HAS(t, e.text, "'/home/eve/.ssh' is not a directory of its own; remove it");
	T_CHECK(t, t_root_stat(&r, "/root/.ssh/authorized_keys").st_mode == 0);
}

/* "svc" lives in a directory of mallory's, who wants root's keys to be given away. */
static void home_planted_by_another_user_is_refused(struct t *t)
{
	static const char doc[] = DOC("\"svc\":{\"sshKeys\":[\"" KEY1 "\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *link = rouse_asprintf("%s/home/mallory/svc", r.path),
		       *home = rouse_asprintf("%s/home/mallory", r.path), *keys = NULL;
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd",
		     "root:x:0:0::/root:/bin/sh\nmallory:x:1000:1000::/home/mallory:/bin/sh\n"
		     "svc:x:1001:1001::/home/mallory/svc:/bin/sh\n",
		     0644);
	t_root_write(&r, "/root/.ssh/authorized_keys", "root's\n", 0600);
	t_root_write(&r, "/home/mallory/x", "", 0600);
	T_CHECK(t, chown(home, 1000, 1000) == 0 && symlink("/root", link) == 0 &&
			   lchown(link, 1000, 1000) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) < 0);
	T_HAS(t, e.text, "'/home/mallory/svc' is a symlink that a user may have put there");
	T_CHECK(t, t_root_stat(&r, "/root/.ssh/authorized_keys").st_uid == 0);
	keys = t_root_read(&r, "/root/.ssh/authorized_keys");
	T_STR(t, keys, "root's\n");
}

static void planted_key_links_are_not_read_nor_written(struct t *t)
{
	static const char doc[] = DOC("\"eve\":{\"sshKeys\":[\"" KEY1 "\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *keys = rouse_asprintf("%s/home/eve/.ssh/authorized_keys", r.path);
	auto_free char *secret = rouse_asprintf("%s/etc/secret", r.path), *text = NULL;
	auto_free char *home = rouse_asprintf("%s/home/eve", r.path),
		       *ssh = rouse_asprintf("%s/home/eve/.ssh", r.path);
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n", 0644);
	t_root_write(&r, "/etc/secret", "secret\n", 0600);
	t_root_write(&r, "/home/eve/.ssh/x", "", 0600);
	T_CHECK(t, chown(home, 1000, 1000) == 0 && chown(ssh, 1000, 1000) == 0);
	T_CHECK(t, link(secret, keys) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) < 0);
	T_HAS(t, e.text, "is not a file of uid 1000");
	T_CHECK(t, unlink(keys) == 0 && symlink("/etc/secret", keys) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, true, NULL, &e) == 0);
	text = t_root_read(&r, "/home/eve/.ssh/authorized_keys");
	T_STR(t, text, "# begin rouse\n" KEY1 "\n# end rouse\n");
	T_CHECK(t, t_root_stat(&r, "/etc/secret").st_uid == 0);
}

static void home_of_somebody_else_is_refused(struct t *t)
{
	static const char doc[] = DOC("\"bob\":{\"home\":\"/home/eve\",\"sshKeys\":[\"" KEY1
				      "\"]}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *home = rouse_asprintf("%s/home/eve", r.path);
	struct rouse_err e = { 0 };

	NEEDS_ROOT;
	t_root_write(&r, "/etc/passwd",
		     "eve:x:1000:1000::/home/eve:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
		     0644);
	t_root_write(&r, "/home/eve/x", "", 0600);
	T_CHECK(t, chown(home, 1000, 1000) == 0);
	T_CHECK(t, t_run_module(&r, "users", doc, false, NULL, &e) < 0);
	T_HAS(t, e.text, "home '/home/eve' belongs to uid 1000 instead of 1001");
}

static void key_types_of_openssh_are_accepted(struct t *t)
{
	T_CHECK(t, rouse_is_ssh_key(KEY1));
	T_CHECK(t, rouse_is_ssh_key(KEY2));
	T_CHECK(t, rouse_is_ssh_key(RSA));
	T_CHECK(t, rouse_is_ssh_key(
			   "ssh-ed25519 "
			   "AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde8Ds/"));
}

static void key_with_options_newline_or_wrong_blob_is_refused(struct t *t)
{
	static const char *const bad[] = {
		"",
		"ssh-ed25519",
		"ssh-ed25519 ",
		"ssh-ed25519 AAAA",
		"ssh-dss AAAAB3NzaC1kc3M=",
		"command=\"x\" " KEY1,
		"no-pty " KEY1,
		" " KEY1,
		KEY1 "\n" KEY2,
		KEY1 "\t",
		/* the blob of another type, cut short, and with one byte more */
		"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde8Ds/ k",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde k",
		"ssh-ed25519 "
		"AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde8Ds/AA== k",
		"ssh-ed25519  AAAAC3NzaC1lZDI1NTE5AAAAIJJZqrIcmyM1pJUjPZThlUXas2IFQO9OY70f6yde8Ds/ "
		"k",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (rouse_is_ssh_key(bad[i]))
			printf("# accepted: %s\n", bad[i]);
		T_CHECK(t, !rouse_is_ssh_key(bad[i]));
	}
}

static void account_names_have_bounds(struct t *t)
{
	T_CHECK(t, rouse_is_account_name("first.last") && rouse_is_account_name("_x-1"));
	T_CHECK(t, rouse_is_account_name("a123456789012345678901234567890"));
	T_CHECK(t, !rouse_is_account_name("a1234567890123456789012345678901"));
	T_CHECK(t, !rouse_is_account_name("") && !rouse_is_account_name("1a") &&
			   !rouse_is_account_name("a:b"));
	T_CHECK(t, !rouse_is_account_name("-a") && !rouse_is_account_name("a.") &&
			   !rouse_is_account_name("a\n"));
	T_CHECK(t, rouse_is_account("4294967294") && !rouse_is_account("4294967295"));
}

T_MAIN(T(user_in_an_empty_root_can_log_in), T(accounts_are_locked_also_where_there_is_no_etc),
       T(modes_and_owners_are_those_that_sshd_wants), T(debian_files_keep_modes_order_and_lines),
       T(existing_user_is_changed_where_declared), T(another_uid_for_an_existing_user_is_refused),
       T(uid_of_somebody_else_is_refused), T(password_is_compared_by_digest_and_never_printed),
       T(leftover_password_of_a_deleted_user_is_not_inherited),
       T(run_that_was_cut_short_ends_with_the_same_numbers),
       T(system_user_has_a_low_number_and_no_home),
       T(keys_of_others_are_kept_and_ours_are_withdrawn),
       T(block_without_an_end_keeps_the_lines_behind_it),
       T(users_that_are_right_are_not_written_by_a_blind_plan),
       T(blind_plan_withdraws_the_keys_of_an_older_document), T(planted_ssh_symlink_is_refused),
       T(home_planted_by_another_user_is_refused), T(planted_key_links_are_not_read_nor_written),
       T(home_of_somebody_else_is_refused), T(key_types_of_openssh_are_accepted),
       T(key_with_options_newline_or_wrong_blob_is_refused), T(account_names_have_bounds))

/* SPDX-License-Identifier: Apache-2.0 */
#include "homes.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <rouse/accounts.h>
#include <rouse/limits.h>
#include <rouse/parent.h>
#include <rouse/text.h>

#include "conf.h"

const char *const home_link_words[] = {
	[HOME_NONE] = "none",   [HOME_ABSENT] = "absent", [HOME_OURS] = "ours",
	[HOME_OTHER] = "other", [HOME_LINKS_] = NULL,
};
const char *const shell_file_words[] = {
	[SHELL_CLOSURE] = "closure",
	[SHELL_ABSENT] = "absent",
	[SHELL_OURS] = "ours",
	[SHELL_FILES_] = NULL,
};

/* --- homes ------------------------------------------------------------------------------------ */

struct home {
	struct rouse_root dir;
	const char *name; /* "/.nix-profile" */
	uint32_t uid, gid;
	char *path;
};

static void home_done(struct home *h)
{
	rouse_root_done(&h->dir);
	free(h->path);
}
#define auto_home __attribute__((cleanup(home_done)))

/* *ret_there: false when there is no such user, or no home. */
static int open_home(struct home *h, const struct rouse_root *root, const char *user,
		     bool *ret_there, struct rouse_err *e)
{
	auto_accounts struct rouse_accounts accounts = { 0 };
	auto_free char *home = NULL;
	struct stat st;

	*ret_there = false;
	if (rouse_accounts_load(&accounts, root, false, e) < 0)
		return -1;
	home = rouse_lines_get(&accounts.files[ROUSE_PASSWD], user, ROUSE_PW_HOME);
	if (!home || !rouse_is_absolute_path(home) ||
	    !rouse_lines_id(&accounts.files[ROUSE_PASSWD], user, ROUSE_PW_UID, &h->uid) ||
	    !rouse_lines_id(&accounts.files[ROUSE_PASSWD], user, ROUSE_PW_GID, &h->gid))
		return 0;
	h->path = rouse_asprintf("%s/.nix-profile", home[1] ? home : "");
	if (rouse_open_parent(root, h->path, false, &h->dir, &h->name, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	if (fstat(h->dir.fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at home '%s'", home);
	/* Someone's with a home that is not theirs (daemons share "/") has no profile to log in to. */
	*ret_there = st.st_uid == h->uid;
	return 0;
}

static void target_of(char buf[static 256], const char *user)
{
	(void)snprintf(buf, 256, PROFILES "per-user/%s/profile", user);
}

int home_link_read(const struct rouse_root *root, const char *user, enum home_link *ret,
		   struct rouse_err *e)
{
	auto_home struct home h = { .dir = ROUSE_ROOT_INIT };
	char want[256], is[PATH_MAX];
	bool there = false;
	ssize_t n;

	*ret = HOME_NONE;
	if (open_home(&h, root, user, &there, e) < 0)
		return -1;
	if (!there)
		return 0;
	n = readlinkat(h.dir.fd, h.name + 1, is, sizeof(is) - 1);
	if (n < 0 && errno != ENOENT && errno != EINVAL)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", h.path);
	if (n < 0) {
		*ret = errno == ENOENT ? HOME_ABSENT : HOME_OTHER;
		return 0;
	}
	is[n] = '\0';
	target_of(want, user);
	*ret = rouse_streq(is, want) ? HOME_OURS : HOME_OTHER;
	return 0;
}

int home_link_make(const struct rouse_root *root, const char *user, struct rouse_err *e)
{
	auto_home struct home h = { .dir = ROUSE_ROOT_INIT };
	char want[256];
	bool there = false;

	if (open_home(&h, root, user, &there, e) < 0)
		return -1;
	if (!there)
		return 0;
	target_of(want, user);
	if (symlinkat(want, h.dir.fd, h.name + 1) < 0) {
		/* Meanwhile, or out of sight when it was planned: what is there stays. */
		if (errno == EEXIST)
			return 0;
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make link '%s'", h.path);
	}
	if (geteuid() == 0 && fchownat(h.dir.fd, h.name + 1, h.uid, h.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give '%s' to %s", h.path, user);
	return 0;
}

/* --- login shells ----------------------------------------------------------------------------- */

/* Read by sh(1), bash(1) and others; what is nearer to the user is found first. */
static const char shell_text[] =
	"# Written by rouse: programs of \"environment\" and \"profiles\".\n"
	"for rouse_profile in /nix/var/nix/profiles/default \\\n"
	"	\"/nix/var/nix/profiles/per-user/${USER:-${LOGNAME:-nobody}}/profile\" \\\n"
	"	\"${HOME:-/nonexistent}/.nix-profile\"; do\n"
	"	if [ -d \"$rouse_profile/bin\" ]; then\n"
	"		case \":$PATH:\" in\n"
	"		*\":$rouse_profile/bin:\"*) ;;\n"
	"		*) PATH=$rouse_profile/bin${PATH:+:$PATH} ;;\n"
	"		esac\n"
	"	fi\n"
	"	if [ -d \"$rouse_profile/share\" ]; then\n"
	"		XDG_DATA_DIRS=${XDG_DATA_DIRS:-/usr/local/share:/usr/share}\n"
	"		case \":$XDG_DATA_DIRS:\" in\n"
	"		*\":$rouse_profile/share:\"*) ;;\n"
	"		*) XDG_DATA_DIRS=$rouse_profile/share:$XDG_DATA_DIRS ;;\n"
	"		esac\n"
	"		export XDG_DATA_DIRS\n"
	"	fi\n"
	"done\n"
	"export PATH\n"
	"unset rouse_profile\n";

int shell_file_read(const struct rouse_root *root, enum shell_file *ret, struct rouse_err *e)
{
	auto_fd int nixos = rouse_fs_open(root, "/etc/NIXOS", O_PATH, 0);
	auto_buf struct rouse_buf text = { 0 };

	*ret = nixos >= 0 ? SHELL_CLOSURE : SHELL_ABSENT;
	if (nixos >= 0)
		return 0;
	if (rouse_fs_read(root, SHELL_FILE, ROUSE_MAX_SETTINGS, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	if (rouse_streq(text.data, shell_text))
		*ret = SHELL_OURS;
	return 0;
}

int shell_file_write(const struct rouse_root *root, struct rouse_err *e)
{
	if (rouse_fs_mkdirs(root, SHELL_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, SHELL_FILE, shell_text, sizeof(shell_text) - 1, 0644,
				(uid_t)-1, (gid_t)-1, e);
}

int shell_file_remove(const struct rouse_root *root, struct rouse_err *e)
{
	const char *name = NULL;
	auto_fd int parent = rouse_fs_open_parent(root, SHELL_FILE, &name, e);

	if (parent < 0)
		return -1;
	if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", SHELL_FILE);
	return 0;
}

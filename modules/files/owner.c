/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a file or a directory is: names of the root's own accounts, or numbers. */
#include "files.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/text.h>

static bool is_account(const struct rouse_accounts *a, enum rouse_account_file file,
		       const char *name)
{
	uint32_t id = 0;

	/* root is 0 everywhere; a root without accounts has yet to get them, or is out of sight */
	return !name || strcmp(name, "root") == 0 || !a->files[file].exists ||
	       rouse_account_resolve(&a->files[file], name, &id);
}

static void note(const struct rouse_accounts *a, const char *user, const char *group, json_t *users,
		 json_t *groups)
{
	if (!is_account(a, ROUSE_PASSWD, user))
		rouse_json_append_string(users, user);
	if (!is_account(a, ROUSE_GROUP, group))
		rouse_json_append_string(groups, group);
}

void files_observe_owners(const struct conf *want, const struct rouse_accounts *a, json_t *facts)
{
	const struct file *f = want->files.items;
	const struct directory *d = want->directories.items;
	json_t *users = json_array(), *groups = json_array();

	rouse_json_set(facts, "noUsers", users);
	rouse_json_set(facts, "noGroups", groups);
	for (size_t i = 0; i < want->files.n; i++)
		note(a, f[i].user, f[i].group, users, groups);
	for (size_t i = 0; i < want->directories.n; i++)
		note(a, d[i].user, d[i].group, users, groups);
}

bool files_owner_is(const char *want, const char *name, int64_t id)
{
	uint64_t number = 0;

	if (!want)
		return true;
	if (rouse_parse_u64(want, UINT32_MAX, &number))
		return (int64_t)number == id;
	/* root is 0 everywhere, also in a root that has no /etc/passwd yet */
	return rouse_streq(want, name) || (id == 0 && rouse_streq(want, "root"));
}

static int refuse_account(const char *path, const char *kind, const char *name, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "'%s' is to belong to %s '%s', which this machine does not have; "
			  "declare it in \"users\" or give a number",
			  path, kind, name);
}

int files_check_owner(const char *path, const char *user, const char *group, const struct facts *is,
		      const struct rouse_plan *p, struct rouse_err *e)
{
	if (!is->privileged && ((user && !files_owner_is(user, NULL, is->uid)) ||
				(group && !files_owner_is(group, NULL, is->gid))))
		return rouse_fail(e, ROUSE_SYSTEM, EPERM, "only root can give '%s' to '%s'", path,
				  user ? user : group);
	if (user && rouse_list_has(&is->no_users, user) && !rouse_plan_has_account(p, false, user))
		return refuse_account(path, "user", user, e);
	if (group && rouse_list_has(&is->no_groups, group) &&
	    !rouse_plan_has_account(p, true, group))
		return refuse_account(path, "group", group, e);
	return 0;
}

int files_resolve(const struct rouse_lines *lines, const char *name, const char *kind,
		  const char *path, uint32_t *ret, struct rouse_err *e)
{
	if (!name)
		return 0; /* stays (uid_t)-1 */
	if (strcmp(name, "root") == 0) {
		*ret = 0;
		return 0;
	}
	if (rouse_account_resolve(lines, name, ret))
		return 0;
	return refuse_account(path, kind, name, e);
}

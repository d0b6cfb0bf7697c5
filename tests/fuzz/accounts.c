/* SPDX-License-Identifier: Apache-2.0 */
/* passwd, group, shadow and gshadow, separated by NUL bytes, and what a user's authorized_keys hold:
 * whatever is in them, lines survive and making a user twice changes nothing. */
#include "fuzz.h"

#include "../../modules/users/users.h"

static void make_user_twice(struct rouse_accounts *a)
{
	static const char *groups[] = { "wheel", "deploy", "new" };
	const struct user u = { .name = "deploy",
				.groups = { .n = 3, .items = groups },
				.password_hash = "*",
				.shell = "/bin/sh" };
	auto_buf struct rouse_buf what = { 0 }, again = { 0 };
	size_t before = a->files[ROUSE_PASSWD].n;
	struct rouse_err e = { 0 };
	bool new = false;
	uint32_t id = 0;

	if (users_make(a, &u, "/bin/sh", &new, &what, &e) < 0) {
		HOLDS(fuzz_is_one_line(e.text));
		return;
	}
	HOLDS(a->files[ROUSE_PASSWD].n == before + new);
	HOLDS(rouse_lines_id(&a->files[ROUSE_PASSWD], "deploy", ROUSE_PW_UID, &id));
	HOLDS(users_make(a, &u, "/bin/sh", &new, &again, &e) == 0);
	HOLDS(!new &&again.len == 0);
}

static void edit_keys(const char *text)
{
	static const char *keys[] = { "ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b" };
	const struct rouse_list two = { .n = 2, .items = keys }, none = { 0 };
	auto_buf struct rouse_buf once = { 0 }, twice = { 0 }, without = { 0 };

	home_edit_keys(text, &two, &once);
	home_edit_keys(once.data, &two, &twice);
	HOLDS(strcmp(once.data, twice.data) == 0);
	home_edit_keys(once.data, &none, &without);
	HOLDS(!without.data || !strstr(without.data, "\n# begin rouse\n"));
}

FUZZ(accounts)
{
	auto_accounts struct rouse_accounts a = { 0 };

	for (unsigned i = 0; i <= ROUSE_ACCOUNT_FILES_; i++) {
		const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
		size_t len = end ? (size_t)(end - data) : size;
		auto_free char *text = rouse_strndup((const char *)data, len);

		if (i == ROUSE_ACCOUNT_FILES_)
			edit_keys(text);
		else
			HOLDS(rouse_lines_parse(&a.files[i], text, len));
		len += end ? 1 : 0;
		data += len;
		size -= len;
	}
	a.files[ROUSE_GSHADOW].exists = a.files[ROUSE_GSHADOW].n > 0;
	for (unsigned i = 0; i < ROUSE_ACCOUNT_FILES_; i++) {
		struct rouse_lines copy = { 0 };
		auto_buf struct rouse_buf one = { 0 }, two = { 0 };

		rouse_lines_print(&a.files[i], &one);
		HOLDS(rouse_lines_parse(&copy, one.data ? one.data : "", one.len));
		rouse_lines_print(&copy, &two);
		HOLDS(one.len == two.len &&
		      memcmp(one.data ? one.data : "", two.data ? two.data : "", one.len) == 0);
		rouse_lines_done(&copy);
	}
	make_user_twice(&a);
	return 0;
}

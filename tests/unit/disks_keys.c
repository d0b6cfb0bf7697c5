/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#include "../../modules/disks/write.h"

struct fixture {
	struct server server;
	struct rouse_context c;
	struct disks_key place;
	struct disks_luks luks;
	struct rouse_buf key, again;
	struct rouse_err e;
	char *url, dir[32];
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	rouse_fetcher_free(x->c.fetcher);
	disks_key_wipe(&x->key);
	disks_key_wipe(&x->again);
	if (x->url) {
		(void)unlink(x->url);
		free(x->url);
	}
	if (x->dir[0])
		(void)rmdir(x->dir);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

/* An escrow at a server with this scenario; NULL: in a file of its own directory. */
static bool begin(struct fixture *x, const char *scenario)
{
	x->c = (struct rouse_context){ .root = "/",
				       .fetcher = rouse_fetcher_new(),
				       .deadline = rouse_clock_ms() + 60000 };
	x->luks.escrow = &x->place;
	if (!scenario) {
		(void)snprintf(x->dir, sizeof(x->dir), "/tmp/rouse-key-XXXXXX");
		if (!mkdtemp(x->dir))
			return false;
		x->url = rouse_asprintf("%s/key", x->dir);
		x->place.file = x->url;
		return true;
	}
	if (!server_start(&x->server, scenario))
		return false;
	x->url = server_url(&x->server, "/k");
	x->place.url = x->url;
	return true;
}

static void key_is_what_the_document_says(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	const struct disks_key text = { .text = "correct horse" }, base64 = { .base64 = "AAEC" };

	T_CHECK(t, begin(&x, NULL));
	x.luks = (struct disks_luks){ .key = &text };
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.key, &x.e) == 0);
	T_CHECK(t, x.key.len == 13 && memcmp(x.key.data, "correct horse", 13) == 0);
	x.luks.key = &base64;
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.again, &x.e) == 0);
	T_CHECK(t, x.again.len == 3 && memcmp(x.again.data, "\0\1\2", 3) == 0);
}

static void key_is_made_once_and_kept_in_its_file(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	struct stat st;

	T_CHECK(t, begin(&x, NULL));
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.key, &x.e) < 0 && x.e.sys == ENOENT);
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) == 0);
	T_CHECK(t, x.key.len == 88);
	T_CHECK(t,
		stat(x.place.file, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 88);
	/* A run that was cut off behind this goes on with the same key. */
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.again, &x.e) == 0);
	T_CHECK(t, x.again.len == 88 && memcmp(x.again.data, x.key.data, 88) == 0);
}

static void key_at_a_url_is_taken_when_it_is_there(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET /k\": [{\"body\": \"kept before\"}]}"));
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) == 0);
	T_CHECK(t, x.key.len == 11 && memcmp(x.key.data, "kept before", 11) == 0);
}

static void escrow_that_gives_another_key_back_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET /k\": [{\"status\": 404}, {\"body\": \"other\"}],"
			     " \"PUT /k\": [{\"status\": 200}]}"));
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) < 0);
	T_HAS(t, x.e.text, "gives back another one");
	T_CHECK(t, !x.key.data);
}

static void escrow_that_does_not_keep_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE, y = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET /k\": [{\"status\": 404}], \"PUT /k\": [{\"status\": 403}]}"));
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) < 0);
	T_HAS(t, x.e.text, "cannot keep the key in escrow");
	/* What is not allowed to be read may be there: no other key is made. */
	T_CHECK(t, begin(&y, "{\"GET /k\": [{\"status\": 403}]}"));
	T_CHECK(t, disks_key_get(&y.luks, true, &y.c, &y.key, &y.e) < 0);
	T_HAS(t, y.e.text, "cannot read the key");
}

static void key_larger_than_its_limit_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_free char *zeros = rouse_calloc(1, ROUSE_MAX_DISK_KEY + 1);
	auto_fd int fd = -1;

	T_CHECK(t, begin(&x, NULL));
	fd = open(x.place.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	T_CHECK(t, write(fd, zeros, ROUSE_MAX_DISK_KEY) == ROUSE_MAX_DISK_KEY);
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.key, &x.e) == 0);
	T_CHECK(t, x.key.len == ROUSE_MAX_DISK_KEY);
	T_CHECK(t, write(fd, zeros, 1) == 1);
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.again, &x.e) < 0);
}

static void empty_key_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET /k\": [{\"body\": \"\"}]}"));
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) < 0);
	T_HAS(t, x.e.text, "empty");
}

/* At the bucket of $ROUSE_ESCROW, which tests/cloud/s3.sh has; with $ROUSE_ESCROW_REFUSED, as it says. */
static void key_is_kept_in_a_bucket(struct t *t)
{
	const char *refused = getenv("ROUSE_ESCROW_REFUSED");
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, NULL));
	x.place = (struct disks_key){ .url = getenv("ROUSE_ESCROW") };
	if (refused && *refused) {
		T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) < 0);
		T_HAS(t, x.e.text, refused);
		T_CHECK(t, !x.key.data);
		return;
	}
	T_CHECK(t, disks_key_get(&x.luks, false, &x.c, &x.key, &x.e) < 0 && x.e.sys == ENOENT);
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.key, &x.e) == 0);
	T_CHECK(t, x.key.len == 88);
	/* A run that was cut off behind this goes on with the same key. */
	T_CHECK(t, disks_key_get(&x.luks, true, &x.c, &x.again, &x.e) == 0);
	T_CHECK(t, x.again.len == 88 && memcmp(x.again.data, x.key.data, 88) == 0);
}

int main(void)
{
	static const struct t_test tests[] = {
		T(key_is_what_the_document_says),
		T(key_is_made_once_and_kept_in_its_file),
		T(key_at_a_url_is_taken_when_it_is_there),
		T(escrow_that_gives_another_key_back_is_refused),
		T(escrow_that_does_not_keep_is_refused),
		T(key_larger_than_its_limit_is_refused),
		T(empty_key_is_refused),
	};
	static const struct t_test bucket[] = { T(key_is_kept_in_a_bucket) };

	return getenv("ROUSE_ESCROW") ? t_run(bucket, ARRAY_SIZE(bucket))
				      : t_run(tests, ARRAY_SIZE(tests));
}

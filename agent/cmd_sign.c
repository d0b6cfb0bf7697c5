/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/trust.h>

static int sign(const char *key_path, const struct rouse_buf *text, char **ret, struct rouse_err *e)
{
	struct rouse_buf secret = { 0 };
	int r = rouse_read_file(key_path, 4 * KIB, &secret, e);

	if (r == 0) {
		secret.data[strcspn(secret.data, "\r\n")] = '\0';
		r = rouse_sign(secret.data, text->data, text->len, ret, e);
		if (r < 0)
			(void)rouse_wrap(e, "'%s'", key_path);
	}
	if (secret.data)
		explicit_bzero(secret.data, secret.size);
	rouse_buf_done(&secret);
	return r;
}

/* Signs the exact bytes: a document that is printed anew must be signed anew. */
int rouse_cmd_sign(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "key", required_argument, NULL, 'k' }, { 0 } };
	auto_document struct rouse_document d = { 0 };
	auto_root struct rouse_root here = ROUSE_ROOT_INIT;
	auto_free char *signature = NULL, *sig_path = NULL, *line = NULL, *real = NULL;
	auto_buf struct rouse_buf text = { 0 };
	const char *path = NULL, *key = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		key = optarg;
	}
	if (!key)
		return rouse_usage(e, "--key FILE is missing: `rouse keygen NAME` makes one");
	if (rouse_one_argument(argc, argv, "document", &path, e) < 0 ||
	    rouse_read_file(path, ROUSE_MAX_DOCUMENT, &text, e) < 0 ||
	    rouse_document_add(&d, path, text.data, text.len, false, e) < 0 ||
	    sign(key, &text, &signature, e) < 0)
		return -1;
	real = realpath(path, NULL);
	if (!real)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot resolve '%s'", path);
	sig_path = rouse_asprintf("%s.sig", real);
	line = rouse_asprintf("%s\n", signature);
	if (rouse_root_open(&here, "/", e) < 0 ||
	    rouse_fs_replace(&here, sig_path, line, strlen(line), 0644, (uid_t)-1, (gid_t)-1, e) <
		    0)
		return -1;
	(void)printf("%s.sig\n", path);
	return 0;
}

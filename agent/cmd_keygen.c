/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/trust.h>

/* Writes the secret where nothing is yet, for nobody else to read. */
static int write_secret(const char *path, const char *secret, struct rouse_err *e)
{
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s' is there already, and no key is ever overwritten: give "
				  "another name, or --output FILE",
				  path);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s'", path);
	if (rouse_write_all(fd, secret, strlen(secret)) < 0 || rouse_write_all(fd, "\n", 1) < 0 ||
	    fsync(fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write '%s'", path);
	return 0;
}

int rouse_cmd_keygen(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "output", required_argument, NULL, 'o' },
						 { 0 } };
	auto_free char *public = NULL, *secret = NULL, *own = NULL;
	const char *name = NULL, *output = NULL;
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		output = optarg;
	}
	if (rouse_one_argument(argc, argv, "key name", &name, e) < 0 ||
	    rouse_key_generate(name, &public, &secret, e) < 0)
		return -1;
	if (!output)
		output = own = rouse_asprintf("%s.secret", name);
	r = write_secret(output, secret, e);
	explicit_bzero(secret, strlen(secret));
	if (r == 0)
		(void)printf("%s\n", public);
	return r;
}

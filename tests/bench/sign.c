/* SPDX-License-Identifier: Apache-2.0 */
/* Signs each line of its input with the secret key that is its argument: "name:base64(64)" a line. */
#include <string.h>

#include <rouse/mem.h>
#include <rouse/trust.h>

int main(int argc, char **argv)
{
	auto_free char *line = NULL;
	size_t size = 0;
	ssize_t n;

	if (argc != 2)
		return 64;
	while ((n = getline(&line, &size, stdin)) > 0) {
		auto_free char *signature = NULL;
		struct rouse_err e = { 0 };

		n -= line[n - 1] == '\n';
		if (rouse_sign(argv[1], line, (size_t)n, &signature, &e) < 0)
			return 1;
		(void)puts(signature);
		(void)fflush(stdout);
	}
	return 0;
}

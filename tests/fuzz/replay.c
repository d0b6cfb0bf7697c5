/* SPDX-License-Identifier: Apache-2.0 */
/* Runs every harness over its corpus, one test each: what was found once stays fixed, and needs no
 * fuzzer to be checked. Documents and facts of tests/cases are seeds of the document's harness. */
#include "../lib/tap.h"

#include <glob.h>

#include <rouse/fs.h>
#include <rouse/mem.h>

#define HARNESSES(X)                                                                               \
	X(accounts)                                                                                \
	X(dhcp)                                                                                    \
	X(dhcp6)                                                                                   \
	X(disk)                                                                                    \
	X(document)                                                                                \
	X(elements)                                                                                \
	X(index)                                                                                   \
	X(install)                                                                                 \
	X(locate)                                                                                  \
	X(manifest)                                                                                \
	X(metadata)                                                                                \
	X(minisign)                                                                                \
	X(nar)                                                                                     \
	X(netrc)                                                                                   \
	X(narinfo)                                                                                 \
	X(netconf)                                                                                 \
	X(source)                                                                                  \
	X(tally)                                                                                   \
	X(unpack)                                                                                  \
	X(userdata)                                                                                \
	X(values)

#define DECLARE(name) int fuzz_##name(const uint8_t *data, size_t size);
HARNESSES(DECLARE)

static const struct harness {
	const char *name;
	int (*run)(const uint8_t *data, size_t size);
} harnesses[] = {
#define REFER(name) { #name, fuzz_##name },
	HARNESSES(REFER)
};

static bool add_file(const char *path, struct rouse_buf *input)
{
	struct rouse_err e = { 0 };

	if (getenv("V")) { /* make unit V=1 tells which one it was, when it crashes */
		printf("# %s\n", path);
		(void)fflush(stdout);
	}
	if (rouse_read_file(path, 16 << 20, input, &e) == 0)
		return true;
	printf("# %s\n", e.text);
	return false;
}

/* A fresh copy of exactly these bytes, so that the sanitizer sees a read beyond them. */
static void run(const struct harness *h, const struct rouse_buf *input)
{
	auto_free uint8_t *copy = rouse_calloc(input->len, 1);

	if (input->len)
		memcpy(copy, input->data, input->len);
	(void)h->run(copy, input->len);
}

static bool run_corpus(const struct harness *h, size_t *n)
{
	auto_free char *pattern = rouse_asprintf("tests/fuzz/corpus/%s/*", h->name);
	glob_t found = { 0 };
	bool good = true;

	if (glob(pattern, 0, NULL, &found) == 0)
		for (; *n < found.gl_pathc && good; (*n)++) {
			auto_buf struct rouse_buf input = { 0 };

			good = add_file(found.gl_pathv[*n], &input);
			if (good)
				run(h, &input);
		}
	globfree(&found);
	return good;
}

/* document.json, and document.json NUL facts.json where there are facts. */
static bool run_cases(const struct harness *h, size_t *n)
{
	glob_t found = { 0 };
	bool good = glob("tests/cases/*/document.json", 0, NULL, &found) == 0;

	for (size_t i = 0; i < found.gl_pathc && good; i++, (*n)++) {
		auto_buf struct rouse_buf input = { 0 };
		size_t len = strlen(found.gl_pathv[i]) - strlen("document.json");
		auto_free char *facts = rouse_asprintf("%.*sfacts.json", (int)len,
						       found.gl_pathv[i]);

		good = add_file(found.gl_pathv[i], &input);
		if (good && access(facts, R_OK) == 0)
			good = rouse_buf_add(&input, "", 1, SIZE_MAX / 4) == 0 &&
			       add_file(facts, &input);
		if (good)
			run(h, &input);
	}
	globfree(&found);
	return good;
}

int main(void)
{
	bool failed = false;

	printf("1..%zu\n", ARRAY_SIZE(harnesses));
	for (size_t i = 0; i < ARRAY_SIZE(harnesses); i++) {
		const struct harness *h = &harnesses[i];
		size_t n = 0;
		bool cases = strcmp(h->name, "document") == 0 || strcmp(h->name, "locate") == 0;
		bool good = run_corpus(h, &n) && (!cases || run_cases(h, &n)) && n > 0;

		failed |= !good;
		printf("%sok %zu - %s (%zu inputs)\n", good ? "" : "not ", i + 1, h->name, n);
	}
	return failed;
}

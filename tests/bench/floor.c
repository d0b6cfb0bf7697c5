/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pull cannot do without, and nothing else: each narinfo is parsed and its signature checked,
 * each archive unpacked, hashed and written, the largest first. No network, no list of what is valid,
 * no sync. The time that it takes is what `rouse pull` is compared with.
 *
 * floor CACHE-DIR KEY LIST OUT THREADS: LIST has a base name of a store path on each line.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "../../modules/closure/nar.h"
#include "../../modules/closure/narinfo.h"
#include "../../modules/closure/path.h"
#include "../../modules/closure/tree.h"
#include "../../modules/closure/unpack.h"

#define MOST 20000

struct floor {
	const char *cache;
	struct rouse_key key;
	struct rouse_narinfo infos[MOST];
	size_t n, next; /* next: atomic */
	int out;
	struct rouse_arena arena;
};

struct one {
	struct rouse_sha256 *hash;
	struct rouse_unpack *unpack; /* kept from one archive to the next */
	struct rouse_nar nar;
	struct rouse_tree tree;
};

static void die(const struct rouse_err *e)
{
	(void)fprintf(stderr, "floor: %s\n", e->text);
	exit(1);
}

static void read_info(struct floor *f, const char *name)
{
	const struct rouse_cache cache = { .name = "x", .url = "https://x" };
	auto_free char *path = rouse_asprintf("%s/%.32s.narinfo", f->cache, name);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_narinfo *n = &f->infos[f->n++];
	struct rouse_err e = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_NARINFO, &text, &e) < 0 ||
	    rouse_narinfo_parse(n, path, &cache, 1, 0, text.data, text.len, &f->arena, &e) < 0 ||
	    rouse_narinfo_verify(n, path, &f->key, 1, &e) < 0)
		die(&e);
}

static int by_size(const void *a, const void *b)
{
	const struct rouse_narinfo *x = a, *y = b;

	return x->nar_size < y->nar_size ? 1 : x->nar_size > y->nar_size ? -1 : 0;
}

static int take_bytes(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct one *o = arg;

	rouse_sha256_update(o->hash, data, n);
	return rouse_nar_feed(&o->nar, data, n, e);
}

static void write_one(struct floor *f, const struct rouse_narinfo *n, struct one *o, char *in,
		      char *buf)
{
	auto_free char *path = rouse_asprintf("%s/%s", f->cache, n->url);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct rouse_err e = { 0 };
	uint8_t hash[ROUSE_SHA256_LEN];
	ssize_t got;

	if (o->unpack && (rouse_unpack_compression(o->unpack) != n->compression ||
			  !rouse_unpack_reset(o->unpack, o)))
		rouse_unpack_free(take(o->unpack, NULL));
	if (!o->unpack && !(o->unpack = rouse_unpack_new(n->compression, 1, take_bytes, o, &e)))
		die(&e);
	rouse_sha256_reset(o->hash);
	rouse_tree_begin(&o->tree, f->out, n->name);
	rouse_nar_begin(&o->nar, n->nar_size, &rouse_tree_ops, &o->tree);
	while ((got = read(fd, in, ROUSE_UNPACK_BUFFER)) > 0)
		if (rouse_unpack_feed(o->unpack, in, (size_t)got, buf, ROUSE_UNPACK_BUFFER, &e) < 0)
			die(&e);
	if (rouse_unpack_end(o->unpack, buf, ROUSE_UNPACK_BUFFER, &e) < 0 ||
	    rouse_nar_end(&o->nar, &e) < 0)
		die(&e);
	rouse_sha256_final(o->hash, hash);
	rouse_tree_done(&o->tree);
	if (memcmp(hash, n->nar_hash, sizeof(hash)) != 0)
		exit(1);
}

static void *work(void *arg)
{
	struct floor *f = arg;
	auto_free char *in = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
	auto_free char *buf = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
	struct one o = { .hash = rouse_sha256_new() };
	size_t i;

	while ((i = __atomic_fetch_add(&f->next, 1, __ATOMIC_RELAXED)) < f->n)
		write_one(f, &f->infos[i], &o, in, buf);
	rouse_unpack_free(o.unpack);
	rouse_sha256_free(o.hash);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct floor f;
	auto_buf struct rouse_buf list = { 0 };
	struct rouse_err e = { 0 };
	pthread_t threads[64];
	uint64_t n = 0;
	char *save = NULL;

	if (argc != 6 || !rouse_parse_u64(argv[5], 64, &n) || !n)
		return 64;
	f.cache = argv[1];
	f.out = open(argv[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f.out < 0 || rouse_key_parse(&f.key, argv[2], &e) < 0 ||
	    rouse_read_file(argv[3], 16 * MIB, &list, &e) < 0)
		die(&e);
	for (char *name = strtok_r(list.data, "\n", &save); name && f.n < MOST;
	     name = strtok_r(NULL, "\n", &save))
		read_info(&f, name);
	qsort(f.infos, f.n, sizeof(f.infos[0]), by_size);
	for (uint64_t i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, work, &f) != 0)
			return 1;
	for (uint64_t i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	return 0;
}

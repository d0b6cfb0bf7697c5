/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LUKS volumes by cryptsetup(8): a process of its own has a deadline, and its key derivation cannot
 * take the agent's memory. Keys go through its standard input, or through a file in memory that only
 * we and it can open. A key that a TPM keeps is put there by systemd-cryptenroll(1), so that systemd
 * opens such a volume, too.
 */
#include "write.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define MAX_ARGS 32
/* A key of so many bytes is random, and needs no slow derivation. */
#define LONG_KEY 32

AUTO_DEFINE(DIR *, dir, (void)closedir, NULL)

/* ---- observing ------------------------------------------------------------------------------- */

/* "CRYPT-LUKS2-0123…cdef-NAME" */
static bool parse_uuid(const char *s, char ret[static DISKS_GUID_LEN])
{
	const char *hex = rouse_strip_prefix(s, "CRYPT-LUKS2-");
	uint8_t bytes[16];
	char digits[33];

	if (!hex && !(hex = rouse_strip_prefix(s, "CRYPT-LUKS1-")) &&
	    !(hex = rouse_strip_prefix(s, "CRYPT-VERITY-")))
		return false;
	(void)snprintf(digits, sizeof(digits), "%s", hex);
	if (!rouse_unhex(bytes, sizeof(bytes), digits))
		return false;
	disks_uuid_print(bytes, ret);
	return true;
}

static void add_mapping(const char *dm, json_t *list)
{
	auto_free char *uuid_path = rouse_asprintf("/sys/block/%s/dm/uuid", dm);
	auto_free char *name_path = rouse_asprintf("/sys/block/%s/dm/name", dm);
	char line[192], name[160], uuid[DISKS_GUID_LEN];
	auto_free char *node = NULL;
	json_t *m, *content = NULL;
	struct rouse_err e = { 0 };
	auto_fd int fd = -1;
	uint64_t size = 0;
	int sector = 512;

	if (!rouse_read_line(uuid_path, line, sizeof(line)) || !parse_uuid(line, uuid) ||
	    !rouse_read_line(name_path, name, sizeof(name)))
		return;
	node = rouse_asprintf("%s%s", DISKS_MAPPER_DIR, name);
	m = json_object();
	rouse_json_set_string(m, "device", node);
	rouse_json_set_string(m, "name", name);
	rouse_json_set_string(m, "uuid", uuid);
	fd = open(node, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, BLKGETSIZE64, &size) == 0 && ioctl(fd, BLKSSZGET, &sector) == 0 &&
	    disks_content_read(fd, 0, size, (uint64_t)sector, &content, &e) == 0) {
		disks_usage_of(dm, content);
		rouse_json_set(m, "content", content);
	}
	rouse_json_set_int(m, "size", size);
	rouse_json_append(list, m);
}

void disks_crypt_observe(json_t *facts)
{
	auto_of(dir) DIR *dir = opendir("/sys/block");
	json_t *list = json_array();
	struct dirent *d;

	rouse_json_set(facts, "mappings", list);
	while (dir && (d = readdir(dir)))
		if (strncmp(d->d_name, "dm-", 3) == 0 &&
		    json_array_size(list) < ROUSE_MAX_MACHINE_DISKS)
			add_mapping(d->d_name, list);
}

/* ---- programs -------------------------------------------------------------------------------- */

struct command {
	const char *argv[MAX_ARGS];
	size_t n;
};

static void add(struct command *c, const char *arg)
{
	if (c->n + 1 < ARRAY_SIZE(c->argv))
		c->argv[c->n++] = arg;
}

/* Where no udev runs, its nodes are made by libdevmapper itself. */
static int run(const struct command *c, const struct rouse_buf *key, uint64_t limit,
	       struct rouse_err *e)
{
	static const char *const with[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL };
	static const char *const without[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C",
					       "DM_DISABLE_UDEV=1", NULL };
	bool udev = access("/run/udev/control", F_OK) == 0;
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_CRYPTSETUP;
	const struct rouse_proc proc = {
		.argv = c->argv,
		.env = udev ? with : without,
		.input = key ? key->data : NULL,
		.input_len = key ? key->len : 0,
		.deadline = limit && limit < deadline ? limit : deadline,
	};

	return rouse_proc_check(&proc, e);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* What becomes a LUKS volume bears our mark, whatever a run that was cut off left of it; or nobody cares
 * what it holds. Then it has the second mark, which stays until the volume is open. */
static int prepare_node(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct disks_target t = { .fd = -1 };
	auto_json json_t *content = NULL;
	auto_fd int fd = -1;
	bool may = a->fresh;
	uint8_t uuid[16];
	const json_t *s;
	size_t i;

	if (disks_open_node(a->source, deadline, &t, e) < 0)
		return -1;
	fd = t.fd;
	if (disks_content_read(fd, 0, t.size, t.sector, &content, e) < 0)
		return -1;
	json_array_foreach (json_object_get(content, "signatures"), i, s)
		may |= rouse_streq(json_string_value(json_object_get(s, "label")),
				   DISKS_PENDING_LABEL);
	if (!may || !disks_parse_uuid(a->luks_uuid, uuid))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s' has changed since the plan was made: plan again",
				  a->source);
	t.uuid = uuid;
	return disks_mark_again(&t, DISKS_MARK_OF_LUKS, e);
}

static int format(const struct disks_action *a, const struct rouse_buf *key, uint64_t deadline,
		  struct rouse_err *e)
{
	struct command c = { .argv = { "cryptsetup", "luksFormat", "--type", "luks2",
				       "--batch-mode", "--uuid", a->luks_uuid, "--label",
				       DISKS_PENDING_LABEL, "--key-file", "-" },
			     .n = 11 };

	add(&c, "--pbkdf");
	if (key->len >= LONG_KEY) {
		add(&c, "pbkdf2");
		add(&c, "--pbkdf-force-iterations");
		add(&c, "1000");
	} else { /* within the memory of a small machine */
		add(&c, "argon2id");
		add(&c, "--pbkdf-memory");
		add(&c, "65536");
		add(&c, "--iter-time");
		add(&c, "1000");
	}
	add(&c, a->source);
	return run(&c, key, deadline, e);
}

/* Into the TPM, as systemd-cryptsetup opens it. The program reads the key from a file. */
static int enrol(const struct disks_action *a, const struct rouse_buf *key, uint64_t deadline,
		 struct rouse_err *e)
{
	auto_fd int fd = memfd_create("key", MFD_CLOEXEC);
	auto_free char *file = rouse_asprintf("--unlock-key-file=/proc/%d/fd/%d", (int)getpid(),
					      fd);
	auto_buf struct rouse_buf pcrs = { 0 };
	const int64_t *pcr = a->luks->tpm2->pcrs.items;
	struct command c = { .argv = { "systemd-cryptenroll", "--tpm2-device=auto", file },
			     .n = 3 };

	if (fd < 0 || fchmod(fd, 0600) < 0 || rouse_write_all(fd, key->data, key->len) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot hand a key over");
	rouse_buf_printf(&pcrs, "--tpm2-pcrs=");
	for (size_t i = 0; i < a->luks->tpm2->pcrs.n; i++)
		rouse_buf_printf(&pcrs, "%s%lld", i ? "+" : "", (long long)pcr[i]);
	if (!a->luks->tpm2->pcrs.n)
		rouse_buf_printf(&pcrs, "7");
	add(&c, pcrs.data);
	add(&c, a->source);
	return run(&c, NULL, deadline, e);
}

static int open_with_key(const struct disks_action *a, const struct rouse_buf *key,
			 uint64_t deadline, struct rouse_err *e)
{
	struct command c = { .argv = { "cryptsetup", "open", "--type", "luks", "--key-file", "-" },
			     .n = 6 };

	if (a->luks->discard)
		add(&c, "--allow-discards");
	add(&c, a->source);
	add(&c, a->name);
	return run(&c, key, deadline, e);
}

/* Where the key is, for a boot that has no document: a path is no secret, a URL may hold some. */
static int note_key(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const struct command c = { .argv = { "cryptsetup", "token", "import", "--json-file", "-",
					     a->source } };
	const struct disks_key *k = a->luks->escrow ? a->luks->escrow : a->luks->key;
	auto_json json_t *token = NULL;
	auto_free char *text = NULL;

	if (!k || !k->file)
		return 0;
	token = json_pack("{s:s, s:[s], s:s}", "type", DISKS_KEY_TOKEN, "keyslots", "0", "file",
			  k->file);
	text = token ? json_dumps(token, JSON_COMPACT) : NULL;
	if (!text)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot note where a key is");
	return run(&c, &(struct rouse_buf){ .data = text, .len = strlen(text) }, deadline, e);
}

/* A key that only the TPM keeps leaves no other way in. */
static int forget_key(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const struct command c = { .argv = { "cryptsetup", "luksKillSlot", "--batch-mode",
					     a->source, "0" } };

	return run(&c, NULL, deadline, e);
}

static int finish(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const struct command c = { .argv = { "cryptsetup", "config", a->source, "--label",
					     a->label } };

	return run(&c, NULL, deadline, e);
}

void disks_lock(const char *name)
{
	const struct command c = { .argv = { "cryptsetup", "close", name } };
	struct rouse_err in_use = { 0 };

	if (run(&c, NULL, rouse_clock_ms() + ROUSE_DEADLINE_CRYPTSETUP, &in_use) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "disks", "%s", in_use.text);
}

/* From a run that was cut off, and went on in this boot. */
static int close_stale(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	auto_free char *node = rouse_asprintf("%s%s", DISKS_MAPPER_DIR, a->name);
	const struct command c = { .argv = { "cryptsetup", "close", a->name } };

	return access(node, F_OK) == 0 ? run(&c, NULL, deadline, e) : 0;
}

static int encrypt(const struct disks_action *a, const struct rouse_buf *key, uint64_t deadline,
		   struct rouse_err *e)
{
	auto_free char *node = rouse_asprintf("%s%s", DISKS_MAPPER_DIR, a->name);

	if (close_stale(a, deadline, e) < 0 || prepare_node(a, deadline, e) < 0 ||
	    format(a, key, deadline, e) < 0 || (a->luks->tpm2 && enrol(a, key, deadline, e) < 0) ||
	    note_key(a, deadline, e) < 0 || open_with_key(a, key, deadline, e) < 0 ||
	    disks_mark_inside(a, node, deadline, e) < 0)
		return -1;
	if (!a->luks->key && !a->luks->escrow && forget_key(a, deadline, e) < 0)
		return -1;
	return finish(a, deadline, e);
}

/* ---- using ----------------------------------------------------------------------------------- */

static int open_with_tpm(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct command c = { .argv = { "cryptsetup", "open", "--type", "luks2", "--token-only",
				       "--token-type", "systemd-tpm2" },
			     .n = 7 };

	if (a->luks->discard)
		add(&c, "--allow-discards");
	add(&c, a->source);
	add(&c, a->name);
	return run(&c, NULL, deadline, e);
}

static int resize(const struct disks_action *a, const struct rouse_buf *key, uint64_t deadline,
		  struct rouse_err *e)
{
	const struct command with_key = { .argv = { "cryptsetup", "resize", "--key-file", "-",
						    a->name } };
	const struct command with_tpm = { .argv = { "cryptsetup", "resize", "--token-only",
						    "--token-type", "systemd-tpm2", a->name } };

	return run(key ? &with_key : &with_tpm, key, deadline, e);
}

/* The TPM first; where it does not open it (a new machine, other firmware) the key does. */
static int use(unsigned op, const struct disks_action *a, const struct rouse_context *c,
	       struct rouse_err *e)
{
	bool has_key = a->luks->key || a->luks->escrow;
	struct rouse_buf key = { 0 };
	int r;

	if (a->luks->tpm2) {
		r = op == DISKS_OP_OPEN ? open_with_tpm(a, c->deadline, e)
					: resize(a, NULL, c->deadline, e);
		if (r == 0 || !has_key)
			return r;
		rouse_log(ROUSE_LOG_WARNING, "disks", "%s; using the key, ignoring", e->text);
		*e = (struct rouse_err){ 0 };
	}
	if (disks_key_get(a->luks, false, c, &key, e) < 0)
		return -1;
	r = op == DISKS_OP_OPEN ? open_with_key(a, &key, c->deadline, e)
				: resize(a, &key, c->deadline, e);
	disks_key_wipe(&key);
	return r;
}

static int load_modules(struct rouse_err *e)
{
	static const char *const modules[] = { "dm-mod", "dm-crypt", "aes", "ecb",
					       "xts",    "sha256",   NULL };

	return rouse_kmod_load_all(modules, e);
}

int disks_crypt_apply(unsigned op, const struct disks_action *a, const struct rouse_buf *key,
		      const struct rouse_context *c, struct rouse_err *e)
{
	struct rouse_buf own = { 0 };
	int r;

	if (c->initramfs && load_modules(e) < 0)
		return -1;
	if (op != DISKS_OP_ENCRYPT)
		return use(op, a, c, e);
	if (!key && disks_key_get(a->luks, true, c, &own, e) < 0)
		return -1;
	r = encrypt(a, key ? key : &own, c->deadline, e);
	disks_key_wipe(&own);
	return r;
}

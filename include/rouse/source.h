/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: where a document comes from. `detect` looks at local facts only (DMI, labels, command
 * line): nothing touches the network before something local identifies the cloud.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

/* A filesystem that may have been made to be read at boot: vfat, iso9660 or udf. */
struct rouse_seed {
	char device[64]; /* "/dev/vdb" */
	char type[16];   /* "vfat" */
	char label[40];  /* "cidata"; "" when it has none */
	char uuid[40];   /* as blkid writes it; "" when it has none */
};
#define ROUSE_MAX_SEEDS 16 /* a machine has one or two of them, and an EFI partition */

/* What sources look at; paths are relative to `sysroot` so that tests describe machines as trees. */
struct rouse_machine {
	const char *sysroot; /* "" on a real machine: then /sys, /proc, /dev */
	char *cmdline;       /* /proc/cmdline, of a container its first process's; owned */
	bool container;      /* what /sys says of the hardware is about somebody else's machine */
	bool looked;         /* at the disks; see rouse_machine_seed() */
	bool told;           /* for tests: the filesystems are those below, nobody looks */
	size_t n_seeds;
	struct rouse_seed seeds[ROUSE_MAX_SEEDS];
	/* For tests: what VMware's tools would say. 1, 0 when there is no such value, or -1. */
	int (*guestinfo)(const char *key, struct rouse_buf *ret, struct rouse_err *e);
};
/* Reads what the firmware, the kernel command line and the ports say; `sysroot` is "" but in tests, and
 * outlives the machine. */
must_check int rouse_machine_open(struct rouse_machine *m, const char *sysroot,
				  struct rouse_err *e);
void rouse_machine_done(struct rouse_machine *m);
/* First line of <sysroot>/sys/class/dmi/id/NAME, blanks trimmed; false when absent or empty (all
 * 0xff counts as empty). */
bool rouse_machine_dmi(const struct rouse_machine *m, const char *name, char *buf, size_t size);
/* The filesystem with this label (any case), or NULL; *ret_n, which may be NULL, gets how many have
 * it. The disks are looked at once; `again` looks once more. */
const struct rouse_seed *rouse_machine_seed(struct rouse_machine *m, const char *label, bool again,
					    unsigned *ret_n);
/* Is there a file (socket, directory) at <sysroot>PATH? */
bool rouse_machine_has(const struct rouse_machine *m, const char *path);
/* Value of `name=` on the kernel command line (the last one counts), or NULL; a bare `name` gives "".
 * Caller frees. */
char *rouse_machine_cmdline(const struct rouse_machine *m, const char *name);

/* What a source found out. */
struct rouse_found {
	struct rouse_instance instance; /* strings in arena */
	struct rouse_arena arena;
	char *user_data; /* as delivered; NULL: this source says that there is none */
	size_t user_data_len;
	char *url, *sha256; /* instead of user-data: a pointer to the document */
	const char *source; /* name of the source */
};
void rouse_found_done(struct rouse_found *f);

struct service; /* of modules/sources */

/* A source that the firmware identifies: any of the fields matches (fnmatch(3)). */
#define ROUSE_SOURCE_MAX_DMI 8
struct rouse_source_dmi {
	const char *field, *pattern;
};

struct rouse_source {
	const char *name; /* "ec2" */
	bool network;     /* fetch needs the network */
	/* Does something local identify this source? `why` gets one line for people. */
	bool (*detect)(const struct rouse_source *s, struct rouse_machine *m, char *why,
		       size_t why_size);
	int (*fetch)(const struct rouse_source *s, struct rouse_machine *m, struct rouse_fetcher *f,
		     uint64_t deadline, struct rouse_found *ret, struct rouse_err *e);
	/* The instance's id as the firmware has it, with no network; NULL: this cloud's has none. With
	 * `same_identity` the service must say the same, or is not what it seems. */
	bool (*identity)(const struct rouse_machine *m, char *buf, size_t size);
	bool same_identity;
	const struct service *service; /* of sources that ask a metadata service */
	struct rouse_source_dmi dmi[ROUSE_SOURCE_MAX_DMI];
};
extern const struct rouse_source *const rouse_sources[]; /* in order of preference; NULL-ended */

/* The first source that detects itself, or NULL; looks at the disks anew. */
const struct rouse_source *rouse_source_detect(struct rouse_machine *m, char *why, size_t why_size);
/* What is known of the instance without asking anybody: its id where the firmware has it, and what
 * tells this machine from others. For a boot that cannot ask. */
void rouse_source_recall(const struct rouse_source *s, const struct rouse_machine *m,
			 struct rouse_found *ret);

/* Undoes gzip and base64 around user-data, recognises a document, a pointer document or one line
 * "URL#sha256=…", and fills ret->url/sha256 or leaves the document in user_data. */
must_check int rouse_userdata_unwrap(struct rouse_found *f, struct rouse_err *e);

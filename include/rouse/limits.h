/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the agent in one place, each with its reason. Sizes in bytes, times in ms. */
#pragma once

#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* A document: user-data ends at 16 KiB on EC2; one in a bucket holds a fleet's files. */
#define ROUSE_MAX_DOCUMENT (1 * MIB)
/* A document's generation: what every reader of JSON holds exactly (2^53). */
#define ROUSE_MAX_GENERATION (INT64_C(1) << 53)
/* A detached signature: minisign's has 300 bytes and a comment, ours a line for each key. */
#define ROUSE_MAX_SIGNATURE (16 * KIB)
/* Nesting of JSON values: the schema needs 8; jansson recurses on its input. */
#define ROUSE_MAX_JSON_DEPTH 64
/* Layers of one document: from, document, and overrides. */
#define ROUSE_MAX_LAYERS 32
/* The layers that a boot keeps: a document and its four bases, each byte at worst escaped. */
#define ROUSE_MAX_LAYERS_TEXT (12 * MIB)
/* Problems that `rouse check` prints before it stops counting. */
#define ROUSE_MAX_PROBLEMS 64
/* A metadata answer (identity document, instance id…). */
#define ROUSE_MAX_METADATA (64 * KIB)
/* Tags of an instance, and keys for SSH that its cloud passes on: EC2 has 50 tags, OpenStack 128. */
#define ROUSE_MAX_TAGS 128
#define ROUSE_MAX_INSTANCE_KEYS 64
/* Lines and nesting of a configuration in YAML: a network of 16 cards has 300 lines, 6 levels deep. */
#define ROUSE_MAX_YAML_LINES 2048
#define ROUSE_MAX_YAML_DEPTH 32
/* Parts of a MIME message in user-data: people send two or three. */
#define ROUSE_MAX_MIME_PARTS 64
/* user-data as delivered, and after gzip or base64 around it was undone. */
#define ROUSE_MAX_USERDATA (1 * MIB)
/* Recorded facts and reports that are read back. */
#define ROUSE_MAX_FACTS (4 * MIB)
/* A file that a document replaces, kept to be put back: configuration is far smaller. */
#define ROUSE_MAX_ORIGINAL (16 * MIB)
/* Units of one document, and what is read of a unit file: the longest of a distribution is 6 KiB. */
#define ROUSE_MAX_UNITS 256
#define ROUSE_MAX_UNIT_FILE (256 * KIB)
/* Names on one [Install] key, and units that "Also=" leads to. */
#define ROUSE_MAX_INSTALL 64
/* One question to the service manager: it may be busy with a whole boot. */
#define ROUSE_DEADLINE_SYSTEMCTL 60000
/* One account file or authorized_keys: thousands of accounts are still under it. */
#define ROUSE_MAX_ACCOUNTS (4 * MIB)
/* Mount points without a disk, and layers of one overlay: the kernel takes one page of options. */
#define ROUSE_MAX_MOUNTS 64
#define ROUSE_MAX_OVERLAY_LAYERS 16
/* The table of filesystems: a line for each of 128 partitions on 32 disks. */
#define ROUSE_MAX_FSTAB (512 * KIB)
/* Settings of the image. */
#define ROUSE_MAX_SETTINGS (256 * KIB)
/* Kernel command line: COMMAND_LINE_SIZE is 2 KiB on x86, 4 KiB at most elsewhere. */
#define ROUSE_MAX_CMDLINE (4 * KIB)
/* Output of a program that is kept: enough for its last words and for `--json` reports. */
#define ROUSE_MAX_PROGRAM_OUTPUT (1 * MIB)
/* Response headers of one request, all together. */
#define ROUSE_MAX_HEADERS (64 * KIB)
/* What is kept of the body of an error answer: an XML or JSON reason is under 2 KiB. */
#define ROUSE_MAX_ERROR_BODY (16 * KIB)

/* A narinfo: a NixOS root has 500–1500 references of ~60 bytes, under 100 KiB. */
#define ROUSE_MAX_NARINFO (1 * MIB)
/* Paths of one closure: desktops have 1400; room for ten of them. */
#define ROUSE_MAX_CLOSURE_PATHS 16384
/* Binary caches of one document: a fleet has its own, and the world's. */
#define ROUSE_MAX_CACHES 16
/* A netrc file: a line for each server. */
#define ROUSE_MAX_NETRC (64 * KIB)
/* A closure manifest: 2000 paths are 1.5 MiB; the most paths with ten references each. */
#define ROUSE_MAX_MANIFEST (32 * MIB)
/* Signatures of one text that are verified: an object is signed by one or two keys; each costs 0.1 ms. */
#define ROUSE_MAX_SIGNATURES 16
/* References of one path. */
#define ROUSE_MAX_REFERENCES 16384
/* An index of a channel, as it comes and unpacked: packages.json of 150,000 packages has 60 MB. */
#define ROUSE_MAX_INDEX (256 * MIB)
/* A job's answer: Hydra tells of every output and every evaluation of a build. */
#define ROUSE_MAX_JOB (4 * MIB)
/* `rouse lock`: indexes, and the walk over all closures. */
#define ROUSE_DEADLINE_LOCK 600000
/* A NAR, unpacked, and the sum of a closure. */
#define ROUSE_MAX_NAR_SIZE (64 * GIB)
#define ROUSE_MAX_CLOSURE_SIZE (512 * GIB)
/* Node levels of a NAR: Nix parses 64 and refuses the 65th. */
#define ROUSE_MAX_NAR_DEPTH 64
/* zstd window (log2) and xz memory that a decoder may ask for: level 19 needs 2^23, -6 8 MiB. */
#define ROUSE_MAX_ZSTD_WINDOW_LOG 27
#define ROUSE_MAX_XZ_MEMORY (96 * MIB)
/* Blocks of xz that are decoded side by side: two of xz -6, which are 24 MiB each. It is done for an
 * archive of this size that would otherwise keep the others waiting. */
#define ROUSE_PULL_XZ_BLOCKS (80 * MIB)
#define ROUSE_PULL_XZ_THREADS (32 * MIB)
/* The list of registered paths: 16384 of them with 30 references each. */
#define ROUSE_MAX_REGISTRATION (64 * MIB)
/* Systems that are remembered as having been healthy; more than are ever kept. */
#define ROUSE_MAX_HEALTHY 64
/* Programs of one profile; a person's has dozens. */
#define ROUSE_MAX_PROGRAMS 256
/* The manifest.json of a profile: Nix writes under 1 KiB for a program. */
#define ROUSE_MAX_PROFILE_MANIFEST (1 * MIB)
/* Programs that a manifest may list, users' own included. */
#define ROUSE_MAX_ELEMENTS 1024
/* Links and directories of a profile: where two programs share a directory, each file of it is one. */
#define ROUSE_MAX_PROFILE_LINKS 65536
/* Deleting, and switching the boot loader to another generation. */
#define ROUSE_DEADLINE_GC 1200000
#define ROUSE_DEADLINE_SWITCH 300000
/* Asking Nix for its list, and telling it ours: 33 ms for 463 paths; its database may be locked. */
#define ROUSE_DEADLINE_NIX 60000
/* How often a lock that another rouse holds is tried again. */
#define ROUSE_LOCK_POLL 100
/* Caches that keep archives elsewhere redirect once or twice. */
#define ROUSE_CACHE_REDIRECTS 4
/* Sizes that a single cache claims, all together, before the others are asked about them. */
#define ROUSE_CLOSURE_CLAIMS (16 * MIB)
/* Tries of a request while another cache may still answer it. */
#define ROUSE_CACHE_TRIES 3
/* A cache is far when an answer takes so many milliseconds: a round trip for each would be most of the
 * time, so that more are asked for at once. */
#define ROUSE_CACHE_FAR 15
/* Requests in flight during the walk. */
#define ROUSE_WALK_CONNECTIONS 24
#define ROUSE_WALK_CONNECTIONS_FAR 96
/* Answers that wait for the thread that checks them, before the one that asks lends a hand. */
#define ROUSE_WALK_CHECKS 8
#define ROUSE_MAX_PULL_WORKERS 4
/* What is worth another worker: a second of hashing and unpacking on a slow processor. */
#define ROUSE_PULL_WORTH (64 * MIB)
#define ROUSE_PULL_PATH (64 * KIB)

/* NARs in flight in one worker: most are tiny, and a round trip each would be all of the time. In all
 * workers together, where the cache is far. */
#define ROUSE_PULL_PARALLEL 16
#define ROUSE_PULL_PARALLEL_FAR 64
/* What one archive in flight is reckoned at: connection, TLS and decoder, and a window no larger than
 * what it unpacks to (zstd -19 and xz -6 have 8 MiB). What a worker may have in flight beyond its
 * first. With the rest of the agent this stays below 32 MiB. */
#define ROUSE_PULL_JOB (384 * KIB)
#define ROUSE_PULL_WINDOW (8 * MIB)
#define ROUSE_PULL_SHARE (5 * MIB)
#define ROUSE_PULL_SHARE_FAR (7 * MIB)
/* Of a far cache a worker asks for more archives than it has memory for; what comes too early waits in the
 * kernel's buffers. Small ones have memory of their own beside the large ones, and huge ones are not waited
 * for, so that no server loses its patience. What is small, what is not huge, and how much of each of the two is
 * asked for ahead, where no archive counts more than what a kernel keeps unread (tcp(7), tcp_rmem). */
#define ROUSE_PULL_SMALL (2 * MIB)
#define ROUSE_PULL_MEDIUM (32 * MIB)
#define ROUSE_PULL_UNREAD (4 * MIB)
#define ROUSE_PULL_AHEAD (16 * MIB)
#define ROUSE_PULL_SHARE_SMALL (4 * MIB)
/* What windows and buffers gave back, and waits for the next ones. */
#define ROUSE_PULL_HEAP (20 * MIB)
/* A decoder that has become larger than this is not kept for the next archive (zstd -3: 2.5 MiB). */
#define ROUSE_PULL_KEEP (4 * MIB)
/* Output of a decoder before it is hashed and written: fits a CPU's L2 cache. */
#define ROUSE_UNPACK_BUFFER (128 * KIB)
/* What is written before the disk is told to begin with it. */
#define ROUSE_PULL_FLUSH (96 * MIB)
/* `rouse pull` without --timeout: it ends when nothing comes any more. */
#define ROUSE_PULL_TIMEOUT (UINT64_C(30) * 24 * 3600 * 1000)
/* Without a byte of any archive, and for one small answer with all its tries: then a pull has failed. */
#define ROUSE_PULL_STALL 120000
/* How often progress is told, and finished paths are registered during a long pull. */
#define ROUSE_PULL_TICK 200
#define ROUSE_PULL_CHECKPOINT 15000
/* For what a pull's child says while its parent waits for the disk: a thousand paths. */
#define ROUSE_PULL_TALK (1024 * 1024)
/* Descriptors for the open directories of trees: workers x in flight x levels of a deep one. */
#define ROUSE_PULL_DESCRIPTORS 8192

/* Deadlines of the boot's phases (ms on CLOCK_BOOTTIME); their sum is the total. */
#define ROUSE_DEADLINE_LINK 30000
#define ROUSE_DEADLINE_LEASE 60000
#define ROUSE_DEADLINE_SOURCE 120000
#define ROUSE_DEADLINE_DOCUMENT 180000
#define ROUSE_DEADLINE_FACTS 330000
#define ROUSE_DEADLINE_PREPARE 180000
#define ROUSE_DEADLINE_APPLY 1200000
#define ROUSE_DEADLINE_HANDOFF 60000
#define ROUSE_DEADLINE_BOOT 2160000 /* their sum: what pid 1 waits when the image says nothing */
/* Behind that, for a run that has only the fallback and the verdict left, with its signals. */
#define ROUSE_DEADLINE_GIVE_UP 240000
#define ROUSE_DEADLINE_HEALTH 300000 /* default of health.deadline */

/* One request: connect, and the time without a byte after which a transfer is stalled. */
#define ROUSE_CONNECT_TIMEOUT 10000
#define ROUSE_STALL_TIMEOUT 60000
/* One try at a metadata service, which is a hop away; a slow one is asked again. */
#define ROUSE_METADATA_TRY 10000
/* Back-off between tries: full jitter in [0, min(cap, base << n)]. */
#define ROUSE_BACKOFF_BASE 250
#define ROUSE_BACKOFF_CAP 10000
/* What is still tried after this long is told, and again after the second. */
#define ROUSE_RETRY_TELL 3000
#define ROUSE_RETRY_TELL_AGAIN 30000
/* How long a fresh instance's role may take to appear: seconds were seen. */
#define ROUSE_ROLE_WAIT 30000
/* Buckets whose region is remembered: a document's, its bases', and some caches'. */
#define ROUSE_MAX_BUCKETS 16
/* The longest Retry-After that is honoured. */
#define ROUSE_MAX_RETRY_AFTER 120000
/* Waiting for useradd(8) and the like to let go of the account files, as long as lckpwdf(3) does. */
#define ROUSE_ACCOUNTS_LOCK_TIMEOUT 15000
/* A program that is asked to end gets this long before SIGKILL. */
#define ROUSE_KILL_GRACE 2000

/* Progress of long work: from when on, how often on a terminal, and how seldom in the end on a serial line. */
#define ROUSE_PROGRESS_FIRST 2000
#define ROUSE_PROGRESS_TERMINAL 1000
#define ROUSE_PROGRESS_MOST 30000
/* One event to the host: a port that nobody reads must not hold up a boot. */
#define ROUSE_PORT_TIMEOUT 2000
/* One structure of the firmware's tables, or a credential: their lengths have 16 bits. */
#define ROUSE_MAX_SMBIOS (64 * KIB)
/* Health checks: how long one try may take when the document does not say; the pause between tries
 * (both cost next to nothing, but systemd has a boot to finish); how long a phone-home may hold up
 * the end. */
#define ROUSE_CHECK_TIMEOUT 5000
#define ROUSE_CHECK_INTERVAL 250
#define ROUSE_CHECK_INTERVAL_UNIT 500
#define ROUSE_CHECK_TIMEOUT_EXEC 30000
#define ROUSE_CHECK_INTERVAL_EXEC 1000
#define ROUSE_SIGNAL_TIMEOUT 10000
/* Signals that act upon the machine, or lose it when they do not arrive (a group's lifecycle action, a
 * stack's): how long they are tried. Shorter than what the parent waits for an aborted boot's verdict. */
#define ROUSE_SIGNAL_GROUP 120000
/* An action of a lifecycle hook is refused until the group knows of it; then there is none. */
#define ROUSE_SIGNAL_RACE 45000
#define ROUSE_SIGNAL_RACE_PAUSE 5000
/* Health checks, signals and a hold, where no service manager bounds them: more than they can take together. */
#define ROUSE_DEADLINE_SUPERVISE 93600000
/* A group's hook waits an hour when nobody says otherwise; Amazon allows 30 s to two hours, and heartbeats make
 * it a hundred times that at most, or two days. */
#define ROUSE_HOOK_TIMEOUT 3600000
#define ROUSE_HOOK_TIMEOUTS 100
#define ROUSE_HOOK_LONGEST 172800000
/* In a warm pool: how often the metadata service is asked whether the machine is wanted. */
#define ROUSE_WARM_POLL 5000
/* The fleet's breaker: how many failures open it, how long they count, and how long asking may hold up a boot,
 * which goes on without an answer. A page of a listing has at most 1000 entries of some 400 bytes; so many pages
 * can be had within that time. */
#define ROUSE_FLEET_FAILURES 3
#define ROUSE_FLEET_WINDOW 3600000
#define ROUSE_FLEET_TIMEOUT 10000
#define ROUSE_MAX_LISTING (1 * MIB)
#define ROUSE_MAX_LISTING_PAGES 50
/* An answer of a Query API: the description of one instance or of a group's hooks is a few KiB. */
#define ROUSE_MAX_QUERY_ANSWER (256 * KIB)
/* Health checks of one document, and what is read of an answer's body (the status counts). */
#define ROUSE_MAX_CHECKS 64
#define ROUSE_MAX_CHECK_BODY (1 * MIB)
/* Headers of one check, and arguments of its program: a line of text that people write. */
#define ROUSE_MAX_CHECK_HEADERS 16
#define ROUSE_MAX_CHECK_ARGUMENTS 64
/* A held machine asks again after about this long: with its jitter, one to five minutes. It is given
 * up after the time in which people find out and correct a document; groups wait longer than that. */
#define ROUSE_HOLD_POLL 180000
#define ROUSE_HOLD_MAX 2700000
/* What documents and images may ask for: a second between tries, in tests; a day, as the longest
 * that a lifecycle hook can be kept waiting is two. */
#define ROUSE_HOLD_POLL_MIN 1000
#define ROUSE_HOLD_POLL_LONGEST 3600000
#define ROUSE_HOLD_LONGEST 86400000
/* The first systemd whose "soft-reboot" there is. */
#define ROUSE_SOFT_REBOOT_SYSTEMD 254
/* A document that failed so often on a machine is not tried again before the fallback. */
#define ROUSE_MAX_TRIES 2
/* Crashes of the agent in one boot, after which it is not tried again, and those in its health checks, after
 * which they are not: one may be bad luck. */
#define ROUSE_MAX_CRASHES 2
/* Where counting failures stops: nothing depends on more. */
#define ROUSE_MAX_FAILED 1000
/* `rouse status --wait` without --timeout: the longest boot and the longest health.deadline. */
#define ROUSE_STATUS_TIMEOUT 7200000

/* Disks of one document, and on one machine: EC2 attaches 128 volumes at most. */
#define ROUSE_MAX_DISKS 128
#define ROUSE_MAX_MACHINE_DISKS 256
/* Entries of a partition table: what every tool makes; more or fewer is somebody else's table. */
#define ROUSE_MAX_PARTITIONS 128
/* Volume groups of one document, what each stands on, and its volumes: a machine has a few. */
#define ROUSE_MAX_GROUPS 16
#define ROUSE_MAX_MEMBERS 32
#define ROUSE_MAX_VOLUMES 64
/* How often the disks are looked at anew because something was opened: an array, a volume in it that
 * is encrypted, a volume group in that, and one encrypted volume more. */
#define ROUSE_MAX_ENTER 8
/* Devices of one array: what mdadm makes of version 1 metadata is far more; instances have 24. */
#define ROUSE_MAX_ARRAY 32
/* One command of mdadm: it waits for udev, and writes a superblock on each device. */
#define ROUSE_DEADLINE_MDADM 60000
/* A key of an encrypted volume: cryptsetup reads far larger ones, which are no keys but mistakes. */
#define ROUSE_MAX_DISK_KEY (64 * KIB)
/* Fetching or storing such a key, all tries together. */
#define ROUSE_DEADLINE_DISK_KEY 60000
/* One command of cryptsetup: a slow key derivation on a slow machine. */
#define ROUSE_DEADLINE_CRYPTSETUP 120000
/* One command of lvm: it reads each device, and waits for the locks of others. */
#define ROUSE_DEADLINE_LVM 60000
/* Signatures in one place: a disk that was used for everything has a handful. */
#define ROUSE_MAX_DISK_SIGNATURES 64
/* What udev knows of one device: properties and links, a few KiB. */
#define ROUSE_MAX_UDEV_RECORD (256 * KIB)
/* How long a disk that the document names may take to appear (EBS attaches while we boot). */
#define ROUSE_DEADLINE_DEVICES 30000
/* … and the longest that a document may ask for: slower volumes are a failed attachment. With it the
 * facts of a boot are complete within their phase. */
#define ROUSE_MAX_DEVICE_WAIT 300000
/* After the last disk appeared, for the next one, before the only one is taken for the root. */
#define ROUSE_DEVICES_QUIET 200
/* How long another program may hold the lock of a disk: udev probes for a second or two. */
#define ROUSE_DEADLINE_DISK_LOCK 30000
/* Tools that make or grow a filesystem: mkfs.fat is done in a second. */
#define ROUSE_DEADLINE_MKFS 300000
/* For the node of a partition that was made just now; devtmpfs makes it at once, udev soon. */
#define ROUSE_DEVICES_NODE 10000
/* Reboots of health.onFailure for one document: what a third one does not cure, a fourth will not. */
#define ROUSE_MAX_REBOOTS 3

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the agent by powercut.py: writes each write and flush of certain files into a log,
 * in the order in which they happen, and stops the clock, so that two runs write the same bytes.
 *
 *   RECORD_DISKS   paths, separated by ":"; what is written to them is recorded, and to partitions of them
 *   RECORD_LOG     where to; none: nothing is recorded, and flushes are left out to save time
 *
 * A record: one byte 'w', 'z' (zeros) or 'f', one byte for the disk (from 0), offset and length (8 bytes each, in the
 * byte order of the machine), and for 'w' the data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_DISKS 8
#define NOW 1700000000 /* any time that filesystems believe */

static struct {
	int ready, log, n;
	struct stat disks[MAX_DISKS];
} state;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void begin(void)
{
	const char *paths = getenv("RECORD_DISKS"), *log = getenv("RECORD_LOG");
	char buf[4096], *save = NULL;
	struct stat st;

	state.ready = 1;
	state.log = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (!paths || strlen(paths) >= sizeof(buf))
		return;
	memcpy(buf, paths, strlen(paths) + 1);
	for (char *p = strtok_r(buf, ":", &save); p && state.n < MAX_DISKS;
	     p = strtok_r(NULL, ":", &save))
		if (stat(p, &st) == 0)
			state.disks[state.n++] = st;
}

/* Where a partition begins on its disk, whose number replaces *dev; -1: it is none. */
static off_t partition_of(dev_t *dev)
{
	char path[96], text[32] = "";
	unsigned major_, minor_;
	off_t start;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/start", major(*dev), minor(*dev));
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		(void)fclose(f);
	start = (off_t)strtoull(text, NULL, 10) * 512;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(*dev), minor(*dev));
	f = *text ? fopen(path, "re") : NULL;
	if (!f || fscanf(f, "%u:%u", &major_, &minor_) != 2)
		start = -1;
	else
		*dev = makedev(major_, minor_);
	if (f)
		(void)fclose(f);
	return start;
}

/* Which disk it is, and where on it the file begins; -1: none of them. */
static int disk_of(int fd, off_t *base)
{
	struct stat st;

	*base = 0;
	if (!state.ready)
		begin();
	if (state.log < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return -1;
	for (int part = 0; part < 2; part++) {
		for (int i = 0; i < state.n; i++)
			if (S_ISBLK(st.st_mode) ? S_ISBLK(state.disks[i].st_mode) &&
							  st.st_rdev == state.disks[i].st_rdev
						: st.st_dev == state.disks[i].st_dev &&
							  st.st_ino == state.disks[i].st_ino)
				return i;
		if (!S_ISBLK(st.st_mode) || (*base = partition_of(&st.st_rdev)) < 0)
			return -1;
	}
	return -1;
}

static void put(char op, int disk, uint64_t offset, const void *data, uint64_t n)
{
	uint8_t head[18] = { (uint8_t)op, (uint8_t)disk };
	struct iovec parts[2] = { { head, sizeof(head) }, { (void *)data, data ? n : 0 } };

	memcpy(head + 2, &offset, 8);
	memcpy(head + 10, &n, 8);
	if (syscall(SYS_writev, state.log, parts, 2) < 0)
		abort();
}

static ssize_t record(int fd, const void *data, size_t n, off_t offset)
{
	off_t base;
	int disk = disk_of(fd, &base);
	ssize_t r;

	if (disk < 0)
		return syscall(SYS_pwrite64, fd, data, n, offset);
	pthread_mutex_lock(&lock);
	r = syscall(SYS_pwrite64, fd, data, n, offset);
	if (r > 0)
		put('w', disk, (uint64_t)(base + offset), data, (uint64_t)r);
	pthread_mutex_unlock(&lock);
	return r;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
	return record(fd, data, n, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset)
{
	return record(fd, data, n, offset);
}

ssize_t write(int fd, const void *data, size_t n)
{
	off_t base;
	int disk = disk_of(fd, &base);
	off_t at = disk < 0 ? 0 : lseek(fd, 0, SEEK_CUR);
	ssize_t r = syscall(SYS_write, fd, data, n);

	if (disk >= 0 && r > 0)
		put('w', disk, (uint64_t)(base + at), data, (uint64_t)r);
	return r;
}

/* Zeroing a range is writing zeros; anything else must not happen to a disk. */
int fallocate(int fd, int mode, off_t offset, off_t n)
{
	off_t base;
	int disk = disk_of(fd, &base), r = (int)syscall(SYS_fallocate, fd, mode, offset, n);

	if (disk >= 0 && r == 0) {
		if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
			abort();
		put('z', disk, (uint64_t)(base + offset), NULL, (uint64_t)n);
	}
	return r;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t n)
{
	return fallocate(fd, mode, offset, n);
}

/* The agent gives a clean environment to its programs: mkfs is recorded all the same. */
int execve(const char *path, char *const *argv, char *const *env)
{
	static const char *const names[] = { "LD_PRELOAD", "RECORD_DISKS", "RECORD_LOG" };
	static char text[3][4200];
	char *more[64];
	size_t n = 0;

	while (env[n] && n < 60) {
		more[n] = env[n];
		n++;
	}
	for (int i = 0; i < 3; i++)
		if (getenv(names[i])) {
			(void)snprintf(text[i], sizeof(text[i]), "%s=%s", names[i],
				       getenv(names[i]));
			more[n++] = text[i];
		}
	more[n] = NULL;
	return (int)syscall(SYS_execve, path, argv, more);
}

int fsync(int fd)
{
	off_t base;
	int disk = disk_of(fd, &base);

	if (state.log < 0)
		return 0;
	if (disk >= 0)
		put('f', disk, 0, NULL, 0);
	/* The caches of a device and of its partitions are two: nothing may stay in one of them. */
	return disk >= 0 && S_ISBLK(state.disks[disk].st_mode) ? (int)syscall(SYS_fsync, fd) : 0;
}

int fdatasync(int fd)
{
	return fsync(fd);
}

time_t time(time_t *ret)
{
	if (ret)
		*ret = NOW;
	return NOW;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = (struct timespec){ .tv_sec = NOW };
	return 0;
}

int gettimeofday(struct timeval *ret, void *zone)
{
	(void)zone;
	*ret = (struct timeval){ .tv_sec = NOW };
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into every process of an initramfs: makes the worker fail, once, in the way that the
 * kernel command line says (fault=crash, fault=hang or fault=memory). Process 1 and the child that
 * writes the verdict go on as they are.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(void)
{
	char line[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		return;
	close(fd);
	if (getpid() == 1 || !strstr(line, "fault=") ||
	    open("/run/failed", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) < 0)
		return;
	if (strstr(line, "fault=crash"))
		raise(SIGSEGV);
	while (strstr(line, "fault=hang"))
		pause();
	while (strstr(line, "fault=memory")) {
		char *p = malloc(1 << 20);

		if (!p)
			_exit(71);
		memset(p, 1, 1 << 20);
	}
}

/* Stands in for libkmod's, which only makes look-ups faster: the worker calls it when it begins,
 * after it has read the settings. */
int kmod_load_resources(void *ctx);

int kmod_load_resources(void *ctx)
{
	(void)ctx;
	fail();
	return 0;
}

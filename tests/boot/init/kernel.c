/* SPDX-License-Identifier: Apache-2.0 */
/* The init of an initrd that a kernel was started with by kexec: says that it is there. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	char line[4096] = "";
	int fd;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0)
		dup2(fd, 1);
	fd = open("/proc/cmdline", O_RDONLY);
	if (fd >= 0 && read(fd, line, sizeof(line) - 1) > 0)
		printf("NEXT-KERNEL %s", line);
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The init of a root that only exists to be switched to: looks at everything that an init may rely
 * on and prints one TAP-like line for each. Static, so that the root needs nothing else. As "prepare-root" it
 * is one that fails.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void check(bool well, const char *rule)
{
	printf("CHECK %s %s\n", well ? "ok" : "FAILED", rule);
}

static char text[65536];

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static bool has_line(const char *line)
{
	const char *p = strstr(text, line);

	return p && (p == text || p[-1] == '\n') && p[strlen(line)] == '\n';
}

static void check_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;
	bool console = true;
	char path[64], target[64];

	while (d && (e = readdir(d))) {
		ssize_t len;

		if (e->d_name[0] == '.' || strtol(e->d_name, NULL, 10) == dirfd(d))
			continue;
		n++;
		snprintf(path, sizeof(path), "/proc/self/fd/%.8s", e->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		console &= strcmp(target, "/dev/console") == 0;
	}
	if (d)
		closedir(d);
	check(n == 3, "three descriptors are open");
	check(console, "all of them are the console");
}

static void check_signals(void)
{
	slurp("/proc/self/status");
	check(has_line("SigBlk:\t0000000000000000"), "no signal is blocked");
	check(has_line("SigIgn:\t0000000000000000"), "no signal is ignored");
	check(has_line("SigCgt:\t0000000000000000"), "no signal is caught");
	check(has_line("SigPnd:\t0000000000000000") && has_line("ShdPnd:\t0000000000000000"),
	      "no signal is pending");
	check(has_line("Umask:\t0022"), "umask is 022");
}

static void check_environment(char **argv)
{
	char cwd[64] = "";
	int n = 0;
	bool home = false, term = false;

	for (; environ[n]; n++) {
		home |= strcmp(environ[n], "HOME=/") == 0;
		term |= strcmp(environ[n], "TERM=linux") == 0;
	}
	check(n == 2 && home && term, "the environment is HOME and TERM");
	check(strstr(argv[0], "/init") != NULL, "argv[0] is the init");
	check(argv[1] && strcmp(argv[1], "word-for-init") == 0, "the kernel's words are passed on");
	check(getcwd(cwd, sizeof(cwd)) && strcmp(cwd, "/") == 0, "the working directory is /");
	check(getpid() == 1, "it is process 1");
	check(getsid(0) == 1, "it leads its session");
}

static int count(const char *needle)
{
	int n = 0;

	for (const char *p = text; (p = strstr(p, needle)); p++)
		n++;
	return n;
}

static void check_mounts(void)
{
	slurp("/proc/self/mounts");
	check(count(" / ext4 ") == 1, "the root is the disk's");
	check(count(" /proc proc ") == 1 && count(" /sys sysfs ") == 1 &&
		      count(" /dev devtmpfs ") == 1,
	      "/proc, /sys and /dev are there once");
	check(strstr(text, " /run tmpfs rw,nosuid,nodev") != NULL,
	      "/run is a tmpfs without devices");
	check(!strstr(text, "sysroot"), "nothing is left of /sysroot");
	check(strstr(text, "mode=755") != NULL, "/run has mode 0755");
	check(count("\n") == 6 && count(" /run/rouse/agent ") == 1,
	      "nothing else is mounted but the agent that has traveled");
}

/* Beside the marks of tests/boot/init/fault.c */
static void check_run(void)
{
	DIR *d = opendir("/run");
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, "failed.", 7) == 0 ||
		    strcmp(e->d_name, "rouse") == 0 || strcmp(e->d_name, "systemd") == 0)
			continue;
		printf("left: /run/%s\n", e->d_name);
		n++;
	}
	if (d)
		closedir(d);
	check(d && n == 0, "/run has what the agent left there, and nothing else");
}

static void check_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		char path[64];

		if (e->d_name[0] < '1' || e->d_name[0] > '9' || strtol(e->d_name, NULL, 10) == 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%.10s/cmdline", e->d_name);
		if (*slurp(path)) { /* threads of the kernel have none */
			printf("left: %s\n", text);
			n++;
		}
	}
	if (d)
		closedir(d);
	check(n == 0, "no process is left");
	check(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "there is no child to reap");
}

/* An init that starts no units is left a child of the agent, which gives the verdict; it ends by itself. */
static void check_health(void)
{
	int status = 0;
	pid_t pid = 0;

	if (access("/run/rouse/health.json", F_OK) < 0)
		return;
	for (int i = 0; i < 1200 && pid == 0; i++) {
		struct timespec pause = { .tv_nsec = 100000000 };

		pid = waitpid(-1, &status, WNOHANG);
		nanosleep(&pause, NULL);
	}
	check(pid > 0 && WIFEXITED(status), "the agent that watches has ended");
	check(strstr(slurp("/run/rouse/status.json"), "\"verdict\": \"degraded\"") != NULL,
	      "it has given the verdict");
}

/* What the agent kept of its initramfs for the health unit, in KiB. */
static unsigned long traveled(void)
{
	DIR *d = opendir("/run/rouse/agent");
	unsigned long sum = 0;
	struct dirent *entry;
	struct stat st;

	while (d && (entry = readdir(d)))
		if (fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (unsigned long)(st.st_blocks / 2);
	if (d)
		closedir(d);
	return sum;
}

/* Files of the initramfs and of /run are counted as shared memory, together. */
static void check_memory(void)
{
	struct statfs run = { 0 };
	unsigned long shared = 0, used;
	const char *p;

	slurp("/proc/meminfo");
	p = strstr(text, "Shmem:");
	if (p)
		shared = strtoul(p + 6, NULL, 10);
	statfs("/run", &run);
	used = (run.f_blocks - run.f_bfree) * (unsigned long)run.f_bsize / 1024;
	printf("shared memory: %lu KiB, of this /run: %lu KiB, traveled: %lu KiB\n", shared, used,
	       traveled());
	check(p && shared <= used + traveled() + 512, "the memory of the initramfs is free");
}

static void check_network(void)
{
	struct ifreq q = { .ifr_name = "eth0" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	check(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &q) == 0 && (q.ifr_flags & IFF_RUNNING),
	      "the network card is up");
	check(fd >= 0 && ioctl(fd, SIOCGIFADDR, &q) == 0, "it has its address");
	slurp("/proc/net/route");
	check(strstr(text, "eth0\t00000000\t") != NULL, "there is a default route");
	check(strstr(slurp("/run/rouse/network.json"), "\"interface\": \"eth0\"") != NULL,
	      "the lease is written down");
	if (fd >= 0)
		close(fd);
}

static void check_agent(void)
{
	struct stat run, agent;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/run/rouse/agent/ld.so", "ld.so", "--library-path", "/run/rouse/agent",
		      "/run/rouse/agent/rouse", "--version", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	check(status == 0, "the agent has traveled and starts");
	check(stat("/run/rouse", &run) == 0 && stat("/run/rouse/agent", &agent) == 0 &&
		      run.st_dev != agent.st_dev,
	      "it is the initramfs's own, not a copy");
	check(access("/run/systemd/system/multi-user.target.wants/rouse-health.service", R_OK) == 0,
	      "its unit is wanted");
	check(access("/run/rouse/report.json", R_OK) == 0, "the report has traveled");
}

int main(int argc, char **argv)
{
	struct utsname u;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 0 && strstr(argv[0], "/prepare-root"))
		return 1;
	printf("NEXT-INIT %s\n", argc > 0 ? argv[0] : "?");
	printf("NEXT-KERNEL %s ", uname(&u) == 0 ? u.release : "?");
	printf("%s", slurp("/proc/cmdline"));
	check_descriptors();
	check_signals();
	check_environment(argv);
	check_mounts();
	check_run();
	check_health();
	check_processes();
	check_memory();
	check_network();
	check_agent();
	printf("CHECK-END\n");
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}

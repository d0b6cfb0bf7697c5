/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under systemd a unit in /run gives the verdict. Under any other init a child does that this process leaves
 * behind: it outlives the change of program, as a child of the init. As all of pid 1, this allocates nothing.
 */
#include "init.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/health.h>
#include <rouse/log.h>
#include <rouse/text.h>

#define AGENT "/run/rouse/agent"

/* To be asked when the new root is "/". */
static bool starts_units(const char *init)
{
	static const char *const places[] = { "/usr/lib/systemd/systemd", "/lib/systemd/systemd" };
	char real[PATH_MAX], beside[PATH_MAX];
	const char *slash;

	if (realpath(init, real) && (slash = strrchr(real, '/')) && strcmp(slash, "/systemd") == 0)
		return true;
	slash = strrchr(init, '/'); /* a NixOS closure has its own beside its init */
	(void)snprintf(beside, sizeof(beside), "%.*s/systemd/lib/systemd/systemd",
		       slash ? (int)(slash - init) : 0, init);
	if (access(beside, X_OK) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return true;
	return false;
}

static _Noreturn void become_watcher(void)
{
	static char *const argv[] = { (char *)AGENT "/ld.so",
				      (char *)"--library-path",
				      (char *)AGENT,
				      (char *)AGENT "/rouse",
				      (char *)"health",
				      (char *)"--supervise",
				      NULL };
	static char *const env[] = { (char *)"SSL_CERT_FILE=" AGENT "/ca-certificates.crt", NULL };
	const struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &plain, NULL); /* SIGKILL and SIGSTOP refuse, and are default */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	(void)umask(022);
	(void)close_range(3, ~0U, 0);
	(void)execve(argv[0], argv, env);
	_exit(127);
}

void init_leave_watcher(const char *init)
{
	pid_t pid;

	/* Without a word about health there is nothing to wait for, and nobody to be told. */
	if (access("/run/rouse/" ROUSE_HEALTH_FILE, F_OK) < 0 || starts_units(init))
		return;
	pid = fork();
	if (pid == 0)
		become_watcher();
	if (pid < 0)
		rouse_log(ROUSE_LOG_ERROR, "init", "nobody will give a verdict: %s",
			  strerror(errno));
}

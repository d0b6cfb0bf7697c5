/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/cloud/imds.py as a server of a C test: starts it with a scenario, tells its port, counts
 * what was asked of it. It ends with the test program, as its stdin does.
 */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/auto.h>
#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/mem.h>

struct server {
	pid_t pid;
	int in, out; /* the server's stdin and stdout */
	unsigned port;
	char log[64];
};

#define SERVER_INIT                                                                                \
	{                                                                                          \
		.pid = -1, .in = -1, .out = -1                                                     \
	}

static inline void server_stop(struct server *s)
{
	if (s->pid > 0) {
		(void)kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, 0);
		(void)unlink(s->log);
	}
	if (s->in >= 0)
		(void)close(s->in);
	if (s->out >= 0)
		(void)close(s->out);
	*s = (struct server)SERVER_INIT;
}
#define auto_server __attribute__((cleanup(server_stop)))

/* Starts a server on a free port of 127.0.0.1, https with the key and certificate in `pem` when
 * that is not NULL; false when that fails. */
static inline bool server_start_tls(struct server *s, const char *scenario, const char *pem)
{
	char *argv[] = { (char *)"python3",
			 (char *)"tests/cloud/imds.py",
			 (char *)"--scenario",
			 (char *)scenario,
			 (char *)"--log",
			 s->log,
			 pem ? (char *)"--tls" : NULL,
			 (char *)pem,
			 NULL };
	extern char **environ;
	posix_spawn_file_actions_t actions;
	int in[2], out[2], log;
	char line[64] = "";
	size_t n = 0;
	bool started;

	(void)snprintf(s->log, sizeof(s->log), "/tmp/rouse-server-XXXXXX");
	log = mkstemp(s->log);
	if (log < 0 || close(log) < 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return false;
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	started = posix_spawnp(&s->pid, "python3", &actions, NULL, argv, environ) == 0;
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(in[0]);
	(void)close(out[1]);
	s->in = in[1];
	s->out = out[0];
	/* End of file, when the server could not start, ends this as well. */
	while (started && n < sizeof(line) - 1 && read(s->out, line + n, 1) == 1 && line[n] != '\n')
		n++;
	return started && sscanf(line, "port %u", &s->port) == 1; /* a test may: the text is ours */
}

static inline bool server_start(struct server *s, const char *scenario)
{
	return server_start_tls(s, scenario, NULL);
}

static inline char *server_url(const struct server *s, const char *path)
{
	return rouse_asprintf("http://127.0.0.1:%u%s", s->port, path);
}

/* How many lines of the log hold `text`, e.g. "\"path\": \"/x\"". */
static inline unsigned server_count(const struct server *s, const char *text)
{
	auto_buf struct rouse_buf log = { 0 };
	struct rouse_err e = { 0 };
	unsigned n = 0;
	char *rest, *line;

	if (rouse_read_file(s->log, 16 << 20, &log, &e) < 0 || !log.data)
		return 0;
	for (rest = log.data; (line = strsep(&rest, "\n"));)
		n += strstr(line, text) != NULL;
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pull's child, as its parent sees it: started, listened to, ended. What it says is checked like any
 * other input: it may have been taken over by what it unpacked, and must not confuse us.
 */
#include "child.h"

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <rouse/clock.h>
#include <rouse/confine.h>
#include <rouse/limits.h>
#include <rouse/text.h>

static void report_progress(struct pull *p, uint64_t total)
{
	char what[64];

	if (!p->ctx->progress)
		return;
	(void)snprintf(what, sizeof(what), "pulling the closure, %zu of %zu paths", p->n_finished,
		       p->n_queue);
	p->ctx->progress(p->ctx->progress_arg, what, p->bytes, total);
}

struct child {
	struct pull *p;
	pid_t pid;
	int socket;
	bool *answered; /* of the queue */
	size_t n_answered;
	bool ended;        /* it has said so */
	uint64_t heard_at; /* when it last said something */
	uint64_t kill_at;  /* not 0: it was asked to end, and has time until then */
};

/* Ends the pull: the child is asked to end, too. */
static void give_up(struct child *c, const struct rouse_err *e)
{
	pull_fail(c->p, e);
	if (c->kill_at)
		return;
	c->kill_at = rouse_clock_ms() + ROUSE_KILL_GRACE;
	(void)kill(c->pid, SIGTERM);
}

static int nonsense(struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, EPROTO,
			  "the process that unpacks archives says nonsense");
}

static bool is_kind(enum rouse_kind k)
{
	return k == ROUSE_OK || k == ROUSE_BUG || k == ROUSE_SYSTEM || k == ROUSE_UNAVAILABLE ||
	       k == ROUSE_UNTRUSTED || k == ROUSE_DOCUMENT;
}

static int take_error(struct said *s, struct rouse_err *e)
{
	if (!is_kind(s->err.kind) || s->err.fault < ROUSE_FAULT_NONE ||
	    s->err.fault >= ROUSE_FAULTS_ || !memchr(s->err.text, '\0', sizeof(s->err.text)))
		return nonsense(e);
	rouse_one_line(s->err.text);
	return 0;
}

/* What has become of one path, once. */
static int take_answer(struct child *c, const struct said *s, struct rouse_err *e)
{
	struct pull *p = c->p;
	struct rouse_path *path;

	if (s->path < p->next || s->path >= p->n_queue || c->answered[s->path])
		return nonsense(e);
	path = p->queue[s->path];
	c->answered[s->path] = true;
	c->n_answered++;
	if (s->what == SAID_FAILED) {
		if (!s->err.kind)
			return nonsense(e);
		pull_note_failed(p, path, &s->err);
		return 0;
	}
	path->took = s->took;
	return finish_note(p, path, e);
}

static int take_end(struct child *c, const struct said *s, struct rouse_err *e)
{
	struct pull *p = c->p;

	c->ended = true;
	p->c->requests += s->requests;
	p->c->fetched_bytes += s->bytes;
	if (s->err.kind)
		pull_fail(p, &s->err);
	else if (!p->error.kind && c->n_answered != p->n_queue - p->next)
		return nonsense(e);
	return 0;
}

static int take_message(struct child *c, struct said *s, struct rouse_err *e)
{
	if (c->ended || take_error(s, e) < 0)
		return nonsense(e);
	if (s->what == SAID_COMPLETE || s->what == SAID_FAILED)
		return take_answer(c, s, e);
	if (s->what == SAID_END)
		return take_end(c, s, e);
	if (s->what != SAID_PROGRESS)
		return nonsense(e);
	c->p->bytes = s->bytes;
	return 0;
}

/* Takes one message. False when nothing more will come. */
static bool hear(struct child *c)
{
	struct said s = { 0 };
	struct rouse_err e = { 0 };
	ssize_t n = recv(c->socket, &s, sizeof(s), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	c->heard_at = rouse_clock_ms();
	if (n != sizeof(s) && n != offsetof(struct said, err))
		(void)nonsense(&e);
	else
		(void)!take_message(c, &s, &e);
	if (e.kind)
		give_up(c, &e);
	return true;
}

/* Waits for a moment, and takes what has come. False when nothing more will come. */
static bool listen_to(struct child *c)
{
	struct pollfd pfd = { .fd = c->socket, .events = POLLIN };

	return poll(&pfd, 1, ROUSE_PULL_TICK) <= 0 || hear(c);
}

/* Somebody who wants it to end, or a child that does not end itself. */
static void look_for_end(struct child *c)
{
	const struct rouse_context *ctx = c->p->ctx;
	uint64_t now = rouse_clock_ms();
	struct rouse_err e = { 0 };

	if (c->kill_at && now >= c->kill_at)
		(void)kill(c->pid, SIGKILL);
	if (ctx->cancelled && *ctx->cancelled)
		(void)rouse_fail(&e, ROUSE_UNAVAILABLE, EINTR, "interrupted");
	else if (now > c->heard_at + ROUSE_PULL_STALL)
		(void)rouse_fail(&e, ROUSE_SYSTEM, ETIMEDOUT,
				 "the process that unpacks archives does not answer");
	else if (now > ctx->deadline + ROUSE_KILL_GRACE)
		(void)rouse_fail(&e, ROUSE_UNAVAILABLE, ETIMEDOUT,
				 "not all archives have come before the deadline");
	if (e.kind)
		give_up(c, &e);
}

/* Until the child has ended; tells of progress, and registers now and then, so that a power cut does not
 * cost what was pulled long before. */
static void oversee(struct child *c, uint64_t total)
{
	uint64_t checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
	struct pull *p = c->p;
	struct rouse_err e = { 0 };

	while (listen_to(c)) {
		report_progress(p, total);
		look_for_end(c);
		if (!p->store || rouse_clock_ms() < checkpoint)
			continue;
		if (finish_register(p, &e) < 0)
			give_up(c, &e);
		checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
	}
	report_progress(p, total);
}

static void reap(struct child *c)
{
	struct rouse_err e = { 0 };
	int status = 0;

	(void)kill(c->pid, SIGKILL); /* it has closed its socket */
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (c->ended)
		return;
	if (WIFSIGNALED(status))
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0,
				 "the process that unpacks archives was ended by signal %d",
				 WTERMSIG(status));
	else
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0,
				 "the process that unpacks archives ended with status %d",
				 WEXITSTATUS(status));
	pull_fail(c->p, &e);
}

static int start(struct child *c, struct rouse_err *e)
{
	const int room = ROUSE_PULL_TALK;
	struct pull *p = c->p;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a pair of sockets");
	/* While we wait for the disk, the child goes on; with less room it waits, too. */
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	c->pid = rouse_confine_fork();
	if (c->pid == 0) {
		p->tell = pair[1];
		child_run(p);
	}
	(void)close(pair[1]);
	c->socket = pair[0];
	if (c->pid >= 0)
		return 0;
	(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot start a process");
	(void)close(c->socket);
	return -1;
}

int child_work(struct pull *p, uint64_t total, struct rouse_err *e)
{
	auto_free bool *answered = rouse_calloc(p->n_queue, sizeof(*answered));
	struct child c = { .p = p, .answered = answered, .heard_at = rouse_clock_ms() };

	p->queue_bytes = 0;
	for (size_t i = p->next; i < p->n_queue; i++)
		p->queue_bytes += p->queue[i]->nar_size;
	if (start(&c, e) < 0)
		return -1;
	oversee(&c, total);
	(void)close(c.socket);
	reap(&c);
	p->next = p->n_queue;
	if (!p->error.kind)
		return 0;
	*e = p->error;
	return -1;
}

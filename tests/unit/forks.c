/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/forks.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/mem.h>

#include "../lib/tap.h"

/* A thread that works in some library, and then waits until somebody closes `go`. */
struct worker {
	pthread_t thread;
	int ready[2], go[2];
	bool rests, worked; /* the second: atomic */
};

static void await(int fd)
{
	char byte;

	(void)!read(fd, &byte, 1);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned before;

	forks_forbid();
	forks_forbid();
	forks_allow();
	before = w->rests ? forks_rest() : 0;
	(void)!write(w->ready[1], "x", 1);
	if (w->rests)
		await(w->go[0]);
	else
		rouse_clock_sleep_until(rouse_clock_ms() + 300);
	if (w->rests)
		forks_resume(before);
	__atomic_store_n(&w->worked, true, __ATOMIC_SEQ_CST);
	forks_allow();
	return NULL;
}

static bool worker_start(struct worker *w)
{
	if (pipe2(w->ready, O_CLOEXEC) < 0 || pipe2(w->go, O_CLOEXEC) < 0 ||
	    pthread_create(&w->thread, NULL, work, w) != 0)
		return false;
	await(w->ready[0]);
	return true;
}

static void worker_end(struct worker *w)
{
	(void)close(w->go[1]);
	(void)pthread_join(w->thread, NULL);
	(void)close(w->go[0]);
	(void)close(w->ready[0]);
	(void)close(w->ready[1]);
}

static int status_of(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_fork_waits_for_who_works(struct t *t)
{
	struct worker w = { .rests = false };
	pid_t pid;

	T_CHECK(t, worker_start(&w));
	pid = forks_fork();
	if (pid == 0)
		_exit(__atomic_load_n(&w.worked, __ATOMIC_SEQ_CST) ? 0 : 1);
	worker_end(&w);
	T_CHECK(t, status_of(pid) == 0);
}

static void a_fork_does_not_wait_for_who_rests(struct t *t)
{
	struct worker w = { .rests = true };
	uint64_t begin;
	pid_t pid;

	T_CHECK(t, worker_start(&w));
	begin = rouse_clock_ms();
	pid = forks_fork();
	if (pid == 0)
		_exit(0);
	T_CHECK(t, rouse_clock_ms() - begin < FORKS_PATIENCE);
	T_CHECK(t, !__atomic_load_n(&w.worked, __ATOMIC_SEQ_CST));
	worker_end(&w);
	T_CHECK(t, status_of(pid) == 0);
}

/* Also while another fork waits, and of who forks. */
static void a_child_begins_with_nothing_forbidden(struct t *t)
{
	struct worker w = { .rests = true };
	pid_t pid, own;

	T_CHECK(t, worker_start(&w));
	forks_forbid();
	pid = forks_fork();
	if (pid == 0) {
		forks_allow();
		own = forks_fork();
		_exit(own == 0 ? 0 : status_of(own));
	}
	forks_allow();
	worker_end(&w);
	T_CHECK(t, status_of(pid) == 0);
}

/* --- transfers -------------------------------------------------------------------------------- */

struct silence {
	int listening, accepted;
	char url[64];
	struct rouse_fetcher *f;
	pthread_t thread;
};

static void *fetch(void *arg)
{
	struct silence *s = arg;
	struct rouse_fetch t = {
		.url = s->url, .max_bytes = 1, .deadline = rouse_clock_ms() + 60000, .max_tries = 1
	};
	struct rouse_err e;

	(void)!rouse_fetch(s->f, &t, &e);
	return NULL;
}

/* A server that takes a request and says nothing; a thread waits for its answer. */
static bool silence_begin(struct silence *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(to);
	char byte;

	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->listening, (const struct sockaddr *)&to, size) < 0 ||
	    listen(s->listening, 1) < 0 ||
	    getsockname(s->listening, (struct sockaddr *)&to, &size) < 0)
		return false;
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/", ntohs(to.sin_port));
	s->f = rouse_fetcher_new();
	if (pthread_create(&s->thread, NULL, fetch, s) != 0)
		return false;
	s->accepted = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
	return read(s->accepted, &byte, 1) == 1;
}

static void silence_end(struct silence *s)
{
	(void)close(s->listening);
	(void)close(s->accepted);
	(void)pthread_join(s->thread, NULL);
	rouse_fetcher_free(s->f);
}

static void a_fork_does_not_wait_for_a_server(struct t *t)
{
	struct silence s = { 0 };
	uint64_t begin;
	pid_t pid;

	T_CHECK(t, silence_begin(&s));
	begin = rouse_clock_ms();
	pid = forks_fork();
	if (pid == 0)
		_exit(0);
	T_CHECK(t, rouse_clock_ms() - begin < FORKS_PATIENCE);
	silence_end(&s);
	T_CHECK(t, status_of(pid) == 0);
}

/* A transfer that ends while its thread goes on: nothing stays forbidden. */
static void what_has_ended_forbids_nothing(struct t *t)
{
	struct rouse_fetcher *f = rouse_fetcher_new();
	struct rouse_fetch one = { .url = "file:///nothing",
				   .max_bytes = 1,
				   .deadline = rouse_clock_ms() + 60000 };
	struct rouse_err e;

	T_CHECK(t, rouse_fetch(f, &one, &e) < 0);
	rouse_fetcher_free(f);
	T_CHECK(t, forks_rest() == 0);
}

T_MAIN(T(a_fork_waits_for_who_works), T(a_fork_does_not_wait_for_who_rests),
       T(a_child_begins_with_nothing_forbidden), T(a_fork_does_not_wait_for_a_server),
       T(what_has_ended_forbids_nothing))

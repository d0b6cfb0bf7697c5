/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line with latency: passes on connections to 127.0.0.1:TO, every byte so many milliseconds later, in
 * each direction; a round trip takes twice that. Prints the port that it listens on. For kernels
 * without netem, and without a namespace.
 *
 * delay TO MILLISECONDS
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/auto.h>
#include <rouse/clock.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define LINES 256
#define PIPES 4u
#define PIPE (1u << 20) /* PIPES of them on their way in one direction: 160 MB/s at 25 ms */
#define PIECES 1024u    /* … in as many pieces at most */

struct piece {
	uint64_t due;
	size_t n;      /* 0: the end */
	unsigned pipe; /* that it is in */
};

/* The bytes wait in pipes, and are never copied: what the line costs is taken from what is measured. */
struct way {
	int from, to, pipes[PIPES][2];
	size_t held[PIPES];
	unsigned into; /* the pipe that is filled */
	struct piece pieces[PIECES];
	unsigned head, n;
	bool full; /* until something leaves it */
	bool ended, closed;
};

struct line {
	struct way ways[2];
	bool used;
};

static struct line lines[LINES];
static uint64_t delay;

static int listener(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		exit(1);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void ready(int fd)
{
	int on = 1;

	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static struct way way_open(int from, int to)
{
	struct way w = { .from = from, .to = to };

	for (size_t i = 0; i < PIPES; i++)
		if (pipe2(w.pipes[i], O_CLOEXEC | O_NONBLOCK) < 0 ||
		    fcntl(w.pipes[i][1], F_SETPIPE_SZ, (int)PIPE) < 0)
			exit(1);
	return w;
}

static void open_line(int client, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < LINES; i++) {
		struct line *l = &lines[i];

		if (l->used)
			continue;
		if (connect(server, (struct sockaddr *)&a, sizeof(a)) < 0)
			exit(1);
		ready(client);
		ready(server);
		l->used = true;
		l->ways[0] = way_open(client, server);
		l->ways[1] = way_open(server, client);
		return;
	}
	exit(1);
}

/* The first bytes wait for the handshake, too. */
static void take_in(struct way *w)
{
	ssize_t n = splice(w->from, NULL, w->pipes[w->into][1], NULL, PIPE,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0 && errno == EAGAIN) {
		if (!w->held[w->into])
			return;
		w->into = (w->into + 1) % PIPES;
		w->full = w->held[w->into] > 0;
		return;
	}
	w->pieces[(w->head + w->n++) % PIECES] = (struct piece){
		.due = rouse_clock_ms() + delay,
		.n = n > 0 ? (size_t)n : 0,
		.pipe = w->into,
	};
	w->held[w->into] += n > 0 ? (size_t)n : 0;
	w->ended = n <= 0;
}

static void give_out(struct way *w, uint64_t now)
{
	while (w->n && w->pieces[w->head].due <= now) {
		struct piece *p = &w->pieces[w->head];
		ssize_t n;

		if (!p->n) {
			(void)shutdown(w->to, SHUT_WR);
			w->closed = true;
		} else {
			n = splice(w->pipes[p->pipe][0], NULL, w->to, NULL, p->n,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n <= 0) { /* nobody listens any more */
				w->ended = w->closed = true;
				w->n = 0;
				return;
			}
			w->held[p->pipe] -= (size_t)n;
			w->full = w->held[w->into] > 0 && w->full;
			p->n -= (size_t)n;
			if (p->n)
				continue;
		}
		w->head = (w->head + 1) % PIECES;
		w->n--;
	}
}

static void close_line(struct line *l)
{
	(void)close(l->ways[0].from);
	(void)close(l->ways[1].from);
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < PIPES; k++) {
			(void)close(l->ways[i].pipes[k][0]);
			(void)close(l->ways[i].pipes[k][1]);
		}
	}
	l->used = false;
}

int main(int argc, char **argv)
{
	uint16_t port = 0;
	uint64_t to = 0;
	int fd;

	if (argc != 3 || !rouse_parse_u64(argv[1], 65535, &to) ||
	    !rouse_parse_u64(argv[2], 10000, &delay))
		return 64;
	(void)signal(SIGPIPE, SIG_IGN); /* whoever went away is noticed by what splice() returns */
	fd = listener(&port);
	(void)printf("%u\n", port);
	(void)fflush(stdout);
	for (;;) {
		struct pollfd polls[1 + 4 * LINES] = { { .fd = fd, .events = POLLIN } };
		struct way *ways[1 + 4 * LINES] = { NULL };
		uint64_t now = rouse_clock_ms(), wake = now + 1000;
		nfds_t n = 1;

		for (size_t i = 0; i < LINES; i++)
			for (size_t k = 0; lines[i].used && k < 2; k++) {
				struct way *w = &lines[i].ways[k];
				uint64_t due = w->n ? w->pieces[w->head].due : UINT64_MAX;
				bool read_more = !w->ended && !w->full && w->n < PIECES;
				bool blocked = due <= now;

				if (!blocked && due < wake)
					wake = due;
				if (read_more) {
					ways[n] = w;
					polls[n++] = (struct pollfd){ .fd = w->from,
								      .events = POLLIN };
				}
				if (blocked)
					polls[n++] = (struct pollfd){ .fd = w->to,
								      .events = POLLOUT };
			}
		if (poll(polls, n, (int)(wake - now)) < 0)
			return 1;
		if (polls[0].revents)
			open_line(accept4(fd, NULL, NULL, SOCK_CLOEXEC), (uint16_t)to);
		for (nfds_t i = 1; i < n; i++)
			if (ways[i] && polls[i].revents)
				take_in(ways[i]);
		now = rouse_clock_ms();
		for (size_t i = 0; i < LINES; i++) {
			struct line *l = &lines[i];

			for (size_t k = 0; l->used && k < 2; k++)
				give_out(&l->ways[k], now);
			if (l->used && l->ways[0].closed && l->ways[1].closed)
				close_line(l);
		}
	}
}

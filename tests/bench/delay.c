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
#include <string.h>
#include <sys/socket.h>

#include <rouse/auto.h>
#include <rouse/clock.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define LINES 256
#define WINDOW (4u << 20) /* bytes on their way in one direction: 80 MB/s at 50 ms */
#define PIECE (64u << 10)

struct piece {
	struct piece *next;
	uint64_t due;
	size_t n, at; /* n 0: the end */
	char data[];
};

struct way {
	int from, to;
	struct piece *head, **tail;
	size_t bytes;
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
		*l = (struct line){ .used = true,
				    .ways = { { .from = client, .to = server },
					      { .from = server, .to = client } } };
		l->ways[0].tail = &l->ways[0].head;
		l->ways[1].tail = &l->ways[1].head;
		return;
	}
	exit(1);
}

/* The first bytes wait for the handshake, too. */
static void take_in(struct way *w)
{
	struct piece *p = rouse_calloc(1, sizeof(*p) + PIECE);
	ssize_t n = read(w->from, p->data, PIECE);

	if (n < 0 && errno == EAGAIN) {
		free(p);
		return;
	}
	p->n = n > 0 ? (size_t)n : 0;
	p->due = rouse_clock_ms() + delay;
	w->ended = !p->n;
	w->bytes += p->n;
	*w->tail = p;
	w->tail = &p->next;
}

static void give_out(struct way *w, uint64_t now)
{
	while (w->head && w->head->due <= now) {
		struct piece *p = w->head;
		ssize_t n;

		if (!p->n) {
			(void)shutdown(w->to, SHUT_WR);
			w->closed = true;
		} else {
			n = send(w->to, p->data + p->at, p->n - p->at, MSG_NOSIGNAL);
			if (n < 0 && errno == EAGAIN)
				return;
			if (n < 0)
				n = (ssize_t)(p->n - p->at); /* nobody listens any more */
			p->at += (size_t)n;
			if (p->at < p->n)
				return;
		}
		w->bytes -= p->n;
		w->head = p->next;
		if (!w->head)
			w->tail = &w->head;
		free(p);
	}
}

static void close_line(struct line *l)
{
	(void)close(l->ways[0].from);
	(void)close(l->ways[1].from);
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
	fd = listener(&port);
	(void)printf("%u\n", port);
	(void)fflush(stdout);
	for (;;) {
		struct pollfd polls[1 + 2 * LINES] = { { .fd = fd, .events = POLLIN } };
		struct way *ways[1 + 2 * LINES] = { NULL };
		uint64_t now = rouse_clock_ms(), wake = now + 1000;
		nfds_t n = 1;

		for (size_t i = 0; i < LINES; i++)
			for (size_t k = 0; lines[i].used && k < 2; k++) {
				struct way *w = &lines[i].ways[k];
				bool read_more = !w->ended && w->bytes < WINDOW;
				bool blocked = w->head && w->head->due <= now;

				if (w->head && !blocked && w->head->due < wake)
					wake = w->head->due;
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

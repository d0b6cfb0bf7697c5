/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hypervisor does with the messages of its machine, inside of that machine: listens on an AF_VSOCK port for
 * one connection a message, and writes each to a file, behind the port that it came from. listen PORT FILE
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static void take_message(int from, int to)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t size = sizeof(peer);
	int fd = accept(from, (struct sockaddr *)&peer, &size);
	char text[4096];
	ssize_t n;

	if (fd < 0)
		return;
	dprintf(to, "from %u:%u\n", peer.svm_cid, peer.svm_port);
	while ((n = read(fd, text, sizeof(text))) > 0)
		if (write(to, text, (size_t)n) != n)
			exit(1);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), to;

	if (argc != 3)
		return 2;
	a.svm_port = (unsigned)strtoul(argv[1], NULL, 10);
	to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || to < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 4) < 0) {
		perror("listen");
		return 1;
	}
	if (daemon(0, 0) < 0) /* from here on it hears */
		return 1;
	for (;;)
		take_message(fd, to);
}

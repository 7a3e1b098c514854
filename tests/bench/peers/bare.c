/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bare: framed echo by a thread for each connection that blocks in read(2) and write(2)
 *
 *   bare
 *
 * The floor of one connection: two system calls for each request and no wait for events. With many
 * it is none, for the threads have to be switched.
 */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "frames.h"
#include "listener.h"

#define BUF   (64u * 1024)
#define STACK (256u * 1024)

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);

		if (k <= 0)
			return -1;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct frames frames = { 0 };
	char buf[BUF];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		if (frames_pass(&frames, buf, (size_t)n) < 0 || write_all(fd, buf, (size_t)n) < 0)
			break;
	close(fd);
	return NULL;
}

int main(void)
{
	int l = listener_open("bare"), fd;
	pthread_attr_t attr;
	pthread_t t;

	fcntl(l, F_SETFL, 0);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	while ((fd = accept4(l, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (pthread_create(&t, &attr, serve, (void *)(intptr_t)fd)) {
			perror("bare");
			close(fd);
		}
	perror("bare: accept");
	return 1;
}

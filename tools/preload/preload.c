/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * preload: bpf/join.bpf.c for where cgroup programs are not allowed: bind(2) of a dynamic program
 *
 * LD_PRELOAD of `npsteer run --preload`. NPSTEER_PORT is the port. A static program, or one that
 * makes its system calls without libc, as Go's do, is not reached by it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The port stands at the same place in both families. */
static int preload_is_meant(int fd, const struct sockaddr *a, socklen_t n)
{
	const char *port = getenv("NPSTEER_PORT");
	struct sockaddr_in in;
	socklen_t len = sizeof(int);
	int type = 0;

	if (!port || n < (socklen_t)sizeof in)
		return 0;
	memcpy(&in, a, sizeof in);
	return (in.sin_family == AF_INET || in.sin_family == AF_INET6) &&
	       ntohs(in.sin_port) == atoi(port) &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

__attribute__((visibility("default"))) int bind(int fd, const struct sockaddr *a, socklen_t n)
{
	int (*next)(int, const struct sockaddr *, socklen_t);
	int on = 1, e = errno;

	*(void **)&next = dlsym(RTLD_NEXT, "bind");
	if (preload_is_meant(fd, a, n))
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	errno = e;
	return next(fd, a, n);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * churn: short lives against a framed echo server: connect, one request, its answer, close
 *
 *   churn ADDR:PORT BYTES MS SERVER_PID
 *
 * BATCH connections at once, for MS milliseconds. Prints "lives wall_ns server_cpu_ns".
 */
#include "client.h"

#define BATCH 16

static void live(const struct sockaddr_in *sa, char *buf, const char *frame, size_t len)
{
	int fd[BATCH];

	for (int i = 0; i < BATCH; i++)
		fd[i] = client_dial(sa);
	for (int i = 0; i < BATCH; i++)
		client_send(fd[i], frame, len);
	for (int i = 0; i < BATCH; i++) {
		client_expect(fd[i], buf, frame, len);
		close(fd[i]);
	}
}

int main(int argc, char **argv)
{
	uint64_t begin, cpu, most_ns, lives = 0;
	struct sockaddr_in sa;
	char *frame, *buf;
	size_t len;
	int pid;

	if (argc != 5) {
		fprintf(stderr, "usage: churn ADDR:PORT BYTES MS SERVER_PID\n");
		return 2;
	}
	sa = client_address(argv[1]);
	len = (size_t)atoi(argv[2]) + 4;
	most_ns = strtoull(argv[3], NULL, 10) * 1000000;
	pid = atoi(argv[4]);
	frame = client_frames(1, (uint32_t)(len - 4));
	buf = malloc(len);
	if (!buf)
		client_die("memory");

	live(&sa, buf, frame, len);
	begin = client_now_ns();
	cpu = client_cpu_ns(pid);
	for (; client_now_ns() - begin < most_ns; lives += BATCH)
		live(&sa, buf, frame, len);
	printf("%llu %llu %llu\n", (unsigned long long)lives,
	       (unsigned long long)(client_now_ns() - begin),
	       (unsigned long long)(client_cpu_ns(pid) - cpu));
	free(frame);
	free(buf);
	return 0;
}

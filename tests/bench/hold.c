/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold: bytes of a server's memory for each connection that is idle after one request
 *
 *   hold ADDR:PORT CONNS BYTES SERVER_PID
 *
 * The server's anonymous memory (proc(5): smaps_rollup) is read before the connections, and when
 * each of CONNS has had its answer and the memory has not fallen for QUIET_MS: some servers give
 * back what a burst took by a timer. Prints "bytes_before bytes_after".
 */
#include <poll.h>

#include "client.h"

#define LOOK_MS  100
#define QUIET_MS 1200

static uint64_t memory(int pid)
{
	char path[64], line[128];
	unsigned long long kb = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "r");
	if (!f)
		client_die(path);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Anonymous: %llu", &kb) == 1)
			break;
	fclose(f);
	return kb * 1024;
}

static uint64_t settled(int pid)
{
	uint64_t least = memory(pid);

	for (int quiet = 0; quiet < QUIET_MS; quiet += LOOK_MS) {
		uint64_t now;

		poll(NULL, 0, LOOK_MS);
		now = memory(pid);
		if (now < least) {
			least = now;
			quiet = 0;
		}
	}
	return least;
}

static void ask(int fd, char *buf, const char *frame, size_t len)
{
	client_send(fd, frame, len);
	client_expect(fd, buf, frame, len);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa;
	char *frame, *buf;
	uint64_t before;
	unsigned conns;
	size_t len;
	int pid;

	if (argc != 5) {
		fprintf(stderr, "usage: hold ADDR:PORT CONNS BYTES SERVER_PID\n");
		return 2;
	}
	sa = client_address(argv[1]);
	conns = (unsigned)atoi(argv[2]);
	len = (size_t)atoi(argv[3]) + 4;
	pid = atoi(argv[4]);
	frame = client_frames(1, (uint32_t)(len - 4));
	buf = malloc(len);
	if (!buf)
		client_die("memory");

	ask(client_dial(&sa), buf, frame, len);
	before = memory(pid);
	/* They stay open until this process ends. */
	for (unsigned i = 0; i < conns; i++)
		ask(client_dial(&sa), buf, frame, len);
	printf("%llu %llu\n", (unsigned long long)before, (unsigned long long)settled(pid));
	free(frame);
	free(buf);
	return 0;
}

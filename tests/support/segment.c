/* SPDX-License-Identifier: BSD-2-Clause */
/* segment: a TUN device carries IP packets as they are. */
#include "support/segment.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "support/test.h"

#define FAR_CLIENT "10.9.0.2"
#define NEAR_MASK  "255.255.255.0"

static uint32_t add_up(uint32_t sum, const void *p, size_t n)
{
	uint16_t word;

	for (size_t i = 0; i + 2 <= n; i += 2) {
		memcpy(&word, (const char *)p + i, 2);
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void segment_sum(struct tcphdr *h, struct in_addr src, struct in_addr dst)
{
	struct {
		struct in_addr src, dst;
		uint8_t zero, proto;
		uint16_t len;
	} pseudo = { src, dst, 0, IPPROTO_TCP, htons(sizeof *h) };

	h->th_sum = 0;
	h->th_sum = fold(add_up(add_up(0, &pseudo, sizeof pseudo), h, sizeof *h));
}

static struct in_addr address(const char *text)
{
	struct in_addr a;

	ck_assert_int_eq(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static void set_address(int sock, struct ifreq *ifr, unsigned long request, const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address(text) };

	memcpy(&ifr->ifr_addr, &in, sizeof in);
	ck_assert_int_eq(ioctl(sock, request, ifr), 0);
}

int far_open(void)
{
	struct ifreq ifr = { .ifr_name = "far", .ifr_flags = IFF_TUN | IFF_NO_PI };
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), sock;

	if (tun < 0)
		return -errno;
	if (ioctl(tun, TUNSETIFF, &ifr) < 0) {
		tun = (close(tun), -errno);
		return tun;
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(sock, 0);
	set_address(sock, &ifr, SIOCSIFADDR, FAR_SERVER);
	set_address(sock, &ifr, SIOCSIFNETMASK, NEAR_MASK);
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	ck_assert_int_eq(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	close(sock);
	return tun;
}

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
};

void far_send(int tun, uint16_t port, uint16_t to, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct packet p = {
		.ip = { .version = 4,
			.ihl = 5,
			.tot_len = htons(sizeof p),
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.saddr = address(FAR_CLIENT).s_addr,
			.daddr = address(FAR_SERVER).s_addr },
		.tcp = { .th_sport = htons(port),
			 .th_dport = htons(to),
			 .th_seq = htonl(seq),
			 .th_ack = htonl(ack),
			 .th_off = 5,
			 .th_flags = flags,
			 .th_win = htons(65535) },
	};

	p.ip.check = fold(add_up(0, &p.ip, sizeof p.ip));
	segment_sum(&p.tcp, address(FAR_CLIENT), address(FAR_SERVER));
	ck_assert_int_eq(write(tun, &p, sizeof p), sizeof p);
}

uint8_t far_receive(int tun, uint16_t from, uint16_t *port, uint32_t *seq)
{
	struct packet *p;
	char buf[2048];
	ssize_t n;

	for (;;) {
		await_fd(tun, POLLIN);
		n = read(tun, buf, sizeof buf);
		p = (struct packet *)buf;
		if (n < (ssize_t)sizeof *p || p->ip.version != 4 || p->ip.protocol != IPPROTO_TCP ||
		    p->tcp.th_sport != htons(from))
			continue;
		*port = ntohs(p->tcp.th_dport);
		*seq = ntohl(p->tcp.th_seq);
		return p->tcp.th_flags;
	}
}

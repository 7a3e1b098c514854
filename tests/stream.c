/* SPDX-License-Identifier: BSD-2-Clause */
/* stream: how much of a file goes in one turn. The other end takes all: it is a file. */
#include "conn/stream.h"

#include <netpoll/linkbuf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/test.h"
#include "sys/fault.h"

#define MIB ((size_t)1 << 20)

static struct stream s;
static struct stream_file file;
static int to;

static void given_head_and_file(size_t n)
{
	char head[262];

	to = memfd_create("to", MFD_CLOEXEC);
	file = (struct stream_file){ .fd = memfd_create("file", MFD_CLOEXEC), .left = n };
	ck_assert_int_eq(ftruncate(file.fd, (off_t)n), 0);
	stream_init(&s, TRANSPORT_FILE, to);
	memset(head, 'h', sizeof head);
	ck_assert_int_eq(np_linkbuf_write(&s.out, head, sizeof head), 0);
	stream_submit(&s);
	stream_set_file(&s, &file);
}

static void end(void)
{
	stream_fini(&s);
	close(file.fd);
	close(to);
}

START_TEST(a_file_of_a_mib_goes_in_one_turn_whatever_its_head)
{
	given_head_and_file(MIB);
#ifdef NP_FAULT
	sys_fault_arm(SYS_sendfile, 0, 0);
#endif
	ck_assert_int_eq(stream_write(&s), STREAM_DRAINED);
#ifdef NP_FAULT
	ck_assert_uint_eq(sys_fault_calls(SYS_sendfile), 1);
#endif
	ck_assert_int_eq(lseek(to, 0, SEEK_CUR), (off_t)(262 + MIB));
	end();
}
END_TEST

START_TEST(a_long_file_leaves_others_their_turn)
{
	given_head_and_file(2 * MIB + 100);
	ck_assert_int_eq(stream_write(&s), STREAM_MORE);
	ck_assert_int_eq(lseek(to, 0, SEEK_CUR), (off_t)MIB);
	ck_assert_int_eq(stream_write(&s), STREAM_DRAINED);
	ck_assert_int_eq(lseek(to, 0, SEEK_CUR), (off_t)(262 + 2 * MIB + 100));
	end();
}
END_TEST

void add_cases(Suite *suite)
{
	TCase *t = add_case(suite, "stream");

	tcase_add_test(t, a_file_of_a_mib_goes_in_one_turn_whatever_its_head);
	tcase_add_test(t, a_long_file_leaves_others_their_turn);
}

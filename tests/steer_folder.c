/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_folder: what a stranger has prepared in a bpffs is neither followed, nor changed, nor
 * joined
 *
 * The bpffs is as `mount -t bpf bpf DIR` makes it, of mode 1777. The stranger is uid 1234 without
 * capabilities, and comes first; then root loads, unloads, lists and joins.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steer/steer.h"
#include "support/child.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"

#define STRANGER 1234
#define OPEN_FS  "/tmp/open" /* the bpffs, of mode 1777 */
#define HOME     OPEN_FS "/netpoll"
#define SECRETS  "/tmp/secrets" /* root's folder, with a file of mode 0600 */
#define SECRET   SECRETS "/np_socks"

static char why[NP_STEER_TEXT_MAX];

static struct np_steer_load_opts opts(void)
{
	why[0] = '\0';
	return *NP_OPTS(np_steer_load_opts, .bpffs = OPEN_FS, .error = why, .error_cap = sizeof why,
			.for_group = true, .gid = STRANGER);
}

static struct np_steer_opts open_opts(void)
{
	why[0] = '\0';
	return *NP_OPTS(np_steer_opts, .bpffs = OPEN_FS, .error = why, .error_cap = sizeof why);
}

static void given_open_bpffs(void)
{
	int fd;

	ck_assert_int_eq(mkdir(OPEN_FS, 0755), 0);
	ck_assert_int_eq(mount("none", OPEN_FS, "bpf", 0, NULL), 0);
	ck_assert_int_eq(mkdir(SECRETS, 0700), 0);
	fd = open(SECRET, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void must_be_untouched(void)
{
	struct stat st;

	ck_assert_int_eq(lstat(SECRET, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(st.st_gid, 0);
	ck_assert_int_eq(lstat(SECRETS, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
}

static void make_home_of_links(int sock, void *arg)
{
	become(STRANGER, 0);
	if (mkdir(HOME, 0755) < 0 || symlink(SECRETS, HOME "/web+new") < 0 ||
	    symlink(SECRETS, HOME "/web+old") < 0 || symlink(SECRETS, HOME "/api") < 0 ||
	    symlink(SECRETS, HOME "/+lock") < 0)
		child_fail("cannot prepare %s: %s", HOME, strerror(errno));
}

static void make_home_a_link(int sock, void *arg)
{
	become(STRANGER, 0);
	if (symlink(SECRETS, HOME) < 0)
		child_fail("%s: %s", HOME, strerror(errno));
}

static void make_home_with_a_service(int sock, void *arg)
{
	become(STRANGER, 0);
	if (mkdir(HOME, 0755) < 0 || mkdir(HOME "/web", 0755) < 0)
		child_fail("%s: %s", HOME, strerror(errno));
}

static int ignore(void *arg, const char *name, const char *path)
{
	++*(unsigned *)arg;
	return 0;
}

static void (*const prepared[])(int sock, void *arg) = { make_home_of_links, make_home_a_link,
							 make_home_with_a_service };

START_TEST(root_does_nothing_in_a_folder_that_a_stranger_made)
{
	struct np_steer_load_opts o;
	struct np_steer_opts join;
	struct np_steer *s = NULL;
	unsigned n = 0;
	struct child c;

	OWN_STEERING();
	given_open_bpffs();
	child_start(&c, prepared[_i], NULL);
	child_join(&c);

	o = opts();
	ck_assert_int_eq(np_steer_load("web", &o), -EACCES);
	ck_assert_msg(strstr(why, "mount -t bpf -o mode=0755 bpf " OPEN_FS) != NULL, "%s", why);
	join = open_opts();
	o.force = true;
	ck_assert_int_eq(np_steer_load("api", &o), -EACCES);
	ck_assert_int_eq(np_steer_unload("api", &o), -EACCES);
	ck_assert_int_eq(np_steer_unload("web", &o), -EACCES);
	ck_assert_int_eq(np_steer_list(&join, ignore, &n), -EACCES);
	ck_assert_uint_eq(n, 0);
	join.mode = NP_STEER_JOIN;
	ck_assert_int_eq(np_steer_open("web", &join, &s), -EACCES);
	ck_assert_msg(strstr(why, "is not trusted") != NULL, "%s", why);
	must_be_untouched();
}
END_TEST

/* A server of root's is steered all the same: by a program of its own. */
START_TEST(a_strangers_folder_costs_no_more_than_the_sharing)
{
	struct np_steer_opts o;
	struct np_steer_info i;
	struct np_steer *s;
	struct child c;

	OWN_STEERING();
	given_open_bpffs();
	child_start(&c, make_home_with_a_service, NULL);
	child_join(&c);
	o = open_opts();
	ck_assert_int_eq(np_steer_open("web", &o, &s), 0);
	np_steer_info_init(&i);
	ck_assert_int_eq(np_steer_info(s, &i), 0);
	ck_assert_int_ge(i.level, NP_STEER_L2);
	ck_assert(!i.pinned);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

/* Where the folder is root's, the stranger finds no place for a name; and the sticky bit keeps the
 * folder's own. */
static void try_to_get_in(int sock, void *arg)
{
	become(STRANGER, 0);
	if (symlink(SECRETS, HOME "/web+new") == 0 || mkdir(HOME "/other", 0755) == 0 ||
	    rename(HOME, OPEN_FS "/mine") == 0 || open(HOME "/+lock", O_RDONLY | O_DIRECTORY) >= 0)
		child_fail("a stranger may write in, rename, or lock %s", HOME);
}

START_TEST(on_a_bpffs_open_to_all_the_first_load_closes_its_own_folder)
{
	struct np_steer_load_opts o;
	struct child c;

	OWN_STEERING();
	given_open_bpffs();
	o = opts();
	ck_assert_msg(np_steer_load("web", &o) == 0, "%s", why);
	child_start(&c, try_to_get_in, NULL);
	child_join(&c);
	ck_assert_msg(np_steer_unload("web", &o) == 0, "%s", why);
}
END_TEST

START_TEST(a_bpffs_that_others_may_rename_in_is_refused)
{
	struct np_steer_load_opts o;

	OWN_STEERING();
	given_open_bpffs();
	ck_assert_int_eq(chmod(OPEN_FS, 0777), 0);
	o = opts();
	ck_assert_int_eq(np_steer_load("web", &o), -EACCES);
	ck_assert_msg(strstr(why, "may be written by others") != NULL, "%s", why);
}
END_TEST

/* Root's own link in root's own folder: it goes, and what it points to stays. */
START_TEST(a_symbolic_link_is_removed_and_never_descended)
{
	struct np_steer_load_opts o;
	struct stat st;

	OWN_STEERING();
	given_open_bpffs();
	ck_assert_int_eq(mkdir(HOME, 0755), 0);
	ck_assert_int_eq(symlink(SECRETS, HOME "/web+new"), 0);
	ck_assert_int_eq(symlink(SECRETS, HOME "/api"), 0);
	o = opts();
	ck_assert_msg(np_steer_load("web", &o) == 0, "%s", why);
	ck_assert_int_eq(lstat(HOME "/web+new", &st), -1);
	o.force = true;
	ck_assert_int_eq(np_steer_unload("api", &o), -EACCES);
	ck_assert_msg(strstr(why, "symbolic link") != NULL, "%s", why);
	ck_assert_int_eq(np_steer_unload("web", &o), 0);
	must_be_untouched();
}
END_TEST

/* ------------------------------------------------------------------ the lock */

static void hold_home(int sock, void *arg)
{
	int fd;

	become(STRANGER, 0);
	fd = open(HOME, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		child_fail("%s: %s", HOME, strerror(errno));
	child_say(sock, 'l');
	child_hear(sock);
}

START_TEST(a_stranger_locks_nobody_out)
{
	struct np_steer_load_opts o;
	struct child c;

	OWN_STEERING();
	given_open_bpffs();
	o = opts();
	ck_assert_int_eq(np_steer_load("web", &o), 0);
	child_start(&c, hold_home, NULL);
	child_hear(c.sock);
	ck_assert_msg(np_steer_load("api", &o) == 0, "%s", why);
	ck_assert_msg(np_steer_unload("web", &o) == 0, "%s", why);
	child_kill(&c);
}
END_TEST

static void hold(int sock, void *arg)
{
	int fd = open(arg, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		child_fail("%s: %s", (char *)arg, strerror(errno));
	child_say(sock, 'l');
	child_hear(sock);
}

static void must_name(const struct child *c, const char *sentence)
{
	char who[32];

	snprintf(who, sizeof who, "process %d (", (int)c->pid);
	ck_assert_msg(strstr(sentence, who) && strstr(sentence, "stopped"), "%s", sentence);
}

/* What holds the lock of all is another npsteer, which may be stopped. */
START_TEST(a_load_that_waits_in_vain_names_the_process)
{
	struct np_steer_load_opts o;
	struct child c;

	OWN_STEERING();
	given_open_bpffs();
	o = opts();
	ck_assert_int_eq(np_steer_load("web", &o), 0);
	child_start(&c, hold, HOME "/+lock");
	child_hear(c.sock);
	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(c.pid, NULL, WUNTRACED), c.pid);
	ck_assert_int_eq(np_steer_load("api", &o), -EBUSY);
	must_name(&c, why);
	child_kill(&c);
	ck_assert_msg(np_steer_load("api", &o) == 0, "%s", why);
}
END_TEST

/* Bounds of ten times what it takes: one wait, whatever the number of calls. */
START_TEST(a_stopped_sibling_is_waited_for_once)
{
	uint64_t began;
	struct child c;
	struct rig r;
	int fd = -1;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	child_start(&c, hold, "/tmp/bpf/netpoll/web");
	child_hear(c.sock);
	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(c.pid, NULL, WUNTRACED), c.pid);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	began = now_ms();
	for (unsigned i = 0; i < 10; i++) {
		ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.1:0", 0, &fd), -EBUSY);
		must_name(&c, np_steer_error(r.s));
	}
	ck_assert_uint_lt(now_ms() - began, 3 * STEER_LOCK_MS);
	child_kill(&c);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", "127.0.0.1:0", 0, &fd), 0);
	close(fd);
	ck_assert_int_eq(np_steer_worker_close(&r.w[0]), 0);
	ck_assert_int_eq(np_steer_close(&r.s), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "folder");

	tcase_add_loop_test(t, root_does_nothing_in_a_folder_that_a_stranger_made, 0,
			    sizeof prepared / sizeof prepared[0]);
	tcase_add_test(t, a_strangers_folder_costs_no_more_than_the_sharing);
	tcase_add_test(t, on_a_bpffs_open_to_all_the_first_load_closes_its_own_folder);
	tcase_add_test(t, a_bpffs_that_others_may_rename_in_is_refused);
	tcase_add_test(t, a_symbolic_link_is_removed_and_never_descended);
	tcase_add_test(t, a_stranger_locks_nobody_out);
	tcase_add_test(t, a_load_that_waits_in_vain_names_the_process);
	tcase_add_test(t, a_stopped_sibling_is_waited_for_once);
}

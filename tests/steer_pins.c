/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_pins: services that several processes share, who may join them, and what can be wrong
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "steer/steer.h"
#include "support/child.h"
#include "support/privilege.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/traced.h"

#define NOBODY 1234

static char why[NP_STEER_TEXT_MAX];
#define WHY .error = why, .error_cap = sizeof why

static void load(const char *service, const struct np_steer_load_opts *o)
{
	struct np_steer_load_opts opts = o ? *o : *NP_OPTS(np_steer_load_opts);

	opts.error = why;
	opts.error_cap = sizeof why;
	ck_assert_msg(np_steer_load(service, &opts) == 0, "np_steer_load: %s", why);
}

static const char *pin(const char *service, const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/netpoll/%s%s%s", own_bpffs(), service, *name ? "/" : "",
		 name);
	return path;
}

static unsigned mode_of(const char *path)
{
	struct stat st;

	ck_assert_msg(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
	return st.st_mode & 07777;
}

static struct np_steer_info info_of(struct np_steer *s)
{
	struct np_steer_info i;

	np_steer_info_init(&i);
	ck_assert_int_eq(np_steer_info(s, &i), 0);
	return i;
}

static int count_one(void *arg, const char *name, const char *path)
{
	strcat(arg, name);
	strcat(arg, " ");
	return access(path, F_OK);
}

START_TEST(a_service_is_loaded_listed_joined_and_unloaded)
{
	char names[256] = "";
	struct np_steer_info i;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_list(NULL, count_one, names), 0);
	ck_assert_str_eq(names, "");
	load("web", NP_OPTS(np_steer_load_opts, .policy = "rr"));
	ck_assert_int_eq(np_steer_load("web", NULL), NP_STEER_ALREADY);
	ck_assert_int_eq(np_steer_list(NULL, count_one, names), 0);
	ck_assert_str_eq(names, "web ");
	ck_assert_uint_eq(mode_of(pin("web", "")), 0750);
	ck_assert_uint_eq(mode_of(pin("web", "np_socks")), 0660);
	ck_assert_uint_eq(mode_of(pin("web", "np_config")), 0640);
	ck_assert_uint_eq(mode_of(pin("web", "np_steer_15")), 0640);

	rig_open(&r, "web", NULL); /* auto joins what is there */
	i = info_of(r.s);
	ck_assert_int_eq(i.level, NP_STEER_L4);
	ck_assert(i.pinned);
	ck_assert_str_eq(i.policy, "rr");
	ck_assert_str_eq(i.service, "web");
	ck_assert_str_eq(i.path, pin("web", ""));
	rig_worker(&r, "127.0.0.1:7800");
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).steered, 50);

	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY)), -EBUSY);
	ck_assert_ptr_nonnull(strstr(why, "1 workers hold the service web"));
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
	ck_assert_int_eq(access(pin("web", ""), F_OK), -1);
	ck_assert_int_eq(np_steer_unload("web", NP_OPTS(np_steer_load_opts, WHY)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "there is no service web"));
}
END_TEST

/* ------------------------------------------------------------------ several processes */

#define PROCESSES 2
#define EACH      2 /* workers in a process */

static const char *const four_places[] = { "127.0.0.1:7801", "127.0.0.1:7802", "[::1]:7801",
					   "[::1]:7802" };

/* What a process of the test below has accepted: [worker][place]. */
struct tally {
	unsigned at[EACH][4];
};

static void accept_into(struct tally *t, int fds[EACH][4])
{
	for (unsigned w = 0; w < EACH; w++)
		for (unsigned p = 0; p < 4; p++) {
			int c;

			while ((c = accept(fds[w][p], NULL, NULL)) >= 0) {
				close(c);
				t->at[w][p]++;
			}
		}
}

/* Says 'r' when it listens; 'a' makes it accept what is there and send its tally; 'q' ends it. */
static void serve_four_places(int sock, void *arg)
{
	struct np_steer_worker *w[EACH];
	struct tally t = { 0 };
	struct np_steer *s;
	int fds[EACH][4];

	if (np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, WHY), &s) < 0)
		child_fail("%s", why);
	for (unsigned i = 0; i < EACH; i++) {
		if (np_steer_worker(s, NULL, &w[i]) < 0)
			child_fail("%s", np_steer_error(s));
		for (unsigned p = 0; p < 4; p++)
			if (np_steer_listen(w[i], "tcp", four_places[p], 0, &fds[i][p]) < 0)
				child_fail("%s", np_steer_error(s));
	}
	child_say(sock, 'r');
	while (child_hear(sock) == 'a') {
		accept_into(&t, fds);
		child_send(sock, &t, sizeof t);
	}
	for (unsigned i = 0; i < EACH; i++)
		if (np_steer_worker_close(&w[i]) < 0)
			child_fail("%s", np_steer_error(s));
	np_steer_close(&s);
}

static void connect_to(const char *place, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = client_connect(place);

		ck_assert_msg(fd >= 0, "%s: %s", place, strerror(-fd));
		client_close(&fd);
	}
}

START_TEST(two_processes_share_two_ports_of_two_families_evenly)
{
	unsigned workers = PROCESSES * EACH, per_place = 100 * workers;
	struct child c[PROCESSES];
	struct tally t;
	struct rig r;

	OWN_STEERING();
	/* They accept when all have come. */
	load("web", NP_OPTS(np_steer_load_opts, .policy = "rr", .hang_ms = RIG_HANG_MS));
	for (unsigned i = 0; i < PROCESSES; i++)
		child_start(&c[i], serve_four_places, NULL); /* both at once: nobody waits */
	for (unsigned i = 0; i < PROCESSES; i++)
		child_hear(c[i].sock);
	for (unsigned p = 0; p < 4; p++)
		connect_to(four_places[p], per_place);

	for (unsigned i = 0; i < PROCESSES; i++) {
		child_say(c[i].sock, 'a');
		child_recv(c[i].sock, &t, sizeof t);
		for (unsigned w = 0; w < EACH; w++)
			for (unsigned p = 0; p < 4; p++)
				ck_assert_uint_eq(t.at[w][p], 100);
	}
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	ck_assert_uint_eq(rig_stats(&r).steered, 4 * per_place);
	ck_assert_uint_eq(rig_stats(&r).fallback_hash, 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		child_say(c[i].sock, 'q');
		child_join(&c[i]);
	}
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(a_stranger_on_the_port_is_not_joined)
{
	struct rig r, stranger;
	int fd = -1;

	OWN_STEERING();
	rig_start(&stranger, 1, NULL);
	load("web", NULL);
	rig_open(&r, "web", NULL);
	ck_assert_int_eq(np_steer_worker(r.s, NULL, &r.w[0]), 0);
	ck_assert_int_eq(np_steer_listen(r.w[0], "tcp", stranger.address, 0, &fd), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(np_steer_error(r.s), "outside of the service web"));
	ck_assert_int_eq(np_steer_worker_close(&r.w[0]), 0);
	rig_stop(&r);
	rig_stop(&stranger);
}
END_TEST

static void claim_and_wait(int sock, void *arg)
{
	struct np_steer_worker *w;
	struct np_steer *s;

	if (np_steer_open("web", NULL, &s) < 0 || np_steer_worker(s, "doomed", &w) < 0)
		child_fail("no claim");
	np_steer_busy(w);
	np_steer_conn_inc(w);
	child_say(sock, 'c');
	child_hear(sock);
}

/* It had a claim and a line, and no listener yet. */
START_TEST(a_crash_between_claim_and_ready_leaves_nothing_behind)
{
	struct child c;
	struct rig r;

	OWN_STEERING();
	load("web", NULL);
	child_start(&c, claim_and_wait, NULL);
	child_hear(c.sock);
	rig_open(&r, "web", NULL);
	rig_worker(&r, "127.0.0.1:7803");
	ck_assert_int_eq(np_steer_worker_index(r.w[0]), 1);

	child_kill(&c);
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).steered, 50);
	rig_worker(&r, "127.0.0.1:7803"); /* takes the dead one's place, with a clean line */
	ck_assert_int_eq(np_steer_worker_index(r.w[1]), 0);
	ck_assert_uint_eq(rig_worker_info(&r, 1).conns, 0);
	ck_assert_str_eq(rig_worker_info(&r, 1).name, "worker-1");
	rig_drive(&r, 200);
	ck_assert_uint_gt(r.accepted[1], 0);
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(all_workers_taken_is_said_and_a_freed_one_can_be_had)
{
	struct np_steer_worker *w[NP_WORKERS], *more = NULL;
	struct np_steer *s;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_open(NULL, NULL, &s), 0);
	for (unsigned i = 0; i < NP_WORKERS; i++)
		ck_assert_int_eq(np_steer_worker(s, NULL, &w[i]), 0);
	ck_assert_int_eq(np_steer_worker(s, NULL, &more), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(np_steer_error(s), "all 256 workers"));
	ck_assert_ptr_null(more);
	ck_assert_int_eq(np_steer_worker_close(&w[200]), 0);
	ck_assert_int_eq(np_steer_worker(s, NULL, &w[200]), 0);
	ck_assert_int_eq(np_steer_worker_index(w[200]), 200);
	for (unsigned i = 0; i < NP_WORKERS; i++)
		ck_assert_int_eq(np_steer_worker_close(&w[i]), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

/* ------------------------------------------------------------------ permissions */

/* @arg: the service to use. Uid 1234, group 1234, no capabilities. */
static void join_as_nobody(int sock, void *arg)
{
	struct rig r;

	become(NOBODY, 0);
	rig_open(&r, arg, NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_worker(&r, "127.0.0.1:7804");
	rig_worker(&r, "127.0.0.1:7804");
	rig_drive(&r, 100);
	if (rig_stats(&r).steered != 100)
		child_fail("%d steered", (int)rig_stats(&r).steered);
	if (np_steer_set_policy(r.s, "rr") != -EPERM)
		child_fail("a member may switch the policy");
	if (np_steer_drain(r.s, 0) != 0)
		child_fail("a member may not drain: %s", np_steer_error(r.s));
	rig_stop(&r);
}

START_TEST(a_member_of_the_group_needs_no_capability)
{
	struct child c;

	OWN_STEERING();
	load("web", NP_OPTS(np_steer_load_opts, .for_group = true, .gid = NOBODY));
	child_start(&c, join_as_nobody, "web");
	child_join(&c);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* What AUTO, JOIN and REQUIRED say to uid 1234. */
struct refusal {
	int join, required;
	char join_why[NP_STEER_TEXT_MAX], required_why[NP_STEER_TEXT_MAX],
		auto_why[NP_STEER_TEXT_MAX];
	int auto_level;
};

static void refused_as_nobody(int sock, void *arg)
{
	struct np_steer_info i;
	struct refusal f;
	struct np_steer *s;
	struct rig r;

	memset(&f, 0, sizeof f);
	become(NOBODY, 0);
	f.join = np_steer_open(arg,
			       NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .error = f.join_why,
				       .error_cap = sizeof f.join_why),
			       &s);
	f.required =
		np_steer_open(arg,
			      NP_OPTS(np_steer_opts, .mode = NP_STEER_REQUIRED,
				      .error = f.required_why, .error_cap = sizeof f.required_why),
			      &s);
	rig_open(&r, arg, NULL);
	i = info_of(r.s);
	f.auto_level = i.level;
	memcpy(f.auto_why, i.reason, sizeof f.auto_why);
	for (unsigned k = 0; k < 2; k++)
		rig_worker(&r, "127.0.0.1:7805"); /* the kernel's hash serves all the same */
	rig_drive(&r, 100);
	rig_stop(&r);
	child_send(sock, &f, sizeof f);
}

static struct refusal refusal_of(const char *service)
{
	struct refusal f;
	struct child c;

	child_start(&c, refused_as_nobody, (void *)service);
	child_recv(c.sock, &f, sizeof f);
	child_join(&c);
	return f;
}

START_TEST(without_permission_the_kernels_hash_serves_and_the_reason_is_told)
{
	struct refusal f;

	OWN_STEERING();
	load("web", NULL); /* for root alone */
	f = refusal_of("web");
	ck_assert_int_eq(f.join, -EACCES);
	ck_assert_ptr_nonnull(strstr(f.join_why, "uid 1234 may not use the service web"));
	ck_assert_ptr_nonnull(strstr(f.join_why, "`npsteer load web --group`"));
	ck_assert_int_eq(f.required, -EPERM);
	ck_assert_int_eq(f.auto_level, NP_STEER_L0);
	ck_assert_str_eq(f.auto_why, f.join_why);

	f = refusal_of("mail"); /* which nobody has loaded */
	ck_assert_int_eq(f.join, -ENOENT);
	ck_assert_int_eq(f.required, -EPERM);
	ck_assert_ptr_nonnull(strstr(f.required_why, "no CAP_BPF"));
	ck_assert_str_eq(f.auto_why, f.required_why);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* As systemd mounts it. */
START_TEST(a_bpffs_of_mode_0700_bars_everybody_but_root)
{
	struct refusal f;
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(chmod(own_bpffs(), 0700), 0);
	load("web", NP_OPTS(np_steer_load_opts, .for_group = true, .gid = NOBODY));
	f = refusal_of("web");
	ck_assert_int_eq(f.join, -EACCES);
	ck_assert_int_eq(f.auto_level, NP_STEER_L0);
	ck_assert_str_eq(f.auto_why, f.join_why);

	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_stop(&r);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

static void load_with_cap_bpf(int sock, void *arg)
{
	struct rig r;

	become(NOBODY, 1ull << CAP_BPF);
	rig_start(&r, 3, NULL);
	if (info_of(r.s).level != NP_STEER_L3)
		child_fail("level %d: %s", info_of(r.s).level, info_of(r.s).reason);
	rig_drive(&r, 100);
	if (rig_stats(&r).steered != 100)
		child_fail("not steered");
	rig_stop(&r);
}

/* The verifier refuses some arithmetic to those without CAP_PERFMON. */
START_TEST(cap_bpf_alone_is_enough_to_load)
{
	struct child c;

	OWN_STEERING();
	child_start(&c, load_with_cap_bpf, NULL);
	child_join(&c);
}
END_TEST

static void load_plain(int sock, void *arg)
{
	struct maps m;
	int fd, r;

	if (arg)
		become(NOBODY, 1ull << CAP_BPF);
	maps_init(&m);
	r = maps_create(&m, why, sizeof why);
	if (r == 0)
		r = level_load_programs(&m, NP_STEER_L2, 3, 1, &fd, why, sizeof why);
	if (r < 0)
		child_fail("%s: %s", strerror(-r), why);
}

START_TEST(the_program_for_older_kernels_loads_too)
{
	struct child c;

	OWN_STEERING();
	child_start(&c, load_plain, NULL);
	child_join(&c);
	child_start(&c, load_plain, "with CAP_BPF alone");
	child_join(&c);
}
END_TEST

/* Kernels without CONFIG_DEBUG_INFO_BTF have no such folder. */
START_TEST(the_program_loads_where_btf_is_hidden)
{
	struct rig r;

	OWN_STEERING();
	ck_assert_int_eq(mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL), 0);
	ck_assert_int_eq(access("/sys/kernel/btf/vmlinux", F_OK), -1);
	rig_start(&r, 2, NULL);
	ck_assert_int_eq(info_of(r.s).level, NP_STEER_L3);
	rig_drive(&r, 50);
	ck_assert_uint_eq(rig_stats(&r).steered, 50);
	rig_stop(&r);
}
END_TEST

/* ------------------------------------------------------------------ what is there is wrong */

START_TEST(pins_of_another_abi_are_refused_in_every_mode)
{
	static const enum np_steer_mode modes[] = { NP_STEER_AUTO, NP_STEER_REQUIRED,
						    NP_STEER_JOIN };
	struct np_steer *s = NULL;
	struct rig r;

	OWN_STEERING();
	load("web", NULL);
	rig_open(&r, "web", NULL);
	r.s->maps.config->abi = 99;
	rig_stop(&r);
	for (unsigned i = 0; i < 3; i++) {
		int e = np_steer_open("web", NP_OPTS(np_steer_opts, .mode = modes[i], WHY), &s);

		ck_assert_int_eq(e, -EPROTO);
		ck_assert_str_eq(
			why, "the service web is of ABI 99 and this program of ABI 4: use versions "
			     "that match, or stop its servers and `npsteer load web --force`");
		ck_assert_ptr_null(s);
	}
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, WHY)), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why, "--force"));
	load("web", NP_OPTS(np_steer_load_opts, .force = true));
	rig_open(&r, "web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN));
	rig_stop(&r);
}
END_TEST

START_TEST(incomplete_and_foreign_pins_are_named)
{
	struct np_steer *s;
	int fd;

	OWN_STEERING();
	load("web", NULL);
	ck_assert_int_eq(unlink(pin("web", "np_roster")), 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, WHY), &s), -EPROTO);
	ck_assert_ptr_nonnull(strstr(why, "np_roster is missing or not of this ABI"));

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	ck_assert_int_eq(bpf_obj_pin(fd, pin("web", "np_roster")), 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, WHY), &s), -EPROTO);
	ck_assert_int_eq(unlink(pin("web", "np_config")), 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, WHY), &s), -EPROTO);
	ck_assert_ptr_nonnull(strstr(why, "np_config"));
	close(fd);
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, WHY)), -EEXIST);
	load("web", NP_OPTS(np_steer_load_opts, .force = true));
}
END_TEST

/* The folder of a load that was killed half way is of no consequence. */
START_TEST(a_service_appears_whole_or_not_at_all)
{
	char names[64] = "";
	struct np_steer *s;

	OWN_STEERING();
	ck_assert_int_eq(mkdir(pin("", ""), 0755), 0);
	ck_assert_int_eq(mkdir(pin("web+new", ""), 0700), 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, WHY),
				       &s),
			 -ENOENT);
	ck_assert_int_eq(np_steer_list(NULL, count_one, names), 0);
	ck_assert_str_eq(names, "");
	load("web", NULL);
	ck_assert_int_eq(access(pin("web+new", ""), F_OK), -1);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

static void fail_to_load(int sock, void *arg)
{
	become(NOBODY, 0);
	if (np_steer_load("web", NP_OPTS(np_steer_load_opts, WHY)) >= 0)
		child_fail("loaded without capabilities");
	child_send(sock, why, sizeof why);
}

START_TEST(a_load_that_fails_leaves_no_pins)
{
	char names[64] = "";
	struct child c;

	OWN_STEERING();
	ck_assert_int_eq(mkdir(pin("", ""), 0755), 0);
	ck_assert_int_eq(chown(pin("", ""), NOBODY, NOBODY), 0);
	child_start(&c, fail_to_load, NULL);
	child_recv(c.sock, why, sizeof why);
	child_join(&c);
	ck_assert_ptr_nonnull(strstr(why, "no CAP_BPF"));
	/* root does not go by it */
	ck_assert_int_eq(np_steer_list(NULL, count_one, names), -EACCES);
	ck_assert_int_eq(chown(pin("", ""), 0, 0), 0);
	ck_assert_int_eq(np_steer_list(NULL, count_one, names), 0);
	ck_assert_str_eq(names, "");
	ck_assert_int_eq(access(pin("web+new", ""), F_OK), -1);
}
END_TEST

START_TEST(without_a_bpffs_load_says_how_to_mount_one)
{
	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .bpffs = "/tmp", WHY)),
			 -ENODEV);
	ck_assert_str_eq(why, "no BPF file system at /tmp: `mount -t bpf -o mode=0755 bpf /tmp`");
	ck_assert_int_eq(np_steer_list(NP_OPTS(np_steer_opts, .bpffs = "/tmp"), count_one, why),
			 -ENODEV);
}
END_TEST

START_TEST(names_that_could_leave_the_folder_are_refused)
{
	static const char *const bad[] = { "",        ".",
					   "..",      "../web",
					   "a/b",     "a.b",
					   "web+new", "a_name_of_more_than_thirty_one_bytes" };
	struct np_steer *s;

	OWN_STEERING();
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ck_assert_int_eq(np_steer_open(bad[i], NULL, &s), -EINVAL);
		ck_assert_int_eq(np_steer_load(bad[i], NULL), -EINVAL);
		ck_assert_int_eq(np_steer_unload(bad[i], NP_OPTS(np_steer_load_opts, WHY)),
				 -EINVAL);
		ck_assert_ptr_nonnull(strstr(why, "is no name for a service"));
	}
}
END_TEST

/* Needs no rights at all: this is what runs in a container that forbids everything. */
START_TEST(level_0_says_what_it_cannot_do)
{
	struct np_steer_stats st;
	struct np_steer *s;

	ck_assert_int_eq(np_steer_open(NULL, NP_OPTS(np_steer_opts, .mode = NP_STEER_OFF), &s), 0);
	ck_assert_int_eq(info_of(s).level, NP_STEER_L0);
	ck_assert_str_eq(info_of(s).policy, "kernel");
	ck_assert_int_eq(np_steer_set_policy(s, "rr"), -NP_EUNSUPPORTED);
	ck_assert_str_eq(
		np_steer_error(s),
		"the service default is at level 0, the kernel's hash: steering is switched off");
	np_steer_stats_init(&st);
	ck_assert_int_eq(np_steer_stats(s, &st), -NP_EUNSUPPORTED);
	ck_assert_int_eq(np_steer_drain(s, 0), -NP_EUNSUPPORTED);
	ck_assert_int_eq(np_steer_close(&s), 0);
}
END_TEST

START_TEST(options_from_a_newer_header_are_refused)
{
	struct {
		struct np_steer_opts o;
		int newer;
	} f = { .o.sz = sizeof f, .o.mode = NP_STEER_OFF };
	struct np_steer *s;

	ck_assert_int_eq(np_steer_open(NULL, &f.o, &s), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	f.newer = 1;
	ck_assert_int_eq(np_steer_open(NULL, &f.o, &s), -E2BIG);
	f.o.sz = 0;
	ck_assert_int_eq(np_steer_open(NULL, &f.o, &s), -EINVAL);
}
END_TEST

static void unload_web(void *arg)
{
	if (np_steer_unload("web", NULL) != 0)
		_exit(1);
}

#define BESIDE 1000 /* system calls of an unload that ask for no slot */

/* Members may write what tells which slots are taken: each is looked at, their map's shape once. */
START_TEST(an_unload_asks_for_each_slot_once)
{
	unsigned calls;

	OWN_STEERING();
	load("web", NULL);
	calls = traced_calls(unload_web, NULL);
	ck_assert_uint_ge(calls, NP_WORKERS + NP_SLOTS);
	ck_assert_uint_le(calls, NP_WORKERS + NP_SLOTS + BESIDE);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "pins");

	tcase_add_test(t, a_service_is_loaded_listed_joined_and_unloaded);
	tcase_add_test(t, two_processes_share_two_ports_of_two_families_evenly);
	tcase_add_test(t, a_stranger_on_the_port_is_not_joined);
	tcase_add_test(t, a_crash_between_claim_and_ready_leaves_nothing_behind);
	tcase_add_test(t, all_workers_taken_is_said_and_a_freed_one_can_be_had);
	tcase_add_test(t, a_member_of_the_group_needs_no_capability);
	tcase_add_test(t, without_permission_the_kernels_hash_serves_and_the_reason_is_told);
	tcase_add_test(t, a_bpffs_of_mode_0700_bars_everybody_but_root);
	tcase_add_test(t, cap_bpf_alone_is_enough_to_load);
	tcase_add_test(t, the_program_for_older_kernels_loads_too);
	tcase_add_test(t, the_program_loads_where_btf_is_hidden);
	tcase_add_test(t, pins_of_another_abi_are_refused_in_every_mode);
	tcase_add_test(t, incomplete_and_foreign_pins_are_named);
	tcase_add_test(t, a_service_appears_whole_or_not_at_all);
	tcase_add_test(t, a_load_that_fails_leaves_no_pins);
	tcase_add_test(t, without_a_bpffs_load_says_how_to_mount_one);
	tcase_add_test(t, names_that_could_leave_the_folder_are_refused);
	tcase_add_test(t, an_unload_asks_for_each_slot_once);
	tcase_add_test(t, level_0_says_what_it_cannot_do);
	tcase_add_test(t, options_from_a_newer_header_are_refused);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observer_sweep: the sockets of processes that were killed, in the folder where each has its own
 *
 * A number says nothing: it may be another's by now, or one of another namespace. What is dead
 * refuses to be connected to, under the lock that its owner held while it bound:
 * socket_file_clear() looks, and nothing of a stranger's, and no other file, is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netpoll/observe.h"
#include "netpoll/observer_socket.h"
#include "sys/addr.h"
#include "sys/fs.h"
#include "sys/io.h"

struct sweep {
	void (*fn)(void *arg, const char *path);
	void *arg;
	bool look;
	int n;
};

/* "4711.sock", "4711.sock.lock": *ret_number has the first word of it. */
static bool sweep_is_ours(const char *name, int *ret_number)
{
	size_t digits = strspn(name, "0123456789");
	const char *rest = name + digits;

	if (!digits || digits > 9 || (strcmp(rest, ".sock") && strcmp(rest, ".sock.lock")))
		return false;
	*ret_number = atoi(name);
	return true;
}

static bool sweep_is_strange(const char *path)
{
	struct stat st;

	return sys_lstat(path, &st) == 0 && geteuid() && st.st_uid != geteuid();
}

static bool sweep_is_there(const char *path)
{
	struct stat st;

	return sys_lstat(path, &st) == 0;
}

/*
 * Also a lock whose socket is gone: its owner was killed between the two. @locked: there was a
 * lock, else there will be none. A look makes one for as long as it takes, too.
 */
static bool sweep_one(const char *path, bool locked, bool look)
{
	struct socket_file f = { .lock_fd = -1 };
	struct addr at;
	int r = addr_parse("unix", path, &at);

	if (r == 0)
		r = socket_file_open(&f, path, NULL);
	if (r < 0)
		return false;
	f.lock_goes = true;
	r = look ? socket_file_look(&f, &at) : socket_file_clear(&f, &at);
	if ((r == 0 && !look) || !locked)
		socket_file_end_lock(&f);
	socket_file_unlock(&f);
	socket_file_remove(&f); /* it was not noted: its memory alone */
	return r == 0;
}

static int sweep_name(void *arg, const char *name)
{
	struct sweep *s = arg;
	char path[64], lock[80];
	int number;

	if (!sweep_is_ours(name, &number) || number == (int)getpid())
		return 0;
	snprintf(path, sizeof path, OBSERVER_FOLDER "/%d.sock", number);
	snprintf(lock, sizeof lock, "%s.lock", path);
	if (!sweep_is_there(path) && !sweep_is_there(lock))
		return 0; /* it went with the other one */
	if (s->look && strcmp(name, strrchr(path, '/') + 1) != 0 && sweep_is_there(path))
		return 0; /* a lock, which would */
	if (sweep_is_strange(path) || sweep_is_strange(lock) ||
	    !sweep_one(path, sweep_is_there(lock), s->look))
		return 0;
	s->n++;
	if (s->fn)
		s->fn(s->arg, path);
	return 0;
}

static int sweep_all(struct sweep *s)
{
	int fd = -1, r = sys_open_dir_at(AT_FDCWD, OBSERVER_FOLDER, &fd);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = sys_dir_each(&fd, sweep_name, s);
	return r < 0 ? r : s->n;
}

int np_observe_sweep(void (*fn)(void *arg, const char *path), void *arg)
{
	return sweep_all(&(struct sweep){ .fn = fn, .arg = arg });
}

int np_observe_sweep_look(void (*fn)(void *arg, const char *path), void *arg)
{
	return sweep_all(&(struct sweep){ .fn = fn, .arg = arg, .look = true });
}

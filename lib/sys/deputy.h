/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deputy: a process forked for one deed, which it does to its end whatever becomes of its parent
 *
 * For what must not be left half done. Either of the two may be killed, as by kill -9: without its
 * parent the deputy goes on, and without the deputy its parent hears so, and mends.
 */
#ifndef SYS_DEPUTY_H
#define SYS_DEPUTY_H

/*
 * sys_deputy() - what @fn returns, in a process of its own
 *
 * It has one thread, every signal blocked, and what its parent had open; what it writes comes back
 * where memory is shared, and nowhere else.
 *
 * Thread: any, which waits for it.
 * Return: 0, *ret_result is fn's; -ECHILD: it was killed first; -EAGAIN, -ENOMEM, -EMFILE, -ENFILE:
 *         there is none, and fn was not called.
 */
int sys_deputy(int (*fn)(void *arg), void *arg, int *ret_result);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * copy.c - a copy of this process that does one piece of work and tells of it by a pipe.  It has no exit signal: nobody else's wait() or SIGCHLD
 * handler sees it; and the host has no thread more, after which unshare(2) and setns(2) would fail.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "nslua.h"

static bool same(int dir, const char *a, const char *b)
{
	char x[64], y[64];
	ssize_t n = readlinkat(dir, a, x, sizeof(x)), m = readlinkat(dir, b, y, sizeof(y));

	/* Neither: a kernel without the type. */
	return n == m && (n < 0 || !memcmp(x, y, (size_t)n));
}

bool nslua_may_copy(void)
{
	int dir = open("/proc/thread-self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool here = dir >= 0 && same(dir, "pid", "pid_for_children") && same(dir, "time", "time_for_children");

	if (dir >= 0)
		close(dir);
	return here;
}

/*
 * The copy (0: this process) must not stay on the processor `maker`, where there are others it may be on.  Where both are on one, the copy waits until
 * its maker does, or the other way round, and another processor idles meanwhile.  sched_setaffinity(2)
 */
static void apart(pid_t copy, unsigned int maker)
{
	cpu_set_t may;

	if (sched_getaffinity(0, sizeof(may), &may) < 0 || !CPU_ISSET(maker, &may) || CPU_COUNT(&may) < 2)
		return;
	CPU_CLR(maker, &may);
	sched_setaffinity(copy, sizeof(may), &may);
}

pid_t nslua_copy(void (*work)(void *arg, int to), void *arg, int keep, int *from)
{
	int ends[2];
	sigset_t all, old;
	pid_t parent = getpid(), pid;
	unsigned int cpu = 0, here = 1;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	getcpu(&cpu, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* the host's handlers are not for the copy */
	pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0) {
		int to = ends[1];

		if (getcpu(&here, NULL) == 0 && here == cpu)
			apart(0, cpu); /* it began first */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		nslua_close_except((unsigned int)(keep < to ? keep : to), (unsigned int)(keep < to ? to : keep)); /* the host may close some meanwhile */
		work(arg, to);
		_exit(0);
	}
	if (pid > 0)
		apart(pid, cpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(ends[1]);
	*from = ends[0];
	if (pid < 0)
		close(ends[0]);
	return pid;
}

void nslua_copy_anywhere(pid_t copy)
{
	cpu_set_t may;

	if (sched_getaffinity(0, sizeof(may), &may) == 0)
		sched_setaffinity(copy, sizeof(may), &may);
}

/* SPDX-License-Identifier: MIT */
/* clone.c - a process like this one, with a pidfd.  See child.c for what may be called here. */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "spawn.h"

/* clone3(2) without a stack of its own, or clone(2) where a filter does not know it: returns twice. */
pid_t spawn_fork(unsigned long flags, int *pidfd)
{
	struct clone_args a = {
		.flags = flags | (pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* with CLONE_PARENT it is inherited */
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));

	if (pid < 0 && (errno == ENOSYS || errno == EPERM)) {
		flags |= SIGCHLD | (pidfd ? CLONE_PIDFD : 0);
#if defined(__s390__) || defined(__CRIS__)
		pid = (pid_t)syscall(SYS_clone, 0, flags, pidfd, 0, 0);
#else
		pid = (pid_t)syscall(SYS_clone, flags, 0, pidfd, 0, 0);
#endif
	}
	return pid;
}

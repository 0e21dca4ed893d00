/* SPDX-License-Identifier: MIT */
/*
 * clone_faults.c - for LD_PRELOAD: clone(2) shares no memory with a child that is waited for, as Linux before 6.2 does not after
 * unshare(CLONE_NEWTIME): EINVAL.  A byte to stderr says that it was asked to.  For namespace_time_spec.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	int (*real)(int (*)(void *), void *, int, void *, ...) = dlsym(RTLD_NEXT, "clone");
	int *pidfd;
	va_list more;

	if ((flags & (CLONE_VM | CLONE_VFORK)) == (CLONE_VM | CLONE_VFORK)) {
		errno = write(2, "!", 1) == 1 ? EINVAL : EIO;
		return -1;
	}
	va_start(more, arg);
	pidfd = flags & CLONE_PIDFD ? va_arg(more, int *) : NULL;
	va_end(more);
	return real(fn, stack, flags, arg, pidfd);
}

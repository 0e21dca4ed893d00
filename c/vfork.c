/* SPDX-License-Identifier: MIT */
/* vfork.c - a child that shares our memory, or one that does with a part of it.  clone(2), time_namespaces(7). */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include "nslua.h"

pid_t nslua_vfork(int (*fn)(void *), char *top, int flags, void *arg, size_t size)
{
	pid_t pid = clone(fn, top, CLONE_VM | CLONE_VFORK | flags, arg);
	void *shared = arg;
	int en = errno;

	/*
	 * Before 6.2, Linux shares no memory with a child whose time namespace would be another, as after unshare(CLONE_NEWTIME).  A copy
	 * goes then, and is the first in that namespace, whose offsets are fixed from there on.
	 */
	if (pid >= 0 || en != EINVAL)
		return pid;
	if (size) {
		shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (shared == MAP_FAILED)
			return -1;
		memcpy(shared, arg, size);
	}
	pid = clone(fn, top, CLONE_VFORK | flags, shared);
	en = errno;
	if (size) {
		memcpy(arg, shared, size); /* it has ended, or is another program */
		munmap(shared, size);
	}
	errno = en;
	return pid;
}

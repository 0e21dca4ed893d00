/* SPDX-License-Identifier: MIT */
/*
 * census_faults.c - for LD_PRELOAD: which of the two processes of a census comes first, and what may go wrong with the second, for
 * census_pair_spec and census_kernel_spec.  NSLUA_FAULT is one of
 *   second   the first waits until the second has made 400 calls of readlinkat(2)
 *   first    the second waits until the first has made 400
 *   die      the second is killed at its 400th, and the first waits for that
 *   half     the second is killed when it has written half of what it writes last
 *   nocopy   there is no second: EAGAIN
 * The second is killed too where it allocates memory.
 * NSLUA_LISTNS, "path path": these namespaces are what listns(2) of Linux 6.19 lists, one in each call, and open_by_handle_at(2) opens by id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS 400

static volatile int *calls; /* of the first, of the second */
static pid_t first;

static int fault(const char *name)
{
	const char *set = getenv("NSLUA_FAULT");

	return set && !strcmp(set, name);
}

static void wait_for(int who, pid_t second)
{
	struct timespec moment = { 0, 1000000 };

	while (calls[who] < CALLS) {
		siginfo_t info = { 0 };

		if (second > 0 && waitid(P_PID, (id_t)second, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid)
			return;
		nanosleep(&moment, NULL);
	}
}

#define LISTNS 470

struct ns_id_req {
	uint32_t size, spare;
	uint64_t ns_id;
	uint32_t ns_type, spare2;
	uint64_t user_ns_id;
};
struct nsfs_handle {
	unsigned int bytes;
	int kind;
	uint64_t ns_id;
	uint32_t ns_type, ns_inum;
};

/* The first namespace in NSLUA_LISTNS with an id above `above`; its id, or 0. */
static uint64_t listed(uint64_t above, char *path)
{
	const char *at = getenv("NSLUA_LISTNS");
	uint64_t least = 0;
	char one[256];
	int n;

	for (; at && sscanf(at, " %255s%n", one, &n) == 1; at += n) {
		uint64_t id = 0;
		int fd = open(one, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && ioctl(fd, _IOR(0xb7, 13, uint64_t), &id) == 0 && id > above && (!least || id < least)) {
			least = id;
			strcpy(path, one);
		}
		close(fd);
	}
	return least;
}

static long listns(const struct ns_id_req *req, uint64_t *ids, size_t n, unsigned int flags)
{
	char path[256];

	if (flags || req->size != sizeof(*req) || req->spare || req->spare2 || req->user_ns_id || !req->ns_type || !n) {
		errno = EINVAL;
		return -1;
	}
	ids[0] = listed(req->ns_id, path);
	return ids[0] != 0;
}

static long open_by_id(const struct nsfs_handle *handle, int flags)
{
	char path[256];

	if (handle->bytes == 16 && handle->kind == 0xf1 && !handle->ns_type && !handle->ns_inum &&
	    listed(handle->ns_id - 1, path) == handle->ns_id)
		return open(path, flags);
	errno = ESTALE;
	return -1;
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6], rc;
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == LISTNS && getenv("NSLUA_LISTNS"))
		return listns((void *)a[0], (void *)a[1], (size_t)a[2], (unsigned int)a[3]);
	if (number == SYS_open_by_handle_at && getenv("NSLUA_LISTNS"))
		return open_by_id((void *)a[1], (int)a[2]);
	if (number != SYS_clone || a[0])
		return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (fault("nocopy")) {
		errno = EAGAIN;
		return -1;
	}
	calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	first = getpid();
	rc = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (rc > 0 && (fault("second") || fault("die")))
		wait_for(1, (pid_t)rc);
	if (rc == 0 && fault("first"))
		wait_for(0, 0);
	return rc;
}

/* The second may be a copy of a program with threads, one of which held malloc's lock: it allocates nothing. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static void not_in_second(void)
{
	if (calls && getpid() != first)
		raise(SIGKILL);
}

void *malloc(size_t size)
{
	not_in_second();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	not_in_second();
	return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	not_in_second();
	return __libc_realloc(old, size);
}

ssize_t readlinkat(int dir, const char *path, char *buf, size_t size)
{
	int who = calls && getpid() != first;

	if (calls)
		calls[who]++;
	if (who && calls[who] == CALLS && fault("die"))
		raise(SIGKILL);
	return (ssize_t)syscall(SYS_readlinkat, dir, path, buf, size, 0, 0);
}

ssize_t write(int fd, const void *buf, size_t size)
{
	static int writes;

	if (calls && getpid() != first && fault("half") && ++writes == 2) {
		syscall(SYS_write, fd, buf, size / 2, 0, 0, 0);
		raise(SIGKILL);
	}
	return (ssize_t)syscall(SYS_write, fd, buf, size, 0, 0, 0);
}

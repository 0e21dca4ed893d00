/* SPDX-License-Identifier: MIT */
/* pidfd.c - pidfds, and the namespaces of the process behind one: never those of another process that got its pid. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "namespace.h"

static int pidfd_open_raw(pid_t pid, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags); /* CLOEXEC by itself */
}

/* 1 while the process has not ended, 0 after, -1/errno. */
static int pidfd_alive(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int rc = poll(&p, 1, 0);

	return rc < 0 ? -1 : rc == 0;
}

/* The pid of a pidfd as /proc shows it, or -1/errno (ESRCH: it has ended; EINVAL: fd is no pidfd). */
static int pidfd_pid(int pidfd)
{
	char path[48], line[256];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	fclose(f);
	if (pid <= 0) {
		errno = pid < 0 ? ESRCH : EINVAL;
		return -1;
	}
	return pid;
}

/* By /proc, for kernels before 6.11: right if the process still lives after the open. */
static int pidfd_ns_by_proc(int pidfd, const struct nslua_nstype *type)
{
	int pid = pidfd_pid(pidfd), fd;
	char path[48];

	if (pid < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, type->proc);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT && pidfd_alive(pidfd) == 0)
			errno = ESRCH;
		return -1;
	}
	if (pidfd_alive(pidfd) != 1) {
		close(fd);
		errno = ESRCH;
		return -1;
	}
	return fd;
}

/* An ioctl number means something else on another file: ask pidfds only, which are on pidfs since 6.9, anonymous inodes before. */
static int may_be_pidfd(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == 0x50494446 || fs.f_type == 0x09041934);
}

int nslua_pidfd_ns(int pidfd, const struct nslua_nstype *type)
{
	int fd;

	if (!may_be_pidfd(pidfd)) {
		errno = EINVAL;
		return -1;
	}
	fd = ioctl(pidfd, _IO(0xFF, type->pidfd), 0);

	if (fd >= 0 || (errno != ENOTTY && errno != EINVAL && errno != EOPNOTSUPP))
		return fd;
	return pidfd_ns_by_proc(pidfd, type);
}

int nslua_thread_ns(const struct nslua_nstype *type)
{
	char path[48];
	int fd, pidfd, en;

	snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", type->proc);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	/* No /proc here, or that of another pid namespace. */
	pidfd = pidfd_open_raw((pid_t)syscall(SYS_gettid), NSLUA_PIDFD_THREAD);
	if (pidfd < 0) {
		errno = ENOENT;
		return -1;
	}
	fd = ioctl(pidfd, _IO(0xFF, type->pidfd), 0);
	en = fd < 0 ? ENOENT : 0;
	close(pidfd);
	errno = en;
	return fd;
}

/* namespace.pidfd(pid [, thread]) -> pidfd handle.  ESRCH: no such process; of a thread (Linux 6.9) where that is asked for. */
static int ns_pidfd(lua_State *L)
{
	lua_Integer pid = luaL_checkinteger(L, 1);
	unsigned int flags = lua_toboolean(L, 2) ? NSLUA_PIDFD_THREAD : 0;
	struct nslua_fd *h;

	luaL_argcheck(L, pid > 0 && pid <= INT32_MAX, 1, "not a pid");
	h = nslua_newfd(L);
	h->fd = pidfd_open_raw((pid_t)pid, flags);
	if (h->fd < 0) {
		/* A thread's id: EINVAL before 6.9, ENOENT since. */
		return nslua_failen(L, "pidfd_open", errno == ENOENT || errno == EINVAL ? ESRCH : errno);
	}
	return 1;
}

/* namespace.pidfd_alive(pidfd) -> boolean. */
static int ns_pidfd_alive(lua_State *L)
{
	int alive = pidfd_alive(nslua_checkfd(L, 1));

	if (alive < 0)
		return nslua_fail(L, "poll");
	lua_pushboolean(L, alive);
	return 1;
}

/* namespace.of_pidfd(pidfd, flag) -> fd of that process's namespace. */
static int ns_of_pidfd(lua_State *L)
{
	int pidfd = nslua_checkfd(L, 1);
	const struct nslua_nstype *type = nslua_checknstype(L, 2);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = nslua_pidfd_ns(pidfd, type);
	if (h->fd < 0)
		return nslua_fail(L, type->proc);
	return 1;
}

/* namespace.getfd(pidfd, number) -> a copy of the process's fd.  pidfd_getfd(2): PTRACE_MODE_ATTACH. */
static int ns_getfd(lua_State *L)
{
	int pidfd = nslua_checkfd(L, 1);
	int number = (int)luaL_checkinteger(L, 2);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (h->fd < 0)
		return nslua_fail(L, "pidfd_getfd");
	return 1;
}

/* namespace.of_socket(fd) -> fd of the network namespace a socket lives in.  SIOCGSKNS: CAP_NET_ADMIN in it. */
static int ns_of_socket(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = ioctl(fd, SIOCGSKNS);
	if (h->fd < 0)
		return nslua_fail(L, "SIOCGSKNS");
	return 1;
}

/*
 * namespace.parent_of(pid) -> pid of its parent, 0 where that is outside.  Pids are of this process's pid namespace.  PIDFD_GET_INFO, 6.13: less
 * than half of the time that /proc/PID/stat takes.
 */
static int ns_parent_of(lua_State *L)
{
	struct {
		uint64_t mask, cgroupid;
		uint32_t pid, tgid, ppid, ids[8], exit_code;
	} info = { .mask = 1 /* PIDFD_INFO_PID */ };
	int pidfd = pidfd_open_raw((pid_t)luaL_checkinteger(L, 1), 0), rc, en;

	if (pidfd < 0)
		return nslua_fail(L, "pidfd_open");
	rc = ioctl(pidfd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64), &info);
	en = errno;
	close(pidfd);
	if (rc < 0)
		return nslua_failen(L, "PIDFD_GET_INFO", en);
	lua_pushinteger(L, info.ppid);
	return 1;
}

const luaL_Reg nslua_pidfd_functions[] = {
	{ "pidfd", ns_pidfd }, { "pidfd_alive", ns_pidfd_alive }, { "of_pidfd", ns_of_pidfd },
	{ "getfd", ns_getfd }, { "of_socket", ns_of_socket },     { "parent_of", ns_parent_of },
	{ NULL, NULL },
};

/* SPDX-License-Identifier: MIT */
/* foreign.c - what others may have set traps in: files below a root that is not ours, sockets somebody else listens on. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <unistd.h>
#include "nslua.h"

/* Whether the kernel makes a file up as it is read: what is read there may be gone for others then, as of /proc/kmsg. */
static int is_made_up(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) < 0)
		return -1;
	return s.f_type == PROC_SUPER_MAGIC || s.f_type == SYSFS_MAGIC || s.f_type == TRACEFS_MAGIC || s.f_type == DEBUGFS_MAGIC;
}

/* foreign.read(root, path, most [, stored]) -> text, whether there is more.  A regular file below the directory `root` (an fd of mode "path", or a
 * path): no symlink leads out of it, no FIFO or device is waited for, and at most `most` bytes are read.  `stored`: none of procfs and its like.
 * openat2(2) */
static int foreign_read(lua_State *L)
{
	const char *path = luaL_checkstring(L, 2);
	size_t most = (size_t)luaL_checkinteger(L, 3), done = 0;
	/* O_NONBLOCK: the open of a FIFO would wait for its other end */
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	struct nslua_fd *root = NULL, *file;
	struct stat st;
	char few[8192], *to = few; /* most files are small */
	ssize_t n = 0;
	int dir;

	lua_settop(L, 4);
	if (lua_type(L, 1) == LUA_TSTRING) {
		root = nslua_newfd(L);
		root->fd = open(lua_tostring(L, 1), O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root->fd < 0)
			return nslua_fail(L, lua_tostring(L, 1));
	}
	dir = root ? root->fd : nslua_checkfd(L, 1);
	file = nslua_newfd(L);
	for (int tries = 0; tries < 1000; tries++) { /* EAGAIN: something was renamed or mounted meanwhile, anywhere; ".." is not certain then */
		file->fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (file->fd >= 0 || errno != EAGAIN)
			break;
	}
	if (file->fd < 0 || fstat(file->fd, &st) < 0)
		return nslua_fail(L, path);
	if (!S_ISREG(st.st_mode) || (lua_toboolean(L, 4) && is_made_up(file->fd))) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		return nslua_fail(L, path);
	}
	if (st.st_size > 0 && (size_t)st.st_size < most) /* files of /proc have no size */
		most = (size_t)st.st_size;
	if (most >= sizeof(few))
		to = lua_newuserdatauv(L, most + 1, 0); /* one more tells whether there is more */
	while (done <= most && ((n = read(file->fd, to + done, most + 1 - done)) > 0 || (n < 0 && errno == EINTR))) {
		done += n > 0 ? (size_t)n : 0;
		if (n > 0 && done == (size_t)st.st_size)
			break; /* more was asked for, and there is none */
	}
	if (n < 0)
		return nslua_fail(L, path);
	close(file->fd);
	file->fd = -1;
	lua_pushlstring(L, to, done > most ? most : done);
	lua_pushboolean(L, done > most);
	return 2;
}

/* foreign.connect(path, seconds) -> fd of a stream socket that answers within that time, or gives an error.  unix(7) */
static int foreign_connect(lua_State *L)
{
	size_t len;
	const char *path = luaL_checklstring(L, 1, &len);
	double seconds = luaL_checknumber(L, 2);
	struct timeval t = { .tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6) };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct nslua_fd *fd;

	errno = ENAMETOOLONG;
	if (len >= sizeof(a.sun_path))
		return nslua_fail(L, path);
	memcpy(a.sun_path, path, len);
	fd = nslua_newfd(L);
	fd->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd->fd < 0 || setsockopt(fd->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 || setsockopt(fd->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0
	    || connect(fd->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return nslua_fail(L, path);
	return 1;
}

int nslua_open_foreign(lua_State *L)
{
	static const luaL_Reg functions[] = { { "read", foreign_read }, { "connect", foreign_connect }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

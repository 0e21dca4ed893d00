/* SPDX-License-Identifier: MIT */
/* fd.c - file descriptors as handles: open, read, write, close, poll(2), the monotonic clock. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "nslua.h"

struct nslua_fd *nslua_newfd(lua_State *L)
{
	struct nslua_fd *h = lua_newuserdatauv(L, sizeof(*h), 0);

	h->fd = -1;
	luaL_setmetatable(L, NSLUA_FD);
	return h;
}

int nslua_checkfd(lua_State *L, int arg)
{
	struct nslua_fd *h = luaL_testudata(L, arg, NSLUA_FD);

	if (h) {
		luaL_argcheck(L, h->fd >= 0, arg, "attempt to use a closed fd");
		return h->fd;
	}
	if (lua_type(L, arg) == LUA_TNUMBER) {
		lua_Integer n = luaL_checkinteger(L, arg);

		luaL_argcheck(L, n >= 0 && n <= INT32_MAX, arg, "not a file descriptor");
		return (int)n;
	}
	return luaL_argerror(L, arg, "fd handle or number expected");
}

/* fd:close() -> true.  Idempotent; also __gc and __close. */
static int fd_close(lua_State *L)
{
	struct nslua_fd *h = luaL_checkudata(L, 1, NSLUA_FD);
	int fd = h->fd;

	h->fd = -1;
	if (fd >= 0)
		close(fd); /* Linux frees the number even on EINTR: never retried */
	lua_pushboolean(L, 1);
	return 1;
}

static struct nslua_fd *self(lua_State *L)
{
	struct nslua_fd *h = luaL_checkudata(L, 1, NSLUA_FD);

	luaL_argcheck(L, h->fd >= 0, 1, "attempt to use a closed fd");
	return h;
}

/* fd:number() -> integer.  Also pollfd and getfd, the names cqueues, luv and LuaSocket ask for. */
static int fd_number(lua_State *L)
{
	lua_pushinteger(L, self(L)->fd);
	return 1;
}

/* fd:release() -> integer, which the caller now owns. */
static int fd_release(lua_State *L)
{
	struct nslua_fd *h = self(L);

	lua_pushinteger(L, h->fd);
	h->fd = -1;
	return 1;
}

static int fd_isopen(lua_State *L)
{
	struct nslua_fd *h = luaL_checkudata(L, 1, NSLUA_FD);

	lua_pushboolean(L, h->fd >= 0);
	return 1;
}

/* fd:events() -> "r": what a loop should wait for. */
static int fd_events(lua_State *L)
{
	self(L);
	lua_pushliteral(L, "r");
	return 1;
}

/* fd:timeout() -> nil: an fd has no timer. */
static int fd_timeout(lua_State *L)
{
	self(L);
	lua_pushnil(L);
	return 1;
}

/* fd:read([n]) -> bytes ("" at the end), at most n (default 65536), in one read(2). */
static int fd_read(lua_State *L)
{
	int fd = self(L)->fd;
	lua_Integer want = luaL_optinteger(L, 2, 65536);
	char *buf;
	ssize_t n;

	luaL_argcheck(L, want > 0 && want <= (1 << 30), 2, "size out of range");
	buf = lua_newuserdatauv(L, (size_t)want, 0);
	n = read(fd, buf, (size_t)want);
	if (n < 0)
		return nslua_fail(L, "read");
	lua_pushlstring(L, buf, (size_t)n);
	return 1;
}

/* fd:write(bytes) -> count written by one write(2). */
static int fd_write(lua_State *L)
{
	int fd = self(L)->fd;
	size_t len;
	const char *data = luaL_checklstring(L, 2, &len);
	/* A socket gives EPIPE; a pipe also gives SIGPIPE, which is the host's to ignore. */
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, data, len);
	if (n < 0)
		return nslua_fail(L, "write");
	lua_pushinteger(L, n);
	return 1;
}

/* fd:stat() -> device, inode: what identifies a namespace while the handle is open. */
static int fd_stat(lua_State *L)
{
	struct stat st;

	if (fstat(self(L)->fd, &st) < 0)
		return nslua_fail(L, "fstat");
	nslua_pushu64(L, st.st_dev);
	nslua_pushu64(L, st.st_ino);
	return 2;
}

/* fd:fstype() -> the f_type of statfs(2), e.g. 0x6e736673 for nsfs. */
static int fd_fstype(lua_State *L)
{
	struct statfs fs;

	if (fstatfs(self(L)->fd, &fs) < 0)
		return nslua_fail(L, "fstatfs");
	lua_pushinteger(L, (lua_Integer)fs.f_type);
	return 1;
}

/* fd:nonblock(on) -> true. */
static int fd_nonblock(lua_State *L)
{
	int fd = self(L)->fd;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return nslua_fail(L, "fcntl");
	flags = lua_toboolean(L, 2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (fcntl(fd, F_SETFL, flags) < 0)
		return nslua_fail(L, "fcntl");
	lua_pushboolean(L, 1);
	return 1;
}

static int fd_tostring(lua_State *L)
{
	struct nslua_fd *h = luaL_checkudata(L, 1, NSLUA_FD);

	if (h->fd < 0)
		lua_pushliteral(L, "fd (closed)");
	else
		lua_pushfstring(L, "fd (%d)", h->fd);
	return 1;
}

/* Every open takes O_CLOEXEC: a leaked namespace fd keeps its namespace alive in a child. */
static int open_path(lua_State *L, const char *path, int flags, int mode)
{
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = open(path, flags | O_CLOEXEC, mode);
	if (h->fd < 0)
		return nslua_fail(L, path);
	return 1;
}

/* fd.open(path, mode [, permissions]): mode "r", "w" (create, truncate), "a" (create, append), "rw", "path" (O_PATH), "x" (create, must be new). */
static int core_open(lua_State *L)
{
	static const char *const names[] = { "r", "w", "a", "rw", "path", "x", NULL };
	static const int flags[] = { O_RDONLY, O_WRONLY | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_APPEND, O_RDWR,
				     O_PATH, O_WRONLY | O_CREAT | O_EXCL };
	size_t len;
	const char *path = luaL_checklstring(L, 1, &len);
	int mode = luaL_checkoption(L, 2, "r", names);

	if (strlen(path) != len) /* the kernel would take another file than the one named */
		return nslua_failen(L, path, EINVAL);
	return open_path(L, path, flags[mode], (int)luaL_optinteger(L, 3, 0666));
}

/* fd.inherits(number) -> whether a program that is executed gets it: it is open, and not to be closed then. */
static int core_inherits(lua_State *L)
{
	lua_pushboolean(L, fcntl((int)luaL_checkinteger(L, 1), F_GETFD) == 0);
	return 1;
}

/* fd.adopt(number) -> handle that owns it. */
static int core_adopt(lua_State *L)
{
	lua_Integer n = luaL_checkinteger(L, 1);

	luaL_argcheck(L, n >= 0 && n <= INT32_MAX, 1, "not a file descriptor");
	if (fcntl((int)n, F_GETFD) < 0)
		return nslua_fail(L, "adopt");
	nslua_newfd(L)->fd = (int)n;
	return 1;
}

/* fd.pipe() -> reader, writer. */
static int core_pipe(lua_State *L)
{
	struct nslua_fd *r = nslua_newfd(L), *w = nslua_newfd(L);
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return nslua_fail(L, "pipe");
	r->fd = p[0];
	w->fd = p[1];
	return 2;
}

static int seconds_to_ms(double s)
{
	double ms = s * 1000;

	if (!(ms > 0)) /* also NaN */
		return 0;
	if (ms >= INT32_MAX)
		return INT32_MAX;
	return (int)ms == ms ? (int)ms : (int)ms + 1; /* round up: never wake before the time */
}

/*
 * fd.poll({ { fd, "r"|"w"|"rw" }, ... } [, seconds]) -> ready, or nil, "poll: ...", errno.
 * ready[i] is "r", "w", "rw" or false; after the time it is nil.  poll(2); EINTR is reported, not retried:
 * a signal may have asked the script to stop.
 */
static int core_poll(lua_State *L)
{
	struct pollfd *p;
	int n, rc;
	int ms = lua_isnoneornil(L, 2) ? -1 : seconds_to_ms(luaL_checknumber(L, 2));

	luaL_checktype(L, 1, LUA_TTABLE);
	n = (int)lua_rawlen(L, 1);
	p = lua_newuserdatauv(L, sizeof(*p) * (size_t)(n ? n : 1), 0);
	for (int i = 0; i < n; i++) {
		const char *ev;

		lua_rawgeti(L, 1, i + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		p[i].fd = nslua_checkfd(L, lua_absindex(L, -2));
		ev = lua_tostring(L, -1);
		p[i].events = 0;
		p[i].revents = 0;
		if (!ev || strchr(ev, 'r'))
			p[i].events |= POLLIN;
		if (ev && strchr(ev, 'w'))
			p[i].events |= POLLOUT;
		lua_pop(L, 3);
	}
	rc = poll(p, (nfds_t)n, ms);
	if (rc < 0)
		return nslua_fail(L, "poll");
	if (rc == 0) {
		lua_pushnil(L);
		return 1;
	}
	lua_createtable(L, n, 0);
	for (int i = 0; i < n; i++) {
		int r = p[i].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL);
		int w = p[i].revents & (POLLOUT | POLLERR);

		if (r && w)
			lua_pushliteral(L, "rw");
		else if (r)
			lua_pushliteral(L, "r");
		else if (w)
			lua_pushliteral(L, "w");
		else
			lua_pushboolean(L, 0);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* fd.clock() -> CLOCK_MONOTONIC in seconds. */
static int core_clock(lua_State *L)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
	return 1;
}

static const luaL_Reg fd_methods[] = {
	{ "close", fd_close },     { "number", fd_number },   { "pollfd", fd_number },  { "getfd", fd_number },
	{ "events", fd_events },   { "timeout", fd_timeout }, { "release", fd_release }, { "isopen", fd_isopen },
	{ "read", fd_read },       { "write", fd_write },     { "stat", fd_stat },      { "fstype", fd_fstype },
	{ "nonblock", fd_nonblock }, { NULL, NULL },
};
static const luaL_Reg fd_meta[] = {
	{ "__gc", fd_close }, { "__close", fd_close }, { "__tostring", fd_tostring }, { NULL, NULL },
};
static const luaL_Reg fd_functions[] = {
	{ "open", core_open }, { "adopt", core_adopt }, { "inherits", core_inherits }, { "pipe", core_pipe },
	{ "poll", core_poll }, { "clock", core_clock }, { NULL, NULL },
};

int nslua_open_fd(lua_State *L)
{
	nslua_newclass(L, NSLUA_FD, fd_methods, fd_meta);
	luaL_newlib(L, fd_functions);
	return 1;
}

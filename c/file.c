/* SPDX-License-Identifier: MIT */
/* file.c - names in the file system: directories, links, what stands behind a path, locks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "nslua.h"

static int done(lua_State *L, int rc, const char *what)
{
	if (rc < 0)
		return nslua_fail(L, what);
	lua_pushboolean(L, 1);
	return 1;
}

/* file.mkdir(path [, mode]) -> true. */
static int file_mkdir(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	return done(L, mkdir(path, (mode_t)luaL_optinteger(L, 2, 0755)), path);
}

/* file.unlink(path) -> true. */
static int file_unlink(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	return done(L, unlink(path), path);
}

/* file.readlink(path) -> text. */
static int file_readlink(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	char text[PATH_MAX];
	ssize_t n = readlink(path, text, sizeof(text));

	if (n < 0)
		return nslua_fail(L, path);
	lua_pushlstring(L, text, (size_t)n);
	return 1;
}

/* A DIR that the collector closes if pushing a name fails. */
#define NSLUA_DIR "nslua.dir"
static int dir_gc(lua_State *L)
{
	DIR **d = luaL_checkudata(L, 1, NSLUA_DIR);

	if (*d)
		closedir(*d);
	*d = NULL;
	return 0;
}

/* file.list(path) -> { name, ... } without "." and "..", in the directory's order. */
static int file_list(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	DIR **d = lua_newuserdatauv(L, sizeof(*d), 0);
	struct dirent *e;
	int n = 0;

	*d = NULL;
	luaL_setmetatable(L, NSLUA_DIR);
	*d = opendir(path);
	if (!*d)
		return nslua_fail(L, path);
	lua_newtable(L);
	while (errno = 0, (e = readdir(*d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		lua_pushstring(L, e->d_name);
		lua_rawseti(L, -2, ++n);
	}
	if (errno) { /* a process that ended while its directory was read */
		int en = errno;

		closedir(*d);
		*d = NULL;
		return nslua_failen(L, path, en);
	}
	closedir(*d);
	*d = NULL;
	return 1;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	}
	return "unknown";
}

/*
 * file.stat(path [, nofollow]) -> { type, mode, uid, gid, size, device, inode, changed (seconds), fstype (statfs f_type) }.
 * Of one and the same file, without opening it: an O_PATH fd.
 */
static int file_stat(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	int flags = O_PATH | O_CLOEXEC | (lua_toboolean(L, 2) ? O_NOFOLLOW : 0);
	struct stat st;
	struct statfs fs;
	int fd = open(path, flags), rc, en;

	if (fd < 0)
		return nslua_fail(L, path);
	rc = fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0;
	en = errno;
	close(fd);
	if (rc)
		return nslua_failen(L, path, en);
	lua_createtable(L, 0, 9);
	lua_pushstring(L, type_name(st.st_mode));
	lua_setfield(L, -2, "type");
	lua_pushinteger(L, st.st_mode & 07777);
	lua_setfield(L, -2, "mode");
	lua_pushinteger(L, (lua_Integer)st.st_uid);
	lua_setfield(L, -2, "uid");
	lua_pushinteger(L, (lua_Integer)st.st_gid);
	lua_setfield(L, -2, "gid");
	nslua_pushu64(L, (uint64_t)st.st_size);
	lua_setfield(L, -2, "size");
	nslua_pushu64(L, st.st_dev);
	lua_setfield(L, -2, "device");
	nslua_pushu64(L, st.st_ino);
	lua_setfield(L, -2, "inode");
	lua_pushnumber(L, (lua_Number)st.st_ctim.tv_sec + (lua_Number)st.st_ctim.tv_nsec / 1e9);
	lua_setfield(L, -2, "changed");
	lua_pushinteger(L, (lua_Integer)fs.f_type);
	lua_setfield(L, -2, "fstype");
	return 1;
}

/* file.now() -> CLOCK_REALTIME in seconds, the clock of stat().changed. */
static int file_now(lua_State *L)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
	return 1;
}

/* file.lock(path) -> fd that holds an exclusive flock(2) on it until closed; waits for it. */
static int file_lock(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct nslua_fd *h = nslua_newfd(L);
	int rc, en;

	h->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, path);
	do
		rc = flock(h->fd, LOCK_EX);
	while (rc < 0 && errno == EINTR);
	en = errno;
	if (rc < 0)
		return nslua_failen(L, path, en);
	return 1;
}

static const luaL_Reg file_functions[] = {
	{ "mkdir", file_mkdir }, { "unlink", file_unlink }, { "readlink", file_readlink }, { "list", file_list },
	{ "stat", file_stat },   { "now", file_now },       { "lock", file_lock },         { NULL, NULL },
};

int nslua_open_file(lua_State *L)
{
	static const luaL_Reg meta[] = { { "__gc", dir_gc }, { NULL, NULL } };

	nslua_newclass(L, NSLUA_DIR, NULL, meta);
	luaL_newlib(L, file_functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* owners.c - which sockets a process has open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "nslua.h"

#define FOLDER "nslua.owners"

static int folder_gc(lua_State *L)
{
	DIR **d = luaL_checkudata(L, 1, FOLDER);

	if (*d)
		closedir(*d);
	*d = NULL;
	return 0;
}

/* owners.sockets(path) -> { fd, inode, fd, inode, ... } of what is open in "/proc/PID/fd".  proc_pid_fd(5) */
static int owners_sockets(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	DIR **d = lua_newuserdatauv(L, sizeof(DIR *), 0);
	struct dirent *entry;
	lua_Integer n = 0;

	*d = NULL;
	luaL_setmetatable(L, FOLDER);
	*d = opendir(path);
	if (!*d)
		return nslua_fail(L, path);
	lua_newtable(L);
	while ((entry = readdir(*d))) {
		char text[64]; /* "socket:[4026531840]" */
		ssize_t len = readlinkat(dirfd(*d), entry->d_name, text, sizeof(text) - 1);

		if (len < 9 || memcmp(text, "socket:[", 8) != 0)
			continue;
		text[len] = '\0';
		lua_pushinteger(L, (lua_Integer)strtol(entry->d_name, NULL, 10));
		lua_rawseti(L, -2, (int)++n);
		lua_pushnumber(L, (lua_Number)strtoull(text + 8, NULL, 10));
		lua_rawseti(L, -2, (int)++n);
	}
	closedir(*d);
	*d = NULL;
	return 1;
}

int nslua_open_owners(lua_State *L)
{
	static const luaL_Reg functions[] = { { "sockets", owners_sockets }, { NULL, NULL } };

	luaL_newmetatable(L, FOLDER);
	lua_pushcfunction(L, folder_gc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

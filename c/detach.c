/* SPDX-License-Identifier: MIT */
/* detach.c - a forked copy of the script that stays: it lets go of the files of the script and of the script's end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "spawn.h"

static int is_kept(lua_State *L, int fd)
{
	int n = (int)lua_rawlen(L, 1);

	for (int i = 1; i <= n; i++) {
		int kept;

		lua_rawgeti(L, 1, i);
		kept = nslua_checkfd(L, lua_absindex(L, -1));
		lua_pop(L, 1);
		if (kept == fd)
			return 1;
	}
	return 0;
}

/*
 * process.detach(keep [, outlive]) -> true.  Every fd above 2 that is not in the list `keep` (handles or numbers) becomes one of /dev/null: objects that
 * have such a number may close it later, and what it was is not held any longer.  With `outlive` this process does not end with its parent.
 */
int nslua_detach(lua_State *L)
{
	DIR *dir;
	struct dirent *e;
	int null, held, count = 0, n = 0;
	int *list;

	luaL_checktype(L, 1, LUA_TTABLE);
	is_kept(L, -1); /* raises before anything is open where one of them is no fd */
	dir = opendir("/proc/self/fd");
	if (!dir)
		return nslua_fail(L, "/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	list = lua_newuserdatauv(L, sizeof(*list) * (size_t)(count + 16), 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return nslua_fail(L, "/dev/null");
	dir = opendir("/proc/self/fd");
	if (!dir) {
		close(null);
		return nslua_fail(L, "/proc/self/fd");
	}
	held = dirfd(dir);
	while ((e = readdir(dir)) && n < count + 16) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && fd > 2 && fd != null && fd != held)
			list[n++] = fd;
	}
	closedir(dir);
	for (int i = 0; i < n; i++)
		if (!is_kept(L, list[i]))
			dup3(null, list[i], O_CLOEXEC);
	close(null);
	if (lua_toboolean(L, 2))
		prctl(PR_SET_PDEATHSIG, 0);
	lua_pushboolean(L, 1);
	return 1;
}

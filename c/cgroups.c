/* SPDX-License-Identifier: MIT */
/* cgroups.c - the cgroups of all processes at once, read by a thread while the caller reads something else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "nslua.h"

#define WALK "nslua.cgroups"
#define MOST 16384 /* bytes of a text; what is longer is cut */

struct head {
	int pid;
	unsigned int len; /* of the text behind it */
};

struct walk {
	pthread_t thread;
	bool running;
	pid_t maker; /* a fork has the walk, but not its thread */
	DIR *proc;   /* /proc, opened by the caller */
	int en;
	char *p;     /* heads and texts */
	size_t n, size;
};

static bool room_for(struct walk *w, size_t more)
{
	size_t size = w->size ? w->size : 65536;
	char *p;

	if (w->size - w->n >= more)
		return true;
	while (size - w->n < more)
		size *= 2;
	p = realloc(w->p, size);
	if (!p)
		return false;
	w->p = p;
	w->size = size;
	return true;
}

static void *run(void *arg)
{
	struct walk *w = arg;
	struct dirent *entry;

	while ((entry = readdir(w->proc))) {
		struct head h;
		char path[32], *end;
		long pid = strtol(entry->d_name, &end, 10);
		ssize_t len;
		int fd;

		if (pid <= 0 || *end)
			continue;
		if (!room_for(w, sizeof(h) + MOST)) {
			w->en = ENOMEM;
			break;
		}
		snprintf(path, sizeof(path), "%ld/cgroup", pid);
		fd = openat(dirfd(w->proc), path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* it has ended, or is not to be looked at */
		len = read(fd, w->p + w->n + sizeof(h), MOST); /* such a file comes in one piece */
		close(fd);
		if (len <= 0)
			continue;
		h = (struct head){ (int)pid, (unsigned int)len };
		memcpy(w->p + w->n, &h, sizeof(h));
		w->n += sizeof(h) + (size_t)len;
	}
	return NULL;
}

static void wait_for(struct walk *w)
{
	if (w->running && w->maker == getpid())
		pthread_join(w->thread, NULL);
	w->running = false;
	if (w->proc)
		closedir(w->proc);
	w->proc = NULL;
}

static int walk_gc(lua_State *L)
{
	struct walk *w = luaL_checkudata(L, 1, WALK);

	wait_for(w);
	free(w->p);
	w->p = NULL;
	w->n = w->size = 0;
	return 0;
}

/* cgroups.walk() -> what reads /proc/PID/cgroup of all processes; or nil, message, errno.  The thread takes no signal and touches nothing of Lua. */
static int cgroups_walk(lua_State *L)
{
	struct walk *w = lua_newuserdatauv(L, sizeof(*w), 0);
	sigset_t all, old;

	memset(w, 0, sizeof(*w));
	luaL_setmetatable(L, WALK);
	w->proc = opendir("/proc");
	if (!w->proc)
		return nslua_fail(L, "/proc");
	w->maker = getpid();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->running = pthread_create(&w->thread, NULL, run, w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!w->running)
		run(w); /* no thread is to be had: then without */
	return 1;
}

/* walk:all() -> { pid, text, pid, text, ... } of those that may be looked at, when it is done; or nil, message, errno. */
static int walk_all(lua_State *L)
{
	struct walk *w = luaL_checkudata(L, 1, WALK);
	int at = 0;

	wait_for(w);
	if (w->en)
		return nslua_failen(L, "/proc", w->en);
	lua_newtable(L);
	for (size_t i = 0; i < w->n;) {
		struct head h;

		memcpy(&h, w->p + i, sizeof(h));
		lua_pushinteger(L, h.pid);
		lua_rawseti(L, -2, ++at);
		lua_pushlstring(L, w->p + i + sizeof(h), h.len);
		lua_rawseti(L, -2, ++at);
		i += sizeof(h) + h.len;
	}
	return 1;
}

int nslua_open_cgroups(lua_State *L)
{
	static const luaL_Reg functions[] = { { "walk", cgroups_walk }, { NULL, NULL } };
	static const luaL_Reg methods[] = { { "all", walk_all }, { NULL, NULL } };

	luaL_newmetatable(L, WALK);
	lua_pushcfunction(L, walk_gc);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

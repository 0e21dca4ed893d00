/* SPDX-License-Identifier: MIT */
/* defer.c - signals that end a script wait while it does what must not be left half done. */
#include <signal.h>
#include <stdbool.h>
#include "spawn.h"

static _Thread_local bool held;
static _Thread_local sigset_t outside; /* the mask before, while held */

static void block(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

/* process.hold(fn, ...) -> what fn returns: SIGINT, SIGTERM and SIGHUP come after it, or in what it calls by `release`.  It may not yield. */
int nslua_defer(lua_State *L)
{
	bool first = !held;
	sigset_t old;
	int status;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	block(&old);
	if (first)
		outside = old;
	held = true;
	status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	held = !first;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return status ? lua_error(L) : lua_gettop(L);
}

static int nothing(lua_State *L)
{
	(void)L;
	return 0;
}

/* process.release(fn, ...) -> what fn returns: inside `hold`, the signals come again.  What they raise is raised in here. */
int nslua_undefer(lua_State *L)
{
	bool was = held;
	sigset_t before = outside;
	int status;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	held = false;
	if (was)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	if (was)
		block(&(sigset_t){ 0 });
	held = was;
	outside = before;
	if (status)
		return lua_error(L);
	luaL_checkstack(L, 1, "release");
	lua_pushcfunction(L, nothing); /* hooks run at a call: one that came in the last moment raises now */
	lua_call(L, 0, 0);
	return lua_gettop(L);
}

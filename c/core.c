/* SPDX-License-Identifier: MIT */
/* core.c - luaopen_nslua_core: gathers the parts into one table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nslua.h"
#include "errnames.h"

int nslua_failen(lua_State *L, const char *what, int en)
{
	luaL_pushfail(L);
	lua_pushfstring(L, "%s: %s", what, strerror(en));
	lua_pushinteger(L, en);
	return 3;
}

int nslua_fail(lua_State *L, const char *what)
{
	return nslua_failen(L, what, errno);
}

void nslua_pushu64(lua_State *L, uint64_t v)
{
#if LUA_VERSION_NUM >= 503
	lua_pushinteger(L, (lua_Integer)v);
#else
	if (v <= (UINT64_C(1) << 53)) {
		lua_pushnumber(L, (lua_Number)v);
	} else {
		char text[24];

		snprintf(text, sizeof(text), "%" PRIu64, v);
		lua_pushstring(L, text);
	}
#endif
}

uint64_t nslua_checku64(lua_State *L, int arg)
{
#if LUA_VERSION_NUM >= 503
	return (uint64_t)luaL_checkinteger(L, arg);
#else
	if (lua_type(L, arg) == LUA_TSTRING) {
		const char *text = lua_tostring(L, arg);
		char *end;
		uint64_t v;

		errno = 0;
		v = strtoull(text, &end, 10);
		luaL_argcheck(L, *text && *text != '-' && !*end && !errno, arg, "not an unsigned 64-bit number");
		return v;
	}
	{
		lua_Number n = luaL_checknumber(L, arg);

		luaL_argcheck(L, n >= 0 && n < 18446744073709551616.0, arg, "not an unsigned 64-bit number");
		return (uint64_t)n;
	}
#endif
}

void nslua_newclass(lua_State *L, const char *tname, const luaL_Reg *methods, const luaL_Reg *meta)
{
	luaL_newmetatable(L, tname);
	lua_pushstring(L, tname);
	lua_setfield(L, -2, "__name");
	if (meta)
		luaL_setfuncs(L, meta, 0);
	if (methods) {
		lua_newtable(L);
		luaL_setfuncs(L, methods, 0);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
}

/* strerror(errno): "File exists" for 17. */
static int core_strerror(lua_State *L)
{
	lua_pushstring(L, strerror((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* The same table both ways: errno.EEXIST == 17, errno[17] == "EEXIST". */
static void push_errno(lua_State *L)
{
	int n = sizeof(errnames) / sizeof(errnames[0]);

	lua_createtable(L, n, n);
	for (size_t i = 0; i < sizeof(errnames) / sizeof(errnames[0]); i++) {
		lua_pushinteger(L, errnames[i].number);
		lua_setfield(L, -2, errnames[i].name);
		lua_pushstring(L, errnames[i].name);
		lua_rawseti(L, -2, errnames[i].number);
	}
}

static const struct {
	const char *name;
	int (*open)(lua_State *L);
} parts[] = {
	{ "fd", nslua_open_fd },
	{ "idmap", nslua_open_idmap },
	{ "errand", nslua_open_errand },
	{ "keeper", nslua_open_keeper },
	{ "inet", nslua_open_inet },
	{ "tun", nslua_open_tun },
	{ "census", nslua_open_census },
	{ "schema", nslua_open_schema },
	{ "namespace", nslua_open_namespace },
	{ "mount", nslua_open_mount },
	{ "file", nslua_open_file },
	{ "process", nslua_open_process },
	{ "netlink", nslua_open_netlink },
	{ "watch", nslua_open_watch },
	{ NULL, NULL },
};

NSLUA_EXPORT int luaopen_nslua_core(lua_State *L)
{
	lua_newtable(L);
	for (int i = 0; parts[i].name; i++) {
		parts[i].open(L);
		lua_setfield(L, -2, parts[i].name);
	}
	push_errno(L);
	lua_setfield(L, -2, "errno");
	lua_pushcfunction(L, core_strerror);
	lua_setfield(L, -2, "strerror");
	return 1;
}

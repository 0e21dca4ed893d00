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

/* Keep a value, which is on top of the stack, as t[k] of __index's arguments, and return it. */
static int keep(lua_State *L)
{
	lua_pushvalue(L, 2);
	lua_pushvalue(L, -2);
	lua_rawset(L, 1);
	return 1;
}

/* errno.EEXIST == 17, errno[17] == "EEXIST": each is put into the table when first asked for; few ever are. */
static int errno_index(lua_State *L)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
	int number = lua_type(L, 2) == LUA_TNUMBER ? (int)lua_tointeger(L, 2) : 0;

	/* From the last on: of two names for a number that is the better known. */
	for (size_t i = sizeof(errnames) / sizeof(errnames[0]); i-- > 0;) {
		if (name && strcmp(name, errnames[i].name) == 0)
			lua_pushinteger(L, errnames[i].number);
		else if (!name && number == errnames[i].number)
			lua_pushstring(L, errnames[i].name);
		else
			continue;
		return keep(L);
	}
	return 0;
}

/* An empty table that asks `index` for what it lacks. */
static void push_lazy(lua_State *L, lua_CFunction index)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, index);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
}

static int open_errno(lua_State *L)
{
	push_lazy(L, errno_index);
	return 1;
}

static const struct {
	const char *name;
	int (*open)(lua_State *L);
} parts[] = {
	{ "idmap", nslua_open_idmap },
	{ "errand", nslua_open_errand },
	{ "keeper", nslua_open_keeper },
	{ "running", nslua_open_running },
	{ "board", nslua_open_board },
	{ "inet", nslua_open_inet },
	{ "limits", nslua_open_limits },
	{ "tun", nslua_open_tun },
	{ "foreign", nslua_open_foreign },
	{ "xtables", nslua_open_xtables },
	{ "owners", nslua_open_owners },
	{ "socktext", nslua_open_socktext },
	{ "cgroups", nslua_open_cgroups },
	{ "netaddr", nslua_open_netaddr },
	{ "json", nslua_open_json },
	{ "wire", nslua_open_wire },
	{ "capture", nslua_open_capture },
	{ "perf", nslua_open_perf },
	{ "census", nslua_open_census },
	{ "packet", nslua_open_packet },
	{ "echo", nslua_open_echo },
	{ "schema", nslua_open_schema },
	{ "namespace", nslua_open_namespace },
	{ "mount", nslua_open_mount },
	{ "file", nslua_open_file },
	{ "process", nslua_open_process },
	{ "netlink", nslua_open_netlink },
	{ "watch", nslua_open_watch },
	{ "errno", open_errno },
	{ NULL, NULL },
};

/* Each part is opened when first asked for: a short script asks for a few. */
static int core_index(lua_State *L)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

	for (int i = 0; parts[i].name; i++)
		if (strcmp(parts[i].name, name) == 0) {
			parts[i].open(L);
			return keep(L);
		}
	return 0;
}

NSLUA_EXPORT int luaopen_nslua_core(lua_State *L)
{
	push_lazy(L, core_index);
	nslua_open_fd(L); /* the class of what other parts return */
	lua_setfield(L, -2, "fd");
	lua_pushcfunction(L, core_strerror);
	lua_setfield(L, -2, "strerror");
	return 1;
}

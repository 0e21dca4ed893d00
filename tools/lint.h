/* SPDX-License-Identifier: MIT */
/* lint.h - included before each file by `make lint`: what the headers of Lua do not say. */
#include <lua.h>
#include <lauxlib.h>

int lua_error(lua_State *L) __attribute__((noreturn));
int luaL_error(lua_State *L, const char *fmt, ...) __attribute__((noreturn));
int luaL_argerror(lua_State *L, int arg, const char *extramsg) __attribute__((noreturn));

/* SPDX-License-Identifier: MIT */
/* json.c - Lua values as JSON text (RFC 8259), keys sorted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "schema.h"

#define NSLUA_JSON "nslua.json"

/* What has no Lua value of its own: a number above 2^53, an empty object.  A userdata that holds the text. */
void nslua_json_raw(lua_State *L, const char *text)
{
	size_t n = strlen(text) + 1;

	memcpy(lua_newuserdatauv(L, n, 0), text, n);
	luaL_setmetatable(L, NSLUA_JSON);
}

void nslua_json_init(lua_State *L)
{
	nslua_newclass(L, NSLUA_JSON, NULL, NULL);
}

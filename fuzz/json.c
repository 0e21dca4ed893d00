/* SPDX-License-Identifier: MIT */
/*
 * json.c - a libFuzzer program for the reader of JSON, which reads state files that others write.  What must hold of any bytes is in json.lua; a
 * failed assertion, a sanitizer's find or a leak ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "../c/nslua.h"

static lua_State *L;
static int check; /* function of json.lua */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	L = luaL_newstate();
	luaL_openlibs(L);
	if (luaL_loadfile(L, "fuzz/json.lua") || (nslua_open_json(L), lua_pcall(L, 1, 1, 0))) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	check = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, check);
	lua_pushlstring(L, (const char *)data, size);
	if (lua_pcall(L, 1, 0, 0)) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	return 0;
}

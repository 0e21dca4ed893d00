/* SPDX-License-Identifier: MIT */
/* getopt.c - the options of commands by getopt_long(3) itself: abbreviations, clusters and messages are those of the tools they stand for. */
#include <getopt.h>
#include <string.h>
#include "host.h"

#define FIRST_LONG 256 /* what getopt_long returns for the first long option; short ones return their letter */

/*
 * host.getopt(words, short, long, ends) -> list of { name, value }, index of the first operand in words; or nil where an option is wrong, which
 * has been said on stderr.  `words` has the name for messages at [0]; `short` is as in getopt(3), "+" first: stop at the first operand;
 * `long` is a list of { name, "none" | "required" | "optional" }.  A long option is named in full however it was written.  An option whose
 * name is a key of `ends` is the last that is read.
 */
int host_getopt(lua_State *L)
{
	static const char *const kinds[] = { "none", "required", "optional", NULL };
	const char *letters = luaL_checkstring(L, 2);
	int argc, nlong, c, which, last;
	char **argv;
	struct option *list;
	lua_Integer n = 0;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	luaL_checktype(L, 4, LUA_TTABLE);
	argc = (int)lua_rawlen(L, 1) + 1;
	nlong = (int)lua_rawlen(L, 3);
	argv = lua_newuserdatauv(L, sizeof(*argv) * ((size_t)argc + 1), 0);
	for (int i = 0; i < argc; i++) { /* the table keeps the strings */
		lua_rawgeti(L, 1, i);
		argv[i] = (char *)(uintptr_t)luaL_checkstring(L, -1);
		lua_pop(L, 1);
	}
	argv[argc] = NULL;
	list = lua_newuserdatauv(L, sizeof(*list) * ((size_t)nlong + 1), 0);
	memset(list, 0, sizeof(*list) * ((size_t)nlong + 1));
	for (int i = 0; i < nlong; i++) {
		lua_rawgeti(L, 3, i + 1);
		lua_rawgeti(L, -1, 1);
		list[i].name = luaL_checkstring(L, -1);
		lua_rawgeti(L, -2, 2);
		list[i].has_arg = luaL_checkoption(L, -1, NULL, kinds);
		list[i].val = FIRST_LONG + i;
		lua_pop(L, 3);
	}
	lua_newtable(L);
	optind = 0; /* start anew, whoever called before */
	opterr = 1;
	while ((c = getopt_long(argc, argv, letters, list, &which)) != -1) {
		char letter = (char)c;

		if (c == '?')
			return 0;
		lua_createtable(L, 2, 0);
		if (c >= FIRST_LONG)
			lua_pushstring(L, list[c - FIRST_LONG].name);
		else
			lua_pushlstring(L, &letter, 1);
		lua_pushvalue(L, -1);
		last = lua_rawget(L, 4) != LUA_TNIL;
		lua_pop(L, 1);
		lua_rawseti(L, -2, 1);
		if (optarg) {
			lua_pushstring(L, optarg);
			lua_rawseti(L, -2, 2);
		}
		lua_rawseti(L, -2, ++n);
		if (last)
			break;
	}
	/* getopt may have moved the operands behind the options. */
	for (int i = 1; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, 1, i);
	}
	lua_pushinteger(L, optind);
	return 2;
}

/* SPDX-License-Identifier: MIT */
/* regex.c - POSIX regular expressions for the filters of commands: those that the tools' users write.  regex(7) */
#include <regex.h>
#include "host.h"

#define REGEX "nslua.regex"

struct compiled {
	regex_t r;
	int open;
};

static int regex_gc(lua_State *L)
{
	struct compiled *c = luaL_checkudata(L, 1, REGEX);

	if (c->open)
		regfree(&c->r);
	c->open = 0;
	return 0;
}

static int regex_match(lua_State *L)
{
	struct compiled *c = lua_touserdata(L, lua_upvalueindex(1));

	lua_pushboolean(L, regexec(&c->r, luaL_checkstring(L, 1), 0, NULL, 0) == 0);
	return 1;
}

/* host.regex(pattern) -> a function of a text: whether it matches.  Raises what is wrong with the pattern. */
int host_regex(lua_State *L)
{
	const char *pattern = luaL_checkstring(L, 1);
	struct compiled *c = lua_newuserdatauv(L, sizeof(*c), 0);
	char why[128];
	int rc;

	c->open = 0;
	if (luaL_newmetatable(L, REGEX)) {
		lua_pushcfunction(L, regex_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	rc = regcomp(&c->r, pattern, REG_EXTENDED | REG_NOSUB);
	if (rc) {
		regerror(rc, &c->r, why, sizeof(why));
		lua_pushfstring(L, "'%s': %s", pattern, why);
		return lua_error(L);
	}
	c->open = 1;
	lua_pushcclosure(L, regex_match, 1);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* class.c - classes of rows: the public vocabulary over a schema's keys, worked out once for each schema and class. */
#include "schema.h"

/* t[key] of the table on top, or nil where there is no such table. */
static void push_member(lua_State *L, int t, const char *name)
{
	if (lua_istable(L, t))
		lua_getfield(L, t, name);
	else
		lua_pushnil(L);
}

/* Make the layout of a class for a schema; pushes it. */
static void make_layout(lua_State *L, int schema, int cls)
{
	const struct nslua_schema *s = nslua_checkschema(L, schema);
	int layout, lookup, drop, uv, n = 0;

	lua_createtable(L, LAY_CLASS, 0);
	layout = lua_gettop(L);
	nslua_getuv(L, schema);
	uv = lua_gettop(L);
	lua_newtable(L);
	lookup = lua_gettop(L);
	lua_newtable(L);
	drop = lua_gettop(L);
	lua_rawgeti(L, uv, UV_BYKEY);
	if (s->set >= 0)
		lua_rawgeti(L, -1, s->set + 1);
	else
		lua_newtable(L);
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, lookup);
	}
	lua_settop(L, drop);
	for (int i = 0; s->head >= 0 && i < s->structs[s->head].n; i++) {
		if (!s->structs[s->head].f[i].key)
			continue;
		lua_rawgeti(L, uv, UV_KEYS);
		lua_rawgeti(L, -1, s->structs[s->head].f[i].key);
		lua_pushinteger(L, -(i + 1));
		lua_rawset(L, lookup);
		lua_pop(L, 1);
	}
	push_member(L, cls, "hidden");
	if (lua_istable(L, -1)) {
		for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
			lua_rawgeti(L, -1, i);
			lua_rawseti(L, drop, ++n);
		}
	}
	lua_pop(L, 1);
	push_member(L, cls, "computed");
	if (lua_istable(L, -1)) {
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			lua_pushvalue(L, -2);
			lua_pushvalue(L, -2);
			lua_rawset(L, lookup);
			lua_pushvalue(L, -2);
			lua_rawseti(L, drop, ++n);
		}
		lua_pushvalue(L, -1);
		lua_rawseti(L, layout, LAY_COMPUTED);
	}
	lua_pop(L, 1);
	lua_rawseti(L, layout, LAY_DROP);
	lua_rawseti(L, layout, LAY_LOOKUP);
	lua_newtable(L);
	push_member(L, cls, "methods");
	if (lua_istable(L, -1)) {
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			lua_pushvalue(L, -2);
			lua_pushvalue(L, -2);
			lua_rawset(L, -6);
		}
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, nslua_row_decode);
	lua_setfield(L, -2, "decode");
	lua_pushcfunction(L, nslua_row_json);
	lua_setfield(L, -2, "json");
	lua_rawseti(L, layout, LAY_METHODS);
	push_member(L, cls, "same");
	if (lua_isnil(L, -1))
		lua_pop(L, 1);
	else
		lua_rawseti(L, layout, LAY_SAME);
	push_member(L, cls, "name");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushstring(L, s->name);
	}
	lua_rawseti(L, layout, LAY_NAME);
	lua_pushboolean(L, lua_istable(L, cls));
	lua_rawseti(L, layout, LAY_CLASS);
	lua_settop(L, layout);
}

void nslua_row_context(lua_State *L, int schema, int cls, int rowset, int keep)
{
	int context, classes;

	luaL_checkstack(L, 20, "row");
	if (!lua_isnoneornil(L, cls))
		luaL_checktype(L, cls, LUA_TTABLE);
	lua_createtable(L, CTX_KEEP, 0);
	context = lua_gettop(L);
	nslua_getuv(L, schema);
	lua_rawgeti(L, -1, UV_CLASSES);
	classes = lua_gettop(L);
	/* rows without a class: by the schema's own name, which no class can be */
	if (lua_isnoneornil(L, cls))
		lua_pushboolean(L, 1);
	else
		lua_pushvalue(L, cls);
	lua_rawget(L, classes);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		make_layout(L, schema, lua_isnone(L, cls) ? 0 : cls);
		if (lua_isnoneornil(L, cls))
			lua_pushboolean(L, 1);
		else
			lua_pushvalue(L, cls);
		lua_pushvalue(L, -2);
		lua_rawset(L, classes);
	}
	lua_pushvalue(L, schema);
	lua_rawseti(L, context, CTX_SCHEMA);
	lua_rawgeti(L, -1, LAY_LOOKUP);
	lua_rawseti(L, context, CTX_LOOKUP);
	lua_rawgeti(L, -1, LAY_METHODS);
	lua_rawseti(L, context, CTX_METHODS);
	lua_rawseti(L, context, CTX_LAYOUT);
	if (!lua_isnoneornil(L, rowset)) {
		lua_pushvalue(L, rowset);
		lua_rawseti(L, context, CTX_ROWSET);
	}
	if (keep) {
		lua_pushvalue(L, keep);
		lua_rawseti(L, context, CTX_KEEP);
	}
	lua_settop(L, context);
}

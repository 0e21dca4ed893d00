/* SPDX-License-Identifier: MIT */
/* class.c - classes of rows: the public vocabulary over a schema's keys, worked out once for each schema and class. */
#include <stdlib.h>
#include "schema.h"

static const char *const how_names[] = { "raw", "call", "prefix", "link", "name", "flag", NULL };

/* t[key] of the table on top, or nil where there is no such table. */
static void push_member(lua_State *L, int t, const char *name)
{
	if (lua_istable(L, t))
		lua_getfield(L, t, name);
	else
		lua_pushnil(L);
}

/* Keys of the schema's message, as LOOKUP has them; pushes it. */
static void push_raw_lookup(lua_State *L, const struct nslua_schema *s, int uv)
{
	int lookup;

	lua_newtable(L);
	lookup = lua_gettop(L);
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
	lua_settop(L, lookup);
	for (int i = 0; s->head >= 0 && i < s->structs[s->head].n; i++) {
		if (!s->structs[s->head].f[i].key)
			continue;
		lua_rawgeti(L, uv, UV_KEYS);
		lua_rawgeti(L, -1, s->structs[s->head].f[i].key);
		lua_pushinteger(L, -(i + 1));
		lua_rawset(L, lookup);
		lua_pop(L, 1);
	}
}

/* What rows show: pushes a table of keys to how: true for what the kernel sent, or what the class computes. */
static void push_shown(lua_State *L, const struct nslua_schema *s, int lookup, int cls)
{
	int shown;

	lua_newtable(L);
	shown = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, lookup); lua_pop(L, 1)) {
		lua_Integer i = lua_tointeger(L, -1);

		if (i > 0 && (s->sets[s->set].f[i - 1].flags & F_WRITEONLY || s->sets[s->set].f[i - 1].type == T_PAD))
			continue;
		lua_pushvalue(L, -2);
		lua_pushboolean(L, 1);
		lua_rawset(L, shown);
	}
	push_member(L, cls, "hidden");
	for (int i = 1; lua_istable(L, -1) && i <= (int)lua_rawlen(L, -1); i++) {
		lua_rawgeti(L, -1, i);
		lua_pushnil(L);
		lua_rawset(L, shown);
	}
	lua_pop(L, 1);
	push_member(L, cls, "computed");
	if (lua_istable(L, -1)) {
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			lua_pushvalue(L, -2);
			lua_pushvalue(L, -2);
			lua_rawset(L, shown);
		}
	}
	lua_pop(L, 1);
}

/* The field named by member k of the table at t, as in LOOKUP; 0: none is named. */
static int32_t field(lua_State *L, int t, int k, int lookup, const char *key)
{
	int32_t i;

	lua_rawgeti(L, t, k);
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		return 0;
	}
	lua_pushvalue(L, -1);
	lua_rawget(L, lookup);
	i = (int32_t)lua_tointeger(L, -1);
	if (!i)
		luaL_error(L, "schema.class: %s is made of '%s', which is no field", key, lua_tostring(L, -2));
	lua_pop(L, 2);
	return i;
}

/* An entry of what is on top: true, a function, or { how =, [1] and [2] = fields, ... } (schema.lua). */
static void fill(lua_State *L, const struct nslua_schema *s, struct nslua_entry *e, int lookup, const char *key)
{
	int t = lua_gettop(L);

	memset(e, 0, sizeof(*e));
	if (lua_isboolean(L, t)) {
		e->how = HOW_RAW;
		lua_getfield(L, lookup, key);
		e->of[0] = (int32_t)lua_tointeger(L, -1);
	} else if (lua_isfunction(L, t)) {
		e->how = HOW_CALL;
	} else {
		lua_getfield(L, t, "how");
		e->how = (uint8_t)luaL_checkoption(L, -1, NULL, how_names);
		e->of[0] = field(L, t, 1, lookup, key);
		e->of[1] = field(L, t, 2, lookup, key);
		lua_getfield(L, t, "bits");
		e->bits = (uint64_t)lua_tonumber(L, -1);
		lua_getfield(L, t, "no");
		e->no = lua_toboolean(L, -1);
	}
	for (int i = 0; i < 2; i++) {
		if (e->of[i] > 0)
			e->want[i] = s->sets[s->set].f[e->of[i] - 1].id;
		else if (e->of[i] < 0)
			e->want[0] = 0;
	}
	if (e->no || e->how == HOW_PREFIX)
		e->want[0] = 0;
	lua_settop(L, t);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Entries of all that is shown, by key, into the layout; and how each is found, into LOOKUP. */
static void put_entries(lua_State *L, const struct nslua_schema *s, int layout, int lookup, int shown)
{
	struct nslua_entries *es;
	const char **keys;
	int n = 0, lists;

	for (lua_pushnil(L); lua_next(L, shown); lua_pop(L, 1))
		n++;
	keys = lua_newuserdatauv(L, sizeof(*keys) * (size_t)(n + 1), 0);
	n = 0;
	for (lua_pushnil(L); lua_next(L, shown); lua_pop(L, 1))
		keys[n++] = lua_tostring(L, -2); /* the class's names are text, and its table keeps them */
	qsort(keys, (size_t)n, sizeof(*keys), by_text);
	es = lua_newuserdatauv(L, sizeof(*es) + sizeof(es->e[0]) * (size_t)n, 0);
	es->n = n;
	lists = lua_gettop(L) + 1;
	lua_createtable(L, n, 0); /* keys, extras, calls */
	lua_createtable(L, n, 0);
	lua_createtable(L, n, 0);
	for (int i = 1; i <= n; i++) {
		struct nslua_entry *e = &es->e[i - 1];

		lua_pushstring(L, keys[i - 1]);
		lua_pushvalue(L, -1);
		lua_rawseti(L, lists, i);
		lua_rawget(L, shown);
		fill(L, s, e, lookup, keys[i - 1]);
		if (lua_istable(L, -1)) {
			lua_getfield(L, -1, "extra");
			if (lua_isnil(L, -1)) {
				lua_pop(L, 1);
				lua_pushboolean(L, 0);
			}
			lua_rawseti(L, lists + 1, i);
			lua_getfield(L, -1, "call");
			lua_replace(L, -2);
		} else {
			lua_pushboolean(L, 0);
			lua_rawseti(L, lists + 1, i);
		}
		if (!lua_isfunction(L, -1)) {
			lua_pop(L, 1);
			lua_pushboolean(L, 0);
		}
		lua_rawseti(L, lists + 2, i);
	}
	/* only now: fields of the kernel's that an entry hides behind its own name are made of it */
	for (int i = 1; i <= n; i++) {
		if (es->e[i - 1].how == HOW_RAW)
			continue;
		lua_rawgeti(L, lists, i);
		lua_pushinteger(L, LOOKUP_ENTRY + i);
		lua_rawset(L, lookup);
	}
	lua_rawseti(L, layout, LAY_CALLS);
	lua_rawseti(L, layout, LAY_EXTRAS);
	lua_rawseti(L, layout, LAY_KEYS);
	lua_rawseti(L, layout, LAY_ENTRIES);
	lua_pop(L, 1);
}

/* Make the layout of a class for a schema; pushes it. */
static void make_layout(lua_State *L, int schema, int cls)
{
	const struct nslua_schema *s = nslua_checkschema(L, schema);
	int layout, lookup, uv;

	lua_createtable(L, LAY_CALLS, 0);
	layout = lua_gettop(L);
	nslua_getuv(L, schema);
	uv = lua_gettop(L);
	push_raw_lookup(L, s, uv);
	lookup = lua_gettop(L);
	push_shown(L, s, lookup, cls);
	put_entries(L, s, layout, lookup, lookup + 1);
	lua_settop(L, lookup);
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

	luaL_checkstack(L, 24, "row");
	if (!lua_isnoneornil(L, cls))
		luaL_checktype(L, cls, LUA_TTABLE);
	lua_createtable(L, CTX_ROW, 8);
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
	nslua_row_seal(L, context);
}

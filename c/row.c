/* SPDX-License-Identifier: MIT */
/* row.c - lazy rows: the bytes of a message, a field decoded when it is read. */
#include <stdio.h>
#include <stdlib.h>
#include "schema.h"

/*
 * A row's user value is its context, a table shared by all rows of one result, until a field that is a table has to be remembered:
 * then it is a table of those, with the context at [1].
 */
struct row {
	const struct nslua_schema *s; /* kept alive by the context */
	const uint8_t *p;             /* NULL: expired */
	uint32_t n;
	bool memo;
	uint8_t data[];
};

static const char expired[] = "this row lived until the next step of each: call decode() to keep it";

static struct row *check(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, NSLUA_ROW);
}

static struct row *check_live(lua_State *L, int arg)
{
	struct row *r = check(L, arg);

	if (!r->p)
		luaL_error(L, "%s", expired);
	return r;
}

/* Push the context of the row at i. */
static void push_context(lua_State *L, int i, const struct row *r)
{
	nslua_getuv(L, i);
	if (r->memo) {
		lua_rawgeti(L, -1, 1);
		lua_replace(L, -2);
	}
}

static struct row *new_row(lua_State *L, const struct nslua_schema *s, int context, size_t room)
{
	struct row *r;

	lua_pushvalue(L, context);
	r = lua_newuserdatauv(L, sizeof(*r) + room, 1);
	r->s = s;
	r->p = NULL;
	r->n = 0;
	r->memo = false;
	lua_insert(L, -2);
	nslua_setuv(L, -2);
	luaL_setmetatable(L, NSLUA_ROW);
	return r;
}

void nslua_row_push(lua_State *L, const struct nslua_schema *s, int context, const uint8_t *p, size_t n)
{
	struct row *r = new_row(L, s, context, n);

	memcpy(r->data, p, n);
	r->p = r->data;
	r->n = (uint32_t)n;
}

/* A row over bytes that the context keeps alive, until nslua_row_expire. */
void *nslua_row_borrow(lua_State *L, const struct nslua_schema *s, int context, const uint8_t *p, size_t n)
{
	struct row *r = new_row(L, s, context, 0);

	r->p = p;
	r->n = (uint32_t)n;
	return r;
}

void nslua_row_expire(void *row)
{
	((struct row *)row)->p = NULL;
}

/* S:row(bytes [, class [, rowset]]) -> row. */
int nslua_schema_row(lua_State *L)
{
	const struct nslua_schema *s = nslua_checkschema(L, 1);
	size_t n;
	const char *p = luaL_checklstring(L, 2, &n);

	lua_settop(L, 4);
	nslua_row_context(L, 1, 3, 4, 0);
	nslua_row_push(L, s, 5, (const uint8_t *)p, n);
	return 1;
}

static const struct nslua_field *numbered(const struct nslua_schema *s, lua_Integer i)
{
	return i < 0 ? &s->structs[s->head].f[-i - 1] : &s->sets[s->set].f[i - 1];
}

static bool decode_field(struct nslua_decoder *d, const struct row *r, const struct nslua_field *f, bool member)
{
	struct nslua_scope root;

	nslua_root_scope(r->s, r->p, r->n, &root);
	if (!member)
		return nslua_decode_attr(d, f, &root);
	return f->off + f->size <= root.headlen && nslua_decode_value(d, f, r->p + f->off, f->size, &root, 0);
}

/* Push the raw field of lookup number i, or nil. */
static void push_raw(lua_State *L, const struct row *r, int context, lua_Integer i)
{
	const struct nslua_field *f = numbered(r->s, i);
	struct nslua_decoder d = { .L = L, .s = r->s };
	int top = lua_gettop(L);

	/* what needs no table of the schema is most of what is read */
	if (f->enm < 0 && (f->type < T_NEST || f->type >= T_PAD) && f->type != T_FIXED) {
		if (!decode_field(&d, r, f, i < 0))
			lua_pushnil(L);
		return;
	}
	lua_rawgeti(L, context, CTX_LAYOUT);
	lua_rawgeti(L, -1, LAY_CLASS);
	lua_rawgeti(L, context, CTX_SCHEMA);
	nslua_decoder(&d, L, top + 3);
	d.strict = lua_toboolean(L, top + 2);
	if (!decode_field(&d, r, f, i < 0))
		lua_pushnil(L);
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
}

/* row["#4"]: the payload of attribute 4, as it is. */
static void push_bytes(lua_State *L, const struct row *r, const char *key)
{
	struct nslua_scope root;
	struct nslua_attr a, found = { NULL, 0, 0 };
	const uint8_t *q;
	size_t left;
	char *end;
	unsigned long id = strtoul(key + 1, &end, 10);

	nslua_root_scope(r->s, r->p, r->n, &root);
	for (q = root.attrs, left = root.len; nslua_attr_next(&q, &left, &a);)
		if ((a.type & NLA_ID) == id)
			found = a;
	if (found.p && end != key + 1)
		lua_pushlstring(L, (const char *)found.p, found.len);
	else
		lua_pushnil(L);
}

/* Remember the value on top as the field of key at `key`. */
static void remember(lua_State *L, struct row *r, int row, int key, int context)
{
	if (lua_isnil(L, -1))
		return;
	if (!r->memo) {
		lua_createtable(L, 1, 1);
		lua_pushvalue(L, context);
		lua_rawseti(L, -2, 1);
		lua_pushvalue(L, -1);
		nslua_setuv(L, row);
		r->memo = true;
	} else {
		nslua_getuv(L, row);
	}
	lua_pushvalue(L, key);
	lua_pushvalue(L, -3);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* Push field `key` of the row at `row`: remembered, raw or computed; false where there is none of that name. */
static bool push_field(lua_State *L, struct row *r, int row, int key)
{
	int top = lua_gettop(L), context;

	nslua_getuv(L, row);
	if (r->memo) {
		lua_pushvalue(L, key);
		lua_rawget(L, -2);
		if (!lua_isnil(L, -1)) {
			lua_replace(L, top + 1);
			return true;
		}
		lua_pop(L, 1);
		lua_rawgeti(L, -1, 1);
		lua_replace(L, -2);
	}
	context = top + 1;
	lua_rawgeti(L, context, CTX_LOOKUP);
	lua_pushvalue(L, key);
	lua_rawget(L, -2);
	switch (lua_type(L, -1)) {
	case LUA_TNUMBER:
		push_raw(L, r, context, lua_tointeger(L, -1));
		if (lua_type(L, -1) == LUA_TTABLE)
			remember(L, r, row, key, context);
		break;
	case LUA_TNIL:
		lua_settop(L, context);
		return false;
	default: /* a function, or what can be called */
		lua_pushvalue(L, row);
		lua_rawgeti(L, context, CTX_ROWSET);
		lua_call(L, 2, 1);
		/* Text and numbers are made faster than a table to keep them in. */
		if (r->p && lua_type(L, -1) == LUA_TTABLE)
			remember(L, r, row, key, context);
	}
	lua_replace(L, context);
	lua_settop(L, context);
	return true;
}

/* Upvalue: the metatable of rows, as a look-up by its name would cost as much as the field. */
static int row_index(lua_State *L)
{
	struct row *r = lua_touserdata(L, 1);
	const char *key;

	if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(1)))
		return luaL_error(L, "a row expected");
	lua_settop(L, 2);
	if (!r->p)
		return luaL_error(L, "%s", expired);

	if (lua_type(L, 2) != LUA_TSTRING)
		return 0; /* [1] of a memo is not a field */
	luaL_checkstack(L, 24, "row");
	if (push_field(L, r, 1, 2))
		return 1;
	lua_rawgeti(L, -1, CTX_METHODS);
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	if (!lua_isnil(L, -1))
		return 1;
	key = lua_tostring(L, 2);
	if (key[0] == '#')
		push_bytes(L, r, key);
	return 1;
}

/* The public table of the row at 1: raw fields but those hidden or computed, and the computed ones.  Pushes it. */
static void push_public(lua_State *L, struct row *r, bool json)
{
	struct nslua_decoder d;
	int top = lua_gettop(L), context, layout, t;

	luaL_checkstack(L, 24, "row");
	push_context(L, 1, r);
	context = lua_gettop(L);
	lua_rawgeti(L, context, CTX_LAYOUT);
	layout = lua_gettop(L);
	lua_rawgeti(L, context, CTX_SCHEMA);
	d.s = r->s;
	nslua_decoder(&d, L, layout + 1);
	d.json = json;
	lua_rawgeti(L, layout, LAY_CLASS);
	d.strict = lua_toboolean(L, -1);
	nslua_decode_message(&d, r->p, r->n);
	t = lua_gettop(L);
	lua_rawgeti(L, layout, LAY_DROP);
	for (int i = 1; i <= (int)lua_rawlen(L, t + 1); i++) {
		lua_rawgeti(L, t + 1, i);
		lua_pushnil(L);
		lua_rawset(L, t);
	}
	lua_rawgeti(L, layout, LAY_COMPUTED);
	if (lua_istable(L, t + 2)) {
		for (lua_pushnil(L); lua_next(L, t + 2); lua_pop(L, 1)) {
			int key = lua_gettop(L) - 1;

			if (!r->p)
				luaL_error(L, "%s", expired);
			lua_pushvalue(L, key);
			push_field(L, r, 1, key);
			lua_rawset(L, t);
		}
	}
	lua_settop(L, t);
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
}

/* row:decode() -> plain table of every public field. */
int nslua_row_decode(lua_State *L)
{
	struct row *r = check_live(L, 1);

	lua_settop(L, 1);
	push_public(L, r, false);
	return 1;
}

/* row:json() -> text: the same fields, keys sorted; numbers above 2^53 are exact. */
int nslua_row_json(lua_State *L)
{
	struct row *r = check_live(L, 1);

	lua_settop(L, 1);
	push_public(L, r, true);
	return nslua_json_text(L, lua_gettop(L));
}

/* pairs(row), from Lua 5.2 on. */
static int row_pairs(lua_State *L)
{
	struct row *r = check_live(L, 1);

	lua_settop(L, 1);
	lua_getglobal(L, "next");
	push_public(L, r, false);
	lua_replace(L, 1);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* The same kernel object, as the class sees it; without a class, the same bytes. */
static int row_eq(lua_State *L)
{
	struct row *a = luaL_testudata(L, 1, NSLUA_ROW), *b = luaL_testudata(L, 2, NSLUA_ROW);

	if (!a || !b) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (!a->p || !b->p)
		return luaL_error(L, "%s", expired);
	lua_settop(L, 2);
	push_context(L, 1, a);
	push_context(L, 2, b);
	lua_rawgeti(L, 3, CTX_LAYOUT);
	lua_rawgeti(L, 4, CTX_LAYOUT);
	lua_rawgeti(L, 5, LAY_SAME);
	lua_rawgeti(L, 6, LAY_SAME);
	if (!lua_rawequal(L, 7, 8)) {
		lua_pushboolean(L, 0);
	} else if (lua_isnil(L, 7)) {
		lua_pushboolean(L, a->n == b->n && !memcmp(a->p, b->p, a->n));
	} else {
		lua_settop(L, 7);
		lua_pushvalue(L, 1);
		lua_pushvalue(L, 2);
		lua_call(L, 2, 1);
		lua_pushboolean(L, lua_toboolean(L, -1));
	}
	return 1;
}

static int row_newindex(lua_State *L)
{
	check(L, 1);
	return luaL_error(L, "a row is read-only: decode() gives a table");
}

static int row_tostring(lua_State *L)
{
	struct row *r = check(L, 1);

	lua_settop(L, 1);
	push_context(L, 1, r);
	lua_rawgeti(L, -1, CTX_LAYOUT);
	lua_rawgeti(L, -1, LAY_NAME);
	lua_pushfstring(L, "%s row%s", lua_tostring(L, -1), r->p ? "" : " (expired)");
	return 1;
}

/* schema.raw(row, key) -> the field as the kernel sent it, also where the class computes one of that name. */
int nslua_row_raw(lua_State *L)
{
	struct row *r = check_live(L, 1);
	int bykey;

	luaL_checktype(L, 2, LUA_TSTRING);
	lua_settop(L, 2);
	push_context(L, 1, r);
	lua_rawgeti(L, 3, CTX_SCHEMA);
	nslua_getuv(L, 4);
	if (r->s->set >= 0) {
		lua_rawgeti(L, 5, UV_BYKEY);
		lua_rawgeti(L, 6, r->s->set + 1);
		bykey = 7;
		lua_pushvalue(L, 2);
		lua_rawget(L, bykey);
		if (lua_tointeger(L, -1)) {
			push_raw(L, r, 3, lua_tointeger(L, -1));
			return 1;
		}
	}
	if (r->s->head >= 0) {
		lua_rawgeti(L, 5, UV_BYMEMBER);
		lua_rawgeti(L, -1, r->s->head + 1);
		lua_pushvalue(L, 2);
		lua_rawget(L, -2);
		if (lua_tointeger(L, -1)) {
			push_raw(L, r, 3, -lua_tointeger(L, -1));
			return 1;
		}
	}
	lua_pushnil(L);
	return 1;
}

/* schema.rowset(row) -> what was given as the row set. */
int nslua_row_rowset(lua_State *L)
{
	struct row *r = check(L, 1);

	lua_settop(L, 1);
	push_context(L, 1, r);
	lua_rawgeti(L, 2, CTX_ROWSET);
	return 1;
}

/* schema.bytes(row) -> the message's payload, as the kernel sent it. */
int nslua_row_bytes(lua_State *L)
{
	struct row *r = check_live(L, 1);

	lua_pushlstring(L, (const char *)r->p, r->n);
	return 1;
}

/* schema.isrow(value) */
int nslua_row_isrow(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushboolean(L, luaL_testudata(L, 1, NSLUA_ROW) != NULL);
	return 1;
}

static const luaL_Reg row_meta[] = {
	{ "__newindex", row_newindex }, { "__pairs", row_pairs },       { "__eq", row_eq },
	{ "__tostring", row_tostring }, { NULL, NULL },
};

void nslua_row_init(lua_State *L)
{
	nslua_newclass(L, NSLUA_ROW, NULL, row_meta);
	luaL_getmetatable(L, NSLUA_ROW);
	lua_pushvalue(L, -1);
	lua_pushcclosure(L, row_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

/* SPDX-License-Identifier: MIT */
/* row.c - lazy rows: the bytes of a message, a field decoded when it is read. */
#include <stdlib.h>
#include "schema.h"

/* 100,000 of them are kept in lists: what is common to a result is in its metatable (CTX_* of schema.h), no row has a user value. */
struct row {
	uint32_t n;
	bool memo;     /* the context has tables that it was asked for */
	bool borrowed; /* its bytes are elsewhere */
	_Alignas(8) uint8_t data[];
};

static const char expired[] = "this row lived until the next step of each: call decode() to keep it";
static const char mark; /* its address in CTX_ROW: a metatable of rows */

/* Of a borrowed row: where its bytes are, as long as *turn is what it was. */
struct loan {
	const uint8_t *p;
	const uint32_t *turn;
	uint32_t at;
};

static struct loan *loan(struct row *r)
{
	return (struct loan *)(void *)r->data;
}

/* Its bytes; NULL: it expired. */
static const uint8_t *bytes(struct row *r)
{
	if (!r->borrowed)
		return r->data;
	return *loan(r)->turn == loan(r)->at ? loan(r)->p : NULL;
}

static struct row *test(lua_State *L, int arg)
{
	struct row *r = lua_touserdata(L, arg);

	if (!r || !lua_getmetatable(L, arg))
		return NULL;
	lua_rawgeti(L, -1, CTX_ROW);
	if (lua_touserdata(L, -1) != (void *)&mark)
		r = NULL;
	lua_pop(L, 2);
	return r;
}

static struct row *check(lua_State *L, int arg)
{
	struct row *r = test(L, arg);

	if (!r)
		luaL_argerror(L, arg, "a row expected");
	return r;
}

static struct row *check_live(lua_State *L, int arg)
{
	struct row *r = check(L, arg);

	if (!bytes(r))
		luaL_error(L, "%s", expired);
	return r;
}

static struct row *new_row(lua_State *L, int context, size_t room)
{
	struct row *r = lua_newuserdatauv(L, sizeof(*r) + room, 0);

	r->n = 0;
	r->memo = r->borrowed = false;
	lua_pushvalue(L, context);
	lua_setmetatable(L, -2);
	return r;
}

void nslua_row_push(lua_State *L, int context, const uint8_t *p, size_t n)
{
	struct row *r = new_row(L, context, n);

	memcpy(r->data, p, n);
	r->n = (uint32_t)n;
}

/* A row over bytes that are there until *turn changes; the context keeps what that is in. */
void nslua_row_borrow(lua_State *L, int context, const uint8_t *p, size_t n, const uint32_t *turn)
{
	struct row *r = new_row(L, context, sizeof(struct loan));

	*loan(r) = (struct loan){ p, turn, *turn };
	r->borrowed = true;
	r->n = (uint32_t)n;
}

/* S:row(bytes [, class [, rowset]]) -> row. */
int nslua_schema_row(lua_State *L)
{
	size_t n;
	const char *p;

	nslua_checkschema(L, 1);
	p = luaL_checklstring(L, 2, &n);
	lua_settop(L, 4);
	nslua_row_context(L, 1, 3, 4, 0);
	nslua_row_push(L, 5, (const uint8_t *)p, n);
	return 1;
}

/* row["#4"]: the payload of attribute 4, as it is. */
static void push_bytes(lua_State *L, const struct nslua_reader *r, const char *key)
{
	struct nslua_attr a, found = { NULL, 0, 0 };
	const uint8_t *q = r->root.attrs;
	size_t left = r->root.len;
	char *end;
	unsigned long id = strtoul(key + 1, &end, 10);

	while (nslua_attr_next(&q, &left, &a))
		if ((a.type & NLA_ID) == id)
			found = a;
	if (found.p && end != key + 1)
		lua_pushlstring(L, (const char *)found.p, found.len);
	else
		lua_pushnil(L);
}

/* Push the table of what the row at `row` was asked for before, nil where there is none. */
static void push_memo(lua_State *L, int row, int context)
{
	lua_rawgeti(L, context, CTX_MEMO);
	if (lua_istable(L, -1)) {
		lua_pushvalue(L, row);
		lua_rawget(L, -2);
		lua_replace(L, -2);
	}
}

/* Remember the value on top, a table, as the field of the key at `key`. */
static void remember(lua_State *L, struct row *r, int row, int key, int context)
{
	if (!r->memo) {
		lua_rawgeti(L, context, CTX_MEMO);
		if (!lua_istable(L, -1)) {
			lua_pop(L, 1);
			lua_newtable(L);
			lua_createtable(L, 0, 1);
			lua_pushliteral(L, "k");
			lua_setfield(L, -2, "__mode");
			lua_setmetatable(L, -2);
			lua_pushvalue(L, -1);
			lua_rawseti(L, context, CTX_MEMO);
		}
		lua_pushvalue(L, row);
		lua_newtable(L);
		lua_rawset(L, -3);
		lua_pop(L, 1);
		r->memo = true;
	}
	push_memo(L, row, context);
	lua_pushvalue(L, key);
	lua_pushvalue(L, -3);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

static void reader(lua_State *L, const struct nslua_schema *s, struct row *r, int row, int context, struct nslua_reader *out)
{
	out->L = L;
	out->s = s;
	out->p = bytes(r);
	out->n = r->n;
	out->row = row;
	out->context = context;
	out->uv = 0;
	out->json = false;
	out->seen = NULL;
	nslua_root_scope(s, out->p, r->n, &out->root);
}

/*
 * Text and numbers are made faster than a table to keep them in; tables are remembered, so that they are the same each time.
 * Upvalues: the context, its LOOKUP, its LAYOUT, the entries, the schema.
 */
static int row_index(lua_State *L)
{
	struct row *r = lua_touserdata(L, 1);
	const int context = lua_upvalueindex(1), layout = lua_upvalueindex(3);
	struct nslua_reader in;
	bool found;
	lua_Integer i;

	if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, context))
		return luaL_error(L, "a row expected");
	lua_settop(L, 2);
	if (!bytes(r))
		return luaL_error(L, "%s", expired);
	if (lua_type(L, 2) != LUA_TSTRING)
		return 0;
	luaL_checkstack(L, 24, "row");
	if (r->memo) {
		push_memo(L, 1, context);
		lua_pushvalue(L, 2);
		lua_rawget(L, -2);
		if (!lua_isnil(L, -1))
			return 1;
		lua_settop(L, 2);
	}
	reader(L, lua_touserdata(L, lua_upvalueindex(5)), r, 1, context, &in);
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(2));
	i = lua_tointeger(L, -1);
	lua_settop(L, 2);
	if (i > LOOKUP_ENTRY) {
		const struct nslua_entries *es = lua_touserdata(L, lua_upvalueindex(4));

		i -= LOOKUP_ENTRY;
		found = nslua_entry_push(&in, (int)i, &es->e[i - 1], layout);
	} else if (i) {
		found = nslua_raw_push(&in, (int32_t)i);
	} else {
		const char *key = lua_tostring(L, 2);

		lua_rawgeti(L, context, CTX_METHODS);
		lua_pushvalue(L, 2);
		lua_rawget(L, -2);
		if (lua_isnil(L, -1) && key[0] == '#')
			push_bytes(L, &in, key);
		return 1;
	}
	if (!found)
		return 0;
	if (lua_istable(L, -1) && bytes(r))
		remember(L, r, 1, 2, context);
	return 1;
}

#define SEEN 96

/*
 * Go through the attributes once, for what reads all of them.  Where the set has more than there is room for, each is looked for.
 */
static void see(struct nslua_reader *in, struct nslua_attr seen[SEEN])
{
	const uint8_t *q = in->root.attrs;
	size_t left = in->root.len;
	struct nslua_attr a;

	in->seen_n = in->s->set >= 0 ? in->s->sets[in->s->set].nid : 0;
	if (in->seen_n > SEEN)
		in->seen_n = SEEN;
	memset(seen, 0, sizeof(*seen) * (size_t)in->seen_n);
	while (nslua_attr_next(&q, &left, &a))
		if ((a.type & NLA_ID) < in->seen_n)
			seen[a.type & NLA_ID] = a;
	in->seen = seen;
}

static bool absent(const struct nslua_reader *in, uint16_t id)
{
	return id < in->seen_n && !in->seen[id].p;
}

/* Push field i of those the row shows: remembered before, or made now; or false and nothing. */
static bool push_shown(struct row *r, struct nslua_reader *in, const struct nslua_entries *es, int i, int layout, int memo)
{
	lua_State *L = in->L;

	const struct nslua_entry *e = &es->e[i - 1];

	if (e->want[0] && absent(in, e->want[0]) && (!e->want[1] || absent(in, e->want[1])))
		return false;
	if (!bytes(r))
		luaL_error(L, "%s", expired); /* what a field is computed by went on with the each it is of */
	if (memo) {
		lua_rawgeti(L, layout, LAY_KEYS);
		lua_rawgeti(L, -1, i);
		lua_rawget(L, memo);
		lua_replace(L, -2);
		if (!lua_isnil(L, -1))
			return true;
		lua_pop(L, 1);
	}
	return nslua_entry_push(in, i, e, layout);
}

/*
 * What decode, pairs and json begin with, of the row at 1: pushes its context, layout and keys, as slots 2, 3, 4, its memo at 5, and what
 * decoding needs.
 */
static const struct nslua_entries *open_row(lua_State *L, struct row *r, struct nslua_reader *in, struct nslua_attr seen[SEEN])
{
	const struct nslua_entries *es;
	struct nslua_decoder d;

	lua_settop(L, 1);
	luaL_checkstack(L, 32, "row");
	lua_getmetatable(L, 1);
	lua_rawgeti(L, 2, CTX_LAYOUT);
	lua_rawgeti(L, 3, LAY_ENTRIES);
	es = lua_touserdata(L, -1); /* kept by the layout */
	lua_pop(L, 1);
	lua_rawgeti(L, 3, LAY_KEYS);
	if (r->memo)
		push_memo(L, 1, 2);
	else
		lua_pushnil(L);
	lua_rawgeti(L, 3, LAY_CLASS);
	lua_rawgeti(L, 2, CTX_SCHEMA);
	nslua_decoder(&d, L, 7);
	reader(L, lua_touserdata(L, 7), r, 1, 2, in);
	in->uv = d.uv;
	in->strict = lua_toboolean(L, 6);
	see(in, seen);
	return es;
}

/* Without a class: everything, as the schema decodes it. */
static bool push_unnamed(lua_State *L, const struct nslua_reader *in, bool json)
{
	struct nslua_decoder d = { .L = L, .s = in->s, .uv = in->uv, .keys = in->uv + 1, .json = json };

	if (in->strict)
		return false;
	nslua_decode_message(&d, in->p, in->n);
	return true;
}

/* The public table of the row at 1; pushes it. */
static void push_public(lua_State *L, struct row *r)
{
	struct nslua_attr seen[SEEN];
	struct nslua_reader in;
	const struct nslua_entries *es = open_row(L, r, &in, seen);
	int n = 0, t;

	if (push_unnamed(L, &in, false))
		return;
	for (int i = 0; i < in.seen_n; i++)
		n += seen[i].p != NULL;
	lua_createtable(L, 0, n + (in.s->head >= 0 ? in.s->structs[in.s->head].n : 0));
	t = lua_gettop(L);
	for (int i = 1; i <= es->n; i++) {
		if (!push_shown(r, &in, es, i, 3, lua_istable(L, 5) ? 5 : 0))
			continue;
		lua_rawgeti(L, 4, i);
		lua_insert(L, -2);
		lua_rawset(L, t);
	}
}

/* row:decode() -> plain table of every public field. */
int nslua_row_decode(lua_State *L)
{
	push_public(L, check_live(L, 1));
	return 1;
}

/* row:json() -> text: the same fields, by their keys; numbers above 2^53 are exact. */
int nslua_row_json(lua_State *L)
{
	struct row *r = check_live(L, 1);
	struct nslua_attr seen[SEEN];
	struct nslua_reader in;
	struct nslua_out out = { .L = L };
	const struct nslua_entries *es = open_row(L, r, &in, seen);
	bool first = true;

	if (push_unnamed(L, &in, true))
		return nslua_json_text(L, lua_gettop(L));
	in.json = true;
	lua_pushnil(L);
	out.slot = lua_gettop(L);
	nslua_json_add(&out, "{", 1);
	for (int i = 1; i <= es->n; i++) {
		const char *key;
		size_t n;

		/* what was read before may have been made for Lua: an empty table, a number that is not exact */
		if (!push_shown(r, &in, es, i, 3, 0))
			continue;
		lua_rawgeti(L, 4, i);
		key = lua_tolstring(L, -1, &n);
		if (!first)
			nslua_json_add(&out, ",", 1);
		first = false;
		nslua_json_string(&out, key, n);
		nslua_json_add(&out, ":", 1);
		nslua_json_value(&out, lua_gettop(L) - 1);
		lua_pop(L, 2);
	}
	nslua_json_add(&out, "}", 1);
	lua_pushlstring(L, out.p, out.n);
	return 1;
}

/* pairs(row), from Lua 5.2 on. */
static int row_pairs(lua_State *L)
{
	struct row *r = check_live(L, 1);

	push_public(L, r);
	lua_getglobal(L, "next");
	lua_insert(L, -2);
	lua_pushnil(L);
	return 3;
}

/* The same kernel object, as the class sees it; without a class, the same bytes. */
static int row_eq(lua_State *L)
{
	struct row *a = test(L, 1), *b = test(L, 2);

	if (!a || !b) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (!bytes(a) || !bytes(b))
		return luaL_error(L, "%s", expired);
	lua_settop(L, 2);
	for (int i = 1; i <= 2; i++) {
		lua_getmetatable(L, i);
		lua_rawgeti(L, -1, CTX_LAYOUT);
		lua_rawgeti(L, -1, LAY_SAME);
		lua_replace(L, i + 2);
		lua_settop(L, i + 2);
	}
	if (!lua_rawequal(L, 3, 4)) {
		lua_pushboolean(L, 0);
	} else if (lua_isnil(L, 3)) {
		lua_pushboolean(L, a->n == b->n && !memcmp(bytes(a), bytes(b), a->n));
	} else {
		lua_settop(L, 3);
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
	lua_getmetatable(L, 1);
	lua_rawgeti(L, -1, CTX_LAYOUT);
	lua_rawgeti(L, -1, LAY_NAME);
	lua_pushfstring(L, "%s row%s", lua_tostring(L, -1), bytes(r) ? "" : " (expired)");
	return 1;
}

/* schema.raw(row, key) -> the field as the kernel sent it, also where the class computes one of that name. */
int nslua_row_raw(lua_State *L)
{
	struct row *r = check_live(L, 1);
	const struct nslua_schema *s;
	struct nslua_reader in;
	lua_Integer i = 0;

	luaL_checktype(L, 2, LUA_TSTRING);
	lua_settop(L, 2);
	luaL_checkstack(L, 24, "row");
	lua_getmetatable(L, 1);
	lua_rawgeti(L, 3, CTX_SCHEMA);
	nslua_getuv(L, 4);
	s = lua_touserdata(L, 4);
	for (int head = 0; head < 2 && !i; head++) {
		int of = head ? s->head : s->set;

		if (of < 0)
			continue;
		lua_rawgeti(L, 5, head ? UV_BYMEMBER : UV_BYKEY);
		lua_rawgeti(L, -1, of + 1);
		lua_pushvalue(L, 2);
		lua_rawget(L, -2);
		i = head ? -lua_tointeger(L, -1) : lua_tointeger(L, -1);
		lua_settop(L, 5);
	}
	reader(L, s, r, 1, 3, &in);
	if (!i || !nslua_raw_push(&in, (int32_t)i))
		lua_pushnil(L);
	return 1;
}

/* schema.rowset(row) -> what was given as the row set. */
int nslua_row_rowset(lua_State *L)
{
	check(L, 1);
	lua_settop(L, 1);
	lua_getmetatable(L, 1);
	lua_rawgeti(L, 2, CTX_ROWSET);
	return 1;
}

/* schema.bytes(row) -> the message's payload, as the kernel sent it. */
int nslua_row_bytes(lua_State *L)
{
	struct row *r = check_live(L, 1);

	lua_pushlstring(L, (const char *)bytes(r), r->n);
	return 1;
}

/* The bytes of the row at `arg`, in its stack slot as long as that is; NULL: that is no row, or it expired.  Leaves the stack as it was. */
const uint8_t *nslua_row_peek(lua_State *L, int arg, size_t *n)
{
	struct row *r = test(L, arg);

	*n = r ? r->n : 0;
	return r ? bytes(r) : NULL;
}

/* schema.isrow(value) */
int nslua_row_isrow(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushboolean(L, test(L, 1) != NULL);
	return 1;
}

static const luaL_Reg row_meta[] = {
	{ "__newindex", row_newindex }, { "__pairs", row_pairs },       { "__eq", row_eq },
	{ "__tostring", row_tostring }, { NULL, NULL },
};

/* Make a context the metatable it is. */
void nslua_row_seal(lua_State *L, int context)
{
	lua_pushlightuserdata(L, (void *)&mark);
	lua_rawseti(L, context, CTX_ROW);
	luaL_getmetatable(L, NSLUA_ROW); /* the same functions for all: Lua 5.1 compares two rows by __eq only then */
	for (const luaL_Reg *m = row_meta; m->name; m++) {
		lua_pushstring(L, m->name);
		lua_pushvalue(L, -1);
		lua_rawget(L, -3);
		lua_rawset(L, context);
	}
	lua_pop(L, 1);
	lua_pushliteral(L, "__metatable");
	lua_pushliteral(L, NSLUA_ROW);
	lua_rawset(L, context);
	lua_pushliteral(L, "__index");
	lua_pushvalue(L, context);
	lua_rawgeti(L, context, CTX_LOOKUP);
	lua_rawgeti(L, context, CTX_LAYOUT);
	lua_rawgeti(L, -1, LAY_ENTRIES);
	lua_rawgeti(L, context, CTX_SCHEMA);
	lua_pushcclosure(L, row_index, 5);
	lua_rawset(L, context);
}

void nslua_row_init(lua_State *L)
{
	nslua_newclass(L, NSLUA_ROW, NULL, row_meta);
}

/* SPDX-License-Identifier: MIT */
/* encode.c - Lua tables to netlink bytes, by a compiled schema.  What is wrong raises at the caller's line, with its path. */
#include <stdlib.h>
#include "encode.h"

static void align(struct encoder *e, size_t start)
{
	nslua_encode_room(e, NLA_ALIGN4(e->n - start) - (e->n - start));
}

/* Whose attribute carries NLA_F_NESTED. */
static bool is_nest(const struct nslua_field *f)
{
	return f->type == T_NEST || f->type == T_LIST || f->type == T_INDEXED || f->type == T_BITSET;
}

static size_t attr_begin(struct encoder *e, uint16_t type)
{
	size_t at = e->n;

	memcpy((uint8_t *)nslua_encode_room(e, 4) + 2, &type, 2);
	return at;
}

static void attr_end(struct encoder *e, size_t start, struct place *at)
{
	size_t n = e->n - start;
	uint16_t len = (uint16_t)n;

	if (n > UINT16_MAX) {
		lua_pushfstring(e->L, "%d bytes do not fit in an attribute (65531)", (int)(n - 4));
		nslua_encode_misuse(e, at, NULL, 0);
	}
	memcpy(e->p + start, &len, 2);
	nslua_encode_room(e, NLA_ALIGN4(n) - n);
}

static void put_value(struct encoder *e, struct place *at, const struct nslua_field *f);
static void put_body(struct encoder *e, struct place *up, int set, int head);

static void need_table(struct encoder *e, struct place *at)
{
	if (!lua_istable(e->L, -1))
		nslua_encode_expected(e, at, "table");
	if (at->depth > 2 * NSLUA_DEPTH + 1) { /* whatever decode gave fits */
		lua_pushliteral(e->L, "tables nested too deeply");
		nslua_encode_misuse(e, at, NULL, 0);
	}
	luaL_checkstack(e->L, 24, "netlink message");
}

/* A value that has its place among others, and is not as long as that: its own "#size" or "#tail" says so. */
static void wrong_size(struct encoder *e, struct place *at, size_t want, size_t got)
{
	lua_pushfstring(e->L, "%d bytes expected, got %d", (int)want, (int)got);
	nslua_encode_misuse(e, at, NULL, 0);
}

/* The members of a struct, from the table at the place; absent ones are zero, "#size" cuts it. */
static void put_struct(struct encoder *e, struct place *at, int st)
{
	lua_State *L = e->L;
	const struct nslua_struct *s = &e->s->structs[st];
	size_t start = e->n, size = s->size;

	lua_pushliteral(L, "#size");
	lua_rawget(L, at->tab);
	if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 0 && lua_tonumber(L, -1) < (lua_Number)size)
		size = (size_t)lua_tointeger(L, -1);
	lua_pop(L, 1);
	for (int i = 0; i < s->n; i++) {
		const struct nslua_field *f = &s->f[i];

		if (f->off + f->size > size)
			break;
		nslua_encode_room(e, start + f->off - e->n);
		if (!f->key) {
			nslua_encode_room(e, f->size);
			continue;
		}
		lua_rawgeti(L, e->keys, f->key);
		lua_rawget(L, at->tab);
		if (lua_isnil(L, -1)) {
			nslua_encode_room(e, f->size);
		} else {
			at->key = f->key;
			put_value(e, at, f);
			if (e->n - start > f->off + f->size)
				wrong_size(e, at, f->size, e->n - start - f->off);
			at->key = 0;
		}
		lua_pop(L, 1);
	}
	nslua_encode_room(e, start + size - e->n);
}

static void put_tail(struct encoder *e, int tab)
{
	lua_State *L = e->L;

	lua_pushliteral(L, "#tail");
	lua_rawget(L, tab);
	if (lua_type(L, -1) == LUA_TSTRING) {
		size_t n;
		const char *p = lua_tolstring(L, -1, &n);

		nslua_encode_bytes(e, p, n);
	}
	lua_pop(L, 1);
}

/* Keys of a table that is only a struct. */
static void check_members(struct encoder *e, struct place *at, int st)
{
	lua_State *L = e->L;
	int known;

	lua_rawgeti(L, e->uv, UV_BYMEMBER);
	lua_rawgeti(L, -1, st + 1);
	known = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, at->tab); lua_pop(L, 1)) {
		if (lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -2)[0] == '#')
			continue;
		lua_pushvalue(L, -2);
		lua_rawget(L, known);
		if (lua_isnil(L, -1)) {
			const char *word = lua_type(L, -3) == LUA_TSTRING ? lua_tostring(L, -3) : NULL;

			if (word)
				nslua_encode_quote(L, "unknown key ", word);
			else
				lua_pushfstring(L, "unknown key of type %s", luaL_typename(L, -3));
			nslua_encode_misuse(e, at, word, word ? known : 0);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 2);
}

static void put_list(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_field *el = &e->s->f[f->elem];
	struct place in = { .set = -1, .head = -1, .tab = lua_gettop(L), .depth = at->depth + 1, .up = at };
	int n;

	need_table(e, at);
	n = (int)lua_rawlen(L, -1);
	if (f->type == T_FIXED && (uint32_t)n * el->size != f->size) {
		lua_pushfstring(L, "%d values expected, got %d", (int)(f->size / el->size), n);
		nslua_encode_misuse(e, at, NULL, 0);
	}
	for (int i = 1; i <= n; i++) {
		in.index = i;
		lua_rawgeti(L, in.tab, i);
		if (f->type == T_LIST) {
			uint16_t id = f->size ? (uint16_t)f->size : (uint16_t)i;
			size_t start = attr_begin(e, id | (is_nest(el) ? 0x8000 : 0));

			put_value(e, &in, el);
			attr_end(e, start, &in);
		} else if (f->type == T_RECORDS) {
			size_t start = e->n;
			uint16_t len;

			need_table(e, &in);
			put_body(e, &in, f->sub, f->head);
			len = (uint16_t)(e->n - start);
			if (e->n - start > UINT16_MAX) {
				lua_pushliteral(L, "too long");
				nslua_encode_misuse(e, &in, NULL, 0);
			}
			memcpy(e->p + start, &len, 2);
			align(e, start);
		} else {
			size_t start = e->n;

			put_value(e, &in, el);
			if (e->n - start != el->size)
				wrong_size(e, &in, el->size, e->n - start);
		}
		lua_pop(L, 1);
	}
}

/* An attribute kept as bytes: "#61", with the flag bits n (nested) and b (net byte order). */
static void put_unknown(struct encoder *e, struct place *at, int id)
{
	size_t n, start = attr_begin(e, (uint16_t)id);
	const char *p = nslua_encode_string(e, at, "string or list of strings", &n);

	nslua_encode_bytes(e, p, n);
	attr_end(e, start, at);
}

/* The attribute type that a key such as "#61n" stands for, written just as decode writes it; or -1. */
static int unknown_id(const char *key)
{
	int id = 0;

	if (*key++ != '#' || *key < '0' || *key > '9' || (key[0] == '0' && key[1] >= '0' && key[1] <= '9'))
		return -1;
	while (*key >= '0' && *key <= '9' && id <= NLA_ID)
		id = id * 10 + *key++ - '0';
	if (id > NLA_ID)
		return -1;
	if (*key == 'n') {
		id |= 0x8000;
		key++;
	}
	if (*key == 'b') {
		id |= 0x4000;
		key++;
	}
	return *key ? -1 : id;
}

static int by_id(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The unknown attributes of the table, n of them, by id, so that the bytes are the same each time. */
static void put_unknowns(struct encoder *e, struct place *at, int n)
{
	lua_State *L = e->L;
	int few[16], *ids = few, i = 0, top = lua_gettop(L);

	if (!n)
		return;
	if (n > 16)
		ids = lua_newuserdatauv(L, sizeof(*ids) * (size_t)n, 0);
	for (lua_pushnil(L); lua_next(L, at->tab); lua_pop(L, 1))
		if (lua_type(L, -2) == LUA_TSTRING && (ids[i] = unknown_id(lua_tostring(L, -2))) >= 0 && ++i == n) {
			lua_pop(L, 2);
			break;
		}
	qsort(ids, (size_t)n, sizeof(*ids), by_id);
	for (i = 0; i < n; i++) {
		lua_pushfstring(L, ids[i] & 0x8000 ? ids[i] & 0x4000 ? "#%dnb" : "#%dn" : ids[i] & 0x4000 ? "#%db" : "#%d", ids[i] & NLA_ID);
		lua_rawget(L, at->tab);
		if (lua_istable(L, -1)) {
			int count = (int)lua_rawlen(L, -1);

			for (int k = 1; k <= count; k++) {
				lua_rawgeti(L, -1, k);
				put_unknown(e, at, ids[i]);
				lua_pop(L, 1);
			}
		} else {
			put_unknown(e, at, ids[i]);
		}
		lua_pop(L, 1);
	}
	lua_settop(L, top);
}

/* A child of an indexed nest: its id, and whether its key is the name of that. */
struct child {
	int id, named;
};

static void put_indexed(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_field *el = &e->s->f[f->elem];
	struct place in = { .set = -1, .head = -1, .tab = lua_gettop(L), .depth = at->depth + 1, .up = at };
	struct child *children;
	int n = 0, unknown = 0;

	need_table(e, at);
	for (lua_pushnil(L); lua_next(L, in.tab); lua_pop(L, 1))
		n++;
	children = lua_newuserdatauv(L, sizeof(*children) * (size_t)(n + 1), 0);
	n = 0;
	for (lua_pushnil(L); lua_next(L, in.tab); lua_pop(L, 1)) {
		const char *word = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		struct child *c = &children[n];

		if (word && !strcmp(word, "#tail"))
			continue;
		if (word && unknown_id(word) >= 0) {
			unknown++;
			continue;
		}
		lua_pushvalue(L, -2);
		c->named = word && f->enm >= 0;
		if (c->named)
			c->id = (int)nslua_encode_named(e, at, f, "key");
		else if (lua_type(L, -1) == LUA_TNUMBER)
			c->id = (int)lua_tointeger(L, -1);
		else
			nslua_encode_expected(e, at, "number as key");
		lua_pop(L, 1);
		if (c->id < 0 || c->id > NLA_ID) {
			lua_pushfstring(L, "key %d out of range", c->id);
			nslua_encode_misuse(e, at, NULL, 0);
		}
		n++;
	}
	qsort(children, (size_t)n, sizeof(*children), by_id); /* the id is the first member */
	for (int i = 0; i < n; i++) {
		size_t start;

		in.index = children[i].id;
		lua_pushinteger(L, children[i].id);
		if (children[i].named) {
			lua_rawgeti(L, e->uv, UV_NAMES);
			lua_rawgeti(L, -1, f->enm + 1);
			lua_rawgeti(L, -1, children[i].id);
			lua_replace(L, -4);
			lua_pop(L, 2);
		}
		lua_rawget(L, in.tab);
		start = attr_begin(e, (uint16_t)(children[i].id | (is_nest(el) ? 0x8000 : 0)));
		put_value(e, &in, el);
		attr_end(e, start, &in);
		lua_pop(L, 1);
	}
	in.index = 0;
	put_unknowns(e, &in, unknown);
	put_tail(e, in.tab);
	lua_settop(L, in.tab);
}

static void put_attr(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_field *v = f;
	size_t start;
	uint16_t type = f->id;

	if (f->type == T_FLAG || (f->type != T_BOOL && lua_type(L, -1) == LUA_TBOOLEAN)) {
		if (f->type != T_FLAG || lua_type(L, -1) != LUA_TBOOLEAN)
			nslua_encode_expected(e, at, f->type == T_FLAG ? "boolean" : f->type == T_STRZ ? "string" : nslua_typename(f->type));
		if (!lua_toboolean(L, -1))
			return;
	}
	while (v && v->type == T_UNION)
		v = nslua_encode_branch(e, at, v);
	if (v && is_nest(v) && !((f->flags | v->flags) & F_NONESTED))
		type |= 0x8000;
	if (f->flags & F_NETORDER)
		type |= 0x4000;
	start = attr_begin(e, type);
	if (v) {
		put_value(e, at, v);
	} else {
		size_t n;
		const char *p = nslua_encode_string(e, at, "bytes of an unknown kind", &n);

		nslua_encode_bytes(e, p, n);
	}
	at->branch = NULL;
	attr_end(e, start, at);
}

/* The table on top: a struct (head) and attributes (set), each may be -1. */
static void put_body(struct encoder *e, struct place *up, int set, int head)
{
	lua_State *L = e->L;
	struct place at = { .set = set, .head = head, .tab = lua_gettop(L), .depth = up ? up->depth + 1 : 0, .up = up };
	uint16_t found[NSLUA_KEYS];
	int n = 0, unknown = 0, bykey = 0, bymember = 0;
	bool tail = false;
	size_t start = e->n;

	need_table(e, &at);
	if (set >= 0) {
		lua_rawgeti(L, e->uv, UV_BYKEY);
		lua_rawgeti(L, -1, set + 1);
		lua_replace(L, -2);
		bykey = lua_gettop(L);
	}
	if (head >= 0) {
		lua_rawgeti(L, e->uv, UV_BYMEMBER);
		lua_rawgeti(L, -1, head + 1);
		lua_replace(L, -2);
		bymember = lua_gettop(L);
	}
	for (lua_pushnil(L); lua_next(L, at.tab); lua_pop(L, 1)) {
		const char *word = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		lua_Integer i;

		if (!word) {
			lua_pushfstring(L, "unknown key of type %s", luaL_typename(L, -2));
			nslua_encode_misuse(e, &at, NULL, 0);
		}
		if (word[0] == '#') {
			bool known = true;

			if (unknown_id(word) >= 0)
				unknown++;
			else if (!strcmp(word, "#tail"))
				tail = true;
			else
				known = !strcmp(word, "#size");
			if (known)
				continue;
		}
		if (bymember) {
			lua_pushvalue(L, -2);
			lua_rawget(L, bymember);
			i = lua_tointeger(L, -1);
			lua_pop(L, 1);
			if (i)
				continue;
		}
		i = 0;
		if (bykey) {
			lua_pushvalue(L, -2);
			lua_rawget(L, bykey);
			i = lua_tointeger(L, -1);
			lua_pop(L, 1);
		}
		if (i <= 0) {
			nslua_encode_quote(L, "unknown key ", word);
			nslua_encode_misuse(e, &at, word, bykey ? bykey : bymember);
		}
		/* in the order of the declaration, so that the bytes are the same each time */
		{
			int k = n++;

			for (; k > 0 && found[k - 1] > i; k--)
				found[k] = found[k - 1];
			found[k] = (uint16_t)i;
		}
	}
	if (head >= 0) {
		size_t size = e->s->structs[head].size;

		put_struct(e, &at, head);
		if (e->n - start < size)
			goto done; /* "#size": it ended there */
		if (n || unknown || tail || !up)
			nslua_encode_room(e, NLA_ALIGN4(size) - size);
	}
	for (int i = 0; i < n; i++) {
		const struct nslua_field *f = &e->s->sets[set].f[found[i] - 1];

		lua_rawgeti(L, e->keys, f->key);
		lua_rawget(L, at.tab);
		at.key = f->key;
		if (!(f->flags & F_MULTI)) {
			put_attr(e, &at, f);
		} else {
			int list = lua_gettop(L), count;

			if (!lua_istable(L, list))
				nslua_encode_expected(e, &at, "list");
			count = (int)lua_rawlen(L, list);
			for (int k = 1; k <= count; k++) {
				at.index = k;
				lua_rawgeti(L, list, k);
				put_attr(e, &at, f);
				lua_pop(L, 1);
			}
			at.index = 0;
		}
		at.key = 0;
		lua_pop(L, 1);
	}
	put_unknowns(e, &at, unknown);
	put_tail(e, at.tab);
done:
	lua_settop(L, at.tab);
}

static void put_value(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	size_t n;
	const char *p;

	switch (f->type) {
	case T_FLAG:
		return;
	case T_BOOL:
		if (lua_type(L, -1) == LUA_TNUMBER) {
			uint8_t v = (uint8_t)nslua_encode_number(e, at, T_U8);

			nslua_encode_bytes(e, &v, 1);
			return;
		}
		if (lua_type(L, -1) != LUA_TBOOLEAN)
			nslua_encode_expected(e, at, "boolean");
		*(uint8_t *)nslua_encode_room(e, 1) = (uint8_t)lua_toboolean(L, -1);
		return;
	case T_STRZ:
	case T_CHARS:
		nslua_encode_text(e, at, f);
		return;
	case T_STR:
	case T_BIN:
	case T_BYTES:
		p = nslua_encode_string(e, at, "string", &n);
		if (f->type == T_BYTES && n != f->size) {
			lua_pushfstring(L, "%d bytes expected, got %d", (int)f->size, (int)n);
			nslua_encode_misuse(e, at, NULL, 0);
		}
		nslua_encode_bytes(e, p, n);
		return;
	case T_IP:
	case T_IP4:
	case T_IP6:
	case T_LLADDR:
		nslua_encode_address(e, at, f);
		return;
	case T_HEX:
	case T_BASE64:
	case T_SOCKADDR:
		nslua_encode_bytes_of(e, at, f);
		return;
	case T_BITSET:
		nslua_encode_bitset(e, at);
		return;
	case T_NEST:
		need_table(e, at);
		put_body(e, at, f->sub, f->head);
		return;
	case T_STRUCT: {
		struct place in = { .set = -1, .head = f->sub, .tab = lua_gettop(L), .depth = at->depth + 1, .up = at };

		need_table(e, at);
		check_members(e, &in, f->sub);
		put_struct(e, &in, f->sub);
		put_tail(e, in.tab);
		return;
	}
	case T_ARRAY:
	case T_FIXED:
	case T_LIST:
	case T_RECORDS:
		put_list(e, at, f);
		return;
	case T_INDEXED:
		put_indexed(e, at, f);
		return;
	case T_UNION: {
		const struct nslua_field *v = nslua_encode_branch(e, at, f);

		if (v) {
			put_value(e, at, v);
		} else {
			p = nslua_encode_string(e, at, "bytes of an unknown kind", &n);
			nslua_encode_bytes(e, p, n);
		}
		at->branch = NULL;
		return;
	}
	default:
		nslua_encode_integer(e, at, f);
	}
}

/* S:encode(table) -> bytes: header struct and attributes, in the order of the declaration. */
int nslua_schema_encode(lua_State *L)
{
	struct encoder e;

	e.L = L;
	e.s = nslua_checkschema(L, 1);
	e.n = 0;
	e.p = e.first;
	e.size = sizeof(e.first);
	lua_settop(L, 2);
	nslua_getuv(L, 1);
	e.uv = 3;
	lua_rawgeti(L, 3, UV_KEYS);
	e.keys = 4;
	lua_pushnil(L);
	e.buffer = 5;
	lua_pushvalue(L, 2);
	if (!lua_istable(L, -1)) {
		struct place root = { .set = -1, .head = -1 };

		nslua_encode_expected(&e, &root, "table");
	}
	put_body(&e, NULL, e.s->set, e.s->head);
	lua_pushlstring(L, (const char *)e.p, e.n);
	return 1;
}

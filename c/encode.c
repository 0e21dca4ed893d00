/* SPDX-License-Identifier: MIT */
/* encode.c - Lua tables to netlink bytes, by a compiled schema.  What is wrong raises at the caller's line, with its path. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "schema.h"

#define MAX_MESSAGE (1 << 20)
#define MAX_KEYS 1024 /* of one table */

/* Where encoding stands: for error paths and for selectors of unions. */
struct place {
	int set, head, tab;
	int32_t key;        /* the key being encoded, 0: none */
	lua_Integer index;  /* of a list, 0: none */
	const char *branch; /* of a union */
	int depth;
	struct place *up;
};

struct encoder {
	lua_State *L;
	const struct nslua_schema *s;
	int uv, keys, buffer; /* stack slots */
	uint8_t *p;
	size_t n, size;
	uint8_t first[2048];
};

/* Push "link.linkinfo.data (vxlan)". */
static void push_path(struct encoder *e, struct place *at)
{
	lua_State *L = e->L;

	if (!at) {
		lua_pushstring(L, e->s->name);
		return;
	}
	push_path(e, at->up);
	if (at->key) {
		lua_pushliteral(L, ".");
		lua_rawgeti(L, e->keys, at->key);
		lua_concat(L, 3);
	}
	if (at->index) {
		lua_pushfstring(L, "[%d]", (int)at->index);
		lua_concat(L, 2);
	}
	if (at->branch) {
		lua_pushfstring(L, " (%s)", at->branch);
		lua_concat(L, 2);
	}
}

/* The reason is on top; raises "path: reason" at the first line outside nslua.  `known`: a table to search for a near word, or 0. */
static int misuse(struct encoder *e, struct place *at, const char *word, int known)
{
	lua_State *L = e->L;

	luaL_checkstack(L, 40, "misuse");
	lua_pushliteral(L, ": ");
	lua_insert(L, -2);
	push_path(e, at);
	lua_insert(L, -3);
	lua_concat(L, 3);
	lua_getfield(L, LUA_REGISTRYINDEX, "nslua.schema.misuse");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return lua_error(L);
	}
	lua_insert(L, -2);
	if (!known) {
		lua_call(L, 1, 0);
	} else {
		lua_pushstring(L, word);
		lua_pushvalue(L, known);
		lua_call(L, 3, 0);
	}
	return luaL_error(L, "misuse handler returned");
}

static int expected(struct encoder *e, struct place *at, const char *what)
{
	if (lua_type(e->L, -1) == LUA_TSTRING && lua_rawlen(e->L, -1) <= 64)
		lua_pushfstring(e->L, "%s expected, got '%s'", what, lua_tostring(e->L, -1));
	else
		lua_pushfstring(e->L, "%s expected, got %s", what, luaL_typename(e->L, -1));
	return misuse(e, at, NULL, 0);
}

/* Room for n bytes more, zeroed.  The buffer is on the C stack until it is too small for that. */
static void *put(struct encoder *e, size_t n)
{
	uint8_t *p;

	if (e->n + n > e->size) {
		size_t size = e->size * 2;
		uint8_t *grown;

		while (size < e->n + n)
			size *= 2;
		if (size > MAX_MESSAGE)
			luaL_error(e->L, "%s: a message of more than %d bytes", e->s->name, MAX_MESSAGE);
		grown = lua_newuserdatauv(e->L, size, 0);
		memcpy(grown, e->p, e->n);
		lua_replace(e->L, e->buffer);
		e->p = grown;
		e->size = size;
	}
	p = e->p + e->n;
	memset(p, 0, n);
	e->n += n;
	return p;
}

static void put_bytes(struct encoder *e, const void *bytes, size_t n)
{
	void *p = put(e, n);

	if (n)
		memcpy(p, bytes, n);
}

static void align(struct encoder *e, size_t start)
{
	put(e, NLA_ALIGN4(e->n - start) - (e->n - start));
}

static size_t attr_begin(struct encoder *e, uint16_t type)
{
	size_t at = e->n;

	memcpy((uint8_t *)put(e, 4) + 2, &type, 2);
	return at;
}

static void attr_end(struct encoder *e, size_t start, struct place *at)
{
	size_t n = e->n - start;
	uint16_t len = (uint16_t)n;

	if (n > UINT16_MAX) {
		lua_pushfstring(e->L, "%d bytes do not fit in an attribute (65531)", (int)(n - 4));
		misuse(e, at, NULL, 0);
	}
	memcpy(e->p + start, &len, 2);
	put(e, NLA_ALIGN4(n) - n);
}

static const struct {
	int bits;
	bool sign;
} widths[T_COUNT] = {
	[T_U8] = { 8, false },    [T_U16] = { 16, false },  [T_U32] = { 32, false },  [T_U64] = { 64, false },
	[T_S8] = { 8, true },     [T_S16] = { 16, true },   [T_S32] = { 32, true },   [T_S64] = { 64, true },
	[T_BE16] = { 16, false }, [T_BE32] = { 32, false }, [T_BE64] = { 64, false },
};

static int out_of_range(struct encoder *e, struct place *at, int type)
{
	char text[96], value[40];
	int bits = widths[type].bits;

	if (lua_type(e->L, -1) == LUA_TSTRING)
		snprintf(value, sizeof(value), "'%.32s'", lua_tostring(e->L, -1));
	else
		snprintf(value, sizeof(value), "%.17g", (double)lua_tonumber(e->L, -1));
	if (widths[type].sign)
		snprintf(text, sizeof(text), "%s does not fit in %s (%" PRId64 " to %" PRId64 ")", value, nslua_typename(type),
			 -(INT64_C(1) << (bits - 2)) * 2, (INT64_C(1) << (bits - 2)) - 1 + (INT64_C(1) << (bits - 2)));
	else
		snprintf(text, sizeof(text), "%s does not fit in %s (0 to %" PRIu64 ")", value, nslua_typename(type),
			 bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1);
	lua_pushstring(e->L, text);
	return misuse(e, at, NULL, 0);
}

static uint64_t integer(struct encoder *e, struct place *at, int type)
{
	lua_State *L = e->L;
	int bits = widths[type].bits;
	bool sign = widths[type].sign;

	if (lua_type(L, -1) == LUA_TSTRING && bits == 64) {
		/* how Lua 5.1 and 5.2 write what a number cannot hold */
		const char *text = lua_tostring(L, -1);
		char *end;
		uint64_t v;

		errno = 0;
		v = sign ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
		if (*end || end == text || (!sign && *text == '-'))
			expected(e, at, "integer");
		if (errno)
			out_of_range(e, at, type);
		return v;
	}
	if (lua_type(L, -1) != LUA_TNUMBER)
		expected(e, at, "integer");
#if LUA_VERSION_NUM >= 503
	if (lua_isinteger(L, -1)) {
		lua_Integer i = lua_tointeger(L, -1);

		if (bits == 64) /* a u64 above 2^63 reads as negative, so it is written so */
			return (uint64_t)i;
		if (sign ? i < -(INT64_C(1) << (bits - 1)) || i >= INT64_C(1) << (bits - 1) : i < 0 || i >= INT64_C(1) << bits)
			out_of_range(e, at, type);
		return (uint64_t)i;
	}
#endif
	{
		lua_Number n = lua_tonumber(L, -1);
		lua_Number top = bits == 64 ? 18446744073709551616.0 : (lua_Number)(UINT64_C(1) << bits);

		if (n != n || (n > -9e18 && n < 9e18 && n != (lua_Number)(int64_t)n))
			expected(e, at, "integer");
		if (sign ? n < -top / 2 || n >= top / 2 : n < 0 || n >= top)
			out_of_range(e, at, type);
		return n < 0 ? (uint64_t)(int64_t)n : (uint64_t)n;
	}
}

/* The value that a name of an enum stands for: the name is on top. */
static uint64_t named(struct encoder *e, struct place *at, const struct nslua_field *f, const char *what)
{
	lua_State *L = e->L;
	int name = lua_gettop(L);
	uint64_t v;

	lua_rawgeti(L, e->uv, UV_VALUES);
	lua_rawgeti(L, -1, f->enm + 1);
	lua_pushvalue(L, name);
	lua_rawget(L, -2);
	if (lua_isnil(L, -1)) {
		const char *word = lua_tostring(L, name);
		int bit;
		char rest;

		if ((f->flags & F_BITS) && sscanf(word, "#bit%d%c", &bit, &rest) == 1 && bit >= 0 && bit < widths[f->type].bits) {
			lua_pop(L, 3);
			return UINT64_C(1) << bit;
		}
		lua_pop(L, 1);
		lua_pushfstring(L, "unknown %s '%s'", what, word);
		misuse(e, at, word, lua_gettop(L) - 1);
	}
	v = nslua_checku64(L, -1);
	lua_pop(L, 3);
	return v;
}

/* Bits: a number, { up = true }, { "up", "running" } or "up,running". */
static uint64_t bits(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	uint64_t v = 0;

	switch (lua_type(L, -1)) {
	case LUA_TSTRING: {
		const char *text = lua_tostring(L, -1);

		while (*text) {
			size_t n = strcspn(text, ", |");

			if (n) {
				lua_pushlstring(L, text, n);
				v |= named(e, at, f, "flag");
				lua_pop(L, 1);
			}
			text += n + (text[n] != 0);
		}
		return v;
	}
	case LUA_TTABLE:
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			if (lua_type(L, -2) == LUA_TSTRING) {
				if (!lua_toboolean(L, -1))
					continue;
				lua_pushvalue(L, -2);
			} else if (lua_type(L, -1) == LUA_TSTRING) {
				lua_pushvalue(L, -1);
			} else {
				expected(e, at, "name of a flag");
			}
			v |= named(e, at, f, "flag");
			lua_pop(L, 1);
		}
		return v;
	default:
		return integer(e, at, f->type);
	}
}

static void put_integer(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	uint64_t v;
	uint32_t v4;
	uint16_t v2;
	uint8_t v1;
	const void *p = &v;

	if (f->enm >= 0 && (f->flags & F_BITS)) {
		v = bits(e, at, f);
		if (widths[f->type].bits < 64 && v >> widths[f->type].bits) {
			lua_pushinteger(e->L, (lua_Integer)v);
			out_of_range(e, at, f->type);
		}
	} else if (f->enm >= 0 && lua_type(e->L, -1) == LUA_TSTRING) {
		v = named(e, at, f, "name");
	} else {
		v = integer(e, at, f->type);
	}
	switch (f->size) {
	case 1:
		v1 = (uint8_t)v;
		p = &v1;
		break;
	case 2:
		v2 = f->type == T_BE16 ? htobe16((uint16_t)v) : (uint16_t)v;
		p = &v2;
		break;
	case 4:
		v4 = f->type == T_BE32 ? htobe32((uint32_t)v) : (uint32_t)v;
		p = &v4;
		break;
	default:
		if (f->type == T_BE64)
			v = htobe64(v);
	}
	put_bytes(e, p, f->size);
}

static const char *text(struct encoder *e, struct place *at, const char *what, size_t *n)
{
	if (lua_type(e->L, -1) != LUA_TSTRING)
		expected(e, at, what);
	return lua_tolstring(e->L, -1, n);
}

static void put_text(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	size_t n, most = f->type == T_CHARS ? f->size - 1 : f->size;
	const char *s = text(e, at, "string", &n);

	if (memchr(s, 0, n)) {
		lua_pushliteral(e->L, "a zero byte in a string");
		misuse(e, at, NULL, 0);
	}
	if (f->type == T_CHARS && n == f->size)
		most = n; /* as the kernel sent it: full, without a zero */
	if (most && n > most) {
		lua_pushfstring(e->L, "'%s' is longer than %d bytes", s, (int)most);
		misuse(e, at, NULL, 0);
	}
	put_bytes(e, s, n);
	put(e, f->type == T_CHARS ? f->size - n : 1);
}

static void put_address(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	uint8_t bytes[NSLUA_LLADDR];
	size_t n;
	const char *s;
	int got;

	if (f->type == T_LLADDR) {
		s = text(e, at, "link-layer address", &n);
		got = nslua_lladdr_parse(s, n, bytes);
		if (got < 0)
			expected(e, at, "link-layer address");
	} else {
		const char *what = f->type == T_IP4 ? "IPv4 address" : f->type == T_IP6 ? "IPv6 address" : "IP address";

		s = text(e, at, what, &n);
		got = nslua_ip_parse(s, n, bytes);
		if (got < 0 || (f->size && got != (int)f->size))
			expected(e, at, what);
	}
	put_bytes(e, bytes, (size_t)got);
}

static void put_value(struct encoder *e, struct place *at, const struct nslua_field *f);
static void put_body(struct encoder *e, struct place *up, int set, int head);

static void need_table(struct encoder *e, struct place *at)
{
	if (!lua_istable(e->L, -1))
		expected(e, at, "table");
	if (at->depth > 2 * NSLUA_DEPTH + 1) { /* whatever decode gave fits */
		lua_pushliteral(e->L, "tables nested too deeply");
		misuse(e, at, NULL, 0);
	}
	luaL_checkstack(e->L, 24, "netlink message");
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
		put(e, start + f->off - e->n);
		if (!f->key) {
			put(e, f->size);
			continue;
		}
		lua_rawgeti(L, e->keys, f->key);
		lua_rawget(L, at->tab);
		if (lua_isnil(L, -1)) {
			put(e, f->size);
		} else {
			at->key = f->key;
			put_value(e, at, f);
			at->key = 0;
		}
		lua_pop(L, 1);
	}
	put(e, start + size - e->n);
}

static void put_tail(struct encoder *e, int tab)
{
	lua_State *L = e->L;

	lua_pushliteral(L, "#tail");
	lua_rawget(L, tab);
	if (lua_type(L, -1) == LUA_TSTRING) {
		size_t n;
		const char *p = lua_tolstring(L, -1, &n);

		put_bytes(e, p, n);
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
				lua_pushfstring(L, "unknown key '%s'", word);
			else
				lua_pushfstring(L, "unknown key of type %s", luaL_typename(L, -3));
			misuse(e, at, word, word ? known : 0);
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
		misuse(e, at, NULL, 0);
	}
	for (int i = 1; i <= n; i++) {
		in.index = i;
		lua_rawgeti(L, in.tab, i);
		if (f->type == T_LIST) {
			uint16_t id = f->size ? (uint16_t)f->size : (uint16_t)i;
			bool nested = el->type == T_NEST || el->type == T_LIST || el->type == T_INDEXED;
			size_t start = attr_begin(e, id | (nested && !(el->flags & F_NONESTED) ? 0x8000 : 0));

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
				misuse(e, &in, NULL, 0);
			}
			memcpy(e->p + start, &len, 2);
			align(e, start);
		} else {
			put_value(e, &in, el);
		}
		lua_pop(L, 1);
	}
}

/* An attribute kept as bytes: "#61", with the flag bits n (nested) and b (net byte order). */
static void put_unknown(struct encoder *e, struct place *at, int id)
{
	size_t n, start = attr_begin(e, (uint16_t)id);
	const char *p = text(e, at, "string or list of strings", &n);

	put_bytes(e, p, n);
	attr_end(e, start, at);
}

static int unknown_id(const char *key)
{
	int id, used = 0;

	if (sscanf(key, "#%d%n", &id, &used) != 1 || id < 0 || id > NLA_ID || key[1] == '-' || key[1] == '+')
		return -1;
	if (key[used] == 'n') {
		id |= 0x8000;
		used++;
	}
	if (key[used] == 'b') {
		id |= 0x4000;
		used++;
	}
	return key[used] ? -1 : id;
}

/* Every unknown attribute of the table, by id, so that the bytes are the same each time. */
static void put_unknowns(struct encoder *e, struct place *at, int *ids, int n)
{
	lua_State *L = e->L;

	for (int i = 1; i < n; i++)
		for (int k = i; k > 0 && ids[k - 1] > ids[k]; k--) {
			int swap = ids[k];

			ids[k] = ids[k - 1];
			ids[k - 1] = swap;
		}
	for (int i = 0; i < n; i++) {
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
}

static void put_indexed(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_field *el = &e->s->f[f->elem];
	struct place in = { .set = -1, .head = -1, .tab = lua_gettop(L), .depth = at->depth + 1, .up = at };
	bool nested = el->type == T_NEST || el->type == T_LIST || el->type == T_INDEXED;
	int ids[256], keys[256], n = 0, unknown[64], nu = 0;

	need_table(e, at);
	for (lua_pushnil(L); lua_next(L, in.tab); lua_pop(L, 1)) {
		const char *word = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		int id;

		if (word && !strcmp(word, "#tail"))
			continue;
		if (word && word[0] == '#' && (id = unknown_id(word)) >= 0 && nu < 64) {
			unknown[nu++] = id;
			continue;
		}
		lua_pushvalue(L, -2);
		if (word && f->enm >= 0) {
			id = (int)named(e, at, f, "key");
			keys[n] = 1;
		} else {
			if (lua_type(L, -1) != LUA_TNUMBER)
				expected(e, at, "number as key");
			id = (int)lua_tointeger(L, -1);
			keys[n] = 0;
		}
		lua_pop(L, 1);
		if (id < 0 || id > NLA_ID || n == 255) {
			lua_pushfstring(L, "key %d out of range", id);
			misuse(e, at, NULL, 0);
		}
		ids[n++] = id;
	}
	for (int i = 1; i < n; i++)
		for (int k = i; k > 0 && ids[k - 1] > ids[k]; k--) {
			int swap = ids[k], swapk = keys[k];

			ids[k] = ids[k - 1];
			ids[k - 1] = swap;
			keys[k] = keys[k - 1];
			keys[k - 1] = swapk;
		}
	for (int i = 0; i < n; i++) {
		size_t start;

		in.index = ids[i];
		lua_pushinteger(L, ids[i]);
		if (keys[i]) {
			lua_rawgeti(L, e->uv, UV_NAMES);
			lua_rawgeti(L, -1, f->enm + 1);
			lua_rawgeti(L, -1, ids[i]);
			lua_replace(L, -4);
			lua_pop(L, 2);
		}
		lua_rawget(L, in.tab);
		start = attr_begin(e, (uint16_t)(ids[i] | (nested && !(el->flags & F_NONESTED) ? 0x8000 : 0)));
		put_value(e, &in, el);
		attr_end(e, start, &in);
		lua_pop(L, 1);
	}
	in.index = 0;
	put_unknowns(e, &in, unknown, nu);
	put_tail(e, in.tab);
}

/* Push the selector of a union as text, or nil: from the tables here and outwards. */
static void push_selector(struct encoder *e, int32_t key, struct place *at)
{
	lua_State *L = e->L;

	for (; at; at = at->up) {
		const struct nslua_field *f = NULL;
		const struct nslua_struct *st = at->head >= 0 ? &e->s->structs[at->head] : NULL;
		const struct nslua_set *set = at->set >= 0 ? &e->s->sets[at->set] : NULL;

		for (int i = 0; st && i < st->n; i++)
			if (st->f[i].key == key)
				f = &st->f[i];
		for (int i = 0; !f && set && i < set->n; i++)
			if (set->f[i].key == key)
				f = &set->f[i];
		if (!f)
			continue;
		lua_rawgeti(L, e->keys, key);
		lua_rawget(L, at->tab);
		if (lua_isnil(L, -1) && st && f >= st->f && f < st->f + st->n) {
			lua_pop(L, 1);
			lua_pushinteger(L, 0); /* what the header will hold */
		}
		if (lua_type(L, -1) == LUA_TNUMBER && f->enm >= 0) {
			lua_rawgeti(L, e->uv, UV_NAMES);
			lua_rawgeti(L, -1, f->enm + 1);
			lua_pushvalue(L, -3);
			lua_rawget(L, -2);
			if (lua_isnil(L, -1)) {
				lua_pop(L, 3);
			} else {
				lua_replace(L, -4);
				lua_pop(L, 2);
			}
		}
		if (lua_type(L, -1) == LUA_TNUMBER)
			lua_tostring(L, -1);
		return;
	}
	lua_pushnil(L);
}

/* The field that stands for a union here; the value is on top.  The branch's name stays in the place, for paths. */
static const struct nslua_field *branch(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_union *u = &e->s->unions[f->sub];
	const struct nslua_field *b = u->fallback >= 0 ? &e->s->f[u->fallback] : NULL;

	push_selector(e, u->selector, at);
	if (lua_type(L, -1) == LUA_TSTRING) {
		lua_rawgeti(L, e->uv, UV_BRANCHES);
		lua_rawgeti(L, -1, f->sub + 1);
		lua_pushvalue(L, -3);
		lua_rawget(L, -2);
		if (!lua_isnil(L, -1)) {
			b = &e->s->f[lua_tointeger(L, -1) - 1];
			at->branch = lua_tostring(L, -4); /* the caller's table or the schema holds the string */
		}
		lua_pop(L, 3);
		if (!b && lua_type(L, -2) == LUA_TTABLE) {
			lua_pushfstring(L, "no schema for '%s'", lua_tostring(L, -1));
			misuse(e, at, NULL, 0);
		}
	} else if (!b && lua_type(L, -2) == LUA_TTABLE) {
		lua_pushliteral(L, "needs '");
		lua_rawgeti(L, e->keys, u->selector);
		lua_pushliteral(L, "' beside it");
		lua_concat(L, 3);
		misuse(e, at, NULL, 0);
	}
	lua_pop(L, 1);
	return b;
}

static bool is_nest(const struct nslua_field *f)
{
	return f->type == T_NEST || f->type == T_LIST || f->type == T_INDEXED;
}

static void put_attr(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_field *v = f;
	size_t start;
	uint16_t type = f->id;

	if (f->type == T_FLAG || (f->type != T_BOOL && lua_type(L, -1) == LUA_TBOOLEAN)) {
		if (f->type != T_FLAG || lua_type(L, -1) != LUA_TBOOLEAN)
			expected(e, at, f->type == T_FLAG ? "boolean" : f->type == T_STRZ ? "string" : nslua_typename(f->type));
		if (!lua_toboolean(L, -1))
			return;
	}
	while (v && v->type == T_UNION)
		v = branch(e, at, v);
	if (v && is_nest(v) && !((f->flags | v->flags) & F_NONESTED))
		type |= 0x8000;
	if (f->flags & F_NETORDER)
		type |= 0x4000;
	start = attr_begin(e, type);
	if (v) {
		put_value(e, at, v);
	} else {
		size_t n;
		const char *p = text(e, at, "bytes of an unknown kind", &n);

		put_bytes(e, p, n);
	}
	at->branch = NULL;
	attr_end(e, start, at);
}

/* The table on top: a struct (head) and attributes (set), each may be -1. */
static void put_body(struct encoder *e, struct place *up, int set, int head)
{
	lua_State *L = e->L;
	struct place at = { .set = set, .head = head, .tab = lua_gettop(L), .depth = up ? up->depth + 1 : 0, .up = up };
	uint16_t found[MAX_KEYS];
	int n = 0, unknown[64], nu = 0, bykey = 0, bymember = 0;
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
			misuse(e, &at, NULL, 0);
		}
		if (word[0] == '#') {
			int id = unknown_id(word);

			if (id >= 0 && nu < 64) {
				unknown[nu++] = id;
				continue;
			}
			if (!strcmp(word, "#tail") || !strcmp(word, "#size"))
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
			lua_pushfstring(L, "unknown key '%s'", word);
			misuse(e, &at, word, bykey ? bykey : bymember);
		}
		if (n == MAX_KEYS)
			luaL_error(L, "more than %d keys", MAX_KEYS);
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
		if (n || nu || !up)
			put(e, NLA_ALIGN4(size) - size);
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
				expected(e, &at, "list");
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
	put_unknowns(e, &at, unknown, nu);
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
			uint8_t v = (uint8_t)integer(e, at, T_U8);

			put_bytes(e, &v, 1);
			return;
		}
		if (lua_type(L, -1) != LUA_TBOOLEAN)
			expected(e, at, "boolean");
		*(uint8_t *)put(e, 1) = (uint8_t)lua_toboolean(L, -1);
		return;
	case T_STRZ:
	case T_CHARS:
		put_text(e, at, f);
		return;
	case T_STR:
	case T_BIN:
	case T_BYTES:
		p = text(e, at, "string", &n);
		if (f->type == T_BYTES && n != f->size) {
			lua_pushfstring(L, "%d bytes expected, got %d", (int)f->size, (int)n);
			misuse(e, at, NULL, 0);
		}
		put_bytes(e, p, n);
		return;
	case T_IP:
	case T_IP4:
	case T_IP6:
	case T_LLADDR:
		put_address(e, at, f);
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
		const struct nslua_field *v = branch(e, at, f);

		if (v) {
			put_value(e, at, v);
		} else {
			p = text(e, at, "bytes of an unknown kind", &n);
			put_bytes(e, p, n);
		}
		at->branch = NULL;
		return;
	}
	default:
		put_integer(e, at, f);
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

		expected(&e, &root, "table");
	}
	put_body(&e, NULL, e.s->set, e.s->head);
	lua_pushlstring(L, (const char *)e.p, e.n);
	return 1;
}

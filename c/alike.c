/* SPDX-License-Identifier: MIT */
/* alike.c - requests that differ by one address: thousands of routes are added in a batch, and each is a few bytes behind the last. */
#include <stdlib.h>
#include <string.h>
#include "netlink.h"
#include "schema.h"

#define MOST_BYTES 256 /* of one request */

struct alike {
	uint8_t *data;   /* n of them, `size` bytes each */
	size_t n, room;  /* `room`: there is memory for so many */
	size_t size, at; /* `at`: where the address is */
	int alen, length; /* of the address; of the prefix */
	int words;       /* so many are in the table of words */
	bool sent;       /* a batch goes through it: no more */
	uint8_t form[MOST_BYTES];
};

/* The user value's: the words that all have in common, and what each was made of. */
enum { WORDS = 1, ASKED };

static struct alike *check(lua_State *L)
{
	return luaL_checkudata(L, 1, NSLUA_ALIKE);
}

/*
 * netlink.alike(form, length, at, size, words) -> alike.  `form` is such a request's payload, with an address of `size` bytes at `at`, from 0; the
 * prefix has `length` bits; `words` are those beside [1] that it was made of: numbers, texts and booleans.
 */
int nslua_alike_new(lua_State *L)
{
	size_t n;
	const char *form = luaL_checklstring(L, 1, &n);
	lua_Integer length = luaL_checkinteger(L, 2), at = luaL_checkinteger(L, 3), size = luaL_checkinteger(L, 4);
	struct alike *a;

	luaL_checktype(L, 5, LUA_TTABLE);
	luaL_argcheck(L, n > 0 && n <= MOST_BYTES, 1, "at most 256 bytes expected");
	luaL_argcheck(L, (size == 4 || size == 16) && at >= 0 && (size_t)at <= n && (size_t)size <= n - (size_t)at, 4, "an address inside expected");
	luaL_argcheck(L, length >= 0 && length <= size * 8, 2, "the length of a prefix expected");
	a = lua_newuserdatauv(L, sizeof(*a), 1);
	memset(a, 0, sizeof(*a));
	a->size = n;
	a->at = (size_t)at;
	a->alen = (int)size;
	a->length = (int)length;
	memcpy(a->form, form, n);
	lua_createtable(L, 2, 0);
	lua_newtable(L);
	for (lua_pushnil(L); lua_next(L, 5); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, -5);
		a->words++;
	}
	lua_rawseti(L, -2, WORDS);
	lua_newtable(L);
	lua_rawseti(L, -2, ASKED);
	nslua_setuv(L, -2);
	luaL_setmetatable(L, NSLUA_ALIKE);
	return 1;
}

/* Whether the table at 2 has these words and no others beside [1]. */
static bool same_words(lua_State *L, const struct alike *a, int words)
{
	int n = 0;

	for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
		if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) == 1)
			continue;
		lua_pushvalue(L, -2);
		lua_rawget(L, words);
		if (!lua_rawequal(L, -1, -2))
			return false;
		lua_pop(L, 1);
		n++;
	}
	return n == a->words;
}

static bool grow(struct alike *a)
{
	size_t room = a->room ? a->room * 2 : 64;
	uint8_t *p;

	if (a->n < a->room)
		return true;
	p = realloc(a->data, room * a->size);
	if (!p)
		return false;
	a->data = p;
	a->room = room;
	return true;
}

/* alike:add(t) -> whether it could be one of them: then it is. */
static int alike_add(lua_State *L)
{
	struct alike *a = check(L);
	struct nslua_prefix x;
	const char *text;
	size_t len;

	lua_settop(L, 2);
	lua_pushboolean(L, 0); /* 3 */
	if (!lua_istable(L, 2) || a->sent)
		return 1;
	nslua_getuv(L, 1); /* 4 */
	lua_rawgeti(L, 4, WORDS); /* 5 */
	if (!same_words(L, a, 5)) {
		lua_settop(L, 3);
		return 1;
	}
	lua_rawgeti(L, 2, 1); /* 6 */
	lua_rawgeti(L, 4, ASKED); /* 7 */
	if (lua_type(L, 6) != LUA_TSTRING) {
		lua_settop(L, 3);
		return 1;
	}
	text = lua_tolstring(L, 6, &len);
	if (!nslua_prefix_parse(text, len, &x) || x.length != a->length || x.size != a->alen || !grow(a)) {
		lua_settop(L, 3);
		return 1;
	}
	lua_pushvalue(L, 2);
	lua_rawseti(L, 7, (int)a->n + 1); /* may raise: only then it counts */
	memcpy(a->data + a->n * a->size, a->form, a->size);
	memcpy(a->data + a->n * a->size + a->at, x.bytes, (size_t)x.size);
	a->n++;
	lua_pushboolean(L, 1);
	return 1;
}

/* alike:get(i) -> payload, what it was made of. */
static int alike_get(lua_State *L)
{
	struct alike *a = check(L);
	lua_Integer i = luaL_checkinteger(L, 2);

	luaL_argcheck(L, i >= 1 && (size_t)i <= a->n, 2, "no request of that number");
	lua_pushlstring(L, (const char *)a->data + (size_t)(i - 1) * a->size, a->size);
	nslua_getuv(L, 1);
	lua_rawgeti(L, -1, ASKED);
	lua_rawgeti(L, -1, (int)i);
	lua_replace(L, -3);
	lua_pop(L, 1);
	return 2;
}

const char *nslua_alike_payload(lua_State *L, int slot, size_t i, size_t *len)
{
	struct alike *a = lua_touserdata(L, slot);

	a->sent = true;
	if (i >= a->n)
		return NULL;
	*len = a->size;
	return (const char *)a->data + i * a->size;
}

bool nslua_alike_is(lua_State *L, int slot)
{
	bool is = false;

	if (lua_type(L, slot) == LUA_TUSERDATA && lua_getmetatable(L, slot)) {
		luaL_getmetatable(L, NSLUA_ALIKE);
		is = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	return is;
}

static int alike_length(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check(L)->n);
	return 1;
}

static int alike_gc(lua_State *L)
{
	struct alike *a = check(L);

	free(a->data);
	a->data = NULL;
	a->n = a->room = 0;
	return 0;
}

void nslua_alike_init(lua_State *L)
{
	static const luaL_Reg methods[] = { { "add", alike_add }, { "get", alike_get }, { NULL, NULL } };
	static const luaL_Reg meta[] = { { "__len", alike_length }, { "__gc", alike_gc }, { NULL, NULL } };

	nslua_newclass(L, NSLUA_ALIKE, methods, meta);
}

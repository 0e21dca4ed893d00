/* SPDX-License-Identifier: MIT */
/* number.c - integers of the wire as Lua values: numbers, names, sets of bits. */
#include <endian.h>
#include <stdio.h>
#include "schema.h"

uint64_t nslua_load(int type, const uint8_t *p)
{
	uint16_t v2;
	uint32_t v4;
	uint64_t v8;

	/* memcpy: netlink aligns to 4, so a u64 may be anywhere */
	switch (type) {
	case T_U8:
	case T_BOOL:
		return p[0];
	case T_S8:
		return (uint64_t)(int8_t)p[0];
	case T_U16:
		memcpy(&v2, p, 2);
		return v2;
	case T_S16:
		memcpy(&v2, p, 2);
		return (uint64_t)(int16_t)v2;
	case T_BE16:
		memcpy(&v2, p, 2);
		return be16toh(v2);
	case T_U32:
		memcpy(&v4, p, 4);
		return v4;
	case T_S32:
		memcpy(&v4, p, 4);
		return (uint64_t)(int32_t)v4;
	case T_BE32:
		memcpy(&v4, p, 4);
		return be32toh(v4);
	case T_BE64:
		memcpy(&v8, p, 8);
		return be64toh(v8);
	default:
		memcpy(&v8, p, 8);
		return v8;
	}
}

static void push_number(struct nslua_decoder *d, int type, uint64_t v)
{
	lua_State *L = d->L;

	if (type == T_S64 || type == T_SINT || type == T_S32 || type == T_S16 || type == T_S8) {
#if LUA_VERSION_NUM >= 503
		lua_pushinteger(L, (lua_Integer)v);
#else
		int64_t i = (int64_t)v;

		if (i >= -(INT64_C(1) << 53))
			i > (INT64_C(1) << 53) ? nslua_pushu64(L, v) : lua_pushnumber(L, (lua_Number)i);
		else {
			char text[24];

			lua_pushlstring(L, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)i));
		}
#endif
	} else if (d->json && v > (UINT64_C(1) << 53)) {
		char text[24];

		snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
		nslua_json_raw(L, text);
	} else {
		nslua_pushu64(L, v);
	}
}

/* { up = true, ["#bit20"] = true }: the bits that have a name, and those that have none. */
static void push_bits(struct nslua_decoder *d, const struct nslua_field *f, uint64_t v)
{
	lua_State *L = d->L;
	int n = 0, names;

	for (uint64_t left = v; left; left &= left - 1)
		n++;
	if (!n && d->json) {
		nslua_json_raw(L, "{}");
		return;
	}
	lua_createtable(L, 0, n);
	if (!n)
		return;
	lua_rawgeti(L, d->uv, UV_NAMES);
	lua_rawgeti(L, -1, f->enm + 1);
	names = lua_gettop(L);
	for (int bit = 0; bit < 64; bit++) {
		if (!(v >> bit & 1))
			continue;
#if LUA_VERSION_NUM >= 503
		lua_pushinteger(L, (lua_Integer)(UINT64_C(1) << bit));
#else
		lua_pushnumber(L, (lua_Number)(UINT64_C(1) << bit)); /* exact, unlike other large numbers */
#endif
		lua_rawget(L, names);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_pushfstring(L, "#bit%d", bit);
		}
		lua_pushboolean(L, 1);
		lua_rawset(L, names - 2);
	}
	lua_pop(L, 2);
}

void nslua_push_integer(struct nslua_decoder *d, const struct nslua_field *f, uint64_t v)
{
	lua_State *L = d->L;

	if (f->enm < 0) {
		push_number(d, f->type, v);
		return;
	}
	if (f->flags & F_BITS) {
		push_bits(d, f, v);
		return;
	}
	lua_rawgeti(L, d->uv, UV_NAMES);
	lua_rawgeti(L, -1, f->enm + 1);
	push_number(d, f->type, v);
	lua_rawget(L, -2);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		push_number(d, f->type, v);
	}
	lua_replace(L, -3);
	lua_pop(L, 1);
}

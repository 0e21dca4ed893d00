/* SPDX-License-Identifier: MIT */
/* scalar.c - encode's numbers, names, text and addresses. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "encode.h"

static const struct {
	int bits;
	bool sign;
} widths[T_COUNT] = {
	[T_U8] = { 8, false },    [T_U16] = { 16, false },  [T_U32] = { 32, false },  [T_U64] = { 64, false },
	[T_S8] = { 8, true },     [T_S16] = { 16, true },   [T_S32] = { 32, true },   [T_S64] = { 64, true },
	[T_BE16] = { 16, false }, [T_BE32] = { 32, false }, [T_BE64] = { 64, false }, [T_UINT] = { 64, false }, [T_SINT] = { 64, true },
};

static __attribute__((noreturn)) void out_of_range(struct encoder *e, struct place *at, int type)
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
	nslua_encode_misuse(e, at, NULL, 0);
}

uint64_t nslua_encode_number(struct encoder *e, struct place *at, int type)
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
			nslua_encode_expected(e, at, "integer");
		if (errno)
			out_of_range(e, at, type);
		return v;
	}
	if (lua_type(L, -1) != LUA_TNUMBER)
		nslua_encode_expected(e, at, "integer");
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
			nslua_encode_expected(e, at, "integer");
		if (sign ? n < -top / 2 || n >= top / 2 : n < 0 || n >= top)
			out_of_range(e, at, type);
		return n < 0 ? (uint64_t)(int64_t)n : (uint64_t)n;
	}
}

/* The value that a name of an enum stands for: the name is on top. */
uint64_t nslua_encode_named(struct encoder *e, struct place *at, const struct nslua_field *f, const char *what)
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
		lua_pushfstring(L, "unknown %s ", what);
		nslua_encode_quote(L, lua_tostring(L, -1), word);
		lua_remove(L, -2);
		nslua_encode_misuse(e, at, word, lua_gettop(L) - 1);
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
				v |= nslua_encode_named(e, at, f, "flag");
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
				nslua_encode_expected(e, at, "name of a flag");
			}
			v |= nslua_encode_named(e, at, f, "flag");
			lua_pop(L, 1);
		}
		return v;
	default:
		return nslua_encode_number(e, at, f->type);
	}
}

void nslua_encode_integer(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	uint64_t v;
	uint32_t v4;
	uint16_t v2;
	uint8_t v1;
	size_t size = f->size;
	const void *p = &v;

	if (f->enm >= 0 && (f->flags & F_BITS)) {
		v = bits(e, at, f);
		if (widths[f->type].bits < 64 && v >> widths[f->type].bits) {
			lua_pushinteger(e->L, (lua_Integer)v);
			out_of_range(e, at, f->type);
		}
	} else if (f->enm >= 0 && lua_type(e->L, -1) == LUA_TSTRING) {
		v = nslua_encode_named(e, at, f, "name");
	} else {
		v = nslua_encode_number(e, at, f->type);
	}
	if (f->type == T_UINT) /* as short as it fits */
		size = v > UINT32_MAX ? 8 : 4;
	else if (f->type == T_SINT)
		size = (int64_t)v == (int32_t)v ? 4 : 8;
	switch (size) {
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
	nslua_encode_bytes(e, p, size);
}

const char *nslua_encode_string(struct encoder *e, struct place *at, const char *what, size_t *n)
{
	if (lua_type(e->L, -1) != LUA_TSTRING)
		nslua_encode_expected(e, at, what);
	return lua_tolstring(e->L, -1, n);
}

void nslua_encode_text(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	size_t n, most = f->type == T_CHARS ? f->size - 1 : f->size;
	const char *s = nslua_encode_string(e, at, "string", &n);

	if (memchr(s, 0, n)) {
		lua_pushliteral(e->L, "a zero byte in a string");
		nslua_encode_misuse(e, at, NULL, 0);
	}
	if (f->type == T_CHARS && n == f->size)
		most = n; /* as the kernel sent it: full, without a zero */
	if (most && n > most) {
		nslua_encode_quote(e->L, "", s);
		lua_pushfstring(e->L, " is longer than %d bytes", (int)most);
		lua_concat(e->L, 2);
		nslua_encode_misuse(e, at, NULL, 0);
	}
	nslua_encode_bytes(e, s, n);
	nslua_encode_room(e, f->type == T_CHARS ? f->size - n : 1);
}

void nslua_encode_address(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	uint8_t bytes[NSLUA_LLADDR];
	size_t n;
	const char *s;
	int got;

	if (f->type == T_LLADDR) {
		s = nslua_encode_string(e, at, "link-layer address", &n);
		got = nslua_lladdr_parse(s, n, bytes);
		if (got < 0)
			nslua_encode_expected(e, at, "link-layer address");
	} else {
		const char *what = f->type == T_IP4 ? "IPv4 address" : f->type == T_IP6 ? "IPv6 address" : "IP address";

		s = nslua_encode_string(e, at, what, &n);
		got = nslua_ip_parse(s, n, bytes);
		if (got < 0 || (f->size && got != (int)f->size))
			nslua_encode_expected(e, at, what);
	}
	nslua_encode_bytes(e, bytes, (size_t)got);
}

/* SPDX-License-Identifier: MIT */
/* inet.c - IP addresses: text to the bytes of the wire and back. */
#include "schema.h"

/* inet.bytes(text) -> 4 or 16 bytes, or nil where the text is no address.  No names, no short forms such as "10.1". */
static int inet_bytes(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	uint8_t b[16];
	int n = nslua_ip_parse(text, len, b);

	if (n < 0)
		lua_pushnil(L);
	else
		lua_pushlstring(L, (char *)b, (size_t)n);
	return 1;
}

/* inet.text(bytes) -> the canonical text, or nil where it is neither 4 nor 16 bytes. */
static int inet_text(lua_State *L)
{
	size_t len;
	const char *b = luaL_checklstring(L, 1, &len);
	char text[64];

	if (len == 4 || len == 16)
		lua_pushlstring(L, text, (size_t)nslua_ip_text((const uint8_t *)b, len, text));
	else
		lua_pushnil(L);
	return 1;
}

struct prefix {
	uint8_t bytes[16];
	int size;       /* 4 or 16 */
	int length;
	size_t address; /* how much of the text that is */
};

static bool parse(const char *text, size_t len, struct prefix *x)
{
	const char *slash = memchr(text, '/', len);
	char address[64];

	x->address = slash ? (size_t)(slash - text) : len;
	if (x->address >= sizeof(address))
		return false;
	memcpy(address, text, x->address);
	address[x->address] = 0;
	x->size = nslua_ip_parse(address, x->address, x->bytes);
	if (x->size < 0)
		return false;
	x->length = x->size * 8;
	if (slash) {
		size_t digits = len - x->address - 1;

		if (digits < 1 || digits > 3)
			return false;
		x->length = 0;
		for (size_t i = 1; i <= digits; i++) {
			if (slash[i] < '0' || slash[i] > '9')
				return false;
			x->length = x->length * 10 + slash[i] - '0';
		}
	}
	return x->length <= x->size * 8;
}

/*
 * inet.split("10.0.0.0/24") -> address as text, length, family (2, 10), whether a length was written, bytes; nil where it is neither an
 * address nor a prefix.
 */
static int inet_split(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	struct prefix x;

	if (!parse(text, len, &x))
		return 0;
	lua_pushlstring(L, text, x.address);
	lua_pushinteger(L, x.length);
	lua_pushinteger(L, x.size == 4 ? 2 : 10);
	lua_pushboolean(L, x.address != len);
	lua_pushlstring(L, (char *)x.bytes, (size_t)x.size);
	return 5;
}

/*
 * inet.put("10.0.1.0/24", length, size, message, offset) -> the message with that address at the offset, from 0; nil where the text is no
 * prefix of that length, or its address not of that many bytes.
 */
static int inet_put(lua_State *L)
{
	size_t len, n;
	const char *text, *message;
	lua_Integer at;
	struct prefix x;
	char buf[256];

	if (lua_type(L, 1) != LUA_TSTRING)
		return 0;
	text = lua_tolstring(L, 1, &len);
	message = luaL_checklstring(L, 4, &n);
	at = luaL_checkinteger(L, 5);
	if (!parse(text, len, &x) || x.length != luaL_checkinteger(L, 2) || x.size != luaL_checkinteger(L, 3) || n > sizeof(buf) ||
	    at < 0 || (size_t)at + (size_t)x.size > n)
		return 0;
	memcpy(buf, message, n);
	memcpy(buf + at, x.bytes, (size_t)x.size);
	lua_pushlstring(L, buf, n);
	return 1;
}

static const luaL_Reg inet_functions[] = {
	{ "bytes", inet_bytes }, { "text", inet_text }, { "split", inet_split }, { "put", inet_put },
	{ NULL, NULL },
};

int nslua_open_inet(lua_State *L)
{
	luaL_newlib(L, inet_functions);
	return 1;
}

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

bool nslua_prefix_parse(const char *text, size_t len, struct nslua_prefix *x)
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
	struct nslua_prefix x;

	if (!nslua_prefix_parse(text, len, &x))
		return 0;
	lua_pushlstring(L, text, x.address);
	lua_pushinteger(L, x.length);
	lua_pushinteger(L, x.size == 4 ? 2 : 10);
	lua_pushboolean(L, x.address != len);
	lua_pushlstring(L, (char *)x.bytes, (size_t)x.size);
	return 5;
}

static const luaL_Reg inet_functions[] = {
	{ "bytes", inet_bytes }, { "text", inet_text }, { "split", inet_split }, { NULL, NULL },
};

int nslua_open_inet(lua_State *L)
{
	luaL_newlib(L, inet_functions);
	return 1;
}

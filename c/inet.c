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

static const luaL_Reg inet_functions[] = {
	{ "bytes", inet_bytes }, { "text", inet_text }, { NULL, NULL },
};

int nslua_open_inet(lua_State *L)
{
	luaL_newlib(L, inet_functions);
	return 1;
}

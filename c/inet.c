/* SPDX-License-Identifier: MIT */
/* inet.c - IP addresses: text to the bytes of the wire and back. */
#include <arpa/inet.h>
#include <string.h>
#include "nslua.h"

/* inet.bytes(text) -> 4 or 16 bytes, or nil where the text is no address.  No names, no short forms such as "10.1". */
static int inet_bytes(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	unsigned char b[16];

	if (strlen(text) != len) /* a NUL inside would hide the rest from inet_pton */
		lua_pushnil(L);
	else if (inet_pton(AF_INET, text, b) == 1)
		lua_pushlstring(L, (char *)b, 4);
	else if (inet_pton(AF_INET6, text, b) == 1)
		lua_pushlstring(L, (char *)b, 16);
	else
		lua_pushnil(L);
	return 1;
}

/* inet.text(bytes) -> the canonical text, or nil where it is neither 4 nor 16 bytes. */
static int inet_text(lua_State *L)
{
	size_t len;
	const char *b = luaL_checklstring(L, 1, &len);
	char text[INET6_ADDRSTRLEN];

	if ((len == 4 && inet_ntop(AF_INET, b, text, sizeof(text))) ||
	    (len == 16 && inet_ntop(AF_INET6, b, text, sizeof(text))))
		lua_pushstring(L, text);
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

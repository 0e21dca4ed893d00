/* SPDX-License-Identifier: MIT */
/* echo.c - echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443), written and read. */
#include <string.h>
#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include "echo.h"

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

void echo_write(uint8_t *out, bool v6, const struct echo *e, size_t size)
{
	uint8_t *data = out + ECHO_HEADER;
	uint16_t sum;

	out[0] = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	out[1] = 0;
	put16(out + 2, 0);
	put16(out + 4, e->id);
	put16(out + 6, e->seq);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)i;
	if (size >= ECHO_COOKIE) {
		memcpy(data, &e->run, 4);
		memcpy(data + 4, &e->number, 4);
	}
	if (v6) /* the kernel knows the addresses that its sum is of */
		return;
	sum = nslua_checksum(out, size + ECHO_HEADER);
	memcpy(out + 2, &sum, 2);
}

bool echo_read(const uint8_t *p, size_t have, size_t len, bool v6, bool header, bool request, struct echo *e)
{
	uint8_t type;

	if (have > len)
		have = len;
	if (header) {
		size_t n;

		if (have < 20 || p[0] >> 4 != 4)
			return false;
		n = (size_t)(p[0] & 15) * 4;
		if (n < 20 || have < n + ECHO_HEADER)
			return false;
		p += n;
		have -= n;
		len -= n;
		/* a raw socket gets it before the kernel has summed it up */
		if (!request && have == len && nslua_checksum(p, len) != 0)
			return false;
	}
	if (have < ECHO_HEADER)
		return false;
	if (v6)
		type = request ? ICMP6_ECHO_REQUEST : ICMP6_ECHO_REPLY;
	else
		type = request ? ICMP_ECHO : ICMP_ECHOREPLY;
	if (p[0] != type || p[1] != 0)
		return false;
	e->id = get16(p + 4);
	e->seq = get16(p + 6);
	e->bytes = len;
	e->marked = have >= ECHO_HEADER + ECHO_COOKIE;
	if (e->marked) {
		memcpy(&e->run, p + ECHO_HEADER, 4);
		memcpy(&e->number, p + ECHO_HEADER + 4, 4);
	}
	return true;
}

/* echo.request(inet6, id, seq, size) -> bytes: for those who send it themselves. */
static int echo_request(lua_State *L)
{
	struct echo e = { .id = (uint16_t)luaL_checkinteger(L, 2), .seq = (uint16_t)luaL_checkinteger(L, 3) };
	lua_Integer size = luaL_checkinteger(L, 4);
	uint8_t *out;

	luaL_argcheck(L, size >= 0 && size <= 65527, 4, "size out of range");
	out = lua_newuserdatauv(L, (size_t)size + ECHO_HEADER, 0);
	echo_write(out, lua_toboolean(L, 1), &e, (size_t)size);
	lua_pushlstring(L, (char *)out, (size_t)size + ECHO_HEADER);
	return 1;
}

/* echo.read(bytes, inet6, header, request) -> id, seq, count of bytes; nil where it is something else.  See echo_read. */
static int echo_parse(lua_State *L)
{
	size_t len;
	const char *p = luaL_checklstring(L, 1, &len);
	struct echo e;

	if (!echo_read((const uint8_t *)p, len, len, lua_toboolean(L, 2), lua_toboolean(L, 3), lua_toboolean(L, 4), &e)) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, e.id);
	lua_pushinteger(L, e.seq);
	lua_pushinteger(L, (lua_Integer)e.bytes);
	return 3;
}

static const luaL_Reg echo_functions[] = {
	{ "request", echo_request }, { "read", echo_parse }, { NULL, NULL },
};

int nslua_open_echo(lua_State *L)
{
	luaL_newlib(L, echo_functions);
	nslua_open_ping(L);
	return 1;
}

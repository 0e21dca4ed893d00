/* SPDX-License-Identifier: MIT */
/* bytes.c - bytes of the wire as text: hexadecimal, base64 as wg(8) writes keys, socket addresses. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include "encode.h"

static const char digits[] = "0123456789abcdef";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void push_hex(lua_State *L, const uint8_t *p, size_t n)
{
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (size_t i = 0; i < n; i++) {
		luaL_addchar(&b, digits[p[i] >> 4]);
		luaL_addchar(&b, digits[p[i] & 15]);
	}
	luaL_pushresult(&b);
}

static void push_base64(lua_State *L, const uint8_t *p, size_t n)
{
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);

		luaL_addchar(&b, alphabet[v >> 18]);
		luaL_addchar(&b, alphabet[v >> 12 & 63]);
		luaL_addchar(&b, i + 1 < n ? alphabet[v >> 6 & 63] : '=');
		luaL_addchar(&b, i + 2 < n ? alphabet[v & 63] : '=');
	}
	luaL_pushresult(&b);
}

static bool zero(const uint8_t *p, size_t n)
{
	while (n && !p[n - 1])
		n--;
	return !n;
}

/* struct sockaddr_in, sockaddr_in6: "10.0.0.1:80", "[fe80::1%3]:80".  What that text cannot say is none. */
static bool push_sockaddr(lua_State *L, const uint8_t *p, size_t n)
{
	char address[64], text[96];
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (n == sizeof(v4)) {
		memcpy(&v4, p, n);
		if (v4.sin_family != AF_INET || !zero(p + 8, 8))
			return false;
		nslua_ip_text(p + 4, 4, address);
		snprintf(text, sizeof(text), "%s:%d", address, ntohs(v4.sin_port));
	} else if (n == sizeof(v6)) {
		memcpy(&v6, p, n);
		if (v6.sin6_family != AF_INET6 || v6.sin6_flowinfo)
			return false;
		nslua_ip_text(p + 8, 16, address);
		if (v6.sin6_scope_id)
			snprintf(text, sizeof(text), "[%s%%%lu]:%d", address, (unsigned long)v6.sin6_scope_id, ntohs(v6.sin6_port));
		else
			snprintf(text, sizeof(text), "[%s]:%d", address, ntohs(v6.sin6_port));
	} else {
		return false;
	}
	lua_pushstring(L, text);
	return true;
}

bool nslua_push_bytes(lua_State *L, const struct nslua_field *f, const uint8_t *p, size_t n)
{
	if (f->type == T_SOCKADDR)
		return push_sockaddr(L, p, n);
	if (f->size && n != f->size)
		return false;
	if (f->type == T_HEX)
		push_hex(L, p, n);
	else
		push_base64(L, p, n);
	return true;
}

static int value_of(char c, const char *of, size_t n)
{
	const char *at = memchr(of, c, n);

	return at ? (int)(at - of) : -1;
}

static int hex_digit(char c)
{
	return value_of(c >= 'A' && c <= 'F' ? (char)(c | 32) : c, digits, 16);
}

static bool put_hex(struct encoder *e, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i += 2) {
		int high = hex_digit(s[i]), low = i + 1 < n ? hex_digit(s[i + 1]) : -1;

		if (high < 0 || low < 0)
			return false;
		*(uint8_t *)nslua_encode_room(e, 1) = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* Bits that would be lost are no base64, so that a text is one value and the other way round. */
static bool put_base64(struct encoder *e, const char *s, size_t n)
{
	size_t pad = n >= 4 && s[n - 1] == '=' ? 1 + (s[n - 2] == '=') : 0;

	if (n % 4)
		return false;
	for (size_t i = 0; i < n; i += 4) {
		size_t last = i + 4 == n ? pad : 0;
		uint32_t v = 0;
		uint8_t out[3];

		for (size_t k = 0; k < 4; k++) {
			int one = k < 4 - last ? value_of(s[i + k], alphabet, 64) : 0;

			if (one < 0)
				return false;
			v = v << 6 | (uint32_t)one;
		}
		out[0] = (uint8_t)(v >> 16);
		out[1] = (uint8_t)(v >> 8);
		out[2] = (uint8_t)v;
		if ((last > 0 && out[2]) || (last > 1 && out[1]))
			return false;
		nslua_encode_bytes(e, out, 3 - last);
	}
	return true;
}

/* A decimal number of the text up to `end`, which is where it ends; -1: none, or more than `most`. */
static long long decimal(const char *s, const char *end, long long most)
{
	long long v = 0;

	if (s == end)
		return -1;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		v = v * 10 + *s - '0';
		if (v > most)
			return -1;
	}
	return v;
}

static bool put_sockaddr(struct encoder *e, const char *s, size_t n)
{
	const char *colon = memrchr(s, ':', n), *end = s + n;
	char address[64];
	uint8_t ip[16];
	long long port = colon ? decimal(colon + 1, end, 65535) : -1, scope = 0;
	size_t len;

	if (port < 0)
		return false;
	if (s[0] == '[') {
		const char *percent = memchr(s, '%', n), *close = colon - 1;
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

		if (close <= s || *close != ']')
			return false;
		if (percent)
			scope = decimal(percent + 1, close, UINT32_MAX);
		len = (size_t)((percent ? percent : close) - s) - 1;
		if (scope < 0 || len >= sizeof(address))
			return false;
		memcpy(address, s + 1, len);
		address[len] = 0;
		if (nslua_ip_parse(address, len, ip) != 16)
			return false;
		memcpy(&v6.sin6_addr, ip, 16);
		v6.sin6_scope_id = (uint32_t)scope;
		nslua_encode_bytes(e, &v6, sizeof(v6));
	} else {
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

		len = (size_t)(colon - s);
		if (len >= sizeof(address))
			return false;
		memcpy(address, s, len);
		address[len] = 0;
		if (nslua_ip_parse(address, len, ip) != 4)
			return false;
		memcpy(&v4.sin_addr, ip, 4);
		nslua_encode_bytes(e, &v4, sizeof(v4));
	}
	return true;
}

void nslua_encode_bytes_of(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	static const char *const whats[T_COUNT] = { [T_HEX] = "hexadecimal text", [T_BASE64] = "base64 text", [T_SOCKADDR] = "\"ADDRESS:PORT\"" };
	const char *what = whats[f->type];
	size_t n, start = e->n;
	const char *s = nslua_encode_string(e, at, what, &n);
	bool fits = f->type == T_HEX ? put_hex(e, s, n) : f->type == T_BASE64 ? put_base64(e, s, n) : put_sockaddr(e, s, n);

	if (!fits && f->type == T_SOCKADDR)
		nslua_encode_expected(e, at, what);
	if (!fits) {
		lua_pushfstring(e->L, "%s expected", what); /* a key may be secret: it is not repeated */
		nslua_encode_misuse(e, at, NULL, 0);
	}
	if (f->size && e->n - start != f->size) {
		lua_pushfstring(e->L, "%d bytes expected, got %d", (int)f->size, (int)(e->n - start));
		nslua_encode_misuse(e, at, NULL, 0);
	}
}

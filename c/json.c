/* SPDX-License-Identifier: MIT */
/* json.c - Lua values as JSON text (RFC 8259), keys sorted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "schema.h"

#define NSLUA_JSON "nslua.json"
#define JSON_DEPTH 64

/* What has no Lua value of its own: a number above 2^53, an empty object.  A userdata that holds the text. */
void nslua_json_raw(lua_State *L, const char *text)
{
	size_t n = strlen(text) + 1;

	memcpy(lua_newuserdatauv(L, n, 0), text, n);
	luaL_setmetatable(L, NSLUA_JSON);
}

void nslua_json_add(struct nslua_out *o, const char *s, size_t n)
{
	if (!o->p || o->n + n > o->size) {
		size_t size = o->size * 2 + n;
		char *p = lua_newuserdatauv(o->L, size, 0);

		if (o->p)
			memcpy(p, o->p, o->n);
		lua_replace(o->L, o->slot);
		o->p = p;
		o->size = size;
	}
	memcpy(o->p + o->n, s, n);
	o->n += n;
}

static void add_text(struct nslua_out *o, const char *s)
{
	nslua_json_add(o, s, strlen(s));
}

/* Bytes of the well-formed UTF-8 sequence at s (RFC 3629), or 0. */
static size_t utf8(const unsigned char *s, size_t n)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

/* A byte that is no UTF-8 becomes the character of that number, so that the text stays JSON and nothing is lost. */
void nslua_json_string(struct nslua_out *o, const char *text, size_t n)
{
	const unsigned char *s = (const unsigned char *)text;

	nslua_json_add(o, "\"", 1);
	for (size_t i = 0; i < n;) {
		size_t len = utf8(s + i, n - i);
		char escape[8];

		if (s[i] == '"' || s[i] == '\\') {
			escape[0] = '\\';
			escape[1] = (char)s[i];
			nslua_json_add(o, escape, 2);
			i++;
		} else if (s[i] == '\n') {
			nslua_json_add(o, "\\n", 2);
			i++;
		} else if (s[i] == '\t') {
			nslua_json_add(o, "\\t", 2);
			i++;
		} else if (s[i] < 0x20 || s[i] == 0x7f || !len) {
			snprintf(escape, sizeof(escape), "\\u%04x", s[i]);
			add_text(o, escape);
			i++;
		} else if (s[i] == 0xc2 && s[i + 1] < 0xa0) { /* control characters of 8 bits, which terminals obey too */
			snprintf(escape, sizeof(escape), "\\u%04x", s[i + 1]);
			add_text(o, escape);
			i += 2;
		} else {
			nslua_json_add(o, text + i, len);
			i += len;
		}
	}
	nslua_json_add(o, "\"", 1);
}

static void add_number(struct nslua_out *o, int value)
{
	char text[40];
	double n;

#if LUA_VERSION_NUM >= 503
	if (lua_isinteger(o->L, value)) {
		snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(o->L, value));
		add_text(o, text);
		return;
	}
#endif
	n = lua_tonumber(o->L, value);
	if (isnan(n) || isinf(n))
		snprintf(text, sizeof(text), "null"); /* JSON has neither */
	else if (n == floor(n) && fabs(n) < 1e15)
		snprintf(text, sizeof(text), "%.0f", n);
	else
		snprintf(text, sizeof(text), "%.15g", n);
	if (strtod(text, NULL) != n && !isnan(n) && !isinf(n))
		snprintf(text, sizeof(text), "%.17g", n);
	add_text(o, text);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_value(struct nslua_out *o, int value, int depth);

static void add_object(struct nslua_out *o, int t, int depth)
{
	lua_State *L = o->L;
	const char **keys;
	int n = 0, i = 0;

	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
		n++;
	keys = lua_newuserdatauv(L, sizeof(*keys) * (size_t)n, 0);
	/* numbers as keys (ids of an indexed nest) become text; the texts stay in a table while they are used */
	lua_createtable(L, n, 0);
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
			luaL_error(L, "json: a key of type %s", luaL_typename(L, -1));
		keys[i++] = lua_tostring(L, -1);
		lua_rawseti(L, -4, i);
	}
	qsort(keys, (size_t)n, sizeof(*keys), compare);
	nslua_json_add(o, "{", 1);
	for (i = 0; i < n; i++) {
		if (i)
			nslua_json_add(o, ",", 1);
		nslua_json_string(o, keys[i], strlen(keys[i]));
		nslua_json_add(o, ":", 1);
		lua_pushstring(L, keys[i]);
		lua_rawget(L, t);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_pushnumber(L, strtod(keys[i], NULL));
			lua_rawget(L, t);
		}
		add_value(o, lua_gettop(L), depth + 1);
		lua_pop(L, 1);
	}
	nslua_json_add(o, "}", 1);
	lua_pop(L, 2);
}

/* A table is a list where its keys are 1..n, and where it is empty. */
static bool is_list(lua_State *L, int t, int *n)
{
	int count = 0;

	*n = (int)lua_rawlen(L, t);
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
		if (++count > *n) {
			lua_pop(L, 2);
			return false;
		}
	return count == *n;
}

static void add_value(struct nslua_out *o, int value, int depth)
{
	lua_State *L = o->L;
	const char *raw;
	size_t n;
	int count;

	luaL_checkstack(L, 12, "json");
	switch (lua_type(L, value)) {
	case LUA_TNIL:
		add_text(o, "null");
		break;
	case LUA_TBOOLEAN:
		add_text(o, lua_toboolean(L, value) ? "true" : "false");
		break;
	case LUA_TNUMBER:
		add_number(o, value);
		break;
	case LUA_TSTRING:
		raw = lua_tolstring(L, value, &n);
		nslua_json_string(o, raw, n);
		break;
	case LUA_TTABLE:
		if (depth == JSON_DEPTH)
			luaL_error(L, "json: tables nested too deeply");
		if (!is_list(L, value, &count)) {
			add_object(o, value, depth);
			break;
		}
		nslua_json_add(o, "[", 1);
		for (int i = 1; i <= count; i++) {
			if (i > 1)
				nslua_json_add(o, ",", 1);
			lua_rawgeti(L, value, i);
			add_value(o, lua_gettop(L), depth + 1);
			lua_pop(L, 1);
		}
		nslua_json_add(o, "]", 1);
		break;
	default:
		raw = luaL_testudata(L, value, NSLUA_JSON);
		if (raw)
			add_text(o, raw);
		else
			luaL_error(L, "json: a value of type %s", luaL_typename(L, value));
	}
}

void nslua_json_value(struct nslua_out *o, int value)
{
	add_value(o, value, 1);
}

/* Push the value at that slot as text. */
int nslua_json_text(lua_State *L, int value)
{
	struct nslua_out o = { .L = L };

	lua_pushnil(L);
	o.slot = lua_gettop(L);
	add_value(&o, value, 0);
	lua_pushlstring(L, o.p, o.n);
	return 1;
}

/* schema.json(value) -> text.  Tables with keys 1..n and empty ones are lists. */
int nslua_json(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_settop(L, 1);
	return nslua_json_text(L, 1);
}

void nslua_json_init(lua_State *L)
{
	nslua_newclass(L, NSLUA_JSON, NULL, NULL);
}

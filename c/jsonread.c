/* SPDX-License-Identifier: MIT */
/* jsonread.c - JSON (RFC 8259) as Lua values: state files of others, of which nothing is taken for granted. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "nslua.h"

#define DEPTH 100

struct text {
	lua_State *L;
	const char *start, *p, *end;
	const char *wrong; /* what is the matter, at p */
};

static bool wrong(struct text *t, const char *what)
{
	if (!t->wrong)
		t->wrong = what;
	return false;
}

static void blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t' || *t->p == '\r'))
		t->p++;
}

static bool take(struct text *t, char c)
{
	blanks(t);
	if (t->p >= t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

static bool hex4(const char *p, const char *end, unsigned int *out)
{
	*out = 0;
	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		const char c = p[i];

		if (c >= '0' && c <= '9')
			*out = *out * 16 + (unsigned int)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			*out = *out * 16 + (unsigned int)((c | 32) - 'a' + 10);
		else
			return false;
	}
	return true;
}

static void add_utf8(luaL_Buffer *b, unsigned int c)
{
	char out[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1) {
		out[0] = (char)c;
	} else {
		for (size_t i = n - 1; i > 0; i--, c >>= 6)
			out[i] = (char)(0x80 | (c & 0x3f));
		out[0] = (char)((0xf00 >> n & 0xff) | c);
	}
	luaL_addlstring(b, out, n);
}

/* What follows a backslash; half a pair of surrogates is U+FFFD. */
static bool escaped(struct text *t, luaL_Buffer *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	unsigned int c, low;
	const char *at;

	if (t->p >= t->end)
		return wrong(t, "a string has no end");
	at = strchr(from, *t->p);
	if (at && *at) {
		luaL_addchar(b, to[at - from]);
		t->p++;
		return true;
	}
	if (*t->p != 'u' || !hex4(t->p + 1, t->end, &c))
		return wrong(t, "no escape");
	t->p += 5;
	if (c >= 0xd800 && c < 0xdc00 && t->end - t->p >= 6 && t->p[0] == '\\' && t->p[1] == 'u' && hex4(t->p + 2, t->end, &low)
	    && low >= 0xdc00 && low < 0xe000) {
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		t->p += 6;
	}
	add_utf8(b, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return true;
}

/* After the first quote.  Pushes it. */
static bool string(struct text *t)
{
	const char *from = t->p;
	luaL_Buffer b;

	while (t->p < t->end && *t->p != '"' && *t->p != '\\')
		t->p++;
	if (t->p < t->end && *t->p == '"') { /* most have nothing that is escaped */
		lua_pushlstring(t->L, from, (size_t)(t->p++ - from));
		return true;
	}
	luaL_buffinit(t->L, &b);
	luaL_addlstring(&b, from, (size_t)(t->p - from));
	while (t->p < t->end && *t->p != '"') {
		if (*t->p == '\\') {
			t->p++;
			if (!escaped(t, &b))
				return false;
			continue;
		}
		for (from = t->p; t->p < t->end && *t->p != '"' && *t->p != '\\'; t->p++)
			;
		luaL_addlstring(&b, from, (size_t)(t->p - from));
	}
	if (t->p >= t->end)
		return wrong(t, "a string has no end");
	t->p++;
	luaL_pushresult(&b);
	return true;
}

/* An integer where it is written as one and fits. */
static bool number(struct text *t)
{
	char text[64];
	const char *from = t->p;
	bool whole = true, some = false;
	size_t n;

	for (; t->p < t->end && (strchr("+-.eE", *t->p) ? *t->p != '\0' : *t->p >= '0' && *t->p <= '9'); t->p++) {
		some = some || (*t->p >= '0' && *t->p <= '9');
		whole = whole && (*t->p == '-' || (*t->p >= '0' && *t->p <= '9'));
	}
	n = (size_t)(t->p - from);
	if (!some || n >= sizeof(text))
		return wrong(t, "no value");
	memcpy(text, from, n);
	text[n] = '\0';
#if LUA_VERSION_NUM >= 503
	if (whole && n < 19) {
		char *rest;
		long long v = strtoll(text, &rest, 10);

		if (*rest)
			return wrong(t, "no number");
		lua_pushinteger(t->L, (lua_Integer)v);
		return true;
	}
#endif
	{
		char *rest;
		double v = strtod(text, &rest);

		if (*rest || isinf(v))
			return wrong(t, "no number");
		lua_pushnumber(t->L, (lua_Number)v);
	}
	return true;
}

static bool word(struct text *t, const char *is)
{
	const size_t n = strlen(is);

	if ((size_t)(t->end - t->p) < n || memcmp(t->p, is, n) != 0)
		return wrong(t, "no value");
	t->p += n;
	return true;
}

static bool value(struct text *t, int depth);

/* Past a value that nobody wants: its brackets and strings are looked at, nothing more. */
static bool skip(struct text *t)
{
	int depth = 0;

	blanks(t);
	for (; t->p < t->end; t->p++) {
		const char c = *t->p;

		if (c == '"') {
			for (t->p++; t->p < t->end && *t->p != '"'; t->p++)
				if (*t->p == '\\' && t->p + 1 < t->end)
					t->p++;
			if (t->p >= t->end)
				return wrong(t, "a string has no end");
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (depth && (c == '}' || c == ']')) {
			depth--;
		} else if (!depth && (c == ',' || c == '}' || c == ']')) {
			return true;
		}
	}
	return wrong(t, "it ends before it is whole");
}

/* Of the outermost object only the keys that the table at 2 has, where there is one. */
static bool wanted(struct text *t, int depth)
{
	bool yes = true;

	if (depth == 1 && lua_istable(t->L, 2)) {
		lua_pushvalue(t->L, -1);
		lua_rawget(t->L, 2);
		yes = lua_toboolean(t->L, -1);
		lua_pop(t->L, 1);
	}
	return yes;
}

static bool object(struct text *t, int depth)
{
	lua_newtable(t->L);
	if (take(t, '}'))
		return true;
	do {
		if (!take(t, '"'))
			return wrong(t, "no key");
		if (!string(t))
			return false;
		if (!take(t, ':'))
			return wrong(t, "a colon is missing");
		if (!wanted(t, depth)) {
			lua_pop(t->L, 1);
			if (!skip(t))
				return false;
			continue;
		}
		if (!value(t, depth))
			return false;
		lua_rawset(t->L, -3);
	} while (take(t, ','));
	return take(t, '}') || wrong(t, "an object has no end");
}

static bool array(struct text *t, int depth)
{
	int n = 0;

	lua_newtable(t->L);
	if (take(t, ']'))
		return true;
	do {
		if (!value(t, depth))
			return false;
		lua_rawseti(t->L, -2, ++n);
	} while (take(t, ','));
	return take(t, ']') || wrong(t, "a list has no end");
}

/* Pushes it. */
static bool value(struct text *t, int depth)
{
	if (depth > DEPTH)
		return wrong(t, "too many levels");
	luaL_checkstack(t->L, 10, "json");
	blanks(t);
	if (t->p >= t->end)
		return wrong(t, "it ends before it is whole");
	switch (*t->p) {
	case '{':
		t->p++;
		return object(t, depth + 1);
	case '[':
		t->p++;
		return array(t, depth + 1);
	case '"':
		t->p++;
		return string(t);
	case 't':
		lua_pushboolean(t->L, 1);
		return word(t, "true");
	case 'f':
		lua_pushboolean(t->L, 0);
		return word(t, "false");
	case 'n':
		lua_pushnil(t->L);
		return word(t, "null");
	default:
		return number(t);
	}
}

/*
 * json.decode(text [, keys]) -> value, or nil and what is wrong; null is nil.  keys: a set, what of the outermost object is wanted; the rest
 * is not looked at closely.
 */
static int json_decode(lua_State *L)
{
	size_t n;
	const char *p = luaL_checklstring(L, 1, &n);
	struct text t = { L, p, p, p + n, NULL };
	bool ok;

	lua_settop(L, 2);
	ok = value(&t, 0);

	if (ok) {
		blanks(&t);
		ok = t.p == t.end || wrong(&t, "something follows it");
	}
	if (ok)
		return 1;
	luaL_pushfail(L);
	lua_pushfstring(L, "no JSON: %s at byte %d", t.wrong, (int)(t.p - t.start) + 1);
	return 2;
}

int nslua_open_json(lua_State *L)
{
	static const luaL_Reg functions[] = { { "decode", json_decode }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

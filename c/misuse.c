/* SPDX-License-Identifier: MIT */
/* misuse.c - what encode says of a wrong table, with its path; and the buffer it writes to. */
#include "encode.h"

#define MAX_MESSAGE (1 << 20)

/* Push "link.linkinfo.data (vxlan)". */
static void push_path(struct encoder *e, struct place *at)
{
	lua_State *L = e->L;

	if (!at) {
		lua_pushstring(L, e->s->name);
		return;
	}
	push_path(e, at->up);
	if (at->key) {
		lua_pushliteral(L, ".");
		lua_rawgeti(L, e->keys, at->key);
		lua_concat(L, 3);
	}
	if (at->index) {
		lua_pushfstring(L, "[%d]", (int)at->index);
		lua_concat(L, 2);
	}
	if (at->branch) {
		lua_pushfstring(L, " (%s)", at->branch);
		lua_concat(L, 2);
	}
}

void nslua_encode_misuse(struct encoder *e, struct place *at, const char *word, int known)
{
	lua_State *L = e->L;

	luaL_checkstack(L, 40, "misuse");
	lua_pushliteral(L, ": ");
	lua_insert(L, -2);
	push_path(e, at);
	lua_insert(L, -3);
	lua_concat(L, 3);
	lua_getfield(L, LUA_REGISTRYINDEX, "nslua.schema.misuse");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1); /* no handler: the message alone */
	} else if (!known) {
		lua_insert(L, -2);
		lua_call(L, 1, 0);
	} else {
		lua_insert(L, -2);
		lua_pushstring(L, word);
		lua_pushvalue(L, known);
		lua_call(L, 3, 0);
	}
	lua_error(L);
	__builtin_unreachable();
}

void nslua_encode_quote(lua_State *L, const char *before, const char *word)
{
	luaL_checkstack(L, 3, "misuse");
	if (strlen(word) <= 300) {
		lua_pushfstring(L, "%s'%s'", before, word);
		return;
	}
	lua_pushfstring(L, "%s'", before);
	lua_pushlstring(L, word, 100);
	lua_pushfstring(L, "...' (%d bytes)", (int)strlen(word));
	lua_concat(L, 3);
}

void nslua_encode_expected(struct encoder *e, struct place *at, const char *what)
{
	if (lua_type(e->L, -1) == LUA_TSTRING && lua_rawlen(e->L, -1) <= 64)
		lua_pushfstring(e->L, "%s expected, got '%s'", what, lua_tostring(e->L, -1));
	else
		lua_pushfstring(e->L, "%s expected, got %s", what, luaL_typename(e->L, -1));
	nslua_encode_misuse(e, at, NULL, 0);
}

/* The buffer is on the C stack until it is too small for that. */
void *nslua_encode_room(struct encoder *e, size_t n)
{
	uint8_t *p;

	if (e->n + n > e->size) {
		size_t size = e->size * 2;
		uint8_t *grown;

		while (size < e->n + n)
			size *= 2;
		if (size > MAX_MESSAGE) {
			lua_pushfstring(e->L, "a message of more than %d bytes", MAX_MESSAGE);
			nslua_encode_misuse(e, NULL, NULL, 0);
		}
		grown = lua_newuserdatauv(e->L, size, 0);
		memcpy(grown, e->p, e->n);
		lua_replace(e->L, e->buffer);
		e->p = grown;
		e->size = size;
	}
	p = e->p + e->n;
	memset(p, 0, n);
	e->n += n;
	return p;
}

void nslua_encode_bytes(struct encoder *e, const void *bytes, size_t n)
{
	void *p = nslua_encode_room(e, n);

	if (n)
		memcpy(p, bytes, n);
}

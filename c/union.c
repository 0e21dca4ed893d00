/* SPDX-License-Identifier: MIT */
/* union.c - which branch of a union an attribute is: by a selector beside it or further out, in bytes and in tables. */
#include "encode.h"

/* A selector is one value; one that is a union itself could go round in circles. */
static bool can_select(const struct nslua_field *f)
{
	return f->type != T_UNION && !(f->flags & F_MULTI);
}

/* The value on top as text; popped if it is neither text nor a number. */
static bool as_text(lua_State *L)
{
	if (lua_type(L, -1) == LUA_TNUMBER)
		lua_tostring(L, -1);
	if (lua_type(L, -1) == LUA_TSTRING)
		return true;
	lua_pop(L, 1);
	return false;
}

/* Push the selector's value as text: of the nearest scope that knows the key. */
static bool find_selector(struct nslua_decoder *d, int32_t key, const struct nslua_scope *sc, int depth)
{
	for (; sc; sc = sc->up) {
		const struct nslua_struct *st = sc->head >= 0 ? &d->s->structs[sc->head] : NULL;
		const struct nslua_set *set = sc->set >= 0 ? &d->s->sets[sc->set] : NULL;

		for (int i = 0; st && i < st->n; i++) {
			const struct nslua_field *f = &st->f[i];

			if (f->key != key)
				continue;
			return can_select(f) && f->off + f->size <= sc->headlen &&
			       nslua_decode_value(d, f, sc->headp + f->off, f->size, NULL, depth + 1) && as_text(d->L);
		}
		for (int i = 0; set && i < set->n; i++) {
			const struct nslua_field *f = &set->f[i];
			const uint8_t *q = sc->attrs;
			size_t left = sc->len;
			struct nslua_attr a;
			bool found = false;

			if (f->key != key)
				continue;
			/* it may come after the union: look through all; the last that fits its type counts */
			while (can_select(f) && nslua_attr_next(&q, &left, &a)) {
				if ((a.type & NLA_ID) != f->id || !nslua_decode_value(d, f, a.p, a.len, NULL, depth + 1))
					continue;
				if (found)
					lua_remove(d->L, -2);
				found = true;
			}
			return found && as_text(d->L);
		}
	}
	return false;
}

const struct nslua_field *nslua_branch(struct nslua_decoder *d, const struct nslua_field *f, const struct nslua_scope *sc, int depth)
{
	const struct nslua_union *u = &d->s->unions[f->sub];
	lua_State *L = d->L;
	lua_Integer branch = 0;

	if (find_selector(d, u->selector, sc, depth)) {
		lua_rawgeti(L, d->uv, UV_BRANCHES);
		lua_rawgeti(L, -1, f->sub + 1);
		lua_pushvalue(L, -3);
		lua_rawget(L, -2);
		branch = lua_tointeger(L, -1);
		lua_pop(L, 4);
	}
	if (branch)
		return &d->s->f[branch - 1];
	return u->fallback >= 0 ? &d->s->f[u->fallback] : NULL;
}

/* Push the selector of a union as text, or nil: from the tables here and outwards. */
static void push_written(struct encoder *e, int32_t key, struct place *at)
{
	lua_State *L = e->L;

	for (; at; at = at->up) {
		const struct nslua_field *f = NULL;
		const struct nslua_struct *st = at->head >= 0 ? &e->s->structs[at->head] : NULL;
		const struct nslua_set *set = at->set >= 0 ? &e->s->sets[at->set] : NULL;

		for (int i = 0; st && i < st->n; i++)
			if (st->f[i].key == key)
				f = &st->f[i];
		for (int i = 0; !f && set && i < set->n; i++)
			if (set->f[i].key == key)
				f = &set->f[i];
		if (!f)
			continue;
		if (!can_select(f))
			break;
		lua_rawgeti(L, e->keys, key);
		lua_rawget(L, at->tab);
		if (lua_isnil(L, -1) && st && f >= st->f && f < st->f + st->n) {
			lua_pop(L, 1);
			lua_pushinteger(L, 0); /* what the header will hold */
		}
		if (lua_type(L, -1) == LUA_TNUMBER && f->enm >= 0) {
			lua_rawgeti(L, e->uv, UV_NAMES);
			lua_rawgeti(L, -1, f->enm + 1);
			lua_pushvalue(L, -3);
			lua_rawget(L, -2);
			if (lua_isnil(L, -1)) {
				lua_pop(L, 3);
			} else {
				lua_replace(L, -4);
				lua_pop(L, 2);
			}
		}
		if (lua_type(L, -1) == LUA_TNUMBER)
			lua_tostring(L, -1);
		return;
	}
	lua_pushnil(L);
}

/* The field that stands for a union here; the value is on top.  The branch's name stays in the place, for paths. */
const struct nslua_field *nslua_encode_branch(struct encoder *e, struct place *at, const struct nslua_field *f)
{
	lua_State *L = e->L;
	const struct nslua_union *u = &e->s->unions[f->sub];
	const struct nslua_field *b = u->fallback >= 0 ? &e->s->f[u->fallback] : NULL;

	push_written(e, u->selector, at);
	if (lua_type(L, -1) == LUA_TSTRING) {
		lua_rawgeti(L, e->uv, UV_BRANCHES);
		lua_rawgeti(L, -1, f->sub + 1);
		lua_pushvalue(L, -3);
		lua_rawget(L, -2);
		if (!lua_isnil(L, -1)) {
			b = &e->s->f[lua_tointeger(L, -1) - 1];
			at->branch = lua_tostring(L, -4); /* the caller's table or the schema holds the string */
		}
		lua_pop(L, 3);
		if (!b && lua_type(L, -2) == LUA_TTABLE) {
			lua_pushfstring(L, "no schema for '%s'", lua_tostring(L, -1));
			nslua_encode_misuse(e, at, NULL, 0);
		}
	} else if (!b && lua_type(L, -2) == LUA_TTABLE) {
		lua_pushliteral(L, "needs '");
		lua_rawgeti(L, e->keys, u->selector);
		lua_pushliteral(L, "' beside it");
		lua_concat(L, 3);
		nslua_encode_misuse(e, at, NULL, 0);
	}
	lua_pop(L, 1);
	return b;
}

/* SPDX-License-Identifier: MIT */
/* entry.c - one public field of a row, from the bytes: as the kernel sent it, or what the class makes of it. */
#include <stdio.h>
#include "schema.h"

static const struct nslua_field *field_of(const struct nslua_schema *s, int32_t lookup)
{
	return lookup < 0 ? &s->structs[s->head].f[-lookup - 1] : &s->sets[s->set].f[lookup - 1];
}

/* The attribute of a field; the last one counts, as in the kernel. */
static bool find(const struct nslua_reader *r, const struct nslua_field *f, struct nslua_attr *found)
{
	const uint8_t *q = r->root.attrs;
	size_t left = r->root.len;
	struct nslua_attr a;

	if (r->seen && f->id < r->seen_n) {
		*found = r->seen[f->id];
		return found->p != NULL;
	}
	found->p = NULL;
	while (nslua_attr_next(&q, &left, &a))
		if ((a.type & NLA_ID) == f->id)
			*found = a;
	return found->p != NULL;
}

static bool present(const struct nslua_reader *r, int32_t lookup)
{
	struct nslua_attr a;

	return lookup && (lookup < 0 || find(r, field_of(r->s, lookup), &a));
}

/* A field that is a number. */
static bool load(const struct nslua_reader *r, int32_t lookup, uint64_t *v)
{
	const struct nslua_field *f;
	struct nslua_attr a;

	if (!lookup)
		return false;
	f = field_of(r->s, lookup);
	if (lookup < 0) {
		if (f->off + f->size > r->root.headlen)
			return false;
		*v = nslua_load(f->type, r->p + f->off);
		return true;
	}
	if (!find(r, f, &a) || a.len != f->size)
		return false;
	*v = nslua_load(f->type, a.p);
	return true;
}

/* What needs no table of the schema is most of what is read. */
static bool plain(const struct nslua_field *f)
{
	return f->enm < 0 && (f->type < T_NEST || f->type >= T_PAD) && f->type != T_FIXED;
}

static bool decode(struct nslua_decoder *d, const struct nslua_reader *r, const struct nslua_field *f, bool member)
{
	struct nslua_attr a;

	if (member)
		return f->off + f->size <= r->root.headlen && nslua_decode_value(d, f, r->p + f->off, f->size, &r->root, 0);
	if (r->seen && !(f->flags & F_MULTI)) {
		if (!find(r, f, &a))
			return false;
		if (nslua_decode_value(d, f, a.p, a.len, &r->root, 0))
			return true;
	}
	return nslua_decode_attr(d, f, &r->root);
}

/* Push the field as the kernel sent it; or false and nothing. */
bool nslua_raw_push(struct nslua_reader *r, int32_t lookup)
{
	lua_State *L = r->L;
	const struct nslua_field *f = field_of(r->s, lookup);
	struct nslua_decoder d = { .L = L, .s = r->s };
	int top = lua_gettop(L);

	d.json = r->json;
	if (plain(f))
		return decode(&d, r, f, lookup < 0);
	if (r->uv) {
		d.uv = r->uv;
		d.keys = r->uv + 1;
		d.strict = r->strict;
		return decode(&d, r, f, lookup < 0);
	}
	lua_rawgeti(L, r->context, CTX_LAYOUT);
	lua_rawgeti(L, -1, LAY_CLASS);
	lua_rawgeti(L, r->context, CTX_SCHEMA);
	nslua_decoder(&d, L, top + 3);
	d.json = r->json;
	d.strict = lua_toboolean(L, top + 2);
	if (!decode(&d, r, f, lookup < 0)) {
		lua_settop(L, top);
		return false;
	}
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
	return true;
}

/* Let the entry's function make it; nil is nothing. */
static bool call(struct nslua_reader *r, int i, int layout)
{
	lua_State *L = r->L;

	lua_rawgeti(L, layout, LAY_CALLS);
	lua_rawgeti(L, -1, i);
	lua_replace(L, -2);
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	lua_pushvalue(L, r->row);
	lua_rawgeti(L, r->context, CTX_ROWSET);
	lua_call(L, 2, 1);
	if (!lua_isnil(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

static bool push_prefix(struct nslua_reader *r, int i, const struct nslua_entry *e, int layout)
{
	lua_State *L = r->L;
	const uint8_t family = r->n ? r->p[0] : 0; /* it is the first byte in every header of rtnetlink(7) */
	struct nslua_attr a;
	uint64_t length;
	char text[72];
	int n;

	if (!load(r, e->of[1], &length))
		return false;
	if (!find(r, field_of(r->s, e->of[0]), &a)) {
		lua_rawgeti(L, layout, LAY_EXTRAS);
		lua_rawgeti(L, -1, i);
		lua_replace(L, -2);
		if (!length && lua_type(L, -1) == LUA_TSTRING)
			return true;
		lua_pop(L, 1);
		return false;
	}
	if (a.len != (family == 2 ? 4 : family == 10 ? 16 : 0)) /* AF_INET, AF_INET6 */
		return call(r, i, layout);
	n = nslua_ip_text(a.p, a.len, text);
	text[n++] = '/';
	if (length >= 100)
		text[n++] = (char)('0' + length / 100);
	if (length >= 10)
		text[n++] = (char)('0' + length / 10 % 10);
	text[n++] = (char)('0' + length % 10);
	lua_pushlstring(L, text, (size_t)n);
	return true;
}

/* Of a table, the member of that number; or false and nothing.  Pops the table. */
static bool push_at(lua_State *L, uint64_t number)
{
	if (!lua_istable(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
#if LUA_VERSION_NUM >= 503
	lua_rawgeti(L, -1, (lua_Integer)number);
#else
	lua_pushnumber(L, (lua_Number)number); /* rawgeti takes an int there */
	lua_rawget(L, -2);
#endif
	lua_replace(L, -2);
	if (!lua_isnil(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

static bool push_link(struct nslua_reader *r, int i, const struct nslua_entry *e, int layout)
{
	lua_State *L = r->L;
	uint64_t index;

	if (!load(r, e->of[0], &index) || !index)
		return false;
	lua_rawgeti(L, r->context, CTX_ROWSET);
	if (lua_istable(L, -1)) {
		lua_pushliteral(L, "names");
		lua_rawget(L, -2);
		lua_replace(L, -2);
	}
	return push_at(L, index) || call(r, i, layout);
}

static bool push_name(struct nslua_reader *r, int i, const struct nslua_entry *e, int layout)
{
	lua_State *L = r->L;
	uint64_t number;

	if (!load(r, e->of[0], &number) && !load(r, e->of[1], &number))
		return false;
	lua_rawgeti(L, layout, LAY_EXTRAS);
	lua_rawgeti(L, -1, i);
	lua_replace(L, -2);
	lua_pushvalue(L, -1);
	if (push_at(L, number)) {
		lua_replace(L, -2);
		return true;
	}
	if (lua_istable(L, -1)) {
		lua_pushliteral(L, "complete");
		lua_rawget(L, -2);
		if (lua_toboolean(L, -1)) {
			lua_pop(L, 2);
			nslua_pushu64(L, number);
			return true;
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return call(r, i, layout);
}

bool nslua_entry_push(struct nslua_reader *r, int i, const struct nslua_entry *e, int layout)
{
	uint64_t bits;

	switch ((enum nslua_how)e->how) {
	case HOW_RAW:
		return nslua_raw_push(r, e->of[0]);
	case HOW_CALL:
		return (!e->of[0] || present(r, e->of[0]) || present(r, e->of[1])) && call(r, i, layout);
	case HOW_PREFIX:
		return push_prefix(r, i, e, layout);
	case HOW_LINK:
		return push_link(r, i, e, layout);
	case HOW_NAME:
		return push_name(r, i, e, layout);
	case HOW_FLAG:
		if (!load(r, e->of[0], &bits) && !load(r, e->of[1], &bits))
			bits = 0;
		if (!(bits & e->bits) && !e->no)
			return false;
		lua_pushboolean(r->L, (bits & e->bits) != 0);
		return true;
	}
	return false;
}

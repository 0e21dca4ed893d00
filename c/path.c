/* SPDX-License-Identifier: MIT */
/* path.c - which attribute stands at an offset of a request: "linkinfo.data.id", for the kernel's extended acks. */
#include "schema.h"

struct seek {
	struct nslua_decoder d;
	const uint8_t *base;
	size_t offset;  /* looked for, from base */
	int path;       /* stack slot of the text so far */
	bool nest;      /* look for the nest that begins there, not for a value */
	int set;        /* of that nest, -1: none */
};

static void extend(struct seek *k, const char *form, int number)
{
	lua_State *L = k->d.L;

	lua_pushvalue(L, k->path);
	if (lua_rawlen(L, -1) && form[0] != '[')
		lua_pushliteral(L, ".");
	else
		lua_pushliteral(L, "");
	if (form[0] == 'k')
		lua_rawgeti(L, k->d.keys, number);
	else
		lua_pushfstring(L, form, number);
	lua_concat(L, 3);
	lua_replace(L, k->path);
}

static bool holds(const struct seek *k, const uint8_t *p, size_t n)
{
	size_t at = (size_t)(p - k->base);

	return k->offset >= at && k->offset < at + n;
}

static const struct nslua_field *resolve(struct seek *k, const struct nslua_field *f, const struct nslua_scope *sc)
{
	for (int i = 0; f && f->type == T_UNION && i < NSLUA_DEPTH; i++)
		f = nslua_branch(&k->d, f, sc, 0);
	return f;
}

static void push_value(struct seek *k, const struct nslua_field *f, const struct nslua_attr *a, const struct nslua_scope *sc)
{
	if (!f || !nslua_decode_value(&k->d, f, a->p, a->len, sc, 0))
		lua_pushlstring(k->d.L, (const char *)a->p, a->len);
}

static void seek_body(struct seek *k, int set, int head, const uint8_t *p, size_t n, const struct nslua_scope *up, int depth);

/* The attribute holds the offset: its value is pushed, or of what is inside it. */
static void seek_value(struct seek *k, const struct nslua_field *f, const struct nslua_attr *a, const struct nslua_scope *sc, int depth)
{
	const uint8_t *p = a->p;
	size_t left = a->len;
	struct nslua_attr child;
	int i = 0;

	if (!f || depth >= NSLUA_DEPTH || !holds(k, a->p, a->len)) {
		push_value(k, f, a, sc);
		return;
	}
	switch (f->type) {
	case T_NEST:
		seek_body(k, f->sub, f->head, a->p, a->len, sc, depth + 1);
		return;
	case T_LIST:
	case T_INDEXED:
		while (nslua_attr_next(&p, &left, &child)) {
			i++;
			if (!holds(k, child.p - 4, child.len + 4))
				continue;
			extend(k, "[%d]", f->type == T_LIST ? i : child.type & NLA_ID);
			seek_value(k, resolve(k, &k->d.s->f[f->elem], sc), &child, sc, depth + 1);
			return;
		}
		break;
	case T_BITSET:
		nslua_push_bit_at(k->d.L, a->p, a->len, k->base + k->offset);
		if (lua_isnil(k->d.L, -1)) {
			lua_pop(k->d.L, 1);
			break;
		}
		lua_pushvalue(k->d.L, k->path);
		lua_pushliteral(k->d.L, ".");
		lua_pushvalue(k->d.L, -3);
		lua_concat(k->d.L, 3);
		lua_replace(k->d.L, k->path);
		lua_pop(k->d.L, 1);
		lua_pushnil(k->d.L);
		return;
	case T_RECORDS:
		while (left >= k->d.s->structs[f->head].size) {
			uint16_t len;

			memcpy(&len, p, 2);
			if (len < k->d.s->structs[f->head].size || len > left)
				break;
			i++;
			if (holds(k, p, len)) {
				extend(k, "[%d]", i);
				seek_body(k, f->sub, f->head, p, len, sc, depth + 1);
				return;
			}
			if (NLA_ALIGN4(len) >= left)
				break;
			p += NLA_ALIGN4(len);
			left -= NLA_ALIGN4(len);
		}
		break;
	}
	push_value(k, f, a, sc);
}

static void seek_body(struct seek *k, int set, int head, const uint8_t *p, size_t n, const struct nslua_scope *up, int depth)
{
	lua_State *L = k->d.L;
	struct nslua_scope sc;
	struct nslua_attr a;
	const uint8_t *q;
	size_t left;

	luaL_checkstack(L, 24, "netlink message");
	nslua_open_scope(k->d.s, set, head, p, n, up, &sc);
	for (int i = 0; head >= 0 && i < k->d.s->structs[head].n; i++) {
		const struct nslua_field *f = &k->d.s->structs[head].f[i];

		if (!f->key || f->off + f->size > sc.headlen || !holds(k, p + f->off, f->size))
			continue;
		extend(k, "k", f->key);
		a.p = p + f->off;
		a.len = f->size;
		push_value(k, f, &a, &sc);
		return;
	}
	for (q = sc.attrs, left = sc.len; set >= 0 && nslua_attr_next(&q, &left, &a);) {
		const struct nslua_field *f;

		if (!holds(k, a.p - 4, a.len + 4))
			continue;
		f = nslua_byid(&k->d.s->sets[set], a.type);
		if (!f || !f->key)
			extend(k, "#%d", a.type & NLA_ID);
		else
			extend(k, "k", f->key);
		if (f && (f->flags & F_MULTI)) {
			struct nslua_attr before;
			const uint8_t *r = sc.attrs;
			size_t rest = sc.len;
			int i = 1;

			while (nslua_attr_next(&r, &rest, &before) && before.p != a.p)
				i += ((before.type ^ a.type) & NLA_ID) == 0;
			extend(k, "[%d]", i);
		}
		f = f ? resolve(k, f, &sc) : NULL;
		if (k->nest && holds(k, a.p - 4, 4)) {
			k->set = f && f->type == T_NEST ? f->sub : -1;
			lua_pushnil(L);
			return;
		}
		seek_value(k, f, &a, &sc, depth);
		return;
	}
	lua_pushnil(L);
}

static void start(struct seek *k, lua_State *L, const struct nslua_schema *s)
{
	k->d.s = s;
	nslua_decoder(&k->d, L, 1);
	lua_pushliteral(L, "");
	k->path = lua_gettop(L);
	k->nest = false;
	k->set = -1;
}

/*
 * S:path(bytes, offset) -> "linkinfo.data.id", value; nil where nothing known stands there.  bytes as S:encode made them, the offset in
 * them (an extack's `offset`).
 */
int nslua_schema_path(lua_State *L)
{
	struct seek k;
	const struct nslua_schema *s = nslua_checkschema(L, 1);
	size_t n;
	lua_Integer offset = luaL_checkinteger(L, 3);

	k.base = (const uint8_t *)luaL_checklstring(L, 2, &n);
	lua_settop(L, 3);
	if (offset < 0 || (size_t)offset >= n)
		return 0;
	k.offset = (size_t)offset;
	start(&k, L, s);
	seek_body(&k, s->set, s->head, k.base, n, NULL, 0);
	if (!lua_rawlen(L, k.path))
		return 0;
	lua_pushvalue(L, k.path);
	lua_insert(L, -2);
	return 2;
}

/*
 * S:missing(bytes, id [, offset]) -> "linkinfo.kind": the attribute that the kernel missed (an extack's `missing`, in the nest at `missing_nest`).
 */
int nslua_schema_missing(lua_State *L)
{
	struct seek k;
	const struct nslua_schema *s = nslua_checkschema(L, 1);
	size_t n;
	lua_Integer id = luaL_checkinteger(L, 3), offset = luaL_optinteger(L, 4, -1);
	const struct nslua_field *f;

	k.base = (const uint8_t *)luaL_checklstring(L, 2, &n);
	lua_settop(L, 4);
	start(&k, L, s);
	k.set = s->set;
	if (offset >= 0 && (size_t)offset < n) {
		k.offset = (size_t)offset;
		k.nest = true;
		k.set = -1;
		seek_body(&k, s->set, s->head, k.base, n, NULL, 0);
	}
	f = k.set >= 0 && id >= 0 && id <= NLA_ID ? nslua_byid(&s->sets[k.set], (uint16_t)id) : NULL;
	if (f && f->key)
		extend(&k, "k", f->key);
	else
		extend(&k, "#%d", (int)id);
	lua_pushvalue(L, k.path);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* decode.c - netlink bytes to Lua values, by a compiled schema. */
#include "schema.h"

void nslua_decoder(struct nslua_decoder *d, lua_State *L, int schema)
{
	d->L = L;
	d->json = d->strict = false;
	nslua_getuv(L, schema);
	d->uv = lua_gettop(L);
	lua_rawgeti(L, d->uv, UV_KEYS);
	d->keys = d->uv + 1;
}

static void push_key(struct nslua_decoder *d, const struct nslua_field *f)
{
	lua_rawgeti(d->L, d->keys, f->key);
}

/* Members of a struct into the table on top; where the bytes end early the rest is absent and "#size" says so. */
static void decode_members(struct nslua_decoder *d, int st, const uint8_t *p, size_t n, const struct nslua_scope *up, int depth)
{
	const struct nslua_struct *s = &d->s->structs[st];
	int t = lua_gettop(d->L);

	for (int i = 0; i < s->n; i++) {
		const struct nslua_field *f = &s->f[i];

		if (!f->key)
			continue;
		if (f->off + f->size > n)
			break;
		push_key(d, f);
		if (nslua_decode_value(d, f, p + f->off, f->size, up, depth))
			lua_rawset(d->L, t);
		else
			lua_pop(d->L, 1);
	}
	if (n < s->size && !d->strict) {
		lua_pushinteger(d->L, (lua_Integer)n);
		lua_setfield(d->L, t, "#size");
	}
}

static void push_tail(struct nslua_decoder *d, const uint8_t *p, size_t n)
{
	if (!n || d->strict)
		return;
	lua_pushlstring(d->L, (const char *)p, n);
	lua_setfield(d->L, -2, "#tail");
}

/* Key, value on the stack into table t; where the key is there already the values become a list. */
static void add_unknown(lua_State *L, int t)
{
	lua_pushvalue(L, -2);
	lua_rawget(L, t);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_rawset(L, t);
	} else if (lua_istable(L, -1)) {
		lua_insert(L, -2);
		lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
		lua_pop(L, 2);
	} else {
		lua_createtable(L, 2, 0);
		lua_insert(L, -2);
		lua_rawseti(L, -2, 1);
		lua_insert(L, -2);
		lua_rawseti(L, -2, 2);
		lua_rawset(L, t);
	}
}

static void decode_unknown(struct nslua_decoder *d, const struct nslua_attr *a, int t)
{
	const char *form = "#%d";

	if (d->strict)
		return;
	if ((a->type & ~NLA_ID) == 0x8000)
		form = "#%dn"; /* NLA_F_NESTED */
	else if ((a->type & ~NLA_ID) == 0x4000)
		form = "#%db"; /* NLA_F_NET_BYTEORDER */
	else if (a->type & ~NLA_ID)
		form = "#%dnb";
	lua_pushfstring(d->L, form, a->type & NLA_ID);
	lua_pushlstring(d->L, (const char *)a->p, a->len);
	add_unknown(d->L, t);
}

void nslua_open_scope(const struct nslua_schema *s, int set, int head, const uint8_t *p, size_t n,
		      const struct nslua_scope *up, struct nslua_scope *sc)
{
	size_t hl = head >= 0 ? s->structs[head].size : 0;
	size_t start = NLA_ALIGN4(hl);

	sc->set = set;
	sc->head = head;
	sc->headp = p;
	sc->headlen = n < hl ? n : hl;
	sc->attrs = n > start ? p + start : p;
	sc->len = n > start ? n - start : 0;
	sc->up = up;
}

void nslua_root_scope(const struct nslua_schema *s, const uint8_t *p, size_t n, struct nslua_scope *sc)
{
	nslua_open_scope(s, s->set, s->head, p, n, NULL, sc);
}

/* A struct (head) and attributes (set), each may be -1, as one table. */
static void decode_body(struct nslua_decoder *d, int set, int head, const uint8_t *p, size_t n, const struct nslua_scope *up, int depth)
{
	lua_State *L = d->L;
	struct nslua_scope sc;
	struct nslua_attr a;
	const uint8_t *q;
	size_t left;
	int count = 0, t;

	luaL_checkstack(L, 16, "netlink message");
	nslua_open_scope(d->s, set, head, p, n, up, &sc);
	for (q = sc.attrs, left = sc.len; nslua_attr_next(&q, &left, &a);)
		count++;
	lua_createtable(L, 0, count + (head >= 0 ? d->s->structs[head].n : 0));
	t = lua_gettop(L);
	if (head >= 0)
		decode_members(d, head, p, sc.headlen, &sc, depth);
	q = sc.attrs;
	left = sc.len;
	while (set >= 0 && nslua_attr_next(&q, &left, &a)) {
		const struct nslua_field *f = nslua_byid(&d->s->sets[set], a.type);

		if (!f) {
			decode_unknown(d, &a, t);
			continue;
		}
		if (f->type == T_PAD)
			continue; /* before a u64, so that it is aligned */
		push_key(d, f);
		if (!nslua_decode_value(d, f, a.p, a.len, &sc, depth)) {
			lua_pop(L, 1);
			decode_unknown(d, &a, t);
		} else if (!(f->flags & F_MULTI)) {
			lua_rawset(L, t);
		} else {
			lua_pushvalue(L, -2);
			lua_rawget(L, t);
			if (lua_isnil(L, -1)) {
				lua_pop(L, 1);
				lua_createtable(L, 1, 0);
				lua_pushvalue(L, -3);
				lua_pushvalue(L, -2);
				lua_rawset(L, t);
			}
			lua_insert(L, -2);
			lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
			lua_pop(L, 2);
		}
	}
	push_tail(d, q, left);
	if (d->json && depth && lua_type(L, t) == LUA_TTABLE) {
		lua_pushnil(L);
		if (!lua_next(L, t)) {
			nslua_json_raw(L, "{}");
			lua_replace(L, t);
		} else {
			lua_pop(L, 2);
		}
	}
}

void nslua_decode_message(struct nslua_decoder *d, const uint8_t *p, size_t n)
{
	decode_body(d, d->s->set, d->s->head, p, n, NULL, 0);
}

static void push_empty(struct nslua_decoder *d, size_t n)
{
	if (!n && d->json)
		nslua_json_raw(d->L, "[]");
	else
		lua_createtable(d->L, (int)n, 0);
}

static bool decode_array(struct nslua_decoder *d, const struct nslua_field *f, const uint8_t *p, size_t n,
			 const struct nslua_scope *up, int depth)
{
	const struct nslua_field *e = &d->s->f[f->elem];
	size_t count;

	if (!e->size || n % e->size)
		return false;
	count = n / e->size;
	push_empty(d, count);
	for (size_t i = 0; i < count; i++) {
		if (!nslua_decode_value(d, e, p + i * e->size, e->size, up, depth)) {
			lua_pop(d->L, 1);
			return false;
		}
		lua_rawseti(d->L, -2, (int)i + 1);
	}
	return true;
}

/* A nest whose children are one type: a list, or keyed by the child's id. */
static bool decode_children(struct nslua_decoder *d, const struct nslua_field *f, const uint8_t *p, size_t n,
			    const struct nslua_scope *up, int depth)
{
	lua_State *L = d->L;
	const struct nslua_field *e = &d->s->f[f->elem];
	struct nslua_attr a;
	bool fits = true;
	int i = 0, t;

	if (!n && d->json && f->type == T_INDEXED)
		nslua_json_raw(L, "{}");
	else
		push_empty(d, n ? 1 : 0);
	t = lua_gettop(L);
	while (fits && nslua_attr_next(&p, &n, &a)) {
		if (!nslua_decode_value(d, e, a.p, a.len, up, depth)) {
			if (f->type == T_INDEXED)
				decode_unknown(d, &a, t);
			else
				fits = false;
			continue;
		}
		if (f->type == T_LIST) {
			lua_rawseti(L, t, ++i);
			continue;
		}
		lua_pushinteger(L, a.type & NLA_ID);
		if (f->enm >= 0) {
			lua_rawgeti(L, d->uv, UV_NAMES);
			lua_rawgeti(L, -1, f->enm + 1);
			lua_pushvalue(L, -3);
			lua_rawget(L, -2);
			if (lua_isnil(L, -1))
				lua_pop(L, 3);
			else {
				lua_replace(L, -4);
				lua_pop(L, 2);
			}
		}
		lua_insert(L, -2);
		lua_rawset(L, t);
	}
	if (f->type == T_LIST && (n || !fits)) {
		lua_settop(L, t - 1);
		return false; /* what cannot be put back stays bytes */
	}
	push_tail(d, p, n);
	return true;
}

/* Structs that begin with their own length, each with attributes behind it: RTA_MULTIPATH. */
static bool decode_records(struct nslua_decoder *d, const struct nslua_field *f, const uint8_t *p, size_t n,
			   const struct nslua_scope *up, int depth)
{
	size_t size = d->s->structs[f->head].size, left = n;
	const uint8_t *q = p;
	int i = 0;

	for (; left; q += NLA_ALIGN4((size_t)nslua_load(T_U16, q))) {
		uint16_t len;

		if (left < size)
			return false;
		len = (uint16_t)nslua_load(T_U16, q);
		if (len < size || len > left)
			return false;
		if (NLA_ALIGN4(len) >= left)
			break;
		left -= NLA_ALIGN4(len);
	}
	push_empty(d, n ? 1 : 0);
	for (left = n; left;) {
		size_t len = (size_t)nslua_load(T_U16, p);

		decode_body(d, f->sub, f->head, p, len, up, depth);
		lua_rawseti(d->L, -2, ++i);
		if (NLA_ALIGN4(len) >= left)
			break;
		p += NLA_ALIGN4(len);
		left -= NLA_ALIGN4(len);
	}
	return true;
}

bool nslua_decode_value(struct nslua_decoder *d, const struct nslua_field *f, const uint8_t *p, size_t n,
			const struct nslua_scope *up, int depth)
{
	lua_State *L = d->L;
	char text[3 * NSLUA_LLADDR];

	switch (f->type) {
	case T_FLAG:
		if (n)
			return false;
		lua_pushboolean(L, 1);
		return true;
	case T_BOOL:
		if (n != 1)
			return false;
		if (p[0] > 1)
			lua_pushinteger(L, p[0]);
		else
			lua_pushboolean(L, p[0]);
		return true;
	case T_STRZ:
		if (f->size && strnlen((const char *)p, n) > f->size)
			return false; /* encode would refuse it */
		lua_pushlstring(L, (const char *)p, strnlen((const char *)p, n));
		return true;
	case T_CHARS:
		if (n != f->size)
			return false;
		lua_pushlstring(L, (const char *)p, strnlen((const char *)p, n));
		return true;
	case T_BYTES:
		if (n != f->size)
			return false;
		/* fallthrough */
	case T_STR:
	case T_BIN:
		lua_pushlstring(L, (const char *)p, n);
		return true;
	case T_IP:
		if (n != 4 && n != 16)
			return false;
		lua_pushlstring(L, text, (size_t)nslua_ip_text(p, n, text));
		return true;
	case T_IP4:
	case T_IP6:
		if (n != f->size)
			return false;
		lua_pushlstring(L, text, (size_t)nslua_ip_text(p, n, text));
		return true;
	case T_LLADDR:
		if (n > NSLUA_LLADDR)
			return false;
		lua_pushlstring(L, text, (size_t)nslua_lladdr_text(p, n, text));
		return true;
	case T_HEX:
	case T_BASE64:
	case T_SOCKADDR:
		return nslua_push_bytes(L, f, p, n);
	case T_BITSET:
		return nslua_push_bitset(d, p, n);
	case T_UINT:
	case T_SINT:
		if (n != 4 && n != 8)
			return false;
		nslua_push_integer(d, f, nslua_load(n == 8 ? T_U64 : f->type == T_SINT ? T_S32 : T_U32, p));
		return true;
	case T_PAD:
		return false;
	case T_NEST:
		if (depth >= NSLUA_DEPTH)
			return false;
		decode_body(d, f->sub, f->head, p, n, up, depth + 1);
		return true;
	case T_STRUCT:
		if (depth >= NSLUA_DEPTH)
			return false;
		luaL_checkstack(L, 16, "netlink message");
		lua_createtable(L, 0, d->s->structs[f->sub].n);
		decode_members(d, f->sub, p, n, up, depth + 1);
		if (n > d->s->structs[f->sub].size)
			push_tail(d, p + d->s->structs[f->sub].size, n - d->s->structs[f->sub].size);
		return true;
	case T_ARRAY:
	case T_FIXED:
	case T_LIST:
	case T_INDEXED:
	case T_RECORDS:
		if (depth >= NSLUA_DEPTH)
			return false;
		luaL_checkstack(L, 16, "netlink message");
		if (f->type == T_ARRAY || f->type == T_FIXED)
			return decode_array(d, f, p, n, up, depth + 1);
		if (f->type == T_RECORDS)
			return decode_records(d, f, p, n, up, depth + 1);
		return decode_children(d, f, p, n, up, depth + 1);
	case T_UNION:
		luaL_checkstack(L, 16, "netlink message");
		if (depth >= NSLUA_DEPTH)
			return false;
		f = nslua_branch(d, f, up, depth);
		if (f)
			return nslua_decode_value(d, f, p, n, up, depth + 1);
		lua_pushlstring(L, (const char *)p, n);
		return true;
	default:
		if (n != f->size)
			return false;
		nslua_push_integer(d, f, nslua_load(f->type, p));
		return true;
	}
}

/* One attribute of the message by its field, as a row reads it: the last one counts, as in the kernel; multi ones make a list. */
bool nslua_decode_attr(struct nslua_decoder *d, const struct nslua_field *f, const struct nslua_scope *root)
{
	lua_State *L = d->L;
	const uint8_t *q = root->attrs;
	size_t left = root->len;
	struct nslua_attr a;
	bool found = false;
	int i = 0;

	while (nslua_attr_next(&q, &left, &a)) {
		if ((a.type & NLA_ID) != f->id)
			continue;
		if (!(f->flags & F_MULTI)) {
			bool fits;

			if (found)
				lua_pushvalue(L, -1); /* keep the earlier one in case this does not fit */
			fits = nslua_decode_value(d, f, a.p, a.len, root, 0);
			if (found && fits)
				lua_replace(L, -3);
			if (found)
				lua_pop(L, 1);
			found |= fits;
			continue;
		}
		if (!found)
			lua_createtable(L, 1, 0);
		found = true;
		if (nslua_decode_value(d, f, a.p, a.len, root, 0))
			lua_rawseti(L, -2, ++i);
	}
	if (found && (f->flags & F_MULTI) && !i) {
		lua_pop(L, 1);
		return false;
	}
	return found;
}

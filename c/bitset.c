/* SPDX-License-Identifier: MIT */
/* bitset.c - the bit sets of ethtool's family, of any length and with names: { rx = true, tx = false }.  linux/ethtool_netlink.h */
#include <stdlib.h>
#include "encode.h"

enum { NOMASK = 1, SIZE, BITS, VALUE, MASK };   /* ETHTOOL_A_BITSET_ */
enum { BIT = 1 };                               /* ETHTOOL_A_BITSET_BITS_ */
enum { BIT_INDEX = 1, BIT_NAME, BIT_VALUE };    /* ETHTOOL_A_BITSET_BIT_ */

struct bit {
	uint32_t index;
	const char *name; /* NULL: none */
	size_t len;
	bool value;
};

static bool read_bit(const uint8_t *p, size_t n, struct bit *b)
{
	struct nslua_attr a;
	bool named = false, numbered = false;

	memset(b, 0, sizeof(*b));
	while (nslua_attr_next(&p, &n, &a)) {
		switch (a.type & NLA_ID) {
		case BIT_INDEX:
			if (a.len != 4)
				return false;
			memcpy(&b->index, a.p, 4);
			numbered = true;
			break;
		case BIT_NAME:
			b->name = (const char *)a.p;
			b->len = strnlen(b->name, a.len);
			named = b->len > 0;
			break;
		case BIT_VALUE:
			b->value = true;
			break;
		default:
			return false;
		}
	}
	if (!named)
		b->name = NULL;
	return named || numbered;
}

static void add(lua_State *L, int t, const struct bit *b)
{
	if (b->name)
		lua_pushlstring(L, b->name, b->len);
	else
		lua_pushfstring(L, "#bit%d", (int)b->index);
	lua_pushboolean(L, b->value);
	lua_rawset(L, t);
}

static bool read_list(lua_State *L, int t, const struct nslua_attr *bits, bool nomask)
{
	const uint8_t *p = bits->p;
	size_t n = bits->len;
	struct nslua_attr a;
	struct bit b;

	while (nslua_attr_next(&p, &n, &a)) {
		if ((a.type & NLA_ID) != BIT || !read_bit(a.p, a.len, &b) || b.index > INT32_MAX)
			return false;
		b.value |= nomask;
		add(L, t, &b);
	}
	return true;
}

static bool bit_of(const struct nslua_attr *words, uint32_t i)
{
	uint32_t word;

	memcpy(&word, words->p + i / 32 * 4, 4);
	return word >> i % 32 & 1;
}

/* Words of 32 bits: of the value, and of what of it counts. */
static bool read_words(lua_State *L, int t, const struct nslua_attr *found, bool nomask)
{
	const struct nslua_attr *value = &found[VALUE], *mask = nomask ? value : &found[MASK];
	uint32_t size;

	if (!value->p || !mask->p || found[SIZE].len != 4)
		return false;
	memcpy(&size, found[SIZE].p, 4);
	if (size / 8 > UINT16_MAX || value->len < (size + 31) / 32 * 4 || mask->len < (size + 31) / 32 * 4)
		return false;
	for (uint32_t i = 0; i < size; i++) {
		struct bit b = { .index = i, .value = bit_of(value, i) };

		if (bit_of(mask, i))
			add(L, t, &b);
	}
	return true;
}

bool nslua_push_bitset(struct nslua_decoder *d, const uint8_t *p, size_t n)
{
	lua_State *L = d->L;
	struct nslua_attr a, found[MASK + 1] = { 0 };
	bool fits;
	int t;

	while (nslua_attr_next(&p, &n, &a)) {
		if ((a.type & NLA_ID) > MASK || !(a.type & NLA_ID))
			return false;
		found[a.type & NLA_ID] = a;
	}
	if (!found[BITS].p == !found[VALUE].p)
		return false;
	luaL_checkstack(L, 16, "netlink message");
	lua_newtable(L);
	t = lua_gettop(L);
	fits = found[BITS].p ? read_list(L, t, &found[BITS], found[NOMASK].p) : read_words(L, t, found, found[NOMASK].p);
	if (!fits) {
		lua_settop(L, t - 1);
		return false;
	}
	lua_pushnil(L);
	if (lua_next(L, t))
		lua_pop(L, 2);
	else if (d->json) {
		nslua_json_raw(L, "{}");
		lua_replace(L, t);
	}
	return true;
}

/* Push the name of the bit that holds the byte at `at`, or nil: for paths. */
void nslua_push_bit_at(lua_State *L, const uint8_t *p, size_t n, const uint8_t *at)
{
	struct nslua_attr a;

	while (nslua_attr_next(&p, &n, &a)) {
		if (at < a.p || at >= a.p + a.len)
			continue;
		if ((a.type & NLA_ID) == BITS) {
			p = a.p; /* the list of bits is searched in its turn */
			n = a.len;
			while (nslua_attr_next(&p, &n, &a)) {
				struct bit b;

				if (at < a.p - 4 || at >= a.p + a.len || !read_bit(a.p, a.len, &b))
					continue;
				if (b.name)
					lua_pushlstring(L, b.name, b.len);
				else
					lua_pushfstring(L, "#bit%d", (int)b.index);
				return;
			}
		}
		break;
	}
	lua_pushnil(L);
}

static void attribute(struct encoder *e, uint16_t type, const void *p, size_t n, size_t pad)
{
	uint16_t len = (uint16_t)(4 + n + pad);

	nslua_encode_bytes(e, &len, 2);
	nslua_encode_bytes(e, &type, 2);
	nslua_encode_bytes(e, p, n);
	nslua_encode_room(e, NLA_ALIGN4(n + pad) - n);
}

static size_t begin(struct encoder *e, uint16_t type)
{
	size_t start = e->n;

	type |= 0x8000;
	memcpy((uint8_t *)nslua_encode_room(e, 4) + 2, &type, 2);
	return start;
}

static void end(struct encoder *e, size_t start, struct place *at)
{
	uint16_t len = (uint16_t)(e->n - start);

	if (e->n - start > UINT16_MAX) {
		lua_pushliteral(e->L, "too many bits");
		nslua_encode_misuse(e, at, NULL, 0);
	}
	memcpy(e->p + start, &len, 2);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct bit *)a)->name, ((const struct bit *)b)->name);
}

/* "#bit5" -> 5; -1: a name. */
static int64_t number_of(const char *name)
{
	int64_t v = 0;

	if (strncmp(name, "#bit", 4) || !name[4] || (name[4] == '0' && name[5]))
		return -1;
	for (name += 4; *name; name++) {
		if (*name < '0' || *name > '9')
			return -1;
		v = v * 10 + *name - '0';
		if (v > INT32_MAX)
			return -1;
	}
	return v;
}

/* { name = true, other = false } or { "name", ... }: those bits and no others are set or cleared. */
void nslua_encode_bitset(struct encoder *e, struct place *at)
{
	lua_State *L = e->L;
	struct bit *bits;
	size_t list;
	int t = lua_gettop(L), n = 0;

	if (!lua_istable(L, t))
		nslua_encode_expected(e, at, "table of bits");
	luaL_checkstack(L, 16, "netlink message");
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
		n++;
	bits = lua_newuserdatauv(L, sizeof(*bits) * (size_t)(n + 1), 0);
	n = 0;
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
		int key = lua_type(L, -2), value = lua_type(L, -1);

		if (key == LUA_TSTRING && value == LUA_TBOOLEAN) {
			bits[n].name = lua_tolstring(L, -2, &bits[n].len);
			bits[n].value = lua_toboolean(L, -1);
		} else if (key == LUA_TNUMBER && value == LUA_TSTRING) {
			bits[n].name = lua_tolstring(L, -1, &bits[n].len);
			bits[n].value = true;
		} else {
			nslua_encode_expected(e, at, key == LUA_TSTRING ? "true or false" : "name of a bit");
		}
		if (!bits[n].len || strlen(bits[n].name) != bits[n].len) {
			lua_pushliteral(L, "a bit's name is empty or has a zero byte in it");
			nslua_encode_misuse(e, at, NULL, 0);
		}
		n++;
	}
	qsort(bits, (size_t)n, sizeof(*bits), by_name);
	list = begin(e, BITS);
	for (int i = 0; i < n; i++) {
		size_t bit = begin(e, BIT);
		int64_t number = number_of(bits[i].name);
		uint32_t index = (uint32_t)number;

		if (number >= 0)
			attribute(e, BIT_INDEX, &index, 4, 0);
		else
			attribute(e, BIT_NAME, bits[i].name, bits[i].len, 1);
		if (bits[i].value)
			attribute(e, BIT_VALUE, NULL, 0, 0);
		end(e, bit, at);
	}
	end(e, list, at);
	lua_settop(L, t);
}

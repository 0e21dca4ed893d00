/* SPDX-License-Identifier: MIT */
/* schema.c - compiles the plan that nslua.schema makes of declarations into C arrays. */
#include "schema.h"

static const char *const type_names[T_COUNT] = {
	"u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "be16", "be32", "be64",
	"uint", "sint", "flag", "bool", "strz", "str", "bin", "hex", "base64", "ip", "ip4", "ip6", "lladdr", "sockaddr",
	"nest", "list", "indexed", "struct", "array", "union", "records",
	"pad", "bytes", "chars", "bitset", "fixed",
};

const char *nslua_typename(int type)
{
	return type_names[type];
}

struct nslua_schema *nslua_checkschema(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, NSLUA_SCHEMA);
}

static lua_Integer integer_at(lua_State *L, int t, const char *name)
{
	lua_Integer v;

	lua_getfield(L, t, name);
	if (lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "schema plan: %s is not a number", name);
	v = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return v;
}

/* A reference of the plan counts from 1, and 0 is none; one of C counts from 0, and -1 is none. */
static int reference(lua_State *L, int t, const char *name, int count)
{
	lua_Integer v = integer_at(L, t, name);

	if (v < 0 || v > count)
		luaL_error(L, "schema plan: %s out of range", name);
	return (int)v - 1;
}

struct counts {
	int fields, sets, structs, enums, unions, keys;
};

static int type_code(lua_State *L, int t)
{
	const char *name;

	lua_getfield(L, t, "type");
	name = lua_tostring(L, -1);
	for (int i = 0; name && i < T_COUNT; i++)
		if (!strcmp(name, type_names[i])) {
			lua_pop(L, 1);
			return i;
		}
	return luaL_error(L, "schema plan: no such type: %s", name ? name : "nil");
}

static void read_field(lua_State *L, struct nslua_field *f, const struct counts *c)
{
	static const int subjects[T_COUNT] = { [T_NEST] = 1, [T_RECORDS] = 1, [T_STRUCT] = 2, [T_UNION] = 3 };
	int t = lua_gettop(L);

	f->type = (uint8_t)type_code(L, t);
	f->id = (uint16_t)integer_at(L, t, "id");
	f->off = (uint16_t)integer_at(L, t, "off");
	f->flags = (uint8_t)integer_at(L, t, "flags");
	f->size = (uint32_t)integer_at(L, t, "size");
	f->key = reference(L, t, "key", c->keys) + 1;
	f->elem = reference(L, t, "elem", c->fields);
	f->enm = (int16_t)reference(L, t, "enum", c->enums);
	f->head = (int16_t)reference(L, t, "head", c->structs);
	switch (subjects[f->type]) {
	case 1:
		f->sub = (int16_t)reference(L, t, "sub", c->sets);
		break;
	case 2:
		f->sub = (int16_t)reference(L, t, "sub", c->structs);
		break;
	case 3:
		f->sub = (int16_t)reference(L, t, "sub", c->unions);
		break;
	default:
		f->sub = 0;
	}
	if (f->sub < 0 || (f->type == T_RECORDS && f->head < 0))
		luaL_error(L, "schema plan: %s without its subject", type_names[f->type]);
	if ((f->type == T_LIST || f->type == T_INDEXED || f->type == T_ARRAY || f->type == T_FIXED) && f->elem < 0)
		luaL_error(L, "schema plan: %s without its element", type_names[f->type]);
	if (f->id > NLA_ID)
		luaL_error(L, "schema plan: id out of range");
}

static int list_length(lua_State *L, const char *name)
{
	int n;

	lua_getfield(L, 1, name);
	luaL_checktype(L, -1, LUA_TTABLE);
	n = (int)lua_rawlen(L, -1);
	lua_pop(L, 1);
	if (n > 32000)
		luaL_error(L, "schema plan: too many %s", name);
	return n;
}

/* A zeroed block, kept alive by the list `blocks`. */
static void *block(lua_State *L, int blocks, size_t size)
{
	void *p = lua_newuserdatauv(L, size ? size : 1, 0);

	memset(p, 0, size);
	lua_rawseti(L, blocks, (int)lua_rawlen(L, blocks) + 1);
	return p;
}

/* `first` and `n` of the plan entry on top, checked. */
static const struct nslua_field *span(lua_State *L, const struct nslua_schema *s, const struct counts *c, int *n)
{
	int t = lua_gettop(L);
	int first = (int)integer_at(L, t, "first") - 1;

	*n = (int)integer_at(L, t, "n");
	if (first < 0 || *n < 0 || first + *n > c->fields)
		luaL_error(L, "schema plan: fields out of range");
	return s->f + first;
}

/* { key -> index + 1 } of n fields, added to the table on top. */
static void index_keys(lua_State *L, const struct nslua_field *f, int n, int keys, int sign)
{
	for (int i = 0; i < n; i++) {
		if (!f[i].key)
			continue;
		lua_rawgeti(L, keys, f[i].key);
		lua_pushinteger(L, sign * (i + 1));
		lua_rawset(L, -3);
	}
}

static void read_sets(lua_State *L, struct nslua_schema *s, const struct counts *c, int blocks)
{
	lua_getfield(L, 1, "sets");
	for (int i = 0; i < c->sets; i++) {
		struct nslua_set *set = &s->sets[i];
		uint16_t *byid;

		lua_rawgeti(L, -1, i + 1);
		set->f = span(L, s, c, &set->n);
		if (set->n > NSLUA_KEYS)
			luaL_error(L, "schema plan: a set of more than %d attributes", NSLUA_KEYS);
		lua_pop(L, 1);
		for (int k = 0; k < set->n; k++)
			if (set->f[k].id >= set->nid)
				set->nid = set->f[k].id + 1;
		byid = block(L, blocks, sizeof(*byid) * (size_t)set->nid);
		for (int k = 0; k < set->n; k++)
			if (!(set->f[k].flags & F_WRITEONLY))
				byid[set->f[k].id] = (uint16_t)(k + 1);
		set->byid = byid;
	}
	lua_pop(L, 1);
}

static void read_structs(lua_State *L, struct nslua_schema *s, const struct counts *c)
{
	lua_getfield(L, 1, "structs");
	for (int i = 0; i < c->structs; i++) {
		struct nslua_struct *st = &s->structs[i];

		lua_rawgeti(L, -1, i + 1);
		st->f = span(L, s, c, &st->n);
		st->size = (uint32_t)integer_at(L, lua_gettop(L), "size");
		lua_pop(L, 1);
		for (int k = 0; k < st->n; k++)
			if (st->f[k].off + st->f[k].size > st->size || !st->f[k].size)
				luaL_error(L, "schema plan: member out of its struct");
	}
	lua_pop(L, 1);
}

static void read_unions(lua_State *L, struct nslua_schema *s, const struct counts *c, int uv)
{
	lua_getfield(L, 1, "unions");
	lua_createtable(L, c->unions, 0);
	for (int i = 0; i < c->unions; i++) {
		lua_rawgeti(L, -2, i + 1);
		s->unions[i].selector = reference(L, lua_gettop(L), "selector", c->keys) + 1;
		s->unions[i].fallback = reference(L, lua_gettop(L), "fallback", c->fields);
		lua_getfield(L, -1, "branches");
		luaL_checktype(L, -1, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
			if (lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > c->fields)
				luaL_error(L, "schema plan: branch out of range");
		lua_rawseti(L, -3, i + 1);
		lua_pop(L, 1);
	}
	lua_rawseti(L, uv, UV_BRANCHES);
	lua_pop(L, 1);
}

static void read_enums(lua_State *L, const struct counts *c, int uv)
{
	int enums, names, values;

	lua_getfield(L, 1, "enums");
	enums = lua_gettop(L);
	lua_createtable(L, c->enums, 0);
	names = lua_gettop(L);
	lua_createtable(L, c->enums, 0);
	values = lua_gettop(L);
	for (int i = 1; i <= c->enums; i++) {
		lua_rawgeti(L, enums, i);
		lua_getfield(L, -1, "names");
		lua_rawseti(L, names, i);
		lua_getfield(L, -1, "values");
		lua_rawseti(L, values, i);
		lua_pop(L, 1);
	}
	lua_rawseti(L, uv, UV_VALUES);
	lua_rawseti(L, uv, UV_NAMES);
	lua_pop(L, 1);
}

static void index_all(lua_State *L, const struct nslua_schema *s, const struct counts *c, int uv)
{
	int keys;

	lua_rawgeti(L, uv, UV_KEYS);
	keys = lua_gettop(L);
	lua_createtable(L, c->sets, 0);
	for (int i = 0; i < c->sets; i++) {
		lua_newtable(L);
		index_keys(L, s->sets[i].f, s->sets[i].n, keys, 1);
		if (i == s->set && s->head >= 0)
			index_keys(L, s->structs[s->head].f, s->structs[s->head].n, keys, -1);
		lua_rawseti(L, -2, i + 1);
	}
	lua_rawseti(L, uv, UV_BYKEY);
	lua_createtable(L, c->structs, 0);
	for (int i = 0; i < c->structs; i++) {
		lua_newtable(L);
		index_keys(L, s->structs[i].f, s->structs[i].n, keys, 1);
		lua_rawseti(L, -2, i + 1);
	}
	lua_rawseti(L, uv, UV_BYMEMBER);
	lua_pop(L, 1);
}

/* schema.new(plan) -> schema.  The plan is what nslua.schema flattens a message's declarations into. */
static int schema_new(lua_State *L)
{
	struct counts c;
	struct nslua_schema *s;
	int uv, blocks;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	c.fields = list_length(L, "fields");
	c.sets = list_length(L, "sets");
	c.structs = list_length(L, "structs");
	c.enums = list_length(L, "enums");
	c.unions = list_length(L, "unions");
	c.keys = list_length(L, "keys");

	s = lua_newuserdatauv(L, sizeof(*s), 1);
	memset(s, 0, sizeof(*s));
	lua_createtable(L, UV_BLOCKS, 0);
	uv = lua_gettop(L);
	lua_createtable(L, 4, 0);
	blocks = lua_gettop(L);

	s->f = block(L, blocks, sizeof(*s->f) * (size_t)c.fields);
	s->sets = block(L, blocks, sizeof(*s->sets) * (size_t)c.sets);
	s->structs = block(L, blocks, sizeof(*s->structs) * (size_t)c.structs);
	s->unions = block(L, blocks, sizeof(*s->unions) * (size_t)c.unions);
	s->set = reference(L, 1, "set", c.sets);
	s->head = reference(L, 1, "head", c.structs);

	lua_getfield(L, 1, "fields");
	for (int i = 0; i < c.fields; i++) {
		lua_rawgeti(L, -1, i + 1);
		read_field(L, &s->f[i], &c);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	lua_getfield(L, 1, "keys");
	lua_rawseti(L, uv, UV_KEYS);
	lua_getfield(L, 1, "name");
	s->name = luaL_checkstring(L, -1);
	lua_rawseti(L, uv, UV_NAME);
	read_sets(L, s, &c, blocks);
	read_structs(L, s, &c);
	read_unions(L, s, &c, uv);
	read_enums(L, &c, uv);
	index_all(L, s, &c, uv);
	lua_newtable(L);
	lua_newtable(L);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawseti(L, uv, UV_CLASSES);
	lua_rawseti(L, uv, UV_BLOCKS);
	nslua_setuv(L, -2);
	luaL_setmetatable(L, NSLUA_SCHEMA); /* last: until here it is not usable */
	return 1;
}

/* S:decode(bytes) -> table with raw keys.  What has no name or does not fit its type stays as bytes under "#ID". */
static int schema_decode(lua_State *L)
{
	struct nslua_schema *s = nslua_checkschema(L, 1);
	size_t n;
	const char *p = luaL_checklstring(L, 2, &n);
	struct nslua_decoder d;

	lua_settop(L, 2);
	d.s = s;
	nslua_decoder(&d, L, 1);
	nslua_decode_message(&d, (const uint8_t *)p, n);
	return 1;
}

static int schema_tostring(lua_State *L)
{
	lua_pushfstring(L, "schema %s", nslua_checkschema(L, 1)->name);
	return 1;
}

/* schema.types() -> { name -> true }: what a declaration may call a type. */
static int schema_types(lua_State *L)
{
	lua_createtable(L, 0, T_COUNT);
	for (int i = 0; i < T_COUNT; i++) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, type_names[i]);
	}
	return 1;
}

/* schema.on_misuse(fn): fn(message [, word, known]) raises at the caller's line; encode calls it. */
static int schema_on_misuse(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "nslua.schema.misuse");
	return 0;
}

static const luaL_Reg schema_methods[] = {
	{ "encode", nslua_schema_encode }, { "decode", schema_decode }, { "row", nslua_schema_row },
	{ "path", nslua_schema_path },     { "missing", nslua_schema_missing }, { NULL, NULL },
};
static const luaL_Reg schema_meta[] = {
	{ "__tostring", schema_tostring }, { NULL, NULL },
};
static const luaL_Reg schema_functions[] = {
	{ "new", schema_new },      { "types", schema_types },       { "on_misuse", schema_on_misuse }, { "raw", nslua_row_raw },
	{ "bytes", nslua_row_bytes }, { "rowset", nslua_row_rowset }, { "isrow", nslua_row_isrow },      { "json", nslua_json },
	{ NULL, NULL },
};

int nslua_open_schema(lua_State *L)
{
	nslua_newclass(L, NSLUA_SCHEMA, schema_methods, schema_meta);
	nslua_json_init(L);
	nslua_row_init(L);
	luaL_newlib(L, schema_functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* schema.h - a compiled schema: C arrays that encode, decode and rows walk.  Internal to those that compile, encode and decode. */
#ifndef NSLUA_SCHEMA_H
#define NSLUA_SCHEMA_H

#include <stdbool.h>
#include <string.h>
#include "nslua.h"

#define NSLUA_SCHEMA "nslua.schema"
#define NSLUA_ROW "nslua.row"

/* Order as in type_names[] of schema.c. */
enum nslua_type {
	T_U8, T_U16, T_U32, T_U64, T_S8, T_S16, T_S32, T_S64, T_BE16, T_BE32, T_BE64,
	T_UINT, T_SINT, T_FLAG, T_BOOL, T_STRZ, T_STR, T_BIN, T_HEX, T_BASE64, T_IP, T_IP4, T_IP6, T_LLADDR, T_SOCKADDR,
	T_NEST, T_LIST, T_INDEXED, T_STRUCT, T_ARRAY, T_UNION, T_RECORDS,
	T_PAD, T_BYTES, T_CHARS, T_BITSET, T_FIXED, T_COUNT
};

enum { F_MULTI = 1, F_NONESTED = 2, F_WRITEONLY = 4, F_NETORDER = 8, F_BITS = 16 /* the enum is of bit flags */ };

struct nslua_field {
	uint16_t id;    /* attribute id */
	uint16_t off;   /* offset, in a struct */
	uint8_t type;
	uint8_t flags;
	uint32_t size;  /* fixed size in bytes; longest strz; id of a list's children (0: counted from 1) */
	int32_t key;    /* index into the schema's keys; 0: an element, a branch or padding */
	int32_t elem;   /* field of the element, -1: none */
	int16_t enm;    /* enum, -1: none */
	int16_t sub;    /* set, struct or union */
	int16_t head;   /* struct in front of a nest's attributes, -1: none */
};

/* Attributes, in the order of the declaration. */
struct nslua_set {
	const struct nslua_field *f;
	int n;
	int nid;             /* size of byid */
	const uint16_t *byid; /* id -> index in f + 1; 0: unknown */
};

struct nslua_struct {
	const struct nslua_field *f;
	int n;
	uint32_t size;
};

struct nslua_union {
	int32_t selector; /* key */
	int32_t fallback; /* field, -1: none, read as bytes */
};

struct nslua_schema {
	const char *name; /* of the message, owned by the user value */
	struct nslua_field *f;
	struct nslua_set *sets;
	struct nslua_struct *structs;
	struct nslua_union *unions;
	int set;  /* of the message's attributes, -1: none */
	int head; /* struct of its header, -1: none */
};

/* The user value of a schema is a table of these; each but KEYS and CLASSES is a list by number. */
enum {
	UV_KEYS = 1,  /* number -> key */
	UV_BYKEY,     /* set -> { key -> index in f + 1 }; the root also has header members, as -(index + 1) */
	UV_NAMES,     /* enum -> { value -> name } */
	UV_VALUES,    /* enum -> { name -> value } */
	UV_BRANCHES,  /* union -> { selector -> field + 1 } */
	UV_BYMEMBER,  /* struct -> { key -> index in f + 1 } */
	UV_CLASSES,   /* class -> layout, weak keys (row.c) */
	UV_NAME,
	UV_BLOCKS     /* the userdata that hold the arrays */
};

#define NSLUA_DEPTH 16 /* nests deeper than this are kept as bytes, and refused in encode */
#define NSLUA_KEYS 1024 /* attributes of one set */
#define NLA_ALIGN4(n) (((n) + 3u) & ~3u)
#define NLA_ID 0x3fff

/* One attribute of a message: checked against the bytes that are left. */
struct nslua_attr {
	const uint8_t *p;
	uint32_t len;
	uint16_t type; /* with its two flag bits */
};

/* Step to the next attribute; false at the end or where the rest is no attribute. */
static inline bool nslua_attr_next(const uint8_t **p, size_t *left, struct nslua_attr *a)
{
	uint16_t len;

	if (*left < 4)
		return false;
	memcpy(&len, *p, 2);
	if (len < 4 || len > *left)
		return false;
	memcpy(&a->type, *p + 2, 2);
	a->p = *p + 4;
	a->len = len - 4u;
	if (NLA_ALIGN4(len) >= *left) {
		*p += *left;
		*left = 0;
	} else {
		*p += NLA_ALIGN4(len);
		*left -= NLA_ALIGN4(len);
	}
	return true;
}

/* Where decoding stands: selectors of unions are looked for here and outwards. */
struct nslua_scope {
	int set, head;
	const uint8_t *headp, *attrs;
	size_t headlen, len;
	const struct nslua_scope *up;
};

struct nslua_decoder {
	lua_State *L;
	const struct nslua_schema *s;
	int uv, keys; /* stack slots */
	bool json;    /* numbers beyond Lua and empty objects as raw text (json.c) */
	bool strict;  /* leave out what has no name */
};

static inline const struct nslua_field *nslua_byid(const struct nslua_set *set, uint16_t type)
{
	unsigned int id = type & NLA_ID;

	if ((int)id >= set->nid || !set->byid[id])
		return NULL;
	return &set->f[set->byid[id] - 1];
}

/* The user value of any Lua: one table. */
static inline void nslua_getuv(lua_State *L, int i)
{
#if LUA_VERSION_NUM >= 504
	lua_getiuservalue(L, i, 1);
#elif LUA_VERSION_NUM == 501
	lua_getfenv(L, i);
#else
	lua_getuservalue(L, i);
#endif
}
static inline void nslua_setuv(lua_State *L, int i)
{
#if LUA_VERSION_NUM >= 504
	lua_setiuservalue(L, i, 1);
#elif LUA_VERSION_NUM == 501
	lua_setfenv(L, i);
#else
	lua_setuservalue(L, i);
#endif
}

struct nslua_schema *nslua_checkschema(lua_State *L, int arg);                  /* schema.c */
const char *nslua_typename(int type);                                           /* schema.c */

void nslua_decoder(struct nslua_decoder *d, lua_State *L, int schema);          /* decode.c: takes two stack slots */
void nslua_decode_message(struct nslua_decoder *d, const uint8_t *p, size_t n); /* pushes a table */
bool nslua_decode_value(struct nslua_decoder *d, const struct nslua_field *f, const uint8_t *p, size_t n,
			const struct nslua_scope *up, int depth);               /* pushes a value, or false and nothing: it does not fit its type */
bool nslua_decode_attr(struct nslua_decoder *d, const struct nslua_field *f, const struct nslua_scope *root);
void nslua_root_scope(const struct nslua_schema *s, const uint8_t *p, size_t n, struct nslua_scope *sc);
void nslua_open_scope(const struct nslua_schema *s, int set, int head, const uint8_t *p, size_t n,
		      const struct nslua_scope *up, struct nslua_scope *sc);
const struct nslua_field *nslua_branch(struct nslua_decoder *d, const struct nslua_field *f, const struct nslua_scope *sc, int depth); /* union.c */

uint64_t nslua_load(int type, const uint8_t *p);                                /* number.c: a number of that type, sign-extended */
void nslua_push_integer(struct nslua_decoder *d, const struct nslua_field *f, uint64_t v);

int nslua_schema_encode(lua_State *L);                                          /* encode.c */
int nslua_schema_path(lua_State *L);                                            /* path.c */
int nslua_schema_missing(lua_State *L);
int nslua_schema_row(lua_State *L);                                             /* row.c */
int nslua_row_raw(lua_State *L);
int nslua_row_rowset(lua_State *L);
int nslua_row_bytes(lua_State *L);
int nslua_row_isrow(lua_State *L);
const uint8_t *nslua_row_peek(lua_State *L, int arg, size_t *n);
void nslua_row_init(lua_State *L);

/*
 * A row's context is its metatable, shared by all rows of one result.  CTX_MEMO: row -> { key -> table made of it }, weak keys; CTX_ROW marks
 * it as one.  The layout in it is what a class makes of a schema (class.c).
 */
enum { CTX_SCHEMA = 1, CTX_LOOKUP, CTX_METHODS, CTX_LAYOUT, CTX_ROWSET, CTX_KEEP, CTX_MEMO, CTX_ROW };
/* LOOKUP: key -> index of the attribute's field + 1, -(index + 1) of the header's, or LOOKUP_ENTRY + index of its entry + 1. */
enum { LAY_LOOKUP = 1, LAY_METHODS, LAY_SAME, LAY_NAME, LAY_CLASS, LAY_ENTRIES, LAY_KEYS, LAY_EXTRAS, LAY_CALLS };
#define LOOKUP_ENTRY 0x10000

/* How a field that a row shows comes about; the order is that of how_names[] in class.c. */
enum nslua_how {
	HOW_RAW,    /* as the kernel sent it */
	HOW_CALL,   /* by a function; nil where neither of the fields is there */
	HOW_PREFIX, /* a: address, b: its length */
	HOW_LINK,   /* a: index, by the row set's names */
	HOW_NAME,   /* a, or else b: number, by a table of names */
	HOW_FLAG    /* a, or else b: bits */
};
struct nslua_entry {
	uint8_t how;
	bool no;        /* of HOW_FLAG: false where it is not set, not nil */
	uint16_t want[2]; /* where neither of these attributes is there, neither is it; 0 at first: it may be in any case */
	int32_t of[2];  /* fields it is made of, as in LOOKUP; 0: none */
	uint64_t bits;
};
/* All of them, by the order of their keys: LAY_KEYS, LAY_EXTRAS (names, the text of no address), LAY_CALLS are lists in step with it. */
struct nslua_entries {
	int n;
	struct nslua_entry e[];
};
int nslua_row_decode(lua_State *L);                                             /* row.c: the methods every row has */
int nslua_row_json(lua_State *L);

/* Where a row is read (entry.c). */
struct nslua_reader {
	lua_State *L;
	const struct nslua_schema *s;
	const uint8_t *p;
	size_t n;
	int row, context; /* stack slots */
	int uv;        /* slot of the schema's tables, its keys behind it; 0: not there yet */
	bool json, strict;
	struct nslua_scope root;
	const struct nslua_attr *seen; /* by id, below `seen_n`; NULL: not gone through */
	int seen_n;
};
bool nslua_entry_push(struct nslua_reader *r, int i, const struct nslua_entry *e, int layout); /* pushes a value, or false and nothing */
bool nslua_raw_push(struct nslua_reader *r, int32_t lookup);

/* The metatable that rows of one schema, class and row set share; `keep` is kept alive by it (0: nothing).  Pushes it. */
void nslua_row_context(lua_State *L, int schema, int cls, int rowset, int keep);
void nslua_row_seal(lua_State *L, int context);                                 /* row.c: the metamethods */
void nslua_row_push(lua_State *L, int context, const uint8_t *p, size_t n);
void nslua_row_borrow(lua_State *L, int context, const uint8_t *p, size_t n, const uint32_t *turn);

/* Text that grows in a userdata at a fixed stack slot: nothing is lost if Lua raises (json.c). */
struct nslua_out {
	lua_State *L;
	int slot;
	char *p;
	size_t n, size;
};
void nslua_json_init(lua_State *L);
void nslua_json_raw(lua_State *L, const char *text);
int nslua_json_text(lua_State *L, int value);
void nslua_json_add(struct nslua_out *o, const char *s, size_t n);
void nslua_json_string(struct nslua_out *o, const char *text, size_t n);
void nslua_json_value(struct nslua_out *o, int value);
int nslua_json(lua_State *L);

bool nslua_push_bytes(lua_State *L, const struct nslua_field *f, const uint8_t *p, size_t n); /* bytes.c: as text, or false and nothing */
bool nslua_push_bitset(struct nslua_decoder *d, const uint8_t *p, size_t n);    /* bitset.c */
void nslua_push_bit_at(lua_State *L, const uint8_t *p, size_t n, const uint8_t *at);

/* Text of addresses (address.c).  to_text returns the length; from_text the number of bytes or -1. */
#define NSLUA_LLADDR 32
int nslua_ip_text(const uint8_t *p, size_t n, char out[64]);
int nslua_ip_parse(const char *text, size_t len, uint8_t out[16]);
struct nslua_prefix {
	uint8_t bytes[16];
	int size;       /* 4 or 16 */
	int length;
	size_t address; /* how much of the text that is */
};
bool nslua_prefix_parse(const char *text, size_t len, struct nslua_prefix *x); /* inet.c: an address, or one with a length */
int nslua_lladdr_text(const uint8_t *p, size_t n, char out[3 * NSLUA_LLADDR]);
int nslua_lladdr_parse(const char *text, size_t len, uint8_t out[NSLUA_LLADDR]);

#endif

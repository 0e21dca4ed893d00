/* SPDX-License-Identifier: MIT */
/* encode.h - the state of one encode, shared by encode.c (tables), scalar.c (values), union.c and misuse.c (the buffer, and what is wrong). */
#ifndef NSLUA_ENCODE_H
#define NSLUA_ENCODE_H

#include "schema.h"


/* Where encoding stands: for error paths and for selectors of unions. */
struct place {
	int set, head, tab;
	int32_t key;        /* the key being encoded, 0: none */
	lua_Integer index;  /* of a list, 0: none */
	const char *branch; /* of a union */
	int depth;
	struct place *up;
};

struct encoder {
	lua_State *L;
	const struct nslua_schema *s;
	int uv, keys, buffer; /* stack slots */
	uint8_t *p;
	size_t n, size;
	uint8_t first[2048];
};

/* The reason is on top; raises "path: reason" at the first line outside nslua.  `known`: a table to search for a near word, or 0. */
__attribute__((noreturn)) void nslua_encode_misuse(struct encoder *e, struct place *at, const char *word, int known);
/* "what expected, got ..." of the value on top. */
__attribute__((noreturn)) void nslua_encode_expected(struct encoder *e, struct place *at, const char *what);
/* Room for n bytes more, zeroed; valid until the next call. */
void *nslua_encode_room(struct encoder *e, size_t n);
void nslua_encode_bytes(struct encoder *e, const void *bytes, size_t n);

/* Values, from the top of the stack (scalar.c). */
uint64_t nslua_encode_number(struct encoder *e, struct place *at, int type);
uint64_t nslua_encode_named(struct encoder *e, struct place *at, const struct nslua_field *f, const char *what);
const char *nslua_encode_string(struct encoder *e, struct place *at, const char *what, size_t *n);
void nslua_encode_integer(struct encoder *e, struct place *at, const struct nslua_field *f);
void nslua_encode_text(struct encoder *e, struct place *at, const struct nslua_field *f);
void nslua_encode_address(struct encoder *e, struct place *at, const struct nslua_field *f);
void nslua_encode_bytes_of(struct encoder *e, struct place *at, const struct nslua_field *f); /* bytes.c */
void nslua_encode_bitset(struct encoder *e, struct place *at);                                /* bitset.c */

/* Push a text with the word of a caller in it, of which what is long is cut. */
void nslua_encode_quote(lua_State *L, const char *before, const char *word);

/* The field that stands for a union here, NULL: bytes; the value is on top.  The branch's name stays in the place, for paths (union.c). */
const struct nslua_field *nslua_encode_branch(struct encoder *e, struct place *at, const struct nslua_field *f);

#endif

/* SPDX-License-Identifier: MIT */
/* socktext.c - many sockets as the lines of ss(8), from the bytes of their messages: a Lua value for each cell takes longer than the kernel. */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <stdio.h>
#include "owners.h"
#include "schema.h"

enum { NETID, STATE, RECV, SEND, LOCAL, PEER, PROCESS, COLUMNS };

static const char *const states[] = { NULL, "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT",
				      "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV" };

struct cell {
	const char *p;
	size_t n;
};

/* What a line is made of.  A cell points into what Lua has on its stack or in a table, or into `text`. */
struct line {
	struct cell c[COLUMNS + 1]; /* the last: what stands in a line below it */
	uint64_t inode;
	bool own; /* Lua wrote its cells */
	char text[2][160], queue[2][16];
};

struct table {
	lua_State *L;
	int rows, cells, devs;   /* stack slots */
	const void *context;     /* of the row before; its protocol is at `proto` */
	int proto;
};

static struct cell word(const char *p)
{
	return (struct cell){ p, strlen(p) };
}

/* A number; returns the end of it.  printf(3) takes a third of the time otherwise. */
static char *put(char *out, uint32_t v)
{
	char text[10];
	int n = 0;

	do
		text[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*out++ = text[--n];
	return out;
}

static char *put_text(char *out, const char *text, size_t most)
{
	size_t n = strnlen(text, most);

	memcpy(out, text, n);
	return out + n;
}

/* "10.0.0.1%eth0:80", "[::1]:80", "*:*": an IPv6 socket at :: hears IPv4 too, where it is not told to leave it. */
static struct cell end(char out[160], const struct inet_diag_msg *m, const uint32_t address[4], uint16_t port, bool v6only, const char *dev)
{
	const bool six = m->idiag_family == AF_INET6;
	char *o = out, text[64];

	nslua_ip_text((const uint8_t *)address, six ? 16 : 4, text);
	if (six && !v6only && strcmp(text, "::") == 0) {
		*o++ = '*';
	} else {
		if (six)
			*o++ = '[';
		o = put_text(o, text, sizeof(text));
		if (six)
			*o++ = ']';
		if (dev) {
			*o++ = '%';
			o = put_text(o, dev, 70);
		}
	}
	*o++ = ':';
	if (port)
		o = put(o, ntohs(port));
	else
		*o++ = '*';
	return (struct cell){ out, (size_t)(o - out) };
}

/* The cells that Lua wrote: the table on top. */
static void own_cells(lua_State *L, struct line *l)
{
	for (int i = 0; i <= COLUMNS; i++) {
		lua_rawgeti(L, -1, i + 1);
		if (lua_type(L, -1) == LUA_TSTRING)
			l->c[i].p = lua_tolstring(L, -1, &l->c[i].n);
		else
			l->c[i] = (struct cell){ "", 0 };
		lua_pop(L, 1); /* it stays in its table */
	}
	l->own = true;
}

/* The protocol is that of the row's set, whose metatable is on top. */
static void protocol(struct table *t)
{
	lua_State *L = t->L;

	if (lua_topointer(L, -1) == t->context)
		return;
	t->context = lua_topointer(L, -1);
	lua_rawgeti(L, -1, CTX_ROWSET);
	if (lua_istable(L, -1))
		lua_getfield(L, -1, "proto");
	else
		lua_pushnil(L);
	if (lua_type(L, -1) != LUA_TSTRING) {
		lua_pop(L, 1);
		lua_pushliteral(L, "?");
	}
	lua_replace(L, t->proto);
	lua_pop(L, 1);
}

/* The cells of row i.  Pushes two values, which they may point into. */
static void make(struct table *t, int i, struct line *l)
{
	lua_State *L = t->L;
	struct inet_diag_msg m;
	const char *dev = NULL;
	struct nslua_attr a;
	const uint8_t *p;
	bool v6only = false;
	char name[16];
	size_t n;

	lua_rawgeti(L, t->rows, i);
	lua_rawgeti(L, t->cells, i);
	if (lua_istable(L, -1)) {
		own_cells(L, l);
		return;
	}
	lua_pop(L, 1);
	p = nslua_row_peek(L, lua_gettop(L), &n);
	if (!p || n < sizeof(m)) {
		luaL_error(L, "row %d is no row of internet sockets", i);
		return;
	}
	memcpy(&m, p, sizeof(m));
	lua_getmetatable(L, -1);
	protocol(t);
	lua_pop(L, 1);
	p += sizeof(m);
	n -= sizeof(m);
	while (nslua_attr_next(&p, &n, &a))
		if ((a.type & NLA_ID) == INET_DIAG_SKV6ONLY && a.len >= 1)
			v6only = a.p[0] != 0;
	lua_pushnil(L);
	if (m.id.idiag_if) {
		lua_pop(L, 1);
		lua_pushnumber(L, m.id.idiag_if);
		lua_gettable(L, t->devs); /* asks for the name at first */
		dev = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
		if (!dev) {
			snprintf(name, sizeof(name), "if%u", m.id.idiag_if);
			dev = name;
		}
	}
	l->own = false;
	l->inode = m.idiag_inode;
	l->c[NETID] = word(lua_tostring(L, t->proto));
	l->c[STATE] = word(m.idiag_state && m.idiag_state < sizeof(states) / sizeof(*states) ? states[m.idiag_state] : "UNCONN");
	l->c[RECV] = (struct cell){ l->queue[0], (size_t)(put(l->queue[0], m.idiag_rqueue) - l->queue[0]) };
	l->c[SEND] = (struct cell){ l->queue[1], (size_t)(put(l->queue[1], m.idiag_wqueue) - l->queue[1]) };
	l->c[LOCAL] = end(l->text[0], &m, m.id.idiag_src, m.id.idiag_sport, v6only, dev);
	l->c[PEER] = end(l->text[1], &m, m.id.idiag_dst, m.id.idiag_dport, v6only, NULL);
	l->c[PROCESS] = l->c[COLUMNS] = (struct cell){ "", 0 };
}

static void blanks(struct nslua_out *out, size_t n)
{
	static const char some[] = "                                ";

	for (; n; n -= n < sizeof(some) - 1 ? n : sizeof(some) - 1)
		nslua_json_add(out, some, n < sizeof(some) - 1 ? n : sizeof(some) - 1);
}

/* users:(("nginx",pid=12,fd=3)); the names of commands are at `names`, fit to be seen. */
static void users(lua_State *L, struct nslua_out *out, const struct nslua_owners *scan, int names, uint64_t inode)
{
	size_t count;
	const struct nslua_owner *o = nslua_owners_of(scan, inode, &count);

	for (size_t i = 0; i < count; i++) {
		char text[64], *p;
		size_t n;
		const char *name;

		nslua_json_add(out, i ? ",(\"" : "users:((\"", i ? 3 : 9);
		lua_rawgeti(L, names, (int)o[i].process + 1);
		name = luaL_checklstring(L, -1, &n);
		nslua_json_add(out, name, n);
		lua_pop(L, 1);
		p = put_text(text, "\",pid=", 7);
		p = put(p, (uint32_t)o[i].pid);
		p = put_text(p, ",fd=", 4);
		p = put(p, (uint32_t)o[i].fd);
		*p++ = ')';
		nslua_json_add(out, text, (size_t)(p - text));
	}
	if (count)
		nslua_json_add(out, ")", 1);
}

/* The cells of the list at `arg`, which are shown or not. */
static unsigned int shown(lua_State *L, int arg)
{
	unsigned int bits = 0;

	for (int i = 0; i < COLUMNS; i++) {
		lua_rawgeti(L, arg, i + 1);
		bits |= lua_toboolean(L, -1) ? 1u << i : 0;
		lua_pop(L, 1);
	}
	return bits;
}

static void write_line(struct nslua_out *out, const struct line *l, unsigned int columns, const size_t widths[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		const size_t pad = i < PROCESS && l->c[i].n < widths[i] ? widths[i] - l->c[i].n : 0;

		if (!(columns & 1u << i))
			continue;
		if (i >= LOCAL)
			blanks(out, pad);
		nslua_json_add(out, l->c[i].p, l->c[i].n);
		if (i < LOCAL)
			blanks(out, pad);
		if (i < PROCESS)
			nslua_json_add(out, " ", 1);
	}
}

static void trim(struct nslua_out *out, size_t start)
{
	while (out->n > start && out->p[out->n - 1] == ' ')
		out->n--;
}

/*
 * socktext.lines(rows, cells, columns, head, devs, oneline [, scan, names]) -> text.  cells[i] is a list of eight texts where Lua writes row i
 * itself; columns says which of the seven are shown; head is a list of headings or nil; devs: index -> name; names: of scan:commands(), fit to be seen.
 */
static int socktext_lines(lua_State *L)
{
	const struct nslua_owners *scan = lua_isnoneornil(L, 7) ? NULL : nslua_owners_check(L, 7);
	struct table t = { L, 1, 2, 5, NULL, 10 };
	struct nslua_out out = { L, 9, NULL, 0, 4096 };
	size_t widths[COLUMNS] = { 0 }, start;
	const bool oneline = lua_toboolean(L, 6);
	unsigned int columns;
	struct line l;
	int count;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	luaL_checktype(L, 5, LUA_TTABLE);
	if (scan)
		luaL_checktype(L, 8, LUA_TTABLE);
	lua_settop(L, 10);
	luaL_checkstack(L, 20, "socktext");
	columns = shown(L, 3);
	count = (int)lua_rawlen(L, 1);
	if (lua_istable(L, 4)) {
		lua_pushvalue(L, 4);
		own_cells(L, &l);
		for (int k = 0; k < COLUMNS; k++)
			widths[k] = l.c[k].n;
		lua_pop(L, 1);
	}
	for (int i = 1; i <= count; i++) {
		make(&t, i, &l);
		lua_pop(L, 2);
		for (int k = 0; k < COLUMNS; k++)
			if (l.c[k].n > widths[k])
				widths[k] = l.c[k].n;
	}
	if (lua_istable(L, 4)) {
		lua_pushvalue(L, 4);
		own_cells(L, &l);
		write_line(&out, &l, columns, widths);
		lua_pop(L, 1);
		trim(&out, 0);
		nslua_json_add(&out, "\n", 1);
	}
	for (int i = 1; i <= count; i++) {
		make(&t, i, &l);
		start = out.n;
		write_line(&out, &l, columns, widths);
		if (!l.own && scan && (columns & 1u << PROCESS))
			users(L, &out, scan, 8, l.inode);
		trim(&out, start);
		if (l.c[COLUMNS].n) {
			nslua_json_add(&out, oneline ? " " : "\n\t ", oneline ? 1 : 3);
			nslua_json_add(&out, l.c[COLUMNS].p, l.c[COLUMNS].n);
		}
		nslua_json_add(&out, "\n", 1);
		lua_pop(L, 2);
	}
	lua_pushlstring(L, out.p ? out.p : "", out.n);
	return 1;
}

int nslua_open_socktext(lua_State *L)
{
	static const luaL_Reg functions[] = { { "lines", socktext_lines }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* dump.c - a dump, drained from the kernel before any Lua sees it: an open one blocks the socket, and a slow reader tears it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include "netlink.h"
#include "schema.h"

#define RETRIES 10
#define CHUNK (512 * 1024)

static const char gone[] = "this dump has been gone through, or collected";

/* Datagrams as they came, one behind the other. */
struct chunk {
	struct chunk *next;
	size_t used, size;
	uint8_t data[];
};

struct dump {
	struct chunk *first, *last;
	uint32_t seq, portid;
	size_t count;
	bool interrupted; /* the objects changed while the kernel wrote: after every retry */
	bool filtered;    /* the kernel says that it applied the filter of the request */
	uint32_t turn;    /* changes with every step: rows of the one before have expired */
	uint32_t life;    /* changes when the chunks are freed or given to `rows`: nobody else may go through them then */
	/* where message number `index` is, for those who step through */
	const struct chunk *chunk;
	size_t offset, index;
};

struct cursor {
	const struct chunk *chunk;
	size_t offset;
	uint32_t life;
};

static void reset(struct dump *d)
{
	struct chunk *c = d->first;

	while (c) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
	d->first = d->last = NULL;
	d->count = 0;
	d->filtered = false;
	d->chunk = NULL;
	d->index = 0;
	d->turn++;
	d->life++;
}

static struct chunk *room(struct dump *d)
{
	struct chunk *c = d->last;
	size_t size = c ? CHUNK : NL_BUFFER;

	if (c && c->size - c->used >= NL_BUFFER)
		return c;
	c = malloc(sizeof(*c) + size);
	if (!c)
		return NULL;
	c->next = NULL;
	c->used = 0;
	c->size = size;
	if (d->last)
		d->last->next = c;
	else
		d->first = c;
	d->last = c;
	return c;
}

/* A message that is part of the dump, not an alien one or its end. */
static bool part(const struct dump *d, const struct nlmsghdr *h)
{
	return h->nlmsg_seq == d->seq && h->nlmsg_pid == d->portid && h->nlmsg_type >= NLMSG_MIN_TYPE;
}

static const struct nlmsghdr *step(const struct dump *d, struct cursor *at)
{
	while (at->chunk) {
		const uint8_t *p = at->chunk->data + at->offset;
		size_t left = at->chunk->used - at->offset;
		const struct nlmsghdr *h;

		if (!nslua_netlink_next(&p, &left, &h)) {
			at->chunk = at->chunk->next;
			at->offset = 0;
			continue;
		}
		at->offset = at->chunk->used - left;
		if (part(d, h))
			return h;
	}
	return NULL;
}

/* Look through one datagram.  Returns its end marker (DONE or ERROR) or NULL. */
static const struct nlmsghdr *scan(struct dump *d, const uint8_t *p, size_t left, bool *interrupted)
{
	const struct nlmsghdr *h;

	while (nslua_netlink_next(&p, &left, &h)) {
		if (h->nlmsg_seq != d->seq || h->nlmsg_pid != d->portid)
			continue;
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = true; /* any part may say so, the last one too */
		if (h->nlmsg_flags & NLM_F_DUMP_FILTERED)
			d->filtered = true;
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return h;
		if (part(d, h))
			d->count++;
	}
	return NULL;
}

static void record(lua_State *L, const struct nlmsghdr *h)
{
	nslua_netlink_record(L, h->nlmsg_type, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
}

/* Whether a message is of that address family, its first byte in every header of rtnetlink(7); 0: of any. */
static bool of_family(const struct nlmsghdr *h, int family)
{
	return !family || (NLMSG_PAYLOAD(h, 0) > 0 && *(const uint8_t *)NLMSG_DATA(h) == family);
}

/* What the end of a dump says went wrong: an errno, 0 nothing. */
static int failure(const struct nlmsghdr *end)
{
	int error = nslua_netlink_error(end);

	/* a strict dump of a table that is not there: empty */
	return error == ENOENT && end->nlmsg_type == NLMSG_DONE ? 0 : error;
}

static int send_dump(lua_State *L, struct nslua_netlink *s, struct dump *d, int type, int flags, const char *payload, size_t n)
{
	struct nlmsghdr h = {
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(n), .nlmsg_type = (uint16_t)type,
		.nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST | NLM_F_DUMP), .nlmsg_seq = d->seq, .nlmsg_pid = s->portid,
	};
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, n } };

	return nslua_netlink_send(L, s, iov, 2);
}

/* Drain one dump: 0 when complete, else the number of values pushed that say why not. */
static int drain(lua_State *L, struct nslua_netlink *s, struct dump *d, double deadline, bool *interrupted)
{
	const struct nlmsghdr *end = NULL;

	s->stale = d->seq; /* until its end was read */
	while (!end) {
		struct chunk *c = room(d);
		ssize_t n;

		if (!c)
			return nslua_failen(L, "netlink dump", ENOMEM); /* stale: the next dump reads the rest away */
		n = nslua_netlink_recv(L, s, c->data + c->used, NL_BUFFER, deadline);
		if (n < 0)
			return nslua_fail(L, "netlink receive");
		if (n == 0)
			return nslua_failen(L, "netlink dump", ETIMEDOUT);
		end = scan(d, c->data + c->used, (size_t)n, interrupted);
		c->used += NLMSG_ALIGN((size_t)n);
		if (c->used > c->size)
			c->used = c->size;
	}
	s->stale = 0;
	return failure(end) ? nslua_netlink_fail(L, end) : 0;
}

/*
 * nl:dump(type, flags, payload [, seconds]) -> dump, or nil, message, errno, extack.  NLM_F_REQUEST and NLM_F_DUMP are set here.
 * Everything is read before it returns; a dump the kernel calls inconsistent is made again, ten times, and then has `interrupted`.
 */
int nslua_netlink_dump(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	int type = (int)luaL_checkinteger(L, 2), flags = (int)luaL_checkinteger(L, 3);
	size_t n;
	const char *payload = luaL_checklstring(L, 4, &n);
	double deadline = nslua_netlink_deadline(L, 5);
	struct dump *d = lua_newuserdatauv(L, sizeof(*d), 1);

	memset(d, 0, sizeof(*d));
	luaL_setmetatable(L, NSLUA_DUMP);
	d->portid = s->portid;
	for (int i = 0; i <= RETRIES; i++) {
		int failed;

		if (nslua_netlink_settle(L, s) < 0)
			return nslua_fail(L, "netlink receive");
		reset(d);
		d->interrupted = false;
		d->seq = nslua_netlink_seq(s);
		if (send_dump(L, s, d, type, flags, payload, n) < 0)
			return nslua_fail(L, "netlink send");
		failed = drain(L, s, d, deadline, &d->interrupted);
		if (failed)
			return failed;
		if (!d->interrupted)
			break;
	}
	return 1;
}

/* What a protected call of gather() works on. */
struct gathering {
	struct nslua_netlink *s;
	struct dump *d; /* without chunks */
	double deadline;
	int family;
	int failed; /* so many values say why; 0: the list is whole */
};

/* The rows of one dump, made datagram by datagram: the kernel's bytes are still near then, and no more memory is taken than the rows have. */
static int gather(lua_State *L)
{
	struct gathering *g = lua_touserdata(L, 1);
	struct nslua_netlink *s = g->s;
	struct dump *d = g->d;
	const struct nlmsghdr *end = NULL;
	int n = 0;

	lua_newtable(L); /* 3; the rows' context is at 2 */
	s->stale = d->seq;
	while (!end) {
		ssize_t got = nslua_netlink_recv(L, s, s->buffer, NL_BUFFER, g->deadline);
		const uint8_t *p = s->buffer;
		size_t left = (size_t)(got > 0 ? got : 0);
		const struct nlmsghdr *h;

		if (got <= 0)
			return g->failed = got < 0 ? nslua_fail(L, "netlink receive") : nslua_failen(L, "netlink dump", ETIMEDOUT);
		end = scan(d, p, left, &d->interrupted);
		while (nslua_netlink_next(&p, &left, &h) && h != end) {
			if (!part(d, h))
				continue;
			record(L, h);
			if (!of_family(h, g->family))
				continue;
			nslua_row_push(L, 2, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			lua_rawseti(L, 3, ++n);
		}
	}
	s->stale = 0;
	if (failure(end))
		return g->failed = nslua_netlink_fail(L, end);
	return 1;
}

/*
 * nl:list(type, flags, payload, S [, class [, rowset [, family [, seconds]]]]) -> list of rows, interrupted; or nil, message, errno, extack.
 * What dump(...):rows(...) gives, in less time and memory.
 */
int nslua_netlink_list(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	int type = (int)luaL_checkinteger(L, 2), flags = (int)luaL_checkinteger(L, 3);
	size_t n;
	const char *payload = luaL_checklstring(L, 4, &n);
	struct dump d = { .portid = s->portid };
	struct gathering g = { .s = s, .d = &d, .family = (int)luaL_optinteger(L, 8, 0), .deadline = nslua_netlink_deadline(L, 9) };

	nslua_checkschema(L, 5);
	lua_settop(L, 7);
	nslua_row_context(L, 5, 6, 7, 0); /* 8 */
	for (int i = 0; i <= RETRIES; i++) {
		int rc;

		lua_settop(L, 8);
		if (nslua_netlink_settle(L, s) < 0)
			return nslua_fail(L, "netlink receive");
		d.interrupted = false;
		d.seq = nslua_netlink_seq(s);
		if (send_dump(L, s, &d, type, flags, payload, n) < 0)
			return nslua_fail(L, "netlink send");
		/* A finaliser may run, and is to leave the socket alone; whatever is raised, the socket is free afterwards. */
		lua_pushcfunction(L, gather);
		lua_pushlightuserdata(L, &g);
		lua_pushvalue(L, 8);
		s->busy = true;
		rc = lua_pcall(L, 2, LUA_MULTRET, 0);
		s->busy = false;
		if (rc)
			return lua_error(L);
		if (g.failed)
			return g.failed;
		if (!d.interrupted)
			break;
	}
	lua_pushboolean(L, d.interrupted);
	return 2;
}

static struct dump *check(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, NSLUA_DUMP);
}

/* Message i from 1; the next one after the last asked for is near. */
static const struct nlmsghdr *at(lua_State *L, struct dump *d, int arg)
{
	lua_Integer i = luaL_checkinteger(L, arg);
	struct cursor c = { d->chunk, d->offset, d->life };
	const struct nlmsghdr *h = NULL;

	luaL_argcheck(L, i >= 1 && (size_t)i <= d->count, arg, "no message of that number");
	if (!c.chunk || (size_t)i <= d->index) {
		c.chunk = d->first;
		c.offset = 0;
		d->index = 0;
	}
	while (d->index < (size_t)i) {
		h = step(d, &c);
		if (!h)
			break;
		d->index++;
	}
	d->chunk = c.chunk;
	d->offset = c.offset;
	luaL_argcheck(L, h, arg, "no message of that number");
	record(L, h);
	return h;
}

/* dump:message(i) -> type, bytes. */
static int dump_message(lua_State *L)
{
	const struct nlmsghdr *h = at(L, check(L, 1), 2);

	lua_pushinteger(L, h->nlmsg_type);
	lua_pushlstring(L, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
	return 2;
}

/* dump:row(i, S [, class [, rowset]]) -> an independent row. */
static int dump_row(lua_State *L)
{
	struct dump *d = check(L, 1);
	const struct nlmsghdr *h = at(L, d, 2);

	nslua_checkschema(L, 3);
	lua_settop(L, 5);
	nslua_row_context(L, 3, 4, 5, 0);
	nslua_row_push(L, 6, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
	return 1;
}

/* What has been gone through is not needed any more. */
static void forget(struct dump *d, const struct chunk *until)
{
	while (d->first != until) {
		struct chunk *next = d->first->next;

		free(d->first);
		d->first = next;
	}
	if (!until)
		reset(d);
}

/*
 * dump:rows(S [, class [, rowset [, keep [, family]]]]) -> list of independent rows; with keep, those for which keep(row) is true
 * (that row lives only during the call); with family, those of that number.  The dump is empty then.
 */
static int dump_rows(lua_State *L)
{
	struct dump *d = check(L, 1);
	struct cursor c = { d->first, 0, 0 };
	const struct nlmsghdr *h;
	int n = 0, borrow = 0, family = (int)luaL_optinteger(L, 6, 0);
	bool filter;

	nslua_checkschema(L, 2);
	lua_settop(L, 5);
	filter = !lua_isnil(L, 5);
	nslua_row_context(L, 2, 3, 4, 0); /* 6 */
	if (filter) {
		nslua_row_context(L, 2, 3, 4, 1); /* 7 */
		borrow = lua_gettop(L);
	}
	lua_createtable(L, filter ? 0 : (int)d->count, 0);
	d->count = 0; /* nobody finds one by its number any more */
	d->chunk = NULL;
	d->index = 0;
	c.life = ++d->life;
	d->turn++;
	while ((h = step(d, &c))) {
		const void *p = NLMSG_DATA(h);
		size_t len = NLMSG_PAYLOAD(h, 0);

		forget(d, c.chunk);
		record(L, h);
		if (!of_family(h, family))
			continue;
		if (filter) {
			bool wanted;

			lua_pushvalue(L, 5);
			nslua_row_borrow(L, borrow, p, len, &d->turn);
			lua_call(L, 1, 1);
			wanted = lua_toboolean(L, -1);
			lua_pop(L, 1);
			d->turn++;
			if (c.life != d->life)
				luaL_error(L, "%s", gone);
			if (!wanted)
				continue;
		}
		nslua_row_push(L, 6, p, len);
		lua_rawseti(L, -2, ++n);
	}
	forget(d, NULL);
	return 1;
}

/* The iterator of each.  Upvalues: dump, context, its cursor, the family. */
static int each_next(lua_State *L)
{
	struct dump *d = lua_touserdata(L, lua_upvalueindex(1));
	struct cursor *c = lua_touserdata(L, lua_upvalueindex(3));
	const struct nlmsghdr *h;

	if (c->life != d->life)
		return luaL_error(L, "%s", gone);
	d->turn++;
	lua_settop(L, 0);
	do
		h = step(d, c);
	while (h && !of_family(h, (int)lua_tointeger(L, lua_upvalueindex(4))));
	if (!h) {
		lua_pushnil(L);
		return 1;
	}
	record(L, h);
	nslua_row_borrow(L, lua_upvalueindex(2), NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0), &d->turn);
	return 1;
}

/* for row in dump:each(S [, class [, rowset [, family]]]): a row lives until the next step.  Leaving early is free. */
static int dump_each(lua_State *L)
{
	struct dump *d = check(L, 1);
	struct cursor *c;
	int family = (int)luaL_optinteger(L, 5, 0);

	nslua_checkschema(L, 2);
	lua_settop(L, 4);
	nslua_row_context(L, 2, 3, 4, 1);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 5);
	c = lua_newuserdatauv(L, sizeof(*c), 0);
	c->chunk = d->first;
	c->offset = 0;
	c->life = d->life;
	lua_pushinteger(L, family);
	lua_pushcclosure(L, each_next, 4);
	return 1;
}

/* dump.interrupted, dump.filtered, and methods. */
static int dump_index(lua_State *L)
{
	const struct dump *d = check(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

	if (!strcmp(key, "interrupted"))
		lua_pushboolean(L, d->interrupted);
	else if (!strcmp(key, "filtered"))
		lua_pushboolean(L, d->filtered);
	else {
		lua_pushvalue(L, 2);
		lua_rawget(L, lua_upvalueindex(1));
	}
	return 1;
}

static int dump_length(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check(L, 1)->count);
	return 1;
}

static int dump_gc(lua_State *L)
{
	reset(check(L, 1));
	return 0;
}

static const luaL_Reg dump_methods[] = {
	{ "message", dump_message }, { "row", dump_row }, { "rows", dump_rows }, { "each", dump_each }, { NULL, NULL },
};
static const luaL_Reg dump_meta[] = {
	{ "__gc", dump_gc }, { "__len", dump_length }, { NULL, NULL },
};

void nslua_dump_init(lua_State *L)
{
	nslua_newclass(L, NSLUA_DUMP, NULL, dump_meta);
	luaL_getmetatable(L, NSLUA_DUMP);
	lua_newtable(L);
	luaL_setfuncs(L, dump_methods, 0);
	lua_pushcclosure(L, dump_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

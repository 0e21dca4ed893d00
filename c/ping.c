/* SPDX-License-Identifier: MIT */
/* ping.c - many echo requests at once, as Lua sees them: what is to be sent, and what came of it. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "ping.h"

#define FRAGMENT 1280
#define BACKLOG 250

static double field(lua_State *L, int arg, const char *key, double least, double most)
{
	double v;

	lua_getfield(L, arg, key);
	v = luaL_checknumber(L, -1);
	lua_pop(L, 1);
	luaL_argcheck(L, v >= least && v <= most, arg, lua_pushfstring(L, "%s out of range", key));
	return v;
}

static bool boolean(lua_State *L, const char *key)
{
	bool v;

	lua_getfield(L, -1, key);
	v = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return v;
}

/* Part of the one piece of memory that all is in. */
static size_t take(size_t *at, size_t size)
{
	size_t here = *at;

	*at += (size + 15) & ~(size_t)15;
	return here;
}

static void read_wires(lua_State *L, struct ping *p)
{
	for (uint32_t i = 0; i < p->wires; i++) {
		lua_rawgeti(L, 1, (int)i + 1);
		p->wire[i].v6 = boolean(L, "inet6");
		p->wire[i].raw = boolean(L, "raw");
		p->wire[i].most = 0;
		lua_pop(L, 1);
	}
}

static void read_targets(lua_State *L, struct ping *p, uint32_t count)
{
	for (uint32_t i = 0; i < p->targets; i++) {
		struct target *t = &p->target[i];
		struct sockaddr_storage a;
		lua_Integer wire;
		const char *ip;
		size_t len;
		socklen_t alen;

		lua_rawgeti(L, 2, (int)i + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		lua_rawgeti(L, -1, 1);
		wire = luaL_checkinteger(L, -1);
		lua_rawgeti(L, -2, 2);
		ip = luaL_checklstring(L, -1, &len);
		lua_rawgeti(L, -3, 3);
		luaL_argcheck(L, wire >= 1 && wire <= p->wires, 2, "no such socket");
		alen = nslua_sockaddr(ip, len, 0, (uint32_t)luaL_optinteger(L, -1, 0), &a);
		luaL_argcheck(L, alen && (len == 16) == p->wire[wire - 1].v6, 2, "no address of the socket's family");
		lua_pop(L, 4);
		memcpy(&t->to, &a, alen);
		t->socket = (uint32_t)wire - 1;
		t->left = count;
		p->queue[i] = i;
	}
	p->queued = p->targets;
}

/*
 * echo.ping(sockets, targets, { count=, interval=, timeout=, size=, window=, retries= }) -> ping.
 * sockets = { { inet6=, raw= }, ... }: of ICMP, of the type that `raw` says; targets = { { number of the socket, ip (bytes), scope }, ... }.
 * `count` requests are sent to each, `interval` seconds apart, `window` in all are on their way at most, and one that is lost (not answered in
 * `timeout` seconds) is sent again `retries` times.
 */
static int ping_new(lua_State *L)
{
	struct ping head = { 0 }, *p;
	uint32_t count;
	size_t n, at = 0, where[9];
	double total;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	n = lua_rawlen(L, 1);
	luaL_argcheck(L, n > 0 && n < 1 << 20, 1, "no list of sockets");
	head.wires = (uint32_t)n;
	n = lua_rawlen(L, 2);
	luaL_argcheck(L, n > 0 && n < 1 << 22, 2, "no list of targets");
	head.targets = (uint32_t)n;
	count = (uint32_t)field(L, 3, "count", 1, 1 << 22);
	head.interval = field(L, 3, "interval", 0, 1e9);
	head.timeout = field(L, 3, "timeout", 0, 1e9);
	head.size = (uint32_t)field(L, 3, "size", 0, 65527);
	head.window = (uint32_t)field(L, 3, "window", 1, 32768);
	/* A processor has a queue of a thousand packets (netdev_max_backlog): what is in fragments fills it sooner. */
	if (head.size > FRAGMENT && head.window > BACKLOG / (1 + head.size / FRAGMENT))
		head.window = BACKLOG / (1 + head.size / FRAGMENT);
	head.retries = (uint32_t)field(L, 3, "retries", 0, 100);
	total = (double)head.targets * count * (1.0 + head.retries);
	luaL_argcheck(L, total <= 1 << 22, 3, "more than four million requests");
	head.requests = (uint32_t)total;
	head.in_size = head.size + 256;
	if (getrandom(&head.run, sizeof(head.run), GRND_NONBLOCK) != sizeof(head.run))
		head.run = (uint32_t)nslua_realtime();
	head.id = (uint16_t)(head.run >> 7);

	take(&at, sizeof(head));
	where[0] = take(&at, sizeof(*head.target) * head.targets);
	where[1] = take(&at, sizeof(*head.wire) * head.wires);
	where[2] = take(&at, sizeof(*head.request) * head.requests);
	where[3] = take(&at, sizeof(*head.queue) * head.targets);
	where[4] = take(&at, sizeof(*head.again_list) * head.requests);
	where[5] = take(&at, sizeof(*head.finished_list) * head.targets);
	where[6] = take(&at, sizeof(*head.poll) * head.wires);
	where[7] = take(&at, head.size + ECHO_HEADER);
	where[8] = take(&at, head.in_size);
	p = lua_newuserdatauv(L, at, 0);
	*p = head;
	p->target = (void *)((char *)p + where[0]);
	p->wire = (void *)((char *)p + where[1]);
	p->request = (void *)((char *)p + where[2]);
	p->queue = (void *)((char *)p + where[3]);
	p->again_list = (void *)((char *)p + where[4]);
	p->finished_list = (void *)((char *)p + where[5]);
	p->poll = (void *)((char *)p + where[6]);
	p->out = (uint8_t *)p + where[7];
	p->in = (uint8_t *)p + where[8];
	memset(p->target, 0, where[2] - where[0]); /* targets and wires; requests are written when sent */
	read_wires(L, p);
	read_targets(L, p, count);
	luaL_setmetatable(L, PING);
	return 1;
}

static void set_integer(lua_State *L, const char *key, lua_Integer v)
{
	lua_pushinteger(L, v);
	lua_setfield(L, -2, key);
}

static void push_request(lua_State *L, const struct request *r, int seq)
{
	lua_createtable(L, 0, 8);
	set_integer(L, "seq", seq);
	if (r->from_len) {
		lua_pushlstring(L, (const char *)r->from, r->from_len);
		lua_setfield(L, -2, "from");
	}
	if (r->state == ANSWERED) {
		lua_pushnumber(L, r->rtt);
		lua_setfield(L, -2, "rtt");
		set_integer(L, "bytes", r->bytes);
		if (r->ttl >= 0)
			set_integer(L, "ttl", r->ttl);
		if (r->duplicates)
			set_integer(L, "duplicates", r->duplicates);
	} else if (r->state == FAILED) {
		lua_pushnumber(L, r->rtt);
		lua_setfield(L, -2, "after");
		set_integer(L, "errno", r->error.ee_errno);
		if (r->error.ee_origin != SO_EE_ORIGIN_LOCAL) {
			set_integer(L, "type", r->error.ee_type);
			set_integer(L, "code", r->error.ee_code);
		}
		if (r->error.ee_errno == EMSGSIZE)
			set_integer(L, "mtu", r->error.ee_info);
	}
}

/*
 * ping:result(target) -> sent, received, list: { seq=, from= (bytes), rtt=, ttl=, bytes=, duplicates= } of one that was answered,
 * { seq=, after=, errno=, type=, code=, from=, mtu= } of one that failed, { seq= } of one that was lost; the times in seconds.  Those that wait
 * still are not in it.
 */
static int ping_result(lua_State *L)
{
	struct ping *p = luaL_checkudata(L, 1, PING);
	lua_Integer i = luaL_checkinteger(L, 2);
	int sent = 0, received = 0;

	luaL_argcheck(L, i >= 1 && i <= p->targets, 2, "no such target");
	lua_newtable(L);
	for (uint32_t k = p->target[i - 1].first; k; k = p->request[k - 1].next) {
		const struct request *r = &p->request[k - 1];

		if (r->state == RETRIED || r->state == WAITING)
			continue;
		received += r->state == ANSWERED;
		push_request(L, r, ++sent);
		lua_rawseti(L, -2, sent);
	}
	lua_pushinteger(L, sent);
	lua_insert(L, -2);
	lua_pushinteger(L, received);
	lua_insert(L, -2);
	return 3;
}

static const luaL_Reg ping_methods[] = {
	{ "run", ping_run }, { "result", ping_result }, { NULL, NULL },
};

void nslua_open_ping(lua_State *L)
{
	nslua_newclass(L, PING, ping_methods, NULL);
	lua_pushcfunction(L, ping_new);
	lua_setfield(L, -2, "ping");
}

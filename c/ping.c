/* SPDX-License-Identifier: MIT */
/*
 * ping.c - many echo requests at once: one loop, one socket for each namespace and family, a bounded number on the way.
 *
 * Requests are numbered in the order in which they are sent; the number is the sequence number on the wire (its low 16 bits) and, with a random
 * number of the run, in the payload.  All wait for the same time, so the oldest that waits is the first to be lost.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include "echo.h"

#define PING "nslua.ping"
#define UNRESOLVED 150000 /* bytes; a neighbour that is being asked for has a queue of 212,992: unres_qlen_bytes, arp(7) */
#define FRAGMENT 1280
#define BACKLOG 250

enum state { WAITING, ANSWERED, LOST, FAILED, RETRIED };

struct request {
	uint32_t target;
	uint32_t next; /* of the same target; its number + 1 */
	uint64_t sent; /* CLOCK_REALTIME, ns */
	double at;     /* CLOCK_MONOTONIC, s */
	double rtt;    /* s, of an answered or failed one */
	uint8_t state, attempt, from_len;
	bool cold;
	uint8_t from[16]; /* who answered, or who said the error */
	uint16_t duplicates;
	int16_t ttl;
	uint32_t ifindex, bytes;
	struct sock_extended_err error;
};

struct target {
	union {
		struct sockaddr a;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to;
	uint32_t socket;
	uint32_t left, open; /* requests that are to be sent yet; that wait, or wait to be sent again */
	uint32_t first, last;
	bool warm; /* something has come of it: no neighbour on the way to it is asked for any more */
	double due;
};

struct wire {
	bool v6, raw;
	uint32_t waiting, most; /* requests on the way, and how many the receive buffer has room for */
	uint32_t cold, cold_most; /* those that may wait for a neighbour, and how many its queue has room for */
};

struct ping {
	uint32_t targets, wires, requests, sent; /* counts; of `requests` there is room for */
	uint32_t oldest;                         /* before it none waits */
	uint32_t waiting, window;
	uint32_t queue_first, queued;  /* ring of targets, by the time that they are due */
	uint32_t again_first, again;   /* requests that are sent again, in a list */
	uint32_t finished, told;       /* targets of the list of finished ones */
	uint32_t size, retries, run;
	uint16_t id;
	double interval, timeout;
	double hold, held_since; /* nothing is sent before; since when, 0: not */
	struct target *target;
	struct wire *wire;
	struct request *request;
	uint32_t *queue, *again_list, *finished_list;
	struct pollfd *poll;
	uint8_t *out, *in;
	size_t in_size;
};

static double monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

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

/* The socket of a wire, made fit when first seen: its buffer, and what a raw one is to let through. */
static void prepare(struct wire *w, int fd, const struct ping *p)
{
	int size = 1 << 20;
	socklen_t len = sizeof(size);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &len) < 0)
		size = 212992;
	/* what a packet takes there is about twice its bytes, and a kilobyte */
	w->most = (uint32_t)size / (2 * p->size + 1024);
	if (!w->most)
		w->most = 1;
	w->cold_most = UNRESOLVED / (2 * p->size + 1024);
	if (!w->cold_most)
		w->cold_most = 1;
	if (!w->raw)
		return;
	if (w->v6) {
		struct icmp6_filter f;

		ICMP6_FILTER_SETBLOCKALL(&f);
		ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
		setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof(f));
	} else {
		uint32_t f = ~(UINT32_C(1) << ICMP_ECHOREPLY);

		setsockopt(fd, SOL_RAW, 1 /* ICMP_FILTER, linux/icmp.h */, &f, sizeof(f));
	}
}

static void settle(struct ping *p, struct request *r, enum state state)
{
	struct target *t = &p->target[r->target];

	r->state = (uint8_t)state;
	p->waiting--;
	p->wire[t->socket].waiting--;
	p->wire[t->socket].cold -= r->cold;
	t->warm |= state == ANSWERED || state == FAILED;
	if (state == LOST && r->attempt < p->retries) {
		r->state = RETRIED;
		p->again_list[p->again++] = (uint32_t)(r - p->request);
		return;
	}
	if (--t->open == 0 && t->left == 0)
		p->finished_list[p->finished++] = r->target;
}

static void fail(struct ping *p, struct request *r, const struct nslua_control *c)
{
	const uint8_t *ip;
	size_t n;

	r->error = c->error;
	ip = nslua_sockaddr_ip(&c->offender, &n);
	if (ip)
		memcpy(r->from, ip, n);
	r->from_len = (uint8_t)n;
	r->rtt = monotonic() - r->at;
	settle(p, r, FAILED);
}

/* The request that something came for. */
static struct request *find(struct ping *p, uint32_t wire, const struct echo *e, const struct sockaddr_storage *a)
{
	struct request *r;
	uint32_t number;
	const struct target *t;
	const uint8_t *ip;
	size_t n;

	if (!p->sent || (p->wire[wire].raw && e->id != p->id))
		return NULL;
	if (e->marked) {
		if (e->run != p->run || e->number >= p->sent || (uint16_t)(e->number + 1) != e->seq)
			return NULL;
		number = e->number;
	} else {
		uint32_t back = (uint16_t)(p->sent - e->seq); /* the last one with that number on the wire */

		if (back >= p->sent)
			return NULL;
		number = p->sent - 1 - back;
	}
	r = &p->request[number];
	t = &p->target[r->target];
	if (t->socket != wire)
		return NULL;
	if (e->marked)
		return r;
	ip = nslua_sockaddr_ip(a, &n);
	if (!ip || memcmp(ip, n == 4 ? (const void *)&t->to.in.sin_addr : &t->to.in6.sin6_addr, n) != 0)
		return NULL;
	return r;
}

static void answered(struct ping *p, uint32_t wire, const struct echo *e, const struct sockaddr_storage *a, const struct nslua_control *c)
{
	struct request *r = find(p, wire, e, a);
	const uint8_t *ip;
	double elapsed;
	size_t n;

	if (!r)
		return;
	if (r->state == ANSWERED && r->duplicates < UINT16_MAX)
		r->duplicates++;
	if (r->state != WAITING)
		return;
	elapsed = monotonic() - r->at;
	r->rtt = c->time > r->sent ? (double)(c->time - r->sent) / 1e9 : elapsed;
	if (r->rtt > elapsed) /* that clock was set meanwhile */
		r->rtt = elapsed;
	ip = nslua_sockaddr_ip(a, &n);
	if (ip)
		memcpy(r->from, ip, n);
	r->from_len = (uint8_t)n;
	r->ttl = (int16_t)c->ttl;
	r->ifindex = c->ifindex;
	r->bytes = (uint32_t)e->bytes;
	settle(p, r, ANSWERED);
}

/* Take one thing from a socket; false where there is none.  `current` is what was just tried to be sent. */
static bool receive(struct ping *p, uint32_t i, int flags, struct request *current)
{
	union {
		char space[NSLUA_CONTROL_SPACE];
		struct cmsghdr align;
	} control;
	struct sockaddr_storage from;
	struct iovec iov = { p->in, p->in_size };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	const struct wire *w = &p->wire[i];
	struct nslua_control c;
	struct request *r = NULL;
	struct echo e;
	ssize_t n;
	size_t have;

	memset(&from, 0, sizeof(from));
	n = recvmsg(p->poll[i].fd, &m, MSG_DONTWAIT | MSG_TRUNC | flags);
	if (n < 0) /* an error that was waiting is told once; more may stand behind it */
		return errno != EAGAIN && errno != EBADF && errno != ENOTSOCK && errno != EINVAL;
	have = (size_t)n < p->in_size ? (size_t)n : p->in_size;
	nslua_control_read(&m, &c);
	if (!(flags & MSG_ERRQUEUE)) {
		if (echo_read(p->in, have, (size_t)n, w->v6, w->raw && !w->v6, false, &e))
			answered(p, i, &e, &from, &c);
		return true;
	}
	if (!c.failed || c.error.ee_errno == EREMOTEIO) /* that is what a redirect is called */
		return true;
	if (c.error.ee_origin == SO_EE_ORIGIN_LOCAL)
		r = current;
	else if (echo_read(p->in, have, (size_t)n, w->v6, false, true, &e))
		r = find(p, i, &e, &from);
	if (r && r->state == WAITING)
		fail(p, r, &c);
	return true;
}

static void drain(struct ping *p, uint32_t i, struct request *current)
{
	for (int most = 4096; most && receive(p, i, MSG_ERRQUEUE, current); most--)
		;
	for (int most = 4096; most && receive(p, i, 0, NULL); most--)
		;
}

/* Send a request of a target.  False where nothing can be sent now. */
static bool transmit(struct ping *p, uint32_t target, uint32_t attempt)
{
	struct target *t = &p->target[target];
	struct wire *w = &p->wire[t->socket];
	struct request *r = &p->request[p->sent];
	struct echo e = { .id = p->id, .seq = (uint16_t)(p->sent + 1), .run = p->run, .number = p->sent };
	struct nslua_control c = { 0 };
	ssize_t n;
	int en;

	echo_write(p->out, w->v6, &e, p->size);
	memset(r, 0, sizeof(*r));
	r->target = target;
	r->attempt = (uint8_t)attempt;
	r->state = WAITING;
	/* A socket tells an ICMP error of before at the next call, once for each; then nothing was sent. */
	for (int tries = 0;; tries++) {
		r->at = monotonic();
		r->sent = nslua_realtime();
		n = sendto(p->poll[t->socket].fd, p->out, p->size + ECHO_HEADER, MSG_DONTWAIT | MSG_NOSIGNAL, &t->to.a,
			   w->v6 ? sizeof(t->to.in6) : sizeof(t->to.in));
		en = errno;
		if (n >= 0 || en == ENOBUFS || en == EAGAIN || en == EINTR || en == EMSGSIZE || tries == 3)
			break;
		for (int most = 4096; most && receive(p, t->socket, MSG_ERRQUEUE, NULL); most--)
			;
	}
	if (n < 0 && (en == ENOBUFS || en == EAGAIN || en == EINTR)) { /* a full queue, or table of neighbours */
		p->hold = r->at + 0.005;
		if (!p->held_since)
			p->held_since = r->at;
		if (r->at - p->held_since <= p->timeout)
			return false;
	}
	p->held_since = 0;
	if (t->first)
		p->request[t->last - 1].next = p->sent + 1;
	else
		t->first = p->sent + 1;
	t->last = ++p->sent;
	p->waiting++;
	w->waiting++;
	r->cold = !t->warm;
	w->cold += r->cold;
	if (!attempt)
		t->open++;
	if (n >= 0)
		return true;
	if (en == EMSGSIZE) /* how large it may be is in the queue */
		for (int most = 4096; most && receive(p, t->socket, MSG_ERRQUEUE, r); most--)
			;
	if (r->state == WAITING) {
		c.error.ee_errno = (uint32_t)en;
		c.error.ee_origin = SO_EE_ORIGIN_LOCAL;
		fail(p, r, &c);
	}
	return true;
}

/* Whether a target's socket has room for one more answer. */
static bool room(const struct ping *p, uint32_t target)
{
	const struct target *t = &p->target[target];
	const struct wire *w = &p->wire[t->socket];

	return p->waiting < p->window && w->waiting < w->most && (t->warm || w->cold < w->cold_most);
}

static void expire(struct ping *p, double now)
{
	for (; p->oldest < p->sent; p->oldest++) {
		struct request *r = &p->request[p->oldest];

		if (r->state != WAITING)
			continue;
		if (r->at + p->timeout > now)
			return;
		drain(p, p->target[r->target].socket, NULL); /* it may be there already */
		if (r->state == WAITING)
			settle(p, r, LOST);
	}
}

/* Send what is due; when there is more to do, as far as that is known. */
static double send_due(struct ping *p, double now)
{
	if (now < p->hold)
		return p->hold;
	while (p->again_first < p->again) {
		const struct request *r = &p->request[p->again_list[p->again_first]];

		if (!room(p, r->target))
			return INFINITY;
		if (!transmit(p, r->target, r->attempt + 1u))
			return p->hold;
		p->again_first++;
	}
	while (p->queued) {
		uint32_t i = p->queue[p->queue_first];
		struct target *t = &p->target[i];

		if (t->due > now)
			return t->due;
		if (!room(p, i))
			return INFINITY;
		t->left--; /* before: a request that fails at once may be the last */
		if (!transmit(p, i, 0)) {
			t->left++;
			return p->hold;
		}
		p->queue_first = (p->queue_first + 1) % p->targets;
		p->queued--;
		if (t->left) {
			t->due = (t->due ? t->due : now) + p->interval;
			p->queue[(p->queue_first + p->queued) % p->targets] = i;
			p->queued++;
		}
	}
	return INFINITY;
}

static int milliseconds(double s)
{
	if (!(s > 0))
		return 0;
	return s > 1e6 ? 1000000000 : (int)ceil(s * 1000);
}

/*
 * ping:run(fds, most) -> done, list of the numbers of the targets that are finished since the last call.  fds are the sockets, in their order.
 * Returns when all is done, or so many targets are finished; EINTR where a signal came: call again.
 */
static int ping_run(lua_State *L)
{
	struct ping *p = luaL_checkudata(L, 1, PING);
	double most;
	int rc = 0, en = 0;

	luaL_checktype(L, 2, LUA_TTABLE);
	most = luaL_checknumber(L, 3);
	for (uint32_t i = 0; i < p->wires; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		p->poll[i].fd = nslua_checkfd(L, lua_gettop(L));
		p->poll[i].events = POLLIN;
		lua_pop(L, 1);
		if (!p->wire[i].most)
			prepare(&p->wire[i], p->poll[i].fd, p);
	}
	for (;;) {
		double now = monotonic(), next;

		expire(p, now);
		next = send_due(p, now);
		if (p->finished == p->targets || p->finished - p->told >= most)
			break;
		if (p->oldest < p->sent && p->request[p->oldest].state == WAITING && p->request[p->oldest].at + p->timeout < next)
			next = p->request[p->oldest].at + p->timeout;
		rc = poll(p->poll, p->wires, next < INFINITY ? milliseconds(next - monotonic()) : milliseconds(p->timeout));
		if (rc < 0) {
			en = errno;
			break;
		}
		for (uint32_t i = 0; rc > 0 && i < p->wires; i++)
			if (p->poll[i].revents) {
				drain(p, i, NULL);
				rc--;
			}
	}
	if (en)
		return nslua_failen(L, "poll", en);
	lua_pushboolean(L, p->finished == p->targets);
	lua_createtable(L, (int)(p->finished - p->told), 0);
	for (int i = 1; p->told < p->finished; i++) {
		lua_pushinteger(L, (lua_Integer)p->finished_list[p->told++] + 1);
		lua_rawseti(L, -2, i);
	}
	return 2;
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
		if (r->ifindex)
			set_integer(L, "ifindex", r->ifindex);
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
 * ping:result(target) -> sent, received, list: { seq=, from= (bytes), rtt=, ttl=, bytes=, ifindex=, duplicates= } of one that was answered,
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

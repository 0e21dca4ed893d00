/* SPDX-License-Identifier: MIT */
/*
 * pingloop.c - one loop that sends and receives echo requests: one socket for each namespace and family, a bounded number on the way.
 *
 * Requests are numbered in the order in which they are sent; the number is the sequence number on the wire (its low 16 bits) and, with a random
 * number of the run, in the payload.  All wait for the same time, so the oldest that waits is the first to be lost.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include "ping.h"

#define UNRESOLVED 150000 /* bytes; a neighbour that is being asked for has a queue of 212,992: unres_qlen_bytes, arp(7) */

static double monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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
int ping_run(lua_State *L)
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

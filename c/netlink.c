/* SPDX-License-Identifier: MIT */
/* netlink.c - a netlink socket: requests and their answers, events. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "netlink.h"
#include "schema.h"

static const char recorder[] = "nslua.netlink.record";
static int recorders; /* states that record: the test of one int is all it costs otherwise */

void nslua_netlink_record(lua_State *L, uint16_t type, const void *payload, size_t n)
{
	if (!recorders)
		return;
	lua_getfield(L, LUA_REGISTRYINDEX, recorder);
	if (lua_istable(L, -1)) {
		lua_createtable(L, 2, 0);
		lua_pushinteger(L, type);
		lua_rawseti(L, -2, 1);
		lua_pushlstring(L, payload, n);
		lua_rawseti(L, -2, 2);
		lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
	}
	lua_pop(L, 1);
}

/* netlink.record(list|nil): append { type, payload } of every message received from now on; nil ends it.  For specs. */
static int core_record(lua_State *L)
{
	bool on = !lua_isnoneornil(L, 1), was;

	if (on)
		luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, recorder);
	was = !lua_isnil(L, -1);
	lua_pop(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, recorder);
	recorders += on - was;
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double nslua_netlink_deadline(lua_State *L, int arg)
{
	double s;

	if (lua_isnoneornil(L, arg))
		return -1;
	s = luaL_checknumber(L, arg);
	luaL_argcheck(L, s >= 0, arg, "a time in seconds expected");
	return now() + s;
}

static struct nslua_netlink *self(lua_State *L, int arg)
{
	struct nslua_netlink *s = luaL_checkudata(L, arg, NSLUA_NETLINK);

	luaL_argcheck(L, s->fd >= 0, arg, "attempt to use a closed netlink socket");
	luaL_argcheck(L, s->owner == getpid(), arg, "a netlink socket of the parent process: open one after fork");
	return s;
}

struct nslua_netlink *nslua_netlink_use(lua_State *L, int arg, bool request)
{
	struct nslua_netlink *s = self(L, arg);

	luaL_argcheck(L, !s->busy, arg, "a netlink socket that is waiting for an answer (used in a finaliser?)");
	luaL_argcheck(L, !request || !s->member, arg, "a netlink socket that receives events: make requests on another");
	return s;
}

uint32_t nslua_netlink_seq(struct nslua_netlink *s)
{
	/* 0 is what events carry */
	if (++s->seq == 0)
		s->seq = 1;
	return s->seq;
}

static int nothing(lua_State *L)
{
	(void)L;
	return 0;
}

/* A signal came: its handler may have set a hook to stop the script.  A call is where hooks run; it may not return. */
static void run_hook(lua_State *L, struct nslua_netlink *s)
{
	bool busy = s->busy;

	s->busy = false; /* the hook may raise */
	lua_pushcfunction(L, nothing);
	lua_call(L, 0, 0);
	s->busy = busy;
}

int nslua_netlink_send(lua_State *L, struct nslua_netlink *s, const struct iovec *iov, int n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct msghdr m = { .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };

	while (sendmsg(s->fd, &m, 0) < 0) {
		if (errno == EAGAIN) {
			struct pollfd p = { .fd = s->fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (errno != EINTR) {
			return -1;
		}
		run_hook(L, s);
	}
	return 0;
}

static void read_nsid(struct nslua_netlink *s, struct msghdr *m)
{
	s->nsid = INT_MIN;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_NETLINK && c->cmsg_type == NETLINK_LISTEN_ALL_NSID)
			memcpy(&s->nsid, CMSG_DATA(c), sizeof(s->nsid));
}

ssize_t nslua_netlink_recv(lua_State *L, struct nslua_netlink *s, void *buf, size_t size, double deadline)
{
	for (;;) {
		struct sockaddr_nl from;
		union {
			char space[128];
			struct cmsghdr align;
		} control;
		struct iovec iov = { buf, size };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1 };
		struct pollfd p = { .fd = s->fd, .events = POLLIN };
		ssize_t n;

		if (s->member) {
			m.msg_control = &control;
			m.msg_controllen = sizeof(control);
		}
		n = recvmsg(s->fd, &m, MSG_DONTWAIT);
		if (n >= 0) {
			/* any process can send to us: only the kernel has port 0 */
			if (m.msg_namelen != sizeof(from) || from.nl_pid != 0)
				continue;
			if (m.msg_flags & MSG_TRUNC) {
				errno = EMSGSIZE;
				return -1;
			}
			if (s->member)
				read_nsid(s, &m);
			if (n == 0)
				continue;
			return n;
		}
		if (errno == EAGAIN) {
			int ms = -1, rc;

			if (deadline >= 0) {
				double left = (deadline - now()) * 1000;

				if (left <= 0)
					return 0;
				ms = left > INT_MAX ? INT_MAX : (int)ceil(left);
			}
			rc = poll(&p, 1, ms);
			if (rc >= 0)
				continue;
		}
		if (errno != EINTR)
			return -1;
		run_hook(L, s);
	}
}

int nslua_netlink_settle(lua_State *L, struct nslua_netlink *s)
{
	while (s->stale) {
		ssize_t n = nslua_netlink_recv(L, s, s->buffer, NL_BUFFER, 0);
		const uint8_t *p = s->buffer;
		const struct nlmsghdr *h;
		size_t left = (size_t)(n > 0 ? n : 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break; /* nothing queued: the kernel is not in that dump any more */
		while (nslua_netlink_next(&p, &left, &h))
			if (h->nlmsg_seq == s->stale && (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR))
				s->stale = 0;
	}
	s->stale = 0;
	return 0;
}

static int set_option(struct nslua_netlink *s, int option, int value)
{
	return setsockopt(s->fd, SOL_NETLINK, option, &value, sizeof(value));
}

static void read_rcvbuf(struct nslua_netlink *s)
{
	socklen_t n = sizeof(s->rcvbuf);

	if (getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &s->rcvbuf, &n) < 0)
		s->rcvbuf = 212992;
}

/*
 * netlink.open(fd) -> socket, or nil, message, errno.  Takes over an AF_NETLINK fd handle (the handle is closed from then on); binds it
 * where it is not bound; asks for extended and capped acks and strict checking, as far as the kernel has them.
 */
static int core_open(lua_State *L)
{
	struct nslua_fd *h = luaL_checkudata(L, 1, NSLUA_FD);
	struct nslua_netlink *s;
	struct sockaddr_nl addr = { 0 };
	socklen_t n = sizeof(addr);

	luaL_argcheck(L, h->fd >= 0, 1, "attempt to use a closed fd");
	if (getsockname(h->fd, (struct sockaddr *)&addr, &n) < 0)
		return nslua_fail(L, "getsockname");
	luaL_argcheck(L, addr.nl_family == AF_NETLINK, 1, "a netlink socket expected");
	s = lua_newuserdatauv(L, sizeof(*s), 1);
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	luaL_setmetatable(L, NSLUA_NETLINK);
	s->buffer = malloc(NL_BUFFER);
	if (!s->buffer)
		return nslua_failen(L, "netlink", ENOMEM);
	if (addr.nl_pid == 0) {
		struct sockaddr_nl any = { .nl_family = AF_NETLINK };

		if (bind(h->fd, (struct sockaddr *)&any, sizeof(any)) < 0)
			return nslua_fail(L, "bind");
		n = sizeof(addr);
		if (getsockname(h->fd, (struct sockaddr *)&addr, &n) < 0)
			return nslua_fail(L, "getsockname");
	}
	s->fd = h->fd;
	h->fd = -1;
	s->owner = getpid();
	s->portid = addr.nl_pid; /* not the pid: a process may have many sockets */
	s->member = addr.nl_groups != 0;
	s->nsid = INT_MIN;
	set_option(s, NETLINK_EXT_ACK, 1);
	set_option(s, NETLINK_CAP_ACK, 1);
	set_option(s, NETLINK_GET_STRICT_CHK, 1);
	read_rcvbuf(s);
	return 1;
}

/* nl:close() -> true.  Idempotent. */
static int nl_close(lua_State *L)
{
	struct nslua_netlink *s = luaL_checkudata(L, 1, NSLUA_NETLINK);

	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (!s->busy) {
		free(s->buffer);
		s->buffer = NULL;
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int send_request(lua_State *L, struct nslua_netlink *s, int type, int flags, const char *payload, size_t n, uint32_t seq)
{
	struct nlmsghdr h = {
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(n), .nlmsg_type = (uint16_t)type, .nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST),
		.nlmsg_seq = seq, .nlmsg_pid = s->portid,
	};
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, n } };

	return nslua_netlink_send(L, s, iov, 2);
}

static void append(lua_State *L, int list, const struct nlmsghdr *h)
{
	lua_createtable(L, 2, 0);
	lua_pushinteger(L, h->nlmsg_type);
	lua_rawseti(L, -2, 1);
	lua_pushlstring(L, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
	lua_rawseti(L, -2, 2);
	lua_rawseti(L, list, (int)lua_rawlen(L, list) + 1);
}

/* What came next into the buffer, *left bytes: 0, or the values of a failure. */
static int receive(lua_State *L, struct nslua_netlink *s, double deadline, size_t *left)
{
	ssize_t n = nslua_netlink_recv(L, s, s->buffer, NL_BUFFER, deadline);

	if (n < 0)
		return nslua_fail(L, "netlink receive");
	if (n == 0)
		return nslua_failen(L, "netlink", ETIMEDOUT);
	*left = (size_t)n;
	return 0;
}

/* The next message of it that answers request seq. */
static bool next_answer(struct nslua_netlink *s, uint32_t seq, const uint8_t **p, size_t *left, const struct nlmsghdr **h)
{
	while (nslua_netlink_next(p, left, h))
		if (nslua_netlink_ours(s, *h, seq) && (*h)->nlmsg_type != NLMSG_NOOP)
			return true;
	return false;
}

/* The answers to request seq: 1 with the list (and a warning or nil) pushed, or the values of a failure. */
static int answers(lua_State *L, struct nslua_netlink *s, uint32_t seq, int flags, double deadline)
{
	int list;

	lua_newtable(L);
	list = lua_gettop(L);
	for (;;) {
		const struct nlmsghdr *h;
		const uint8_t *p = s->buffer;
		size_t left = 0;
		int failed = receive(L, s, deadline, &left);

		if (failed)
			return failed;
		while (next_answer(s, seq, &p, &left, &h)) {
			if (h->nlmsg_type == NLMSG_OVERRUN)
				return nslua_failen(L, "netlink receive", ENOBUFS);
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
				if (nslua_netlink_error(h))
					return nslua_netlink_fail(L, h);
				lua_settop(L, list);
				nslua_extack_push(L, h);
				return 2;
			}
			nslua_netlink_record(L, h->nlmsg_type, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			append(L, list, h);
			if (!(flags & NLM_F_ACK) && !(h->nlmsg_flags & NLM_F_MULTI)) {
				lua_settop(L, list);
				lua_pushnil(L);
				return 2;
			}
		}
	}
}

/*
 * nl:request(type, flags, payload [, seconds]) -> { { type, bytes }, ... } and a warning (an extack) or nil; or nil, message, errno, extack.
 * With NLM_F_ACK in flags it ends at the ack, and the list holds what was echoed; without, at the one answer (a get).
 */
static int nl_request(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	int type = (int)luaL_checkinteger(L, 2), flags = (int)luaL_checkinteger(L, 3), n;
	size_t len;
	const char *payload = luaL_checklstring(L, 4, &len);
	double deadline = nslua_netlink_deadline(L, 5);
	uint32_t seq = nslua_netlink_seq(s);

	luaL_argcheck(L, (flags & NLM_F_DUMP) != NLM_F_DUMP || (flags & NLM_F_ACK), 3, "a dump: use nl:dump");
	if (send_request(L, s, type, flags, payload, len, seq) < 0)
		return nslua_fail(L, "netlink send");
	s->busy = true;
	n = answers(L, s, seq, flags, deadline);
	s->busy = false;
	return n;
}

/*
 * nl:get(type, payload, S [, class [, rowset [, seconds]]]) -> row; or nil, message, errno, extack.  One send, one receive, one row: the
 * fast way to one object.
 */
static int nl_get(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	int type = (int)luaL_checkinteger(L, 2);
	size_t len;
	const char *payload = luaL_checklstring(L, 3, &len);
	double deadline = nslua_netlink_deadline(L, 7);
	uint32_t seq = nslua_netlink_seq(s);

	nslua_checkschema(L, 4);
	lua_settop(L, 6);
	nslua_row_context(L, 4, 5, 6, 0);
	if (send_request(L, s, type, 0, payload, len, seq) < 0)
		return nslua_fail(L, "netlink send");
	for (;;) {
		const struct nlmsghdr *h;
		const uint8_t *p = s->buffer;
		size_t left = 0;
		int failed = receive(L, s, deadline, &left);

		if (failed)
			return failed;
		while (next_answer(s, seq, &p, &left, &h)) {
			s->busy = true;
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
				failed = nslua_netlink_error(h) ? nslua_netlink_fail(L, h) : nslua_failen(L, "netlink", ENOENT);
				s->busy = false;
				return failed;
			}
			nslua_netlink_record(L, h->nlmsg_type, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			nslua_row_push(L, 7, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			s->busy = false;
			return 1;
		}
	}
}

/* nl:own() -> whether it is open, and of this process: a child of fork opens its own, or both would take each other's answers. */
static int nl_own(lua_State *L)
{
	const struct nslua_netlink *s = luaL_checkudata(L, 1, NSLUA_NETLINK);

	lua_pushboolean(L, s->fd >= 0 && s->owner == getpid());
	return 1;
}

static int nl_number(lua_State *L)
{
	lua_pushinteger(L, self(L, 1)->fd);
	return 1;
}

static int nl_events(lua_State *L)
{
	self(L, 1);
	lua_pushliteral(L, "r");
	return 1;
}

/* nl:timeout() -> 0 while a received event waits to be taken, else nil. */
static int nl_timeout(lua_State *L)
{
	struct nslua_netlink *s = self(L, 1);

	if (s->at < s->have)
		lua_pushinteger(L, 0);
	else
		lua_pushnil(L);
	return 1;
}

/*
 * nl:receive([seconds]) -> type, bytes, nsid (nil: this namespace), flags; nil when the time is over; or nil, message, errno, where ENOBUFS means
 * that events were lost: read the state again.  For sockets in a group.
 */
static int nl_receive(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, false);
	double deadline = nslua_netlink_deadline(L, 2);

	for (;;) {
		const uint8_t *p = s->buffer + s->at;
		size_t left = s->have - s->at;
		const struct nlmsghdr *h;
		ssize_t n;

		while (nslua_netlink_next(&p, &left, &h)) {
			s->at = s->have - left;
			if (h->nlmsg_type < NLMSG_MIN_TYPE)
				continue;
			s->busy = true;
			nslua_netlink_record(L, h->nlmsg_type, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			lua_pushinteger(L, h->nlmsg_type);
			lua_pushlstring(L, NLMSG_DATA(h), NLMSG_PAYLOAD(h, 0));
			s->busy = false;
			if (s->nsid == INT_MIN)
				lua_pushnil(L);
			else
				lua_pushinteger(L, s->nsid);
			lua_pushinteger(L, h->nlmsg_flags);
			return 4;
		}
		s->at = s->have = 0;
		n = nslua_netlink_recv(L, s, s->buffer, NL_BUFFER, deadline);
		if (n < 0)
			return nslua_fail(L, "netlink receive");
		if (n == 0) {
			lua_pushnil(L);
			return 1;
		}
		s->have = (size_t)n;
	}
}

/* nl:join(group) -> true: from now on the socket is for events.  nl:leave(group). */
static int membership(lua_State *L, int option)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, false);

	if (set_option(s, option, (int)luaL_checkinteger(L, 2)) < 0)
		return nslua_fail(L, "netlink group");
	s->member |= option == NETLINK_ADD_MEMBERSHIP;
	lua_pushboolean(L, 1);
	return 1;
}

static int nl_join(lua_State *L)
{
	return membership(L, NETLINK_ADD_MEMBERSHIP);
}

static int nl_leave(lua_State *L)
{
	return membership(L, NETLINK_DROP_MEMBERSHIP);
}

/* nl:all_nsids() -> true: events of every namespace that has an nsid here. */
static int nl_all_nsids(lua_State *L)
{
	if (set_option(self(L, 1), NETLINK_LISTEN_ALL_NSID, 1) < 0)
		return nslua_fail(L, "NETLINK_LISTEN_ALL_NSID");
	lua_pushboolean(L, 1);
	return 1;
}

/* nl:buffer([bytes]) -> bytes the kernel counts for the receive queue, after asking for more (beyond the limit with CAP_NET_ADMIN). */
static int nl_buffer(lua_State *L)
{
	struct nslua_netlink *s = self(L, 1);

	if (!lua_isnoneornil(L, 2)) {
		int want = (int)luaL_checkinteger(L, 2);

		if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)) < 0 &&
		    setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want)) < 0)
			return nslua_fail(L, "SO_RCVBUF");
		read_rcvbuf(s);
	}
	lua_pushinteger(L, s->rcvbuf);
	return 1;
}

/* nl:port() -> the socket's own port, as in nlmsg_pid. */
static int nl_port(lua_State *L)
{
	nslua_pushu64(L, self(L, 1)->portid);
	return 1;
}

static int nl_tostring(lua_State *L)
{
	struct nslua_netlink *s = luaL_checkudata(L, 1, NSLUA_NETLINK);

	if (s->fd < 0)
		lua_pushliteral(L, "netlink socket (closed)");
	else
		lua_pushfstring(L, "netlink socket (%d)", s->fd);
	return 1;
}

static const luaL_Reg nl_methods[] = {
	{ "request", nl_request },   { "get", nl_get },         { "dump", nslua_netlink_dump }, { "batch", nslua_netlink_batch },
	{ "receive", nl_receive },   { "join", nl_join },       { "leave", nl_leave },          { "all_nsids", nl_all_nsids },
	{ "buffer", nl_buffer },     { "port", nl_port },       { "number", nl_number },        { "pollfd", nl_number },
	{ "getfd", nl_number },      { "events", nl_events },   { "timeout", nl_timeout },      { "close", nl_close },
	{ "own", nl_own },           { "list", nslua_netlink_list }, { "index", nslua_netlink_index },
	{ NULL, NULL },
};
static const luaL_Reg nl_meta[] = {
	{ "__gc", nl_close }, { "__close", nl_close }, { "__tostring", nl_tostring }, { NULL, NULL },
};
static const luaL_Reg nl_functions[] = {
	{ "open", core_open }, { "record", core_record }, { "alike", nslua_alike_new }, { NULL, NULL },
};

int nslua_open_netlink(lua_State *L)
{
	nslua_newclass(L, NSLUA_NETLINK, nl_methods, nl_meta);
	nslua_dump_init(L);
	nslua_alike_init(L);
	luaL_newlib(L, nl_functions);
	return 1;
}

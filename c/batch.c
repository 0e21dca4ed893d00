/* SPDX-License-Identifier: MIT */
/* batch.c - many requests a send: twice as fast as one by one, each error still tied to its request. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "netlink.h"

#define MOST 200           /* requests a send: more gains nothing */
#define BYTES 65536        /* a send: well below any SO_SNDBUF */
#define ANSWER_COST 1300   /* what an answer with its text costs the receive queue (skb truesize), so that all of a send fit */

/* One request of a send. */
struct sent {
	uint32_t seq;
	int index;  /* in the caller's list, from 1 */
	bool known; /* its outcome */
	bool acked; /* it answers success too */
};

struct batch {
	lua_State *L;
	struct nslua_netlink *s;
	int failures, warnings; /* stack slots */
	struct sent sent[MOST];
	int n;
	double deadline;
};

/* Append { index=, errno=, message=, extack=, unknown= } to the failures. */
static void add_failure(struct batch *b, int index, int error, const struct nlmsghdr *h, bool unknown)
{
	lua_State *L = b->L;

	lua_createtable(L, 0, 4);
	lua_pushinteger(L, index);
	lua_setfield(L, -2, "index");
	lua_pushinteger(L, error);
	lua_setfield(L, -2, "errno");
	lua_pushstring(L, strerror(error));
	lua_setfield(L, -2, "message");
	if (h) {
		nslua_extack_push(L, h);
		lua_setfield(L, -2, "extack");
	}
	if (unknown) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "unknown");
	}
	lua_rawseti(L, b->failures, (int)lua_rawlen(L, b->failures) + 1);
}

static void add_warning(struct batch *b, int index, const struct nlmsghdr *h)
{
	lua_State *L = b->L;

	nslua_extack_push(L, h);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	lua_pushinteger(L, index);
	lua_setfield(L, -2, "index");
	lua_rawseti(L, b->warnings, (int)lua_rawlen(L, b->warnings) + 1);
}

static struct sent *of_seq(struct batch *b, uint32_t seq)
{
	for (int i = 0; i < b->n; i++)
		if (b->sent[i].seq == seq)
			return &b->sent[i];
	return NULL;
}

/* Those whose answer did not come: the kernel may well have done them. */
static void lost(struct batch *b, int error)
{
	for (int i = 0; i < b->n; i++)
		if (!b->sent[i].known)
			add_failure(b, b->sent[i].index, error, NULL, true);
}

/* Answers of one send, until that of the last request. */
static void receive(struct batch *b)
{
	struct nslua_netlink *s = b->s;
	bool overrun = false;

	for (;;) {
		ssize_t n = nslua_netlink_recv(b->L, s, s->buffer, NL_BUFFER, overrun ? 0 : b->deadline);
		const uint8_t *p = s->buffer;
		size_t left = (size_t)(n > 0 ? n : 0);
		const struct nlmsghdr *h;

		if (n < 0 && errno == ENOBUFS) {
			overrun = true; /* some answers are gone; take those that are there */
			continue;
		}
		if (n <= 0) {
			lost(b, n < 0 ? errno : overrun ? ENOBUFS : ETIMEDOUT);
			return;
		}
		while (nslua_netlink_next(&p, &left, &h)) {
			struct sent *r = h->nlmsg_pid == s->portid ? of_seq(b, h->nlmsg_seq) : NULL;
			int error;

			if (!r || h->nlmsg_type != NLMSG_ERROR)
				continue;
			r->known = true;
			error = nslua_netlink_error(h);
			if (error)
				add_failure(b, r->index, error, h, false);
			else
				add_warning(b, r->index, h);
			if (r != &b->sent[b->n - 1])
				continue;
			/* in order: what did not answer by now was done, unless answers were lost */
			if (overrun)
				lost(b, ENOBUFS);
			return;
		}
	}
}

/* Where in the list of requests: entry, and which of its payloads where it has several. */
struct at {
	int entry, payload;
	int index; /* of the request, all counted, from 1 */
};

static const char wanted[] = "a list of { type, flags, payload, list of payloads or alike } expected";

/*
 * The request at that place: pushes its payload.  False at the end.  What is wrong is an error of argument 2; nothing was sent then, as all of
 * them are gone through before.
 */
static bool fetch(lua_State *L, struct at *at, int *type, int *flags, const char **payload, size_t *len)
{
	for (;; at->entry++, at->payload = 0) {
		int top = lua_gettop(L);

		lua_rawgeti(L, 2, at->entry + 1);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			return false;
		}
		luaL_argcheck(L, lua_istable(L, -1), 2, wanted);
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		lua_rawgeti(L, -3, 3);
		luaL_argcheck(L, lua_type(L, -3) == LUA_TNUMBER && lua_type(L, -2) == LUA_TNUMBER, 2, wanted);
		*type = (int)lua_tointeger(L, -3);
		*flags = (int)lua_tointeger(L, -2);
		if (nslua_alike_is(L, -1)) {
			*payload = nslua_alike_payload(L, lua_gettop(L), (size_t)at->payload, len);
			lua_settop(L, top);
			if (!*payload)
				continue; /* that entry is done */
			lua_pushnil(L); /* the list keeps it */
			return true;
		}
		if (lua_istable(L, -1)) {
			lua_rawgeti(L, -1, at->payload + 1);
			if (lua_isnil(L, -1)) {
				lua_settop(L, top);
				continue; /* that entry is done */
			}
		} else if (at->payload) {
			lua_settop(L, top);
			continue;
		}
		luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, wanted);
		*payload = lua_tolstring(L, -1, len);
		lua_replace(L, top + 1);
		lua_settop(L, top + 1);
		return true;
	}
}

static void step(struct at *at)
{
	at->payload++;
	at->index++;
}

/*
 * nl:batch({ { type, flags, payload }, { type, flags, { payload, payload, ... } or alike }, ... } [, seconds]) -> failures, warnings: lists,
 * empty where all went well, of { index=, errno=, message=, extack=, unknown= } and of extacks with index; requests are counted from 1, each
 * payload is one.  The kernel goes on after a failure, so does the batch.  `unknown`: the answer was lost or did not come in time; the request
 * may have been carried out.  Only the last request of each send is acknowledged, and those with NLM_F_ACK in flags; only those can warn.
 * NLM_F_ECHO is refused: the echoes would push the answers out.
 */
int nslua_netlink_batch(lua_State *L)
{
	struct batch *b;
	uint8_t *out;
	size_t room = 0;
	int most, type, flags;
	struct at at = { 0, 0, 1 };
	const char *payload;
	size_t len;
	bool more;
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	double deadline = nslua_netlink_deadline(L, 3);

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	most = s->rcvbuf / ANSWER_COST;
	most = most < 1 ? 1 : most > MOST ? MOST : most;
	b = lua_newuserdatauv(L, sizeof(*b), 0);
	b->L = L;
	b->s = s;
	b->deadline = deadline;
	lua_newtable(L);
	b->failures = lua_gettop(L);
	lua_newtable(L);
	b->warnings = lua_gettop(L);
	/* all are looked at before any is sent */
	for (; fetch(L, &at, &type, &flags, &payload, &len); step(&at)) {
		luaL_argcheck(L, NLMSG_ALIGN(NLMSG_LENGTH(len)) <= BYTES, 2, "a request longer than 64 KiB");
		luaL_argcheck(L, !(flags & NLM_F_ECHO), 2, "no echo in a batch");
		room += NLMSG_ALIGN(NLMSG_LENGTH(len));
		lua_pop(L, 1);
	}
	out = lua_newuserdatauv(L, room < BYTES ? room + 1 : BYTES, 0); /* most batches are small: no garbage for the collector */
	at = (struct at){ 0, 0, 1 };
	more = fetch(L, &at, &type, &flags, &payload, &len);
	while (more) {
		size_t n = 0;
		struct nlmsghdr *last = NULL;
		struct iovec iov;

		for (b->n = 0; more && b->n < most && n + NLMSG_ALIGN(NLMSG_LENGTH(len)) <= BYTES; b->n++) {
			struct nlmsghdr *h = (void *)(out + n);

			memset(h, 0, NLMSG_ALIGN(NLMSG_LENGTH(len)));
			h->nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
			h->nlmsg_type = (uint16_t)type;
			h->nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST);
			h->nlmsg_seq = nslua_netlink_seq(s);
			h->nlmsg_pid = s->portid;
			memcpy(NLMSG_DATA(h), payload, len);
			lua_pop(L, 1);
			n += NLMSG_ALIGN(h->nlmsg_len);
			b->sent[b->n] = (struct sent){ .seq = h->nlmsg_seq, .index = at.index };
			last = h;
			step(&at);
			more = fetch(L, &at, &type, &flags, &payload, &len);
		}
		if (last)
			last->nlmsg_flags |= NLM_F_ACK;
		iov.iov_base = out;
		iov.iov_len = n;
		s->busy = true;
		if (nslua_netlink_send(L, s, &iov, 1) < 0) {
			int error = errno;

			s->busy = false;
			for (int i = 0; i < b->n; i++)
				add_failure(b, b->sent[i].index, error, NULL, false);
			for (; more; more = fetch(L, &at, &type, &flags, &payload, &len)) {
				lua_pop(L, 1);
				add_failure(b, at.index, error, NULL, false);
				step(&at);
			}
			break;
		}
		receive(b);
		s->busy = false;
	}
	lua_settop(L, b->warnings);
	return 2;
}

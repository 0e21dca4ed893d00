/* SPDX-License-Identifier: MIT */
/* wire.c - the script's side of the process that carries frames between TAP devices (wireloop.c). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "frame.h"
#include "nslua.h"
#include "servant.h"
#include "wire.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define WIRES "nslua.wires"
#define RECEIVE_BUFFER (16 << 20)
#define PATIENCE 5000 /* milliseconds for another process's wires, which answer at once */

struct wires {
	struct nslua_servant servant;
	int adopted; /* another process started it: only the socket is ours too */
	uint32_t id; /* of the last one */
};

static double check_number(lua_State *L, int i, const char *name, double most)
{
	double v = luaL_checknumber(L, i);

	if (!(v >= 0 && v <= most))
		luaL_error(L, "%s is out of range", name);
	return v;
}

/*
 * The impairment in a table of numbers: seed, stream (u64), delay, jitter (nanoseconds), correlation, distribution (JITTER_...), loss,
 * loss_correlation, to_bad, to_good, loss_bad, loss_good (with `bursts`), duplicate, duplicate_correlation, corrupt, corrupt_correlation, reorder,
 * reorder_correlation (chances), gap, rate (bits a second), limit (frames), limit_bytes, each_packet.  What is missing stays as it is in a change,
 * but with `all`; else it is 0 or false.
 */
static void check_impairment(lua_State *L, int i, struct nslua_impairment *s)
{
	luaL_checktype(L, i, LUA_TTABLE);
	memset(s, 0, sizeof(*s));
	for (size_t k = 0; k < nslua_impairment_word_count; k++) {
		const struct nslua_word *word = &nslua_impairment_words[k];
		char *p = (char *)s + word->offset;
		int at = lua_gettop(L) + 1;

		lua_getfield(L, i, word->name);
		if (!lua_isnil(L, at)) {
			s->given |= UINT32_C(1) << k;
			switch (word->type) {
			case WORD_U64:
				*(uint64_t *)(void *)p = nslua_checku64(L, at);
				break;
			case WORD_TIME:
				*(uint64_t *)(void *)p = (uint64_t)check_number(L, at, word->name, word->most);
				break;
			case WORD_REAL:
				*(double *)(void *)p = check_number(L, at, word->name, word->most);
				break;
			case WORD_U32:
				*(uint32_t *)(void *)p = (uint32_t)check_number(L, at, word->name, word->most);
				break;
			case WORD_FLAG:
				*(int *)(void *)p = lua_toboolean(L, at);
				break;
			}
		}
		lua_settop(L, at - 1);
	}
	lua_getfield(L, i, "all");
	if (lua_toboolean(L, -1))
		s->given = UINT32_MAX;
	lua_pop(L, 1);
}

/* wire.start(pid namespace [, user namespace to join first]) -> wires; or nil, "step: reason", errno. */
static int wire_start(lua_State *L)
{
	struct nslua_service service = { .pidfd = nslua_checkfd(L, 1), .userfd = -1, .name = "nslua-wires", .main = nslua_wireloop };
	struct wires *w;
	const char *step;

	if (!lua_isnoneornil(L, 2))
		service.userfd = nslua_checkfd(L, 2);
	w = lua_newuserdatauv(L, sizeof(*w), 0);
	w->id = 0;
	w->adopted = 0;
	nslua_servant_init(&w->servant);
	luaL_setmetatable(L, WIRES);
	if (nslua_servant_start(&w->servant, &service, &step) < 0)
		return nslua_fail(L, step);
	return 1;
}

/* wire.adopt(fd of wires:socket()) -> wires that another process has started; they can be asked, and close() lets go of them. */
static int wire_adopt(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct wires *w = lua_newuserdatauv(L, sizeof(*w), 0);

	w->id = 0;
	w->adopted = 1;
	nslua_servant_init(&w->servant);
	luaL_setmetatable(L, WIRES);
	w->servant.sock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (w->servant.sock < 0)
		return nslua_fail(L, "dup");
	return 1;
}

static struct wires *self(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	luaL_argcheck(L, w->servant.sock >= 0, 1, "closed");
	return w;
}

static ssize_t say(int sock, struct nslua_wire_request *q, const int *fds, int flags)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { q, sizeof(*q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fds) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control.buf);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(2 * sizeof(int));
		memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
	}
	do
		n = sendmsg(sock, &m, MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	return n;
}

/* One process at a time asks and hears the answer: those that a lab was opened by have the same socket.  The lock is of the process. */
static int turn(int sock, short type)
{
	struct flock f = { .l_type = type, .l_whence = SEEK_SET };

	for (int waited = 0; fcntl(sock, F_SETLK, &f) < 0; waited++) {
		if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || waited == PATIENCE)
			return -1;
		poll(NULL, 0, 1);
	}
	return 0;
}

static int alive(const struct wires *w)
{
	return w->adopted ? w->servant.sock >= 0 : nslua_servant_alive(&w->servant);
}

/* Who adopted wires does not wait for ever: they may be another user's. */
static int converse(const struct wires *w, struct nslua_wire_request *q, const int *fds, struct nslua_wire_answer *a)
{
	const struct nslua_servant *s = &w->servant;
	int n;
	struct pollfd p[2] = { { s->sock, POLLIN, 0 }, { s->pidfd, POLLIN, 0 } };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	q->seq = (uint32_t)now.tv_sec * 1000000000u + (uint32_t)now.tv_nsec;
	if (say(s->sock, q, fds, w->adopted ? MSG_DONTWAIT : 0) < 0)
		return -1;
	for (int left = 100; left > 0; left--) {
		do
			n = poll(p, 2, w->adopted ? PATIENCE : -1);
		while (n < 0 && errno == EINTR);
		if (n <= 0 || recv(s->sock, a, sizeof(*a), MSG_DONTWAIT) != (ssize_t)sizeof(*a))
			return -1;
		if (a->seq == q->seq)
			return 0;
	}
	return -1;
}

/* Ask and wait for the answer, which comes at once; 0, or -1 with the reason in the answer. */
static int ask(const struct wires *w, struct nslua_wire_request *q, const int *fds, struct nslua_wire_answer *a)
{
	int rc = -1, sock = w->servant.sock;

	memset(a, 0, sizeof(*a));
	/* A forked child would take the answers to its parent's requests. */
	if (alive(w) && turn(sock, F_WRLCK) == 0) {
		rc = converse(w, q, fds, a);
		turn(sock, F_UNLCK);
	}
	if (rc < 0) {
		a->en = ESRCH;
		snprintf(a->step, sizeof(a->step), "the process of the wires");
	}
	return a->en ? -1 : 0;
}

static int answer_true(lua_State *L, struct nslua_wire_request *q, const int *fds)
{
	const struct wires *w = self(L);
	struct nslua_wire_answer a;

	if (ask(w, q, fds, &a) < 0)
		return nslua_failen(L, a.step, a.en);
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * wires:add(device, device, there, back) -> id: a wire between two TAP devices that are attached with IFF_VNET_HDR.  The process has copies of the
 * fds then.  `there` is the impairment from the first to the second.
 */
static int wires_add(lua_State *L)
{
	struct wires *w = self(L);
	struct nslua_wire_request q = { .op = WIRE_ADD };
	int fds[2] = { nslua_checkfd(L, 2), nslua_checkfd(L, 3) }, rc;

	check_impairment(L, 4, &q.set[0]);
	check_impairment(L, 5, &q.set[1]);
	q.id = ++w->id;
	rc = answer_true(L, &q, fds);
	if (rc != 1)
		return rc;
	lua_pushnumber(L, q.id);
	return 1;
}

static uint32_t check_id(lua_State *L)
{
	return (uint32_t)luaL_checknumber(L, 2);
}

/* wires:change(id, there or nil, back or nil) -> true.  What is on its way stays so, but that it waits for the rate there is now. */
static int wires_change(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_CHANGE, .id = check_id(L) };

	for (int i = 0; i < 2; i++) {
		q.given[i] = !lua_isnoneornil(L, 3 + i);
		if (q.given[i])
			check_impairment(L, 3 + i, &q.set[i]);
	}
	return answer_true(L, &q, NULL);
}

/* wires:carrier(id, up) -> true.  Down drops what is on its way. */
static int wires_carrier(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_CARRIER, .id = check_id(L), .up = lua_toboolean(L, 3) };

	return answer_true(L, &q, NULL);
}

static uint64_t nanoseconds(lua_State *L, int i)
{
	double v = luaL_checknumber(L, i);

	luaL_argcheck(L, v >= 0 && v <= 9e18, i, "out of range");
	return (uint64_t)v;
}

/*
 * wires:at(id, due, every, times, there or nil, back or nil [, up]) -> true: change these at that time (nanoseconds of CLOCK_MONOTONIC), and again
 * `every` so many nanoseconds (0: once), so often in all (0: on and on); a boolean `up`: whether anything gets through.
 */
static int wires_at(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_AT, .id = check_id(L), .due = nanoseconds(L, 3), .every = nanoseconds(L, 4) };

	q.times = (uint32_t)check_number(L, 5, "times", UINT32_MAX);
	for (int i = 0; i < 2; i++) {
		q.given[i] = !lua_isnoneornil(L, 6 + i);
		if (q.given[i])
			check_impairment(L, 6 + i, &q.set[i]);
	}
	q.plug = !lua_isnoneornil(L, 8);
	q.up = lua_toboolean(L, 8);
	return answer_true(L, &q, NULL);
}

/* wires:unschedule(id) -> true: nothing is to come, and it is up. */
static int wires_unschedule(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_UNSCHEDULE, .id = check_id(L) };

	return answer_true(L, &q, NULL);
}

/* wires:remove(id) -> true: the devices are gone when it returns, if nobody else has their fds. */
static int wires_remove(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_REMOVE, .id = check_id(L) };

	return answer_true(L, &q, NULL);
}

/* wires:keep() -> true: the process outlives the script from now on, and close() only lets go of it. */
static int wires_keep(lua_State *L)
{
	struct wires *w = self(L);
	struct nslua_wire_request q = { .op = WIRE_KEEP };
	int rc = answer_true(L, &q, NULL);

	if (rc == 1)
		w->servant.kept = 1;
	return rc;
}

static void push_counters(lua_State *L, const struct nslua_wire_counters *c)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "taken", c->taken }, { "sent", c->sent }, { "bytes", c->bytes }, { "lost", c->lost }, { "duplicated", c->duplicated },
		{ "reordered", c->reordered }, { "corrupted", c->corrupted }, { "limited", c->limited }, { "down", c->down },
		{ "queued", c->queued }, { "queued_bytes", c->queued_bytes },
	};

	lua_createtable(L, 0, (int)(sizeof(fields) / sizeof(fields[0])));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		nslua_pushu64(L, fields[i].value);
		lua_setfield(L, -2, fields[i].name);
	}
}

/* wires:counters(id) -> of the way there, of the way back: see struct nslua_wire_counters. */
static int wires_counters(lua_State *L)
{
	struct nslua_wire_request q = { .op = WIRE_COUNTERS, .id = check_id(L) };
	struct nslua_wire_answer a;

	if (ask(self(L), &q, NULL, &a) < 0)
		return nslua_failen(L, a.step, a.en);
	push_counters(L, &a.counters[0]);
	push_counters(L, &a.counters[1]);
	return 2;
}

/* wires:close() -> whether the process is gone; with it every wire and its devices. */
static int wires_close(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	lua_pushboolean(L, nslua_servant_close(&w->servant));
	return 1;
}

static int wires_gc(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	nslua_servant_close(&w->servant);
	nslua_servant_forget(&w->servant);
	return 0;
}

/* wires:socket() -> fd by which others can ask it too. */
static int wires_socket(lua_State *L)
{
	struct wires *w = self(L);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = fcntl(w->servant.sock, F_DUPFD_CLOEXEC, 3);
	if (h->fd < 0)
		return nslua_fail(L, "dup");
	return 1;
}

/* wires:alive() -> whether the process runs and is this process's own, or was adopted. */
static int wires_alive(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	lua_pushboolean(L, alive(w));
	return 1;
}

/* wires:mine() -> whether the process was started by this one, and not by one that this was forked from. */
static int wires_mine(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	lua_pushboolean(L, nslua_servant_mine(&w->servant));
	return 1;
}

/* wires:pid() -> as the script sees it. */
static int wires_pid(lua_State *L)
{
	struct wires *w = luaL_checkudata(L, 1, WIRES);

	lua_pushinteger(L, w->servant.pid);
	return 1;
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/*
 * wire.packet(socket, index [, promiscuous [, plain]]) -> true: a packet socket that gives and takes the frames of that device, as a TAP device would.
 * plain: frames alone, as most programs have them, without what the kernel left to do (struct virtio_net_hdr, tags of VLANs).
 */
static int wire_packet(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)luaL_checkinteger(L, 2) };

	if (!lua_toboolean(L, 4)) {
		if (set_option(fd, SOL_PACKET, PACKET_VNET_HDR, 1) < 0)
			return nslua_fail(L, "PACKET_VNET_HDR");
		if (set_option(fd, SOL_PACKET, PACKET_AUXDATA, 1) < 0)
			return nslua_fail(L, "PACKET_AUXDATA");
	}
	if (set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1) < 0) /* Linux 4.20 */
		return nslua_fail(L, "PACKET_IGNORE_OUTGOING");
	set_option(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	/* As much as may be: what finds no room is lost. */
	if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER) < 0)
		set_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return nslua_fail(L, "bind");
	if (lua_toboolean(L, 3)) {
		struct packet_mreq all = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };

		if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
			return nslua_fail(L, "PACKET_ADD_MEMBERSHIP");
	}
	lua_pushboolean(L, 1);
	return 1;
}

static void set_number(lua_State *L, const char *key, double v)
{
	lua_pushnumber(L, v);
	lua_setfield(L, -2, key);
}

/*
 * wire.forecast(impairment, count, size, gap [, frame]) -> { { lost = boolean, [1] = copy, [2] = copy }, ... }: what would become of `count` frames of
 * `size` bytes that come `gap` nanoseconds apart, all of the flow of `frame`; no queue is ever full.  A copy is { after = nanoseconds, corrupted =, first = }.
 */
static int wire_forecast(lua_State *L)
{
	struct nslua_impairment set;
	struct nslua_impair *d;
	size_t len = 0;
	const char *frame;
	uint64_t flow, now = UINT64_C(1000000000000);
	int count = (int)luaL_checkinteger(L, 2);
	size_t size = (size_t)luaL_checkinteger(L, 3);
	uint64_t gap = (uint64_t)luaL_checkinteger(L, 4);

	check_impairment(L, 1, &set);
	frame = luaL_optlstring(L, 5, "", &len);
	flow = nslua_frame_flow((const uint8_t *)frame, len);
	d = lua_newuserdatauv(L, sizeof(*d), 0);
	memset(d, 0, sizeof(*d));
	nslua_impair_set(d, &set);
	lua_createtable(L, count, 0);
	for (int i = 1; i <= count; i++, now += gap) {
		struct nslua_fate fate;

		nslua_impair_draw(d, flow, &fate);
		lua_createtable(L, fate.copies, 1);
		lua_pushboolean(L, fate.lost);
		lua_setfield(L, -2, "lost");
		for (int k = 0; k < fate.copies; k++) {
			lua_createtable(L, 0, 3);
			set_number(L, "after", (double)(nslua_impair_due(d, size, fate.copy[k].delay, fate.copy[k].first, now) - now));
			lua_pushboolean(L, fate.copy[k].corrupt);
			lua_setfield(L, -2, "corrupted");
			lua_pushboolean(L, fate.copy[k].first);
			lua_setfield(L, -2, "first");
			lua_rawseti(L, -2, k + 1);
		}
		lua_rawseti(L, -2, i);
	}
	return 1;
}

/* wire.corrupt(header and frame, bit) -> what it is with the bit flipped: for a look at it. */
static int wire_corrupt(lua_State *L)
{
	size_t len;
	const char *data = luaL_checklstring(L, 1, &len);
	uint8_t *copy = lua_newuserdatauv(L, len + 1, 0);

	memcpy(copy, data, len);
	nslua_frame_corrupt(copy, len, (uint64_t)luaL_checknumber(L, 2));
	lua_pushlstring(L, (const char *)copy, len);
	return 1;
}

static const luaL_Reg wires_methods[] = {
	{ "add", wires_add },     { "change", wires_change }, { "carrier", wires_carrier }, { "remove", wires_remove },
	{ "counters", wires_counters }, { "close", wires_close }, { "alive", wires_alive }, { "socket", wires_socket }, { "mine", wires_mine },
	{ "at", wires_at },       { "unschedule", wires_unschedule },
	{ "pid", wires_pid }, { "keep", wires_keep }, { NULL, NULL },
};
static const luaL_Reg wires_meta[] = {
	{ "__gc", wires_gc }, { NULL, NULL },
};
static const luaL_Reg wire_functions[] = {
	{ "start", wire_start }, { "adopt", wire_adopt }, { "forecast", wire_forecast }, { "corrupt", wire_corrupt },
	{ "packet", wire_packet }, { NULL, NULL },
};

int nslua_open_wire(lua_State *L)
{
	nslua_newclass(L, WIRES, wires_methods, wires_meta);
	luaL_newlib(L, wire_functions);
	nslua_open_divert(L);
	return 1;
}

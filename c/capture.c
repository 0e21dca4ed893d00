/* SPDX-License-Identifier: MIT */
/* capture.c - the script's side of the process that writes packets down (captureloop.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include "capture.h"
#include "nslua.h"
#include "packet.h"
#include "servant.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define CAPTURE "nslua.capture"

struct capture {
	struct nslua_servant servant;
};

/* capture.start(pid namespace [, user namespace to join first]) -> capture; or nil, "step: reason", errno. */
static int capture_start(lua_State *L)
{
	struct nslua_service service = { .pidfd = nslua_checkfd(L, 1), .userfd = -1, .name = "nslua-capture", .main = nslua_captureloop };
	struct capture *c;
	const char *step;

	if (!lua_isnoneornil(L, 2))
		service.userfd = nslua_checkfd(L, 2);
	c = lua_newuserdatauv(L, sizeof(*c), 0);
	nslua_servant_init(&c->servant);
	luaL_setmetatable(L, CAPTURE);
	if (nslua_servant_start(&c->servant, &service, &step) < 0)
		return nslua_fail(L, step);
	return 1;
}

static struct capture *self(lua_State *L)
{
	struct capture *c = luaL_checkudata(L, 1, CAPTURE);

	luaL_argcheck(L, c->servant.sock >= 0, 1, "closed");
	return c;
}

static ssize_t say(int sock, struct nslua_capture_request *q, const char *payload, size_t len, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov[2] = { { q, sizeof(*q) }, { (void *)(uintptr_t)payload, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	ssize_t n;

	if (count) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	do
		n = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Ask and wait for the answer; 0, or -1 with the reason in the answer. */
static int ask(const struct nslua_servant *s, struct nslua_capture_request *q, const char *payload, size_t len, const int *fds, size_t count,
	       struct nslua_capture_answer *a)
{
	struct pollfd p[2] = { { s->sock, POLLIN, 0 }, { s->pidfd, POLLIN, 0 } };

	memset(a, 0, sizeof(*a));
	a->en = ESRCH;
	snprintf(a->step, sizeof(a->step), "the process of the capture");
	/* A forked child would take the answers to its parent's requests. */
	if (!nslua_servant_alive(s) || say(s->sock, q, payload, len, fds, count) < 0)
		return -1;
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (recv(s->sock, a, sizeof(*a), MSG_DONTWAIT) != (ssize_t)sizeof(*a)) {
		a->en = ESRCH;
		snprintf(a->step, sizeof(a->step), "the process of the capture");
	}
	return a->en ? -1 : 0;
}

static void set_u64(lua_State *L, const char *key, uint64_t v)
{
	nslua_pushu64(L, v);
	lua_setfield(L, -2, key);
}

static int push_answer(lua_State *L, const struct nslua_capture_answer *a)
{
	lua_createtable(L, 0, 8);
	set_u64(L, "packets", a->counters.packets);
	set_u64(L, "bytes", a->counters.bytes);
	set_u64(L, "dropped", a->counters.dropped);
	set_u64(L, "unwritten", a->counters.unwritten);
	set_u64(L, "interfaces", a->interfaces);
	set_u64(L, "files", a->files);
	lua_pushboolean(L, a->done);
	lua_setfield(L, -2, "done");
	if (a->failed)
		set_u64(L, "failed", (uint64_t)a->failed);
	return 1;
}

static int answer(lua_State *L, struct nslua_capture_request *q, const char *payload, size_t len, const int *fds, size_t count)
{
	const struct capture *c = self(L);
	struct nslua_capture_answer a;

	if (ask(&c->servant, q, payload, len, fds, count, &a) < 0)
		return nslua_failen(L, a.step, a.en);
	return push_answer(L, &a);
}

static uint64_t number(lua_State *L, int table, const char *key)
{
	lua_Number v;

	lua_getfield(L, table, key);
	v = luaL_optnumber(L, -1, 0);
	lua_pop(L, 1);
	if (!(v >= 0 && v <= 9e15))
		luaL_error(L, "%s is out of range", key);
	return (uint64_t)v;
}

static void text(lua_State *L, int table, const char *key, char *out, size_t size)
{
	size_t len;
	const char *s;

	lua_getfield(L, table, key);
	s = luaL_optlstring(L, -1, "", &len);
	if (len >= size || strlen(s) != len)
		luaL_error(L, "%s is too long", key);
	memcpy(out, s, len + 1);
	lua_pop(L, 1);
}

/*
 * capture:output(fd, eventfd, { snaplen=, hold=, count=, memory=, file_bytes=, file_packets=, files=, before=, after= }) -> counters.
 * The process has copies of the fds then.
 */
static int capture_output(lua_State *L)
{
	struct nslua_capture_request q = { .op = CAPTURE_OUTPUT };
	int fds[2] = { nslua_checkfd(L, 2), nslua_checkfd(L, 3) };

	luaL_checktype(L, 4, LUA_TTABLE);
	q.snaplen = (uint32_t)number(L, 4, "snaplen");
	q.hold = (uint32_t)number(L, 4, "hold");
	q.count = number(L, 4, "count");
	q.memory = number(L, 4, "memory");
	q.file_bytes = number(L, 4, "file_bytes");
	q.file_packets = number(L, 4, "file_packets");
	q.files = (uint32_t)number(L, 4, "files");
	text(L, 4, "before", q.before, sizeof(q.before));
	text(L, 4, "after", q.after, sizeof(q.after));
	return answer(L, &q, NULL, 0, fds, 2);
}

static const char *check_payload(lua_State *L, int arg, size_t *len)
{
	const char *s = luaL_checklstring(L, arg, len);

	luaL_argcheck(L, *len <= NSLUA_CAPTURE_PAYLOAD, arg, "too long");
	return s;
}

/* capture:block(bytes) -> counters: a block that stands in each file. */
static int capture_block(lua_State *L)
{
	struct nslua_capture_request q = { .op = CAPTURE_BLOCK };
	size_t len;
	const char *s = check_payload(L, 2, &len);

	return answer(L, &q, s, len, NULL, 0);
}

/* capture:add(socket, index, block size, blocks, network, description) -> counters: from now on its packets are taken. */
static int capture_add(lua_State *L)
{
	struct nslua_capture_request q = { .op = CAPTURE_ADD };
	int fd = nslua_checkfd(L, 2);
	size_t len;
	const char *s;

	q.ifindex = (uint32_t)luaL_checkinteger(L, 3);
	q.block_size = (uint32_t)luaL_checkinteger(L, 4);
	q.blocks = (uint32_t)luaL_checkinteger(L, 5);
	q.network = (uint32_t)lua_toboolean(L, 6);
	s = check_payload(L, 7, &len);
	return answer(L, &q, s, len, &fd, 1);
}

/* capture:comment(text) -> counters. */
static int capture_comment(lua_State *L)
{
	struct nslua_capture_request q = { .op = CAPTURE_COMMENT, .now = nslua_realtime() };
	size_t len;
	const char *s = check_payload(L, 2, &len);

	return answer(L, &q, s, len, NULL, 0);
}

static int simple(lua_State *L, enum nslua_capture_op op)
{
	struct nslua_capture_request q = { .op = op };

	if (op == CAPTURE_INTERFACE)
		q.number = (uint32_t)luaL_checkinteger(L, 2);
	return answer(L, &q, NULL, 0, NULL, 0);
}

/* capture:sync() -> counters: what was received before it is written. */
static int capture_sync(lua_State *L)
{
	return simple(L, CAPTURE_SYNC);
}

static int capture_counters(lua_State *L)
{
	return simple(L, CAPTURE_COUNTERS);
}

/* capture:interface(number from 0) -> packets, bytes, dropped of it. */
static int capture_interface(lua_State *L)
{
	return simple(L, CAPTURE_INTERFACE);
}

/* capture:stop() -> counters: what was received before it is written, and the file is whole. */
static int capture_stop(lua_State *L)
{
	return simple(L, CAPTURE_STOP);
}

static int capture_close(lua_State *L)
{
	struct capture *c = luaL_checkudata(L, 1, CAPTURE);

	lua_pushboolean(L, nslua_servant_close(&c->servant));
	return 1;
}

static int capture_gc(lua_State *L)
{
	struct capture *c = luaL_checkudata(L, 1, CAPTURE);

	nslua_servant_close(&c->servant);
	nslua_servant_forget(&c->servant);
	return 0;
}

static int capture_alive(lua_State *L)
{
	struct capture *c = luaL_checkudata(L, 1, CAPTURE);

	lua_pushboolean(L, nslua_servant_alive(&c->servant));
	return 1;
}

static int capture_pid(lua_State *L)
{
	struct capture *c = luaL_checkudata(L, 1, CAPTURE);

	lua_pushinteger(L, c->servant.pid);
	return 1;
}

/* capture.filter(socket, program) -> true: struct sock_filter, one behind the other. socket(7) SO_ATTACH_FILTER */
static int capture_filter(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t len;
	const char *code = luaL_checklstring(L, 2, &len);
	struct sock_filter *copy;
	struct sock_fprog program;

	luaL_argcheck(L, len && len % sizeof(*copy) == 0 && len / sizeof(*copy) <= BPF_MAXINSNS, 2, "no program of a filter");
	copy = lua_newuserdatauv(L, len, 0);
	memcpy(copy, code, len);
	program.len = (unsigned short)(len / sizeof(*copy));
	program.filter = copy;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return nslua_fail(L, "filter");
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * capture.ring(socket, block size, blocks, milliseconds, loopback) -> true: the socket, which is not bound yet, gets a ring whose blocks the kernel
 * gives away when they are full or after that time.  Loopback shows a packet once, when it comes.
 */
static int capture_ring(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), version = TPACKET_V3, one = 1;
	struct tpacket_req3 req = { .tp_frame_size = 2048 };

	req.tp_block_size = (unsigned int)luaL_checkinteger(L, 2);
	req.tp_block_nr = (unsigned int)luaL_checkinteger(L, 3);
	req.tp_retire_blk_tov = (unsigned int)luaL_checkinteger(L, 4);
	req.tp_frame_nr = req.tp_block_size / req.tp_frame_size * req.tp_block_nr;
	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return nslua_fail(L, "PACKET_VERSION");
	if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return nslua_fail(L, "PACKET_RX_RING");
	if (lua_toboolean(L, 5) && setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0)
		return nslua_fail(L, "PACKET_IGNORE_OUTGOING");
	lua_pushboolean(L, 1);
	return 1;
}

/* capture.promiscuous(socket, index) -> true: as long as the socket is open. */
static int capture_promiscuous(lua_State *L)
{
	struct packet_mreq m = { .mr_type = PACKET_MR_PROMISC };

	m.mr_ifindex = (int)luaL_checkinteger(L, 2);
	if (setsockopt(nslua_checkfd(L, 1), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)) < 0)
		return nslua_fail(L, "promiscuous");
	lua_pushboolean(L, 1);
	return 1;
}

/* capture.memory() -> a file in memory without a name. */
static int capture_memory(lua_State *L)
{
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = memfd_create("nslua-capture", MFD_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, "memfd");
	return 1;
}

/* capture.event() -> an eventfd that does not block. */
static int capture_event(lua_State *L)
{
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->fd < 0)
		return nslua_fail(L, "eventfd");
	return 1;
}

/* capture.read(fd, offset, bytes) -> what a file has there, "" at its end. */
static int capture_read(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	off_t at = (off_t)luaL_checknumber(L, 2);
	lua_Integer want = luaL_checkinteger(L, 3);
	char *buf;
	ssize_t n;

	luaL_argcheck(L, want > 0 && want <= (1 << 26), 3, "size out of range");
	buf = lua_newuserdatauv(L, (size_t)want, 0);
	n = pread(fd, buf, (size_t)want, at);
	if (n < 0)
		return nslua_fail(L, "read");
	lua_pushlstring(L, buf, (size_t)n);
	return 1;
}

/* capture.forget(fd, bytes) -> true: the beginning of a file in memory takes none any more. */
static int capture_forget(lua_State *L)
{
	off_t len = (off_t)luaL_checknumber(L, 2);

	if (len > 0 && fallocate(nslua_checkfd(L, 1), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, len) < 0)
		return nslua_fail(L, "fallocate");
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg capture_methods[] = {
	{ "output", capture_output }, { "block", capture_block },   { "add", capture_add },	   { "comment", capture_comment },
	{ "sync", capture_sync },     { "counters", capture_counters }, { "interface", capture_interface }, { "stop", capture_stop },
	{ "close", capture_close },   { "alive", capture_alive },   { "pid", capture_pid }, { NULL, NULL },
};
static const luaL_Reg capture_meta[] = {
	{ "__gc", capture_gc }, { NULL, NULL },
};
static const luaL_Reg capture_functions[] = {
	{ "start", capture_start }, { "filter", capture_filter }, { "ring", capture_ring }, { "promiscuous", capture_promiscuous },
	{ "memory", capture_memory }, { "event", capture_event }, { "read", capture_read }, { "forget", capture_forget },
	{ "compile", nslua_pcap_compile }, { NULL, NULL },
};

int nslua_open_capture(lua_State *L)
{
	nslua_newclass(L, CAPTURE, capture_methods, capture_meta);
	luaL_newlib(L, capture_functions);
	return 1;
}

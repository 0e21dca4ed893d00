/* SPDX-License-Identifier: MIT */
/* datagram.c - one packet sent or received, and what the kernel says beside it: when, with which TTL, and ICMP errors (IP_RECVERR, ip(7)). */
#include <errno.h>
#include <string.h>
#include <netinet/in.h>
#include "packet.h"

uint64_t nslua_realtime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_error(const struct cmsghdr *c, struct nslua_control *out)
{
	size_t len = c->cmsg_len - CMSG_LEN(0), more;

	if (len < sizeof(out->error))
		return;
	memcpy(&out->error, CMSG_DATA(c), sizeof(out->error));
	out->failed = true;
	/* SO_EE_OFFENDER stands behind; only ICMP has one */
	more = len - sizeof(out->error);
	if (more > sizeof(out->offender))
		more = sizeof(out->offender);
	memcpy(&out->offender, CMSG_DATA(c) + sizeof(out->error), more);
	if (out->error.ee_origin != SO_EE_ORIGIN_ICMP && out->error.ee_origin != SO_EE_ORIGIN_ICMP6)
		out->offender.ss_family = 0;
}

/* The data of a control message, where it has so much. */
static void copy(const struct cmsghdr *c, void *out, size_t size)
{
	if (c->cmsg_len >= CMSG_LEN(size))
		memcpy(out, CMSG_DATA(c), size);
}

/* IP_PKTINFO, ip(7); IPV6_PKTINFO, ipv6(7) */
static void read_to(const struct cmsghdr *c, struct nslua_control *out)
{
	if (c->cmsg_level == IPPROTO_IP) {
		struct in_pktinfo p = { 0 };

		copy(c, &p, sizeof(p));
		out->to_len = 4;
		memcpy(out->to, &p.ipi_addr, 4);
		out->dev_index = (uint32_t)p.ipi_ifindex;
	} else {
		struct in6_pktinfo p = { 0 };

		copy(c, &p, sizeof(p));
		out->to_len = 16;
		memcpy(out->to, &p.ipi6_addr, 16);
		out->dev_index = p.ipi6_ifindex;
	}
}

void nslua_control_read(struct msghdr *m, struct nslua_control *out)
{
	memset(out, 0, sizeof(*out));
	out->ttl = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		int level = c->cmsg_level, type = c->cmsg_type;

		if (level == SOL_SOCKET && type == SO_TIMESTAMPNS) {
			struct timespec t = { 0, 0 };

			copy(c, &t, sizeof(t));
			out->time = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		} else if ((level == IPPROTO_IP && type == IP_TTL) || (level == IPPROTO_IPV6 && type == IPV6_HOPLIMIT)) {
			copy(c, &out->ttl, sizeof(out->ttl));
		} else if ((level == IPPROTO_IP && type == IP_RECVERR) || (level == IPPROTO_IPV6 && type == IPV6_RECVERR)) {
			read_error(c, out);
		} else if ((level == IPPROTO_IP && type == IP_PKTINFO) || (level == IPPROTO_IPV6 && type == IPV6_PKTINFO)) {
			read_to(c, out);
		}
	}
}

static void push_ip(lua_State *L, const struct sockaddr_storage *a, const char *key)
{
	size_t n;
	const uint8_t *ip = nslua_sockaddr_ip(a, &n);

	if (!ip)
		return;
	lua_pushlstring(L, (const char *)ip, n);
	lua_setfield(L, -2, key);
}

void nslua_push_error(lua_State *L, const struct nslua_control *c)
{
	static const char *const origins[] = { "none", "local", "icmp", "icmp6" };

	lua_createtable(L, 0, 6);
	lua_pushinteger(L, c->error.ee_errno);
	lua_setfield(L, -2, "errno");
	lua_pushstring(L, c->error.ee_origin < 4 ? origins[c->error.ee_origin] : "other");
	lua_setfield(L, -2, "origin");
	lua_pushinteger(L, c->error.ee_type);
	lua_setfield(L, -2, "type");
	lua_pushinteger(L, c->error.ee_code);
	lua_setfield(L, -2, "code");
	lua_pushinteger(L, c->error.ee_info);
	lua_setfield(L, -2, "info");
	push_ip(L, &c->offender, "from");
}

/* The control message that says where a packet is sent from. */
static void write_from(struct msghdr *m, const char *ip, size_t n)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);

	if (n == 4) {
		struct in_pktinfo p = { 0 };

		memcpy(&p.ipi_spec_dst, ip, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(p));
		memcpy(CMSG_DATA(c), &p, sizeof(p));
	} else {
		struct in6_pktinfo p = { 0 };

		memcpy(&p.ipi6_addr, ip, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(p));
		memcpy(CMSG_DATA(c), &p, sizeof(p));
	}
	m->msg_controllen = CMSG_ALIGN(c->cmsg_len);
}

/* packet.send(fd, bytes [, ip, port, scope [, from]]) -> count, time (CLOCK_REALTIME, ns).  `from`: an address (bytes) of ours.  Never waits: EAGAIN. */
static int packet_send(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t len, n = 0, nfrom = 0;
	const char *data = luaL_checklstring(L, 2, &len), *ip = luaL_optlstring(L, 3, NULL, &n), *from = luaL_optlstring(L, 6, NULL, &nfrom);
	union {
		char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control;
	struct sockaddr_storage a;
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint64_t now;
	ssize_t sent;

	if (ip) {
		m.msg_namelen = nslua_sockaddr(ip, n, (uint16_t)luaL_optinteger(L, 4, 0), (uint32_t)luaL_optinteger(L, 5, 0), &a);
		luaL_argcheck(L, m.msg_namelen, 3, "4 or 16 bytes expected");
		m.msg_name = &a;
	}
	if (from) {
		luaL_argcheck(L, nfrom == 4 || nfrom == 16, 6, "4 or 16 bytes expected");
		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		write_from(&m, from, nfrom);
	}
	now = nslua_realtime();
	sent = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return nslua_fail(L, "send");
	lua_pushinteger(L, sent);
	nslua_pushu64(L, now);
	return 2;
}

/*
 * packet.receive(fd [, errors [, size]]) -> { data=, from=, port=, to=, dev_index=, ttl=, time= (ns), truncated=, error= }; with `errors` the next of the
 * error queue, where `data` is what was sent (the part that came back) and `from` whom it was for.  Never waits: EAGAIN.
 */
static int packet_receive(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), errors = lua_toboolean(L, 2);
	lua_Integer size = luaL_optinteger(L, 3, 65536);
	union {
		char space[NSLUA_CONTROL_SPACE];
		struct cmsghdr align;
	} control;
	struct sockaddr_storage from;
	struct nslua_control c;
	struct iovec iov;
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	luaL_argcheck(L, size > 0 && size <= (1 << 24), 3, "size out of range");
	iov.iov_base = lua_newuserdatauv(L, (size_t)size, 0);
	iov.iov_len = (size_t)size;
	memset(&from, 0, sizeof(from));
	n = recvmsg(fd, &m, MSG_DONTWAIT | (errors ? MSG_ERRQUEUE : 0));
	if (n < 0)
		return nslua_fail(L, "receive");
	nslua_control_read(&m, &c);
	lua_createtable(L, 0, 8);
	lua_pushlstring(L, iov.iov_base, (size_t)n);
	lua_setfield(L, -2, "data");
	push_ip(L, &from, "from");
	lua_pushinteger(L, nslua_sockaddr_port(&from));
	lua_setfield(L, -2, "port");
	if (c.ttl >= 0) {
		lua_pushinteger(L, c.ttl);
		lua_setfield(L, -2, "ttl");
	}
	if (c.to_len) {
		lua_pushlstring(L, (const char *)c.to, c.to_len);
		lua_setfield(L, -2, "to");
		lua_pushinteger(L, c.dev_index);
		lua_setfield(L, -2, "dev_index");
	}
	if (c.time) {
		nslua_pushu64(L, c.time);
		lua_setfield(L, -2, "time");
	}
	if (m.msg_flags & MSG_TRUNC) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "truncated");
	}
	if (c.failed) {
		nslua_push_error(L, &c);
		lua_setfield(L, -2, "error");
	}
	return 1;
}

/* packet.realtime() -> CLOCK_REALTIME in nanoseconds. */
static int packet_realtime(lua_State *L)
{
	nslua_pushu64(L, nslua_realtime());
	return 1;
}

void nslua_open_datagram(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "send", packet_send }, { "receive", packet_receive }, { "realtime", packet_realtime }, { NULL, NULL },
	};

	luaL_setfuncs(L, functions, 0);
}

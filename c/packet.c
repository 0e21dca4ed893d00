/* SPDX-License-Identifier: MIT */
/* packet.c - sockets of IP made inside a namespace: their options, addresses and connections. ip(7), ipv6(7), tcp(7) */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include "packet.h"

socklen_t nslua_sockaddr(const void *ip, size_t len, uint16_t port, uint32_t scope, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (len == 4) {
		struct sockaddr_in *a = (struct sockaddr_in *)out;

		a->sin_family = AF_INET;
		a->sin_port = htons(port);
		memcpy(&a->sin_addr, ip, 4);
		return sizeof(*a);
	}
	if (len == 16) {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;

		a->sin6_family = AF_INET6;
		a->sin6_port = htons(port);
		a->sin6_scope_id = scope;
		memcpy(&a->sin6_addr, ip, 16);
		return sizeof(*a);
	}
	return 0;
}

const uint8_t *nslua_sockaddr_ip(const struct sockaddr_storage *a, size_t *len)
{
	if (a->ss_family == AF_INET) {
		*len = 4;
		return (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
	}
	if (a->ss_family == AF_INET6) {
		*len = 16;
		return (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr;
	}
	*len = 0;
	return NULL;
}

uint16_t nslua_sockaddr_port(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)a)->sin_port);
	return a->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)a)->sin6_port) : 0;
}

uint16_t nslua_checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (; len > 1; p += 2, len -= 2) {
		uint16_t word;

		memcpy(&word, p, 2);
		sum += word;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	if (len) {
		uint8_t last[2] = { *p, 0 };
		uint16_t word;

		memcpy(&word, last, 2);
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

/* packet.checksum(bytes) -> integer, most significant byte first. RFC 1071 */
static int packet_checksum(lua_State *L)
{
	size_t len;
	const char *data = luaL_checklstring(L, 1, &len);

	lua_pushinteger(L, ntohs(nslua_checksum(data, len)));
	return 1;
}

/* Options that are an int. */
static const struct {
	const char *name;
	int level, option;
} options[] = {
	{ "reuseaddr", SOL_SOCKET, SO_REUSEADDR },
	{ "broadcast", SOL_SOCKET, SO_BROADCAST },
	{ "rcvbuf", SOL_SOCKET, SO_RCVBUF },
	{ "sndbuf", SOL_SOCKET, SO_SNDBUF },
	{ "timestamp", SOL_SOCKET, SO_TIMESTAMPNS },
	{ "error", SOL_SOCKET, SO_ERROR },
	{ "ttl", IPPROTO_IP, IP_TTL },
	{ "recvttl", IPPROTO_IP, IP_RECVTTL },
	{ "recverr", IPPROTO_IP, IP_RECVERR },
	{ "mtu_discover", IPPROTO_IP, IP_MTU_DISCOVER },
	{ "pktinfo", IPPROTO_IP, IP_PKTINFO },
	{ "ttl6", IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	{ "recvttl6", IPPROTO_IPV6, IPV6_RECVHOPLIMIT },
	{ "recverr6", IPPROTO_IPV6, IPV6_RECVERR },
	{ "mtu_discover6", IPPROTO_IPV6, IPV6_MTU_DISCOVER },
	{ "pktinfo6", IPPROTO_IPV6, IPV6_RECVPKTINFO },
	{ "v6only", IPPROTO_IPV6, IPV6_V6ONLY },
	{ NULL, 0, 0 },
};

static int option_index(lua_State *L)
{
	const char *name = luaL_checkstring(L, 2);
	int i = 0;

	while (options[i].name && strcmp(options[i].name, name) != 0)
		i++;
	luaL_argcheck(L, options[i].name, 2, "no such option");
	return i;
}

/* packet.set(fd, option, integer) -> true. */
static int packet_set(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), i = option_index(L), value = (int)luaL_checkinteger(L, 3);

	if (setsockopt(fd, options[i].level, options[i].option, &value, sizeof(value)) < 0)
		return nslua_fail(L, options[i].name);
	lua_pushboolean(L, 1);
	return 1;
}

/* packet.get(fd, option) -> integer. */
static int packet_get(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), i = option_index(L), value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, options[i].level, options[i].option, &value, &len) < 0)
		return nslua_fail(L, options[i].name);
	lua_pushinteger(L, value);
	return 1;
}

/* packet.device(fd, name) -> true: only that link is used. SO_BINDTODEVICE, socket(7) */
static int packet_device(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t len;
	const char *name = luaL_checklstring(L, 2, &len);

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)len) < 0)
		return nslua_fail(L, name);
	lua_pushboolean(L, 1);
	return 1;
}

/* An address at arg, its port and scope behind. */
static socklen_t check_sockaddr(lua_State *L, int arg, struct sockaddr_storage *out)
{
	size_t len;
	const char *ip = luaL_checklstring(L, arg, &len);
	lua_Integer port = luaL_optinteger(L, arg + 1, 0);
	socklen_t n;

	luaL_argcheck(L, port >= 0 && port <= 65535, arg + 1, "no port");
	n = nslua_sockaddr(ip, len, (uint16_t)port, (uint32_t)luaL_optinteger(L, arg + 2, 0), out);
	luaL_argcheck(L, n, arg, "4 or 16 bytes expected");
	return n;
}

/* packet.bind(fd, ip, port [, scope]) -> true.  ip is 4 or 16 bytes. */
static int packet_bind(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct sockaddr_storage a;
	socklen_t len = check_sockaddr(L, 2, &a);

	if (bind(fd, (struct sockaddr *)&a, len) < 0)
		return nslua_fail(L, "bind");
	lua_pushboolean(L, 1);
	return 1;
}

/* packet.connect(fd, ip, port [, scope]) -> true; EINPROGRESS where the fd does not block. */
static int packet_connect(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct sockaddr_storage a;
	socklen_t len = check_sockaddr(L, 2, &a);

	if (connect(fd, (struct sockaddr *)&a, len) < 0)
		return nslua_fail(L, "connect");
	lua_pushboolean(L, 1);
	return 1;
}

/* packet.listen(fd [, backlog]) -> true. */
static int packet_listen(lua_State *L)
{
	if (listen(nslua_checkfd(L, 1), (int)luaL_optinteger(L, 2, 128)) < 0)
		return nslua_fail(L, "listen");
	lua_pushboolean(L, 1);
	return 1;
}

/* packet.accept(fd) -> fd. */
static int packet_accept(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, "accept");
	return 1;
}

/* packet.name(fd [, peer]) -> ip (bytes), port: getsockname(2), or getpeername(2). */
static int packet_name(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), peer = lua_toboolean(L, 2);
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	const uint8_t *ip;
	size_t n;

	memset(&a, 0, sizeof(a));
	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&a, &len) < 0)
		return nslua_fail(L, peer ? "getpeername" : "getsockname");
	ip = nslua_sockaddr_ip(&a, &n);
	if (!ip)
		return nslua_failen(L, "address", EAFNOSUPPORT);
	lua_pushlstring(L, (const char *)ip, n);
	lua_pushinteger(L, nslua_sockaddr_port(&a));
	return 2;
}

/*
 * packet.tcp_info(fd) -> { rtt=, rttvar= (seconds), mss=, advmss=, pmtu=, retransmits= }; packet.tcp_info(fd, true) -> the bytes of struct tcp_info,
 * as many as this kernel has. linux/tcp.h
 */
static int packet_tcp_info(lua_State *L)
{
	union {
		struct tcp_info known;
		char bytes[1024]; /* a newer kernel has more fields */
	} u;
	struct tcp_info t;
	socklen_t len = sizeof(u);

	memset(&u, 0, sizeof(u));
	if (getsockopt(nslua_checkfd(L, 1), IPPROTO_TCP, TCP_INFO, &u, &len) < 0)
		return nslua_fail(L, "TCP_INFO");
	if (lua_toboolean(L, 2)) {
		lua_pushlstring(L, u.bytes, len);
		return 1;
	}
	t = u.known;
	lua_createtable(L, 0, 6);
	lua_pushnumber(L, t.tcpi_rtt / 1e6);
	lua_setfield(L, -2, "rtt");
	lua_pushnumber(L, t.tcpi_rttvar / 1e6);
	lua_setfield(L, -2, "rttvar");
	lua_pushinteger(L, t.tcpi_snd_mss);
	lua_setfield(L, -2, "mss");
	lua_pushinteger(L, t.tcpi_advmss);
	lua_setfield(L, -2, "advmss");
	lua_pushinteger(L, t.tcpi_pmtu);
	lua_setfield(L, -2, "pmtu");
	lua_pushinteger(L, t.tcpi_total_retrans);
	lua_setfield(L, -2, "retransmits");
	return 1;
}

/* packet.congestion(fd [, name]) -> the name of the socket's congestion control, after setting it where one is given. TCP_CONGESTION, tcp(7) */
static int packet_congestion(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t n;
	const char *name = luaL_optlstring(L, 2, NULL, &n);
	char now[16] = ""; /* TCP_CA_NAME_MAX */
	socklen_t len = sizeof(now);

	if (name && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)n) < 0)
		return nslua_fail(L, name);
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now, &len) < 0)
		return nslua_fail(L, "TCP_CONGESTION");
	lua_pushlstring(L, now, strnlen(now, sizeof(now)));
	return 1;
}

/* packet.shutdown(fd) -> true: nothing more is sent, whoever else has the socket open. shutdown(2) */
static int packet_shutdown(lua_State *L)
{
	if (shutdown(nslua_checkfd(L, 1), SHUT_WR) < 0)
		return nslua_fail(L, "shutdown");
	lua_pushboolean(L, 1);
	return 1;
}

/* packet.discard(fd, size) -> how many bytes of a TCP stream were received and thrown away, 0 at its end.  Never waits: EAGAIN. MSG_TRUNC, tcp(7) */
static int packet_discard(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	lua_Integer size = luaL_checkinteger(L, 2);
	ssize_t n;

	luaL_argcheck(L, size > 0 && size <= (1 << 30), 2, "size out of range");
	/* Not recv(3): nothing is written, which the sanitizers' own does not know. */
	n = syscall(SYS_recvfrom, fd, NULL, (size_t)size, MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);
	if (n < 0)
		return nslua_fail(L, "receive");
	lua_pushinteger(L, n);
	return 1;
}

static const luaL_Reg packet_functions[] = {
	{ "checksum", packet_checksum }, { "set", packet_set },       { "get", packet_get },
	{ "device", packet_device },     { "bind", packet_bind },     { "connect", packet_connect },
	{ "listen", packet_listen },     { "accept", packet_accept }, { "name", packet_name },
	{ "tcp_info", packet_tcp_info }, { "congestion", packet_congestion }, { "discard", packet_discard },
	{ "shutdown", packet_shutdown }, 	{ NULL, NULL },
};

int nslua_open_packet(lua_State *L)
{
	luaL_newlib(L, packet_functions);
	nslua_open_datagram(L);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* netaddr.c - the addresses of many network namespaces, for lists: nothing is opened for longer than one question. */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "namespace.h"
#include "schema.h"

static int open_socket(void *arg)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	memcpy(arg, &fd, sizeof(fd));
	return fd < 0 ? -1 : 0;
}

/* Append the text of a global address to the list on top. */
static void add(lua_State *L, const struct nlmsghdr *h, int *count)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const uint8_t *p, *found = NULL;
	struct nslua_attr a;
	size_t left, size;
	char text[64];

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->ifa_scope != RT_SCOPE_UNIVERSE)
		return;
	p = (const uint8_t *)m + NLMSG_ALIGN(sizeof(*m));
	left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	size = m->ifa_family == AF_INET ? 4 : 16;
	while (nslua_attr_next(&p, &left, &a)) {
		const int id = a.type & NLA_ID;

		if (a.len == size && (id == IFA_LOCAL || (id == IFA_ADDRESS && !found)))
			found = a.p; /* IFA_ADDRESS is the other end's where there are two */
	}
	if (!found)
		return;
	lua_pushlstring(L, text, (size_t)nslua_ip_text(found, size, text));
	lua_rawseti(L, -2, ++*count);
}

/* All answers of the dump, as a list; pushes it.  false: not to be had. */
static bool answers(lua_State *L, int fd, char *room, size_t size)
{
	int count = 0;

	lua_newtable(L);
	for (;;) {
		ssize_t n = recv(fd, room, size, MSG_TRUNC | MSG_DONTWAIT); /* the kernel answers before send(2) returns */
		const struct nlmsghdr *h = (const void *)room;

		if (n <= 0 || (size_t)n > size)
			break;
		for (; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return true;
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_flags & NLM_F_DUMP_INTR) {
				lua_pop(L, 1);
				return false;
			}
			add(L, h, &count);
		}
	}
	lua_pop(L, 1);
	return false;
}

/* A socket that has been asked, in the namespace of a process, or -1. */
static int ask(lua_Integer pid, ino_t *inode)
{
	static const struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} request = { { sizeof(request), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { .ifa_family = AF_UNSPEC } };
	char path[40];
	struct stat st;
	int fd, sock = -1;

	snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && nslua_visit(fd, open_socket, &sock, sizeof(sock)) == 0) {
		*inode = st.st_ino;
		if (send(sock, &request, sizeof(request), 0) < 0) {
			close(sock);
			sock = -1;
		}
	}
	close(fd);
	return sock;
}

/*
 * netaddr.list(pids) -> { { "10.0.0.2", ... } | false, ... }, { inode | false, ... }: the global addresses in the network namespace of each
 * process, and which that is; false: it may not be entered, or the process has ended.
 */
static int netaddr_list(lua_State *L)
{
	static const size_t size = 32768;
	struct nslua_fd *held;
	char *room;
	int count;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_checkstack(L, 10, "netaddr");
	count = (int)lua_rawlen(L, 1);
	room = lua_newuserdatauv(L, size, 0);
	held = nslua_newfd(L);
	lua_createtable(L, count, 0);
	lua_createtable(L, count, 0);
	for (int i = 1; i <= count; i++) {
		ino_t inode = 0;
		lua_Integer pid;

		lua_rawgeti(L, 1, i);
		pid = luaL_checkinteger(L, -1);
		lua_pop(L, 1);
		held->fd = ask(pid, &inode);
		if (held->fd < 0 || !answers(L, held->fd, room, size)) {
			lua_pushboolean(L, 0);
			inode = 0;
		}
		lua_rawseti(L, -3, i);
		if (inode)
			lua_pushnumber(L, (lua_Number)inode);
		else
			lua_pushboolean(L, 0);
		lua_rawseti(L, -2, i);
		if (held->fd >= 0)
			close(held->fd);
		held->fd = -1;
	}
	return 2;
}

int nslua_open_netaddr(lua_State *L)
{
	static const luaL_Reg functions[] = { { "list", netaddr_list }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

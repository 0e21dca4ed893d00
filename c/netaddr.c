/* SPDX-License-Identifier: MIT */
/* netaddr.c - the addresses of many network namespaces, for lists: nothing is opened for longer than one question. */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "namespace.h"
#include "schema.h"

#define SOME 32 /* are visited at a time */
#define SOCKETS "nslua.netaddr"

/* Namespaces of processes, and a socket in each; -1: none. */
struct sockets {
	int n, ns[SOME], fd[SOME];
	ino_t inode[SOME];
};

/* From one namespace to the next; who began the visit comes back. */
static int open_sockets(void *arg)
{
	struct sockets *s;

	memcpy(&s, arg, sizeof(s));
	for (int i = 0; i < s->n; i++)
		if (s->ns[i] >= 0 && setns(s->ns[i], CLONE_NEWNET) == 0)
			s->fd[i] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return 0;
}

static void close_all(struct sockets *s)
{
	for (int i = 0; i < s->n; i++) {
		if (s->ns[i] >= 0)
			close(s->ns[i]);
		if (s->fd[i] >= 0)
			close(s->fd[i]);
	}
	s->n = 0;
}

static int sockets_gc(lua_State *L)
{
	close_all(luaL_checkudata(L, 1, SOCKETS));
	return 0;
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

/* Whether that namespace need not be asked: it is the one to leave out, or was asked before.  The lists are where `at` is. */
static bool is_known(lua_State *L, int at, const struct sockets *s, ino_t inode, ino_t except)
{
	bool known = inode == 0 || inode == except;

	if (!known) {
		lua_pushinteger(L, (lua_Integer)inode); /* lua_rawgeti of old takes an int */
		lua_rawget(L, at);
		known = !lua_isnil(L, -1);
		lua_pop(L, 1);
	}
	for (int i = 0; !known && i < s->n; i++)
		known = s->inode[i] == inode;
	return known;
}

/* Ask in the namespaces of n processes at once. */
static void ask(lua_State *L, int at, struct sockets *s, const lua_Integer *pids, int n, ino_t except)
{
	static const struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} request = { { sizeof(request), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { .ifa_family = AF_UNSPEC } };
	int first = -1;

	for (int i = 0; i < n; i++) {
		char path[40];
		struct stat st;
		ino_t inode;

		snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pids[i]);
		s->fd[i] = -1;
		s->ns[i] = open(path, O_RDONLY | O_CLOEXEC);
		inode = s->ns[i] >= 0 && fstat(s->ns[i], &st) == 0 ? st.st_ino : 0;
		if (s->ns[i] >= 0 && is_known(L, at, s, inode, except)) {
			close(s->ns[i]);
			s->ns[i] = -1;
		}
		s->inode[i] = inode;
		s->n = i + 1;
		if (first < 0)
			first = s->ns[i];
	}
	if (first < 0 || nslua_visit(first, open_sockets, &s, sizeof(s)) < 0)
		return; /* without rights there: the caller has other ways */
	for (int i = 0; i < n; i++) {
		if (s->fd[i] >= 0 && send(s->fd[i], &request, sizeof(request), 0) < 0) {
			close(s->fd[i]);
			s->fd[i] = -1;
		}
	}
}

/*
 * netaddr.list(pids, except) -> { inode | false, ... }, { [inode] = { "10.0.0.2", ... } }: the network namespace of each process, and the global
 * addresses in each of those but `except`.  false: the process has ended, or is not to be looked at; no list: it may not be entered.
 */
static int netaddr_list(lua_State *L)
{
	static const size_t size = 32768;
	const ino_t except = (ino_t)luaL_optinteger(L, 2, 0);
	struct sockets *s;
	char *room;
	int count, inodes, lists;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_checkstack(L, 10, "netaddr");
	count = (int)lua_rawlen(L, 1);
	room = lua_newuserdatauv(L, size, 0);
	s = lua_newuserdatauv(L, sizeof(*s), 0);
	s->n = 0;
	luaL_setmetatable(L, SOCKETS);
	lua_createtable(L, count, 0);
	inodes = lua_gettop(L);
	lua_createtable(L, 0, count);
	lists = inodes + 1;
	for (int from = 0; from < count; from += SOME) {
		const int n = count - from < SOME ? count - from : SOME;
		lua_Integer pids[SOME] = { 0 };

		for (int i = 0; i < n; i++) {
			lua_rawgeti(L, 1, from + i + 1);
			pids[i] = luaL_checkinteger(L, -1);
			lua_pop(L, 1);
		}
		ask(L, lists, s, pids, n, except);
		for (int i = 0; i < n; i++) {
			if (s->fd[i] >= 0 && answers(L, s->fd[i], room, size)) {
				lua_pushinteger(L, (lua_Integer)s->inode[i]);
				lua_insert(L, -2);
				lua_rawset(L, lists);
			}
			if (s->inode[i])
				lua_pushinteger(L, (lua_Integer)s->inode[i]);
			else
				lua_pushboolean(L, 0);
			lua_rawseti(L, inodes, from + i + 1);
		}
		close_all(s);
	}
	return 2;
}

int nslua_open_netaddr(lua_State *L)
{
	static const luaL_Reg functions[] = { { "list", netaddr_list }, { NULL, NULL } };

	luaL_newmetatable(L, SOCKETS);
	lua_pushcfunction(L, sockets_gc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* watch.c - names that come and go in a directory (inotify(7)), and several fds behind one (epoll(7)). */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "nslua.h"

/* watch.directory(path) -> fd: readable when names in it come, go or are moved. */
static int watch_directory(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (h->fd < 0)
		return nslua_fail(L, "inotify");
	if (inotify_add_watch(h->fd, path, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR) < 0) {
		int en = errno;

		close(h->fd);
		h->fd = -1;
		return nslua_failen(L, path, en);
	}
	return 1;
}

/*
 * watch.changes(fd) -> list of { name, come }, empty where there is none; and true where some were lost, or the directory itself went.  Where
 * there are very many the rest is for the next call.
 */
static int watch_changes(lua_State *L)
{
	_Alignas(struct inotify_event) char buf[4096];
	int fd = nslua_checkfd(L, 1), n = 0, lost = 0, reads = 0;
	ssize_t got;

	lua_newtable(L);
	while (reads++ < 64 && ((got = read(fd, buf, sizeof(buf))) > 0 || (got < 0 && errno == EINTR))) {
		for (char *p = buf; got > 0 && p < buf + got;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)p;

			p += sizeof(*e) + e->len;
			lost |= (e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_IGNORED)) != 0;
			if (!e->len)
				continue;
			lua_createtable(L, 2, 0);
			lua_pushstring(L, e->name);
			lua_rawseti(L, -2, 1);
			lua_pushboolean(L, (e->mask & (IN_CREATE | IN_MOVED_TO)) != 0);
			lua_rawseti(L, -2, 2);
			lua_rawseti(L, -2, ++n);
		}
	}
	lua_pushboolean(L, lost);
	return 2;
}

/* watch.group() -> fd: readable when one of its members is. */
static int watch_group(lua_State *L)
{
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, "epoll");
	return 1;
}

/* watch.add(group, fd) -> true.  A member that is closed leaves by itself. */
static int watch_add(lua_State *L)
{
	int group = nslua_checkfd(L, 1), fd = nslua_checkfd(L, 2);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(group, EPOLL_CTL_ADD, fd, &e) < 0)
		return nslua_fail(L, "epoll");
	lua_pushboolean(L, 1);
	return 1;
}

int nslua_open_watch(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "directory", watch_directory }, { "changes", watch_changes }, { "group", watch_group }, { "add", watch_add }, { NULL, NULL },
	};

	luaL_newlib(L, functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - the small process that is pid 1 of what must end with the script: a pid and a mount namespace of its own, and a user namespace
 * where the script has no rights itself.  It runs no Lua.  When the script is gone, however it went, the keeper exits, and the kernel kills
 * every process in its pid namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>
#include "hold.h"
#include "nslua.h"
#include "servant.h"

#define KEEPER "nslua.keeper"
enum { NS_PID, NS_MOUNT, NS_USER, NS_COUNT };

/* The keeper's one message: how it came up.  With it come the fds of its namespaces. */
struct hello {
	int en; /* 0: up */
	int proc_en; /* 0: /proc shows the keeper's pid namespace; else why it could not be mounted */
	char step[64];
};

static void say(int sock, const struct hello *h, const int *fds, int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * NS_COUNT)];
	} control;
	struct iovec iov = { (void *)(uintptr_t)h, sizeof(*h) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c = &control.align; /* the first, as CMSG_FIRSTHDR gives it */

		memset(&control, 0, sizeof(control));
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	sendmsg(sock, &m, MSG_NOSIGNAL);
}

static void stop(int sock, const char *step)
{
	struct hello h = { .en = errno };

	snprintf(h.step, sizeof(h.step), "%s", step);
	say(sock, &h, NULL, 0);
	_exit(1);
}

/* Only SIGKILL from outside ends it. */
static void keeper_main(int sock, int host)
{
	static const char *const names[NS_COUNT] = { "/proc/self/ns/pid", "/proc/self/ns/mnt", "/proc/self/ns/user" };
	struct hello h = { 0 };
	int fds[NS_COUNT];

	if (unshare(CLONE_NEWNS) < 0)
		stop(sock, "unshare mount");
	/* Not private: what the machine unmounts later must not live on here. */
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		stop(sock, "make mounts slave");
	for (int i = 0; i < NS_COUNT; i++) {
		fds[i] = open(names[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			stop(sock, names[i]);
	}
	/* Over the old one, which stays if this fails: a masked /proc (containers) forbids a new one. */
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		h.proc_en = errno;
	say(sock, &h, fds, NS_COUNT);
	for (int i = 0; i < NS_COUNT; i++)
		close(fds[i]);
	nslua_hold(sock, host);
}

/* Receive hello and the fds; 0, or -1 and the reason in *h.  Its end alone is not waited for as EOF: another thread's fork may hold a copy. */
static int hear(int sock, int pidfd, struct hello *h, int *fds)
{
	struct pollfd p[2] = { { sock, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * NS_COUNT)];
	} control;
	struct iovec iov = { h, sizeof(*h) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n != (ssize_t)sizeof(*h)) {
		h->en = ECHILD;
		snprintf(h->step, sizeof(h->step), "it ended while starting");
		return -1;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	if (!h->en && fds[NS_COUNT - 1] < 0) {
		h->en = EMFILE; /* the kernel drops fds that do not fit */
		snprintf(h->step, sizeof(h->step), "receive namespaces");
	}
	return h->en ? -1 : 0;
}

/*
 * keeper:close() -> whether it is gone; false: it ends as soon as the script has waited for its own children there, and another close() reaps it.
 * In a forked child this only lets go.
 */
static int keeper_close(lua_State *L)
{
	lua_pushboolean(L, nslua_servant_close(luaL_checkudata(L, 1, KEEPER)));
	return 1;
}

static int keeper_gc(lua_State *L)
{
	keeper_close(L);
	nslua_servant_forget(luaL_checkudata(L, 1, KEEPER));
	return 0;
}

/* keeper:alive() -> whether it runs and is this process's own; never true in a forked child. */
static int keeper_alive(lua_State *L)
{
	lua_pushboolean(L, nslua_servant_alive(luaL_checkudata(L, 1, KEEPER)));
	return 1;
}

/* keeper:pid() -> its pid as the script sees it. */
static int keeper_pid(lua_State *L)
{
	struct nslua_servant *k = luaL_checkudata(L, 1, KEEPER);

	lua_pushinteger(L, k->pid);
	return 1;
}

static int ask(struct nslua_servant *k, enum nslua_hold_op op, const int *fds, int n)
{
	struct nslua_hold_request q = { HOLD_MAGIC, op, 0 };
	struct nslua_hold_answer a;
	struct pollfd p[2] = { { k->sock, POLLIN, 0 }, { k->pidfd, POLLIN, 0 } };
	union nslua_hold_control control;
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	errno = ESRCH;
	/* A forked child would take the answers to its parent's requests. */
	if (!nslua_servant_alive(k))
		return -1;
	nslua_hold_attach(&m, &control, fds, n);
	if (sendmsg(k->sock, &m, MSG_NOSIGNAL) < 0)
		return -1;
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	errno = ESRCH;
	if (recv(k->sock, &a, sizeof(a), MSG_DONTWAIT) != (ssize_t)sizeof(a))
		return -1;
	errno = a.en;
	return a.en ? -1 : 0;
}

/* keeper:take({ fd, ... }) -> true: it has copies of them, behind those that it got before, for who asks (running.c). */
static int keeper_take(lua_State *L)
{
	struct nslua_servant *k = luaL_checkudata(L, 1, KEEPER);
	int fds[HOLD_FDS], n = 0;
	lua_Integer count;

	luaL_checktype(L, 2, LUA_TTABLE);
	count = (lua_Integer)lua_rawlen(L, 2);
	for (lua_Integer i = 1; i <= count; i++) {
		lua_rawgeti(L, 2, i);
		fds[n++] = nslua_checkfd(L, -1);
		lua_pop(L, 1);
		if (n < HOLD_FDS && i < count)
			continue;
		if (ask(k, HOLD_TAKE, fds, n) < 0)
			return nslua_fail(L, "hold");
		n = 0;
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* keeper:serve(fd of running.bind) -> true: who asks there is answered from now on. */
static int keeper_serve(lua_State *L)
{
	struct nslua_servant *k = luaL_checkudata(L, 1, KEEPER);
	int fd = nslua_checkfd(L, 2);

	if (ask(k, HOLD_SERVE, &fd, 1) < 0)
		return nslua_fail(L, "listen");
	lua_pushboolean(L, 1);
	return 1;
}

/* keeper:describe(fd) -> true: it takes the place of the first that the keeper has. */
static int keeper_describe(lua_State *L)
{
	struct nslua_servant *k = luaL_checkudata(L, 1, KEEPER);
	int fd = nslua_checkfd(L, 2);

	if (ask(k, HOLD_TELL, &fd, 1) < 0)
		return nslua_fail(L, "hold");
	lua_pushboolean(L, 1);
	return 1;
}

/* keeper:keep() -> true: it outlives the script from now on, and close() only lets go of it. */
static int keeper_keep(lua_State *L)
{
	struct nslua_servant *k = luaL_checkudata(L, 1, KEEPER);

	if (ask(k, HOLD_KEEP, NULL, 0) < 0)
		return nslua_fail(L, "keep");
	k->kept = 1;
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * keeper.start([userfd]) -> keeper, pid namespace, mount namespace, user namespace (fds), errno of mounting /proc (0: mounted);
 * or nil, "step: reason", errno.  It is made in the user namespace `userfd`, else in the caller's own.
 */
static int core_start(lua_State *L)
{
	struct nslua_service service = { .userfd = -1, .pidfd = -1, .new_pid = 1, .name = "nslua-keeper", .main = keeper_main };
	struct nslua_servant *k;
	struct nslua_fd *handles[NS_COUNT];
	int fds[NS_COUNT] = { -1, -1, -1 }, rc;
	struct hello h = { 0 };
	const char *step;

	if (!lua_isnoneornil(L, 1))
		service.userfd = nslua_checkfd(L, 1);
	k = lua_newuserdatauv(L, sizeof(*k), 0);
	nslua_servant_init(k);
	luaL_setmetatable(L, KEEPER);
	for (int i = 0; i < NS_COUNT; i++)
		handles[i] = nslua_newfd(L);
	if (nslua_servant_start(k, &service, &step) < 0)
		return nslua_fail(L, step);
	rc = hear(k->sock, k->pidfd, &h, fds);
	for (int i = 0; i < NS_COUNT; i++)
		handles[i]->fd = fds[i];
	if (rc < 0)
		return nslua_failen(L, h.step, h.en);
	lua_pushinteger(L, h.proc_en);
	return 2 + NS_COUNT;
}

static const luaL_Reg keeper_methods[] = {
	{ "close", keeper_close }, { "alive", keeper_alive }, { "pid", keeper_pid },
	{ "take", keeper_take }, { "describe", keeper_describe }, { "serve", keeper_serve }, { "keep", keeper_keep }, { NULL, NULL },
};
static const luaL_Reg keeper_meta[] = {
	{ "__gc", keeper_gc }, { NULL, NULL },
};
static const luaL_Reg keeper_functions[] = {
	{ "start", core_start }, { NULL, NULL },
};

int nslua_open_keeper(lua_State *L)
{
	nslua_newclass(L, KEEPER, keeper_methods, keeper_meta);
	luaL_newlib(L, keeper_functions);
	return 1;
}

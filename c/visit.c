/* SPDX-License-Identifier: MIT */
/* visit.c - this thread in another network namespace, for a moment: new namespaces, sockets, files, one Lua function. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "namespace.h"

static const struct nslua_nstype *net_type(void)
{
	return nslua_nstype(CLONE_NEWNET);
}

static int enter(int nsfd)
{
	return nsfd < 0 ? unshare(CLONE_NEWNET) : setns(nsfd, CLONE_NEWNET);
}

/* Nothing that runs after a failed return would be where it believes to be. */
static void leave(int own)
{
	if (setns(own, CLONE_NEWNET) < 0) {
		perror("nslua: cannot return to the own network namespace");
		abort();
	}
}

#define VISIT_ARG 64 /* bytes of an argument of work(), at most */

struct errand {
	int nsfd, rc, en;
	int (*work)(void *arg);
	_Alignas(16) char arg[VISIT_ARG];
};

static int run_errand(void *p)
{
	struct errand *e = p;

	e->rc = enter(e->nsfd);
	if (e->rc == 0)
		e->rc = e->work(e->arg);
	e->en = errno;
	_exit(0);
}

/* Go by a child that shares memory and fds.  No exit signal: nobody else's wait() or SIGCHLD handler sees it. */
static int visit_by_child(int nsfd, int (*work)(void *), void *arg, size_t size)
{
	_Alignas(16) char stack[32768];
	struct errand e = { nsfd, -1, EINTR, work, { 0 } };
	pid_t pid;

	memcpy(e.arg, arg, size);
	pid = nslua_vfork(run_errand, stack + sizeof(stack), CLONE_FILES, &e, sizeof(e));
	if (pid < 0)
		return -1;
	while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	memcpy(arg, e.arg, size);
	errno = e.en;
	return e.rc;
}

static int is_here(int own, int nsfd)
{
	struct stat a, b;

	return nsfd >= 0 && fstat(own, &a) == 0 && fstat(nsfd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int visit(int nsfd, int (*work)(void *), void *arg, size_t size)
{
	int own = nslua_thread_ns(net_type()), rc, en;

	if (own < 0)
		return -1;
	if (setns(own, CLONE_NEWNET) == 0) { /* fails exactly where coming back would */
		rc = enter(nsfd);
		if (rc == 0) {
			rc = work(arg);
			en = errno;
			leave(own);
			errno = en;
		}
	} else {
		if (errno != EPERM)
			rc = -1;
		else if (is_here(own, nsfd)) /* no right is needed to be where one is */
			rc = work(arg);
		else
			rc = visit_by_child(nsfd, work, arg, size);
	}
	en = errno;
	close(own);
	errno = en;
	return rc;
}

/*
 * Run work(arg) in the network namespace `nsfd` (-1: in a new one) and come back.  All signals are blocked meanwhile and no Lua runs.
 * Where this thread could go but not come back, a child goes instead, so work() may only make system calls and write to the `size` bytes
 * at arg.  Returns what work() does, with its errno; -1 also where the visit itself failed.
 */
int nslua_visit(int nsfd, int (*work)(void *), void *arg, size_t size)
{
	sigset_t all, old;
	int rc, en;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = visit(nsfd, work, arg, size);
	en = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = en;
	return rc;
}

static int open_own(void *arg)
{
	int *fd = arg;

	/* After unshare in a CLONE_VM child this is the child's own: nslua_thread_ns asks by gettid. */
	*fd = nslua_thread_ns(net_type());
	return *fd;
}

/* namespace.new_net() -> fd of a new network namespace that nothing else holds. */
static int ns_new_net(lua_State *L)
{
	int fd = -1;
	struct nslua_fd *h = nslua_newfd(L);

	if (nslua_visit(-1, open_own, &fd, sizeof(fd)) < 0)
		return nslua_fail(L, "unshare");
	h->fd = fd;
	return 1;
}

struct socket_errand {
	int domain, type, protocol, fd;
};

static int open_socket(void *arg)
{
	struct socket_errand *s = arg;

	s->fd = socket(s->domain, s->type | SOCK_CLOEXEC, s->protocol);
	return s->fd;
}

/* namespace.socket(nsfd, domain, type, protocol) -> fd of a socket(2) made inside, usable from outside. */
static int ns_socket(lua_State *L)
{
	int nsfd = nslua_checkfd(L, 1);
	struct socket_errand s = {
		(int)luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3), (int)luaL_optinteger(L, 4, 0), -1,
	};
	struct nslua_fd *h = nslua_newfd(L);

	if (nslua_visit(nsfd, open_socket, &s, sizeof(s)) < 0)
		return nslua_fail(L, "socket");
	h->fd = s.fd;
	return 1;
}

struct file_errand {
	const char *path, *text;
	size_t len;
	int fd;
	int flags;
};
_Static_assert(sizeof(struct file_errand) <= VISIT_ARG && sizeof(struct socket_errand) <= VISIT_ARG, "an argument of work() fits");

static int write_inside(const char *path, const char *text, size_t len, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW), en;
	ssize_t n;

	if (fd < 0)
		return -1;
	/* Written inside: some handlers of /proc/sys look at the writer's namespace. */
	n = write(fd, text, len);
	en = errno;
	close(fd);
	errno = n < 0 ? en : EIO;
	return n == (ssize_t)len ? 0 : -1;
}

static int open_file(void *arg)
{
	struct file_errand *f = arg;

	if (f->text)
		return write_inside(f->path, f->text, f->len, f->flags);
	f->fd = open(f->path, f->flags | O_CLOEXEC | O_NOFOLLOW);
	return f->fd;
}

/* namespace.read(nsfd, path [, "rw"]) -> fd of a file opened inside: reading, and writing, goes on from outside. */
static int ns_read(lua_State *L)
{
	int nsfd = nslua_checkfd(L, 1);
	struct file_errand f = { luaL_checkstring(L, 2), NULL, 0, -1, lua_isnoneornil(L, 3) ? O_RDONLY : O_RDWR };
	struct nslua_fd *h = nslua_newfd(L);

	if (nslua_visit(nsfd, open_file, &f, sizeof(f)) < 0)
		return nslua_fail(L, f.path);
	h->fd = f.fd;
	return 1;
}

/* namespace.write(nsfd, path, text) -> true. */
static int ns_write(lua_State *L)
{
	int nsfd = nslua_checkfd(L, 1);
	struct file_errand f = { luaL_checkstring(L, 2), NULL, 0, -1, O_WRONLY };

	f.text = luaL_checklstring(L, 3, &f.len);
	if (nslua_visit(nsfd, open_file, &f, sizeof(f)) < 0)
		return nslua_fail(L, f.path);
	lua_pushboolean(L, 1);
	return 1;
}

struct text {
	const char *path, *text;
	size_t len;
};

struct files_errand {
	const struct text *list;
	int count, at;
};
_Static_assert(sizeof(struct files_errand) <= VISIT_ARG, "an argument of work() fits");

static int write_files(void *arg)
{
	struct files_errand *f = arg;

	for (f->at = 0; f->at < f->count; f->at++) {
		const struct text *t = &f->list[f->at];

		if (write_inside(t->path, t->text, t->len, O_WRONLY) < 0 && errno != ENOENT)
			return -1;
	}
	return 0;
}

/*
 * namespace.write_all(nsfd, { { path, text }, ... }) -> true: as write, one after another in one visit, up to the first that fails.
 * A file that is not there is passed over.
 */
static int ns_write_all(lua_State *L)
{
	int nsfd = nslua_checkfd(L, 1);
	struct files_errand f = { 0 };
	struct text *list;
	size_t count;

	luaL_checktype(L, 2, LUA_TTABLE);
	count = lua_rawlen(L, 2);
	luaL_argcheck(L, count <= 4096, 2, "too many");
	list = lua_newuserdatauv(L, (count + 1) * sizeof(*list), 0);
	for (f.count = 0; f.count < (int)count; f.count++) {
		lua_rawgeti(L, 2, f.count + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, 2, "path and text expected");
		list[f.count].path = lua_tostring(L, -2); /* the caller's table keeps them */
		list[f.count].text = lua_tolstring(L, -1, &list[f.count].len);
		lua_pop(L, 3);
	}
	f.list = list;
	if (nslua_visit(nsfd, write_files, &f, sizeof(f)) < 0)
		return nslua_fail(L, f.at < f.count ? list[f.at].path : "network namespace");
	lua_pushboolean(L, 1);
	return 1;
}

/* The loopback device of a socket's namespace goes up.  netdevice(7).  0, or -1 and errno. */
int nslua_lo_up(int socket)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	memcpy(r.ifr_name, "lo", 3);
	if (ioctl(socket, SIOCGIFFLAGS, &r) < 0)
		return -1;
	r.ifr_flags |= IFF_UP;
	return ioctl(socket, SIOCSIFFLAGS, &r);
}

/* namespace.lo_up(socket) -> true. */
static int ns_lo_up(lua_State *L)
{
	if (nslua_lo_up(nslua_checkfd(L, 1)) < 0)
		return nslua_fail(L, "lo");
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * What makes the way back cheap for `call`: a pidfd of this thread, by which the kernel tells the own namespace in a third of the time
 * that /proc takes, and an fd of that namespace, without which its inode would be made and dropped each time.  Neither says where the
 * thread is: that is asked each time, since foreign code may have moved it.  The thread is named in a page that a fork leaves zero, for
 * a child in a new pid namespace may have its parent's number.
 */
#define NSLUA_HOME "nslua.home"
struct home {
	int pidfd, nsfd;
	pid_t *tid; /* NULL: not usable */
};

/* home:close() -> true. */
static int home_close(lua_State *L)
{
	struct home *h = luaL_checkudata(L, 1, NSLUA_HOME);

	if (h->pidfd >= 0)
		close(h->pidfd);
	if (h->nsfd >= 0)
		close(h->nsfd);
	if (h->tid)
		munmap(h->tid, sizeof(*h->tid));
	h->pidfd = h->nsfd = -1;
	h->tid = NULL;
	lua_pushboolean(L, 1);
	return 1;
}

/* home:isopen() -> boolean. */
static int home_isopen(lua_State *L)
{
	struct home *h = luaL_checkudata(L, 1, NSLUA_HOME);

	lua_pushboolean(L, h->nsfd >= 0);
	return 1;
}

/* namespace.home() -> for `call`. */
static int ns_home(lua_State *L)
{
	struct home *h = lua_newuserdatauv(L, sizeof(*h), 0);
	pid_t tid = (pid_t)syscall(SYS_gettid);
	void *page;

	h->pidfd = h->nsfd = -1;
	h->tid = NULL;
	luaL_setmetatable(L, NSLUA_HOME);
	h->nsfd = nslua_thread_ns(net_type());
	if (h->nsfd < 0)
		return nslua_fail(L, "own network namespace");
	h->pidfd = (int)syscall(SYS_pidfd_open, tid, NSLUA_PIDFD_THREAD);
	if (h->pidfd < 0)
		return 1;
	page = mmap(NULL, sizeof(tid), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 1;
	if (madvise(page, sizeof(tid), MADV_WIPEONFORK) < 0) {
		munmap(page, sizeof(tid));
		return 1;
	}
	h->tid = page;
	*h->tid = tid;
	return 1;
}

static int own_fd(const struct home *h)
{
	if (h && h->tid && *h->tid == (pid_t)syscall(SYS_gettid)) {
		int fd = ioctl(h->pidfd, _IO(0xFF, net_type()->pidfd), 0);

		if (fd >= 0)
			return fd;
	}
	return nslua_thread_ns(net_type());
}

/*
 * namespace.call(nsfd, home, fn, ...) -> true, what fn returned; false, what it raised; or nil, "setns: ...", errno where it did not run.
 * fn cannot yield.  `home` is of namespace.home(), or nil.
 */
static int ns_call(lua_State *L)
{
	int nsfd = nslua_checkfd(L, 1);
	struct home *h = lua_isnil(L, 2) ? NULL : luaL_checkudata(L, 2, NSLUA_HOME);
	int own, rc, en, stay = 0;

	luaL_checkany(L, 3);
	own = own_fd(h);
	if (own < 0)
		return nslua_fail(L, "own network namespace");
	if (setns(own, CLONE_NEWNET) < 0) {
		en = errno;
		stay = en == EPERM && is_here(own, nsfd);
		if (!stay) {
			close(own);
			return nslua_failen(L, "return", en);
		}
	} else if (setns(nsfd, CLONE_NEWNET) < 0) {
		en = errno;
		close(own);
		return nslua_failen(L, "setns", en);
	}
	lua_pushboolean(L, 1);
	lua_replace(L, 2);
	rc = lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 0);
	if (!stay)
		leave(own);
	close(own);
	if (rc) {
		lua_pushboolean(L, 0);
		lua_replace(L, 2);
	}
	return lua_gettop(L) - 1;
}

void nslua_visit_classes(lua_State *L)
{
	static const luaL_Reg methods[] = { { "close", home_close }, { "isopen", home_isopen }, { NULL, NULL } };
	static const luaL_Reg meta[] = { { "__gc", home_close }, { NULL, NULL } };

	nslua_newclass(L, NSLUA_HOME, methods, meta);
}

const luaL_Reg nslua_visit_functions[] = {
	{ "new_net", ns_new_net }, { "socket", ns_socket }, { "read", ns_read },
	{ "write", ns_write },     { "lo_up", ns_lo_up },   { "call", ns_call },
	{ "write_all", ns_write_all },
	{ "home", ns_home },       { NULL, NULL },
};

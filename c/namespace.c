/* SPDX-License-Identifier: MIT */
/* namespace.c - namespace fds: open from a path or a thread, check, enter, leave for a new one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "namespace.h"

/* nil, "WHAT is not a namespace" or "WHAT is a mount namespace, not net", EINVAL. */
static int wrong(lua_State *L, const char *what, int flag, const struct nslua_nstype *want)
{
	const struct nslua_nstype *t = flag < 0 ? NULL : nslua_nstype(flag);

	luaL_pushfail(L);
	if (t)
		lua_pushfstring(L, "%s is a %s namespace, not %s", what, t->name, want->name);
	else
		lua_pushfstring(L, "%s is not a namespace", what);
	lua_pushinteger(L, EINVAL);
	return 3;
}

/* Check the fd in h, which stays on the stack for the collector if it is refused. */
static int checked(lua_State *L, struct nslua_fd *h, const char *what, const struct nslua_nstype *want)
{
	int flag = nslua_nsfs_type(h->fd), en = errno;

	if (flag >= 0 && (!want || flag == want->flag))
		return 1;
	close(h->fd);
	h->fd = -1;
	if (flag < 0 && en != EINVAL)
		return nslua_failen(L, what, en);
	return wrong(L, what, flag, want);
}

static const struct nslua_nstype *opt_type(lua_State *L, int arg)
{
	return lua_isnoneornil(L, arg) ? NULL : nslua_checknstype(L, arg);
}

/* namespace.open(path [, flag]) -> fd, checked to be a namespace (of that type). */
static int ns_open(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	const struct nslua_nstype *want = opt_type(L, 2);
	struct nslua_fd *h = nslua_newfd(L);

	/* O_PATH first: opening a fifo would wait, opening a device would do something. */
	h->fd = open(path, O_PATH | O_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, path);
	/* An O_PATH fd takes no ioctl: EBADF says that nsfs would have been asked. */
	if (nslua_nsfs_type(h->fd) < 0 && errno != EBADF)
		return checked(L, h, path, want);
	close(h->fd);
	h->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (h->fd < 0)
		return nslua_fail(L, path);
	return checked(L, h, path, want);
}

/*
 * namespace.by_id(id, flag [, inode]) -> fd of the namespace with that 64-bit id (decimal text), by a file handle of nsfs.
 * The id alone is enough since Linux 6.19; 6.18 wants the inode too, and ESTALE is its answer without it, as it is for an id that no
 * namespace has.  EOPNOTSUPP: this kernel opens no namespaces by handle.
 */
static int ns_by_id(lua_State *L)
{
	struct {
		uint32_t bytes;
		int32_t kind;
		uint64_t id;
		uint32_t type, inode;
	} handle = { .bytes = sizeof(uint64_t) + 2 * sizeof(uint32_t), .kind = NSLUA_FILEID_NSFS }; /* open_by_handle_at(2) */
	const char *text = luaL_checkstring(L, 1);
	const struct nslua_nstype *want = nslua_checknstype(L, 2);
	struct nslua_fd *h;

	errno = 0;
	handle.id = strtoull(text, NULL, 10);
	if (errno)
		return nslua_fail(L, "id");
	if (!lua_isnoneornil(L, 3)) {
		handle.type = (uint32_t)want->flag;
		handle.inode = (uint32_t)luaL_checkinteger(L, 3);
	}
	h = nslua_newfd(L);
	h->fd = (int)syscall(SYS_open_by_handle_at, NSLUA_FD_NSFS_ROOT, &handle, O_RDONLY | O_CLOEXEC);
	if (h->fd < 0) /* before 6.18 that root is no file */
		return nslua_failen(L, "open_by_handle_at", errno == EBADF ? EOPNOTSUPP : errno);
	return checked(L, h, "the id", want);
}

/* namespace.dup(fd [, flag]) -> another fd of the namespace that an fd (handle or number) is. */
static int ns_dup(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	const struct nslua_nstype *want = opt_type(L, 2);
	struct nslua_fd *h = nslua_newfd(L);
	char what[32];

	snprintf(what, sizeof(what), "fd %d", fd);
	h->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (h->fd < 0)
		return nslua_fail(L, what);
	return checked(L, h, what, want);
}

/* namespace.current(flag) -> fd of this thread's own. */
static int ns_current(lua_State *L)
{
	const struct nslua_nstype *type = nslua_checknstype(L, 1);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = nslua_thread_ns(type);
	if (h->fd < 0)
		return nslua_fail(L, type->proc);
	return 1;
}

/* namespace.setns(fd, flags) -> true.  fd of a namespace, or a pidfd and any set of types (5.8). */
static int ns_setns(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	int flags = (int)luaL_checkinteger(L, 2);

	if (setns(fd, flags) < 0)
		return nslua_fail(L, "setns");
	lua_pushboolean(L, 1);
	return 1;
}

/* namespace.unshare(flags) -> true. */
static int ns_unshare(lua_State *L)
{
	if (unshare((int)luaL_checkinteger(L, 1)) < 0)
		return nslua_fail(L, "unshare");
	lua_pushboolean(L, 1);
	return 1;
}

/* namespace.host() -> whether this state is the nslua program's, whose one thread is ours to move. */
static int ns_host(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "nslua.host");
	lua_pushboolean(L, lua_toboolean(L, -1));
	return 1;
}

static const luaL_Reg own_functions[] = {
	{ "open", ns_open },       { "by_id", ns_by_id }, { "dup", ns_dup },   { "current", ns_current },
	{ "setns", ns_setns },     { "host", ns_host },   { "unshare", ns_unshare }, { NULL, NULL },
};

int nslua_open_namespace(lua_State *L)
{
	nslua_visit_classes(L);
	lua_newtable(L);
	luaL_setfuncs(L, own_functions, 0);
	luaL_setfuncs(L, nslua_nsfs_functions, 0);
	luaL_setfuncs(L, nslua_pidfd_functions, 0);
	luaL_setfuncs(L, nslua_visit_functions, 0);
	/* flags: { net = CLONE_NEWNET, ... }, proc: { mount = "mnt", ... } */
	lua_newtable(L);
	lua_newtable(L);
	for (const struct nslua_nstype *t = nslua_nstypes; t->name; t++) {
		lua_pushinteger(L, t->flag);
		lua_setfield(L, -3, t->name);
		lua_pushstring(L, t->proc);
		lua_setfield(L, -2, t->name);
	}
	lua_setfield(L, -3, "proc");
	lua_setfield(L, -2, "flags");
	return 1;
}

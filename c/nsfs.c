/* SPDX-License-Identifier: MIT */
/* nsfs.c - what a namespace fd tells: type, owner, parent, 64-bit id.  ioctl_nsfs(2). */
#include <errno.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "namespace.h"

const struct nslua_nstype nslua_nstypes[] = {
	{ "cgroup", "cgroup", CLONE_NEWCGROUP, 1 }, { "ipc", "ipc", CLONE_NEWIPC, 2 },
	{ "mount", "mnt", CLONE_NEWNS, 3 },         { "net", "net", CLONE_NEWNET, 4 },
	{ "pid", "pid", CLONE_NEWPID, 5 },          { "time", "time", CLONE_NEWTIME, 7 },
	{ "user", "user", CLONE_NEWUSER, 9 },       { "uts", "uts", CLONE_NEWUTS, 10 },
	{ NULL, NULL, 0, 0 },
};

const struct nslua_nstype *nslua_nstype(int flag)
{
	for (const struct nslua_nstype *t = nslua_nstypes; t->name; t++)
		if (t->flag == flag)
			return t;
	return NULL;
}

const struct nslua_nstype *nslua_checknstype(lua_State *L, int arg)
{
	const struct nslua_nstype *t = nslua_nstype((int)luaL_checkinteger(L, arg));

	luaL_argcheck(L, t, arg, "not the flag of one namespace type");
	return t;
}

int nslua_nsfs_type(int fd)
{
	struct statfs fs;
	int type;

	/* An ioctl number means something else on another file: ask nsfs only. */
	if (fstatfs(fd, &fs) < 0)
		return -1;
	if (fs.f_type != NSLUA_NSFS_MAGIC) {
		errno = EINVAL;
		return -1;
	}
	type = ioctl(fd, NSLUA_NS_GET_NSTYPE);
	if (type < 0 && errno == ENOTTY)
		errno = EINVAL; /* a pidfd before 6.9 and the nsfs root are on nsfs too */
	return type;
}

/* namespace.type(fd) -> flag, name ("net").  EINVAL where fd is no namespace. */
static int ns_type(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	int flag = nslua_nsfs_type(fd);
	const struct nslua_nstype *t;

	if (flag < 0)
		return nslua_fail(L, "NS_GET_NSTYPE");
	t = nslua_nstype(flag);
	lua_pushinteger(L, flag);
	lua_pushstring(L, t ? t->name : "unknown");
	return 2;
}

/* namespace.owner_uid(fd) -> the uid that made a user namespace, as this process sees it.  EINVAL for other types. */
static int ns_owner_uid(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	uid_t uid;

	if (nslua_nsfs_type(fd) < 0 || ioctl(fd, NSLUA_NS_GET_OWNER_UID, &uid) < 0)
		return nslua_fail(L, "NS_GET_OWNER_UID");
	nslua_pushu64(L, uid);
	return 1;
}

static int relation(lua_State *L, unsigned long request, const char *what)
{
	int fd = nslua_checkfd(L, 1);
	struct nslua_fd *h = nslua_newfd(L);

	if (nslua_nsfs_type(fd) < 0)
		return nslua_fail(L, what);
	h->fd = ioctl(fd, request); /* the kernel opens it O_CLOEXEC */
	if (h->fd < 0)
		return nslua_fail(L, what);
	return 1;
}

/* namespace.userns(fd) -> fd of the user namespace that owns it.  EPERM: beyond what this process may see. */
static int ns_userns(lua_State *L)
{
	return relation(L, NSLUA_NS_GET_USERNS, "NS_GET_USERNS");
}

/* namespace.parent(fd) -> fd, of a user or pid namespace.  EPERM: beyond what this process may see. */
static int ns_parent(lua_State *L)
{
	return relation(L, NSLUA_NS_GET_PARENT, "NS_GET_PARENT");
}

/* namespace.id(fd) -> the 64-bit id, never reused.  ENOTTY before Linux 6.18. */
static int ns_id(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	uint64_t id;

	if (nslua_nsfs_type(fd) < 0 || ioctl(fd, NSLUA_NS_GET_ID, &id) < 0)
		return nslua_fail(L, "NS_GET_ID");
	nslua_pushu64(L, id);
	return 1;
}

const luaL_Reg nslua_nsfs_functions[] = {
	{ "type", ns_type },     { "owner_uid", ns_owner_uid }, { "userns", ns_userns },
	{ "parent", ns_parent }, { "id", ns_id },               { NULL, NULL },
};

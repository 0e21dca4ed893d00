/* SPDX-License-Identifier: MIT */
/* nsfs.c - what a namespace fd tells: type, owner, parent, 64-bit id.  ioctl_nsfs(2). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

uint64_t nslua_nsfs_inode(const char *text, const struct nslua_nstype **type)
{
	for (const struct nslua_nstype *t = nslua_nstypes; t->name; t++) {
		size_t len = strlen(t->proc);

		if (!strncmp(text, t->proc, len) && text[len] == ':' && text[len + 1] == '[') {
			*type = t;
			return strtoull(text + len + 2, NULL, 10);
		}
	}
	return 0;
}

/*
 * namespace.peek(link) -> target, inode.  Of a link like /proc/PID/fd/N: its text ("net:[4026531833]", "/run/netns/blue"), and the inode
 * where it stands for a namespace; one that was opened by the name of a bind mount does not show it in the text.
 */
static int ns_peek(lua_State *L)
{
	static dev_t nsfs; /* one device for all namespaces, as long as the machine runs */
	const char *path = luaL_checkstring(L, 1);
	char text[PATH_MAX];
	const struct nslua_nstype *type;
	uint64_t inode;
	struct stat st;
	ssize_t n = readlink(path, text, sizeof(text) - 1);

	if (n < 0)
		return nslua_fail(L, path);
	text[n] = '\0';
	inode = nslua_nsfs_inode(text, &type);
	if (text[0] == '/') {
		if (!nsfs && stat("/proc/thread-self/ns/net", &st) == 0)
			nsfs = st.st_dev;
		if (nsfs && stat(path, &st) == 0 && st.st_dev == nsfs)
			inode = st.st_ino;
	}
	lua_pushlstring(L, text, (size_t)n);
	if (!inode)
		return 1;
	nslua_pushu64(L, inode);
	return 2;
}

const luaL_Reg nslua_nsfs_functions[] = {
	{ "type", ns_type },     { "owner_uid", ns_owner_uid }, { "userns", ns_userns },
	{ "parent", ns_parent }, { "id", ns_id },               { "peek", ns_peek },
	{ NULL, NULL },
};

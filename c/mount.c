/* SPDX-License-Identifier: MIT */
/* mount.c - mounts of this thread's mount namespace. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "nslua.h"

#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif
#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000 /* 5.8 */
#endif

/* The words of one string, as in "rec private": each must be in the table. */
struct word {
	const char *name;
	unsigned long flag;
};

static unsigned long words(lua_State *L, int arg, const struct word *known)
{
	const char *s = luaL_optstring(L, arg, "");
	unsigned long flags = 0;

	while (*(s += strspn(s, " ,"))) {
		size_t len = strcspn(s, " ,");
		const struct word *w = known;

		while (w->name && (strlen(w->name) != len || memcmp(w->name, s, len)))
			w++;
		if (!w->name)
			return (unsigned long)luaL_argerror(L, arg, lua_pushfstring(L, "unknown mount flag in '%s'", s));
		flags |= w->flag;
		s += len;
	}
	return flags;
}

static const struct word bind_words[] = { { "rec", MS_REC }, { NULL, 0 } };
static const struct word propagation_words[] = {
	{ "private", MS_PRIVATE },       { "shared", MS_SHARED }, { "slave", MS_SLAVE },
	{ "unbindable", MS_UNBINDABLE }, { "rec", MS_REC },       { NULL, 0 },
};
static const struct word umount_words[] = {
	{ "detach", MNT_DETACH }, { "force", MNT_FORCE }, { "nofollow", UMOUNT_NOFOLLOW }, { NULL, 0 },
};

static int done(lua_State *L, int rc, const char *what)
{
	if (rc < 0)
		return nslua_fail(L, what);
	lua_pushboolean(L, 1);
	return 1;
}

/* mount.bind(source, target [, "rec"]) -> true. */
static int mount_bind(lua_State *L)
{
	const char *source = luaL_checkstring(L, 1);
	const char *target = luaL_checkstring(L, 2);

	return done(L, mount(source, target, NULL, MS_BIND | words(L, 3, bind_words), NULL), target);
}

/* mount.propagation(target, "rec private") -> true. */
static int mount_propagation(lua_State *L)
{
	const char *target = luaL_checkstring(L, 1);

	return done(L, mount("none", target, NULL, words(L, 2, propagation_words), NULL), target);
}

/* mount.umount(target [, "detach nofollow force"]) -> true.  EINVAL: nothing is mounted there. */
static int mount_umount(lua_State *L)
{
	const char *target = luaL_checkstring(L, 1);

	return done(L, umount2(target, (int)words(L, 2, umount_words)), target);
}

/* mount.is_root(path) -> whether a mount has its root there.  statx(2): comparing paths with mountinfo is fooled by over-mounts. */
static int mount_is_root(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct statx st;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
		return nslua_fail(L, path);
	if (!(st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return nslua_failen(L, path, ENOSYS);
	lua_pushboolean(L, (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0);
	return 1;
}

static const luaL_Reg mount_functions[] = {
	{ "bind", mount_bind },       { "propagation", mount_propagation }, { "umount", mount_umount },
	{ "is_root", mount_is_root }, { NULL, NULL },
};

int nslua_open_mount(lua_State *L)
{
	luaL_newlib(L, mount_functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* census.c - every namespace there is to be found: what the walk found as Lua tables. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "census.h"

#define NSLUA_CENSUS "nslua.census"

static int census_gc(lua_State *L)
{
	struct census *c = luaL_checkudata(L, 1, NSLUA_CENSUS);

	census_release(c);
	return 0;
}

static int by_type(const void *a, const void *b)
{
	const struct census_ns *x = a, *y = b;

	if (x->type != y->type)
		return x->type < y->type ? -1 : 1; /* the list of types is sorted by name */
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void set_u64(lua_State *L, const char *key, uint64_t value)
{
	if (!value)
		return;
	nslua_pushu64(L, value);
	lua_setfield(L, -2, key);
}

/* paths = { "/run/netns/blue" } of this mount namespace, mounts = { { path, mount_namespace [, pid] } } of others. */
static void push_mounts(lua_State *L, const struct census *c, const struct census_ns *ns)
{
	int own = 0, others = 0;

	for (size_t i = ns->mount; i; i = c->mount[i - 1].before)
		*(c->mount[i - 1].mntns != c->own_mntns ? &others : &own) += 1;
	lua_createtable(L, own, 0);
	lua_createtable(L, others, 0);
	for (size_t i = ns->mount; i; i = c->mount[i - 1].before) { /* from the last to the first */
		const struct census_mount *m = c->mount + i - 1;

		if (m->mntns == c->own_mntns) {
			lua_pushlstring(L, c->text + m->path, m->length);
			lua_rawseti(L, -3, own--);
			continue;
		}
		lua_createtable(L, 0, 3);
		lua_pushlstring(L, c->text + m->path, m->length);
		lua_setfield(L, -2, "path");
		set_u64(L, "mount_namespace", m->mntns);
		set_u64(L, "pid", (uint64_t)m->pid);
		lua_rawseti(L, -2, others--);
	}
	lua_setfield(L, -3, "mounts");
	lua_setfield(L, -2, "paths");
}

static void push_ns(lua_State *L, const struct census *c, const struct census_ns *ns)
{
	static const char *const how[CENSUS_HOWS] = { "process", "children", "thread", "fd", "socket", "mount", "relation", "kernel" };

	/* That it is another's owner or parent, or that the kernel knows it, says something only where nothing else does. */
	unsigned int strong = (1U << BY_RELATION) - 1, found = ns->found & strong ? ns->found & strong : ns->found & -ns->found;
	int n = 0;

	lua_createtable(L, 0, 14);
	lua_pushstring(L, ns->type->name);
	lua_setfield(L, -2, "type");
	lua_createtable(L, 1, 0);
	for (int i = 0; i < CENSUS_HOWS; i++) {
		if (found & 1U << i) {
			lua_pushstring(L, how[i]);
			if (!n) {
				lua_pushvalue(L, -1);
				lua_setfield(L, -4, "how_found");
			}
			lua_rawseti(L, -2, ++n);
		}
	}
	lua_setfield(L, -2, "found");
	set_u64(L, "inode", ns->inode);
	set_u64(L, "id", ns->id);
	set_u64(L, "owner", ns->owner);
	set_u64(L, "parent", ns->parent);
	set_u64(L, "pid", (uint64_t)ns->pid);
	if (!ns->pid)
		set_u64(L, "holder", (uint64_t)ns->holder);
	lua_pushinteger(L, ns->nprocs);
	lua_setfield(L, -2, "nprocs");
	if (ns->has_user) {
		nslua_pushu64(L, ns->user);
		lua_setfield(L, -2, "user");
	}
	push_mounts(L, c, ns);
}

/*
 * census.scan(flags, fds, sockets) -> list of namespaces of the types in flags (an OR of CLONE_NEW*), sorted by type and inode: { type, inode,
 * found, how_found, nprocs, paths, mounts [, id, owner, parent, pid, user, holder] }, number of processes that could not be looked at, number of processes
 * that did it, whether the kernel listed all namespaces that are open somewhere, whether it told of all mount namespaces.  fds: look at open
 * files too; sockets: ask each socket for its network namespace.
 */
static int census_scan(lua_State *L)
{
	int wanted = (int)luaL_checkinteger(L, 1);
	struct census *c = lua_newuserdatauv(L, sizeof(*c), 0);

	memset(c, 0, sizeof(*c));
	luaL_setmetatable(L, NSLUA_CENSUS);
	c->wanted = wanted;
	c->fds = lua_toboolean(L, 2);
	c->sockets = lua_toboolean(L, 3) && wanted & CLONE_NEWNET;
	if (census_walk(c) < 0)
		return nslua_fail(L, "proc(5) on /proc");
	if (c->failed)
		return nslua_failen(L, "census", ENOMEM);
	if (c->count)
		qsort(c->ns, c->count, sizeof(*c->ns), by_type);
	lua_createtable(L, (int)c->count, 2);
	for (size_t i = 0; i < c->count; i++) {
		push_ns(L, c, c->ns + i);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_pushinteger(L, (lua_Integer)c->unreadable);
	lua_pushinteger(L, (lua_Integer)c->walkers);
	lua_pushboolean(L, c->kernel_listed);
	lua_pushboolean(L, c->kernel_mounts);
	census_release(c);
	return 5;
}

int nslua_open_census(lua_State *L)
{
	static const luaL_Reg meta[] = { { "__gc", census_gc }, { NULL, NULL } };
	static const luaL_Reg functions[] = { { "scan", census_scan }, { NULL, NULL } };

	nslua_newclass(L, NSLUA_CENSUS, NULL, meta);
	luaL_newlib(L, functions);
	return 1;
}

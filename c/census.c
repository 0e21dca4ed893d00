/* SPDX-License-Identifier: MIT */
/* census.c - every namespace there is to be found: the memory of the walk, and what it found as Lua tables. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "census.h"

bool census_grow(struct census *c, void **array, size_t *room, size_t want, size_t size)
{
	size_t n = *room ? *room : 64;
	void *p;

	if (want <= *room)
		return true;
	while (n < want)
		n *= 2;
	p = realloc(*array, n * size);
	if (!p) {
		c->failed = true;
		return false;
	}
	*array = p;
	*room = n;
	return true;
}

static size_t hash(uint64_t v)
{
	return (size_t)((v * UINT64_C(0x9e3779b97f4a7c15)) >> 20);
}

/* The slot where a member is or would be. */
static uint64_t *place(const struct census_set *set, uint64_t member)
{
	size_t i = hash(member) & (set->size - 1);

	while (set->slot[i] && set->slot[i] != member)
		i = (i + 1) & (set->size - 1);
	return set->slot + i;
}

bool census_has(const struct census_set *set, uint64_t member)
{
	return member && set->size && *place(set, member) == member;
}

bool census_first(struct census *c, struct census_set *set, uint64_t member)
{
	uint64_t *at;

	if (!member)
		return true;
	if (set->used * 2 >= set->size) {
		struct census_set bigger = { NULL, set->size ? set->size * 2 : 256, set->used };

		bigger.slot = calloc(bigger.size, sizeof(*bigger.slot));
		if (!bigger.slot) {
			c->failed = true;
			return false;
		}
		for (size_t i = 0; i < set->size; i++)
			if (set->slot[i])
				*place(&bigger, set->slot[i]) = set->slot[i];
		free(set->slot);
		*set = bigger;
	}
	at = place(set, member);
	if (*at)
		return false;
	*at = member;
	set->used++;
	return true;
}

struct census_ns *census_find(struct census *c, uint64_t inode)
{
	if (!c->slots)
		return NULL;
	for (size_t i = hash(inode) & (c->slots - 1); c->slot[i]; i = (i + 1) & (c->slots - 1))
		if (c->ns[c->slot[i] - 1].inode == inode)
			return c->ns + c->slot[i] - 1;
	return NULL;
}

static void enter(struct census *c, size_t index)
{
	size_t i = hash(c->ns[index].inode) & (c->slots - 1);

	while (c->slot[i])
		i = (i + 1) & (c->slots - 1);
	c->slot[i] = (uint32_t)index + 1;
}

static bool more_slots(struct census *c)
{
	size_t n = c->slots ? c->slots * 2 : 256;
	uint32_t *slot = calloc(n, sizeof(*slot));

	if (!slot) {
		c->failed = true;
		return false;
	}
	free(c->slot);
	c->slot = slot;
	c->slots = n;
	for (size_t i = 0; i < c->count; i++)
		enter(c, i);
	return true;
}

/* A new one; NULL where there is no memory. */
static struct census_ns *insert(struct census *c, const struct census_ns *ns)
{
	if ((c->count * 2 >= c->slots && !more_slots(c)) ||
	    !census_grow(c, (void **)&c->ns, &c->room, c->count + 1, sizeof(*c->ns)))
		return NULL;
	c->ns[c->count] = *ns;
	enter(c, c->count++);
	return c->ns + c->count - 1;
}

struct census_ns *census_add(struct census *c, const struct nslua_nstype *type, uint64_t inode, enum census_how how, pid_t holder,
			     bool *open_it)
{
	struct census_ns *ns = census_find(c, inode);

	*open_it = false;
	if (ns) {
		/* What has a relation only, or is mounted, is held by nobody that is known yet. */
		if (how < BY_MOUNT && !(ns->found & ((1U << BY_MOUNT) - 1)))
			ns->holder = holder;
		ns->found |= 1U << how;
		return ns;
	}
	if (!inode || !(c->wanted & type->flag))
		return NULL;
	ns = insert(c, &(struct census_ns){ .type = type, .inode = inode, .found = 1U << how, .holder = holder });
	*open_it = ns != NULL;
	return ns;
}

/* The inode of the owner or parent, which may be held by nothing else; 0: beyond what this process may see. */
static uint64_t relation(struct census *c, int fd, unsigned long request, int flag)
{
	int above = ioctl(fd, request);
	struct stat st;
	bool open_it;

	if (above < 0)
		return 0;
	if (fstat(above, &st) < 0) {
		close(above);
		return 0;
	}
	census_add(c, nslua_nstype(flag), st.st_ino, BY_RELATION, 0, &open_it);
	if (open_it)
		census_know(c, st.st_ino, above); /* as deep as namespaces nest: 33 */
	else
		close(above);
	return st.st_ino;
}

void census_know(struct census *c, uint64_t inode, int fd)
{
	int flag = census_find(c, inode)->type->flag;
	uint64_t id = 0, owner, parent = 0;
	uid_t user;
	bool has_user;
	struct census_ns *ns;

	if (ioctl(fd, NSLUA_NS_GET_ID, &id) < 0)
		id = 0;
	has_user = flag == CLONE_NEWUSER && ioctl(fd, NSLUA_NS_GET_OWNER_UID, &user) == 0;
	owner = relation(c, fd, NSLUA_NS_GET_USERNS, CLONE_NEWUSER);
	if (flag == CLONE_NEWUSER)
		parent = owner; /* the kernel has one pointer for both */
	else if (flag == CLONE_NEWPID)
		parent = relation(c, fd, NSLUA_NS_GET_PARENT, flag);
	close(fd);
	ns = census_find(c, inode); /* the array may have moved */
	ns->id = id;
	ns->owner = owner;
	ns->parent = parent;
	if (has_user && !ns->has_user) {
		ns->user = user;
		ns->has_user = true;
	}
}

void census_mounted(struct census *c, const struct census_mount *mount, const char *path)
{
	struct census_ns *ns = census_find(c, mount->inode);
	struct census_mount *m;

	if (!ns || !census_grow(c, (void **)&c->mount, &c->mount_room, c->mounts + 1, sizeof(*c->mount)) ||
	    !census_grow(c, (void **)&c->text, &c->text_room, c->used + mount->length, 1))
		return;
	m = c->mount + c->mounts++;
	*m = *mount;
	m->path = c->used;
	m->before = ns->mount;
	ns->mount = c->mounts;
	memcpy(c->text + c->used, path, mount->length);
	c->used += mount->length;
}

#define NSLUA_CENSUS "nslua.census"

static int census_gc(lua_State *L)
{
	struct census *c = luaL_checkudata(L, 1, NSLUA_CENSUS);

	free(c->ns);
	free(c->slot);
	free(c->mount);
	free(c->text);
	free(c->file);
	free(c->seen_sockets.slot);
	free(c->seen_cookies.slot);
	free(c->seen_views.slot);
	memset(c, 0, sizeof(*c));
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

/* paths = { "/run/netns/blue" } of this mount namespace, mounts = { { path, mount_namespace, pid } } of others. */
static void push_mounts(lua_State *L, const struct census *c, const struct census_ns *ns)
{
	int own = 0, others = 0;

	for (size_t i = ns->mount; i; i = c->mount[i - 1].before)
		*(c->mount[i - 1].pid ? &others : &own) += 1;
	lua_createtable(L, own, 0);
	lua_createtable(L, others, 0);
	for (size_t i = ns->mount; i; i = c->mount[i - 1].before) { /* from the last to the first */
		const struct census_mount *m = c->mount + i - 1;

		if (!m->pid) {
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
	static const char *const how[CENSUS_HOWS] = { "process", "children", "thread", "fd", "socket", "mount", "relation" };

	/* That it is another's owner or parent says something only where nothing else does. */
	unsigned int found = ns->found & ~(1U << BY_RELATION) ? ns->found & ~(1U << BY_RELATION) : ns->found;
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
 * found, how_found, nprocs, paths, mounts [, id, owner, parent, pid, user, holder] }, number of processes that could not be looked at.  fds: look at open
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
		return nslua_fail(L, "/proc");
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
	return 2;
}

int nslua_open_census(lua_State *L)
{
	static const luaL_Reg meta[] = { { "__gc", census_gc }, { NULL, NULL } };
	static const luaL_Reg functions[] = { { "scan", census_scan }, { NULL, NULL } };

	nslua_newclass(L, NSLUA_CENSUS, NULL, meta);
	luaL_newlib(L, functions);
	return 1;
}

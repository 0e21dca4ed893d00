/* SPDX-License-Identifier: MIT */
/*
 * found.c - what the census has found so far, and its memory.  Pages of its own: a second process of the walk (pair.c) may be the copy of a
 * program with threads, in which malloc would wait for ever for a lock that another of them held.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "census.h"

static void *pages(struct census *c, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		return p;
	c->failed = true;
	return NULL;
}

static void release(void *array, size_t bytes)
{
	if (array)
		munmap(array, bytes);
}

bool census_grow(struct census *c, void **array, size_t *room, size_t want, size_t size)
{
	size_t n = *room ? *room : 64;
	void *p;

	if (want <= *room)
		return true;
	while (n < want)
		n *= 2;
	if (*array) {
		p = mremap(*array, *room * size, n * size, MREMAP_MAYMOVE);
		if (p == MAP_FAILED) {
			c->failed = true;
			return false;
		}
	} else if (!(p = pages(c, n * size))) {
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

		bigger.slot = pages(c, bigger.size * sizeof(*bigger.slot));
		if (!bigger.slot)
			return false;
		for (size_t i = 0; i < set->size; i++)
			if (set->slot[i])
				*place(&bigger, set->slot[i]) = set->slot[i];
		release(set->slot, set->size * sizeof(*set->slot));
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
	uint32_t *slot = pages(c, n * sizeof(*slot));

	if (!slot)
		return false;
	release(c->slot, c->slots * sizeof(*c->slot));
	c->slot = slot;
	c->slots = n;
	for (size_t i = 0; i < c->count; i++)
		enter(c, i);
	return true;
}

struct census_ns *census_insert(struct census *c, const struct census_ns *ns)
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
		if (how < BY_MOUNT && (!ns->holder || holder < ns->holder))
			ns->holder = holder;
		if (how != BY_KERNEL)
			ns->found |= 1U << how;
		return ns;
	}
	if (!inode || !(c->wanted & type->flag))
		return NULL;
	ns = census_insert(c, &(struct census_ns){ .type = type, .inode = inode, .found = 1U << how, .holder = holder });
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

void census_set_release(struct census_set *set)
{
	release(set->slot, set->size * sizeof(*set->slot));
	memset(set, 0, sizeof(*set));
}

void census_release(struct census *c)
{
	release(c->ns, c->room * sizeof(*c->ns));
	release(c->slot, c->slots * sizeof(*c->slot));
	release(c->mount, c->mount_room * sizeof(*c->mount));
	release(c->view, c->view_room * sizeof(*c->view));
	release(c->text, c->text_room);
	release(c->file, c->file_room);
	release(c->pids, c->pid_room * sizeof(*c->pids));
	census_set_release(&c->seen_sockets);
	census_set_release(&c->seen_cookies);
	census_set_release(&c->seen_views);
	memset(c, 0, sizeof(*c));
}

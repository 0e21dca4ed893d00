/* SPDX-License-Identifier: MIT */
/* merge.c - what a second process found goes through a pipe and becomes part of what the first found, as if one had found all of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "census.h"

/* The arrays follow in this order; pointers to the types of namespaces are the same in a copy of the process. */
struct sent {
	size_t count, mounts, views, used;
	unsigned int unreadable;
};

static bool put(int to, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(to, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static bool get(int from, void *data, size_t size)
{
	char *at = data;

	while (size > 0) {
		ssize_t n = read(from, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

/* Namespaces are sent all, for those of before may have been found in more ways. */
void census_send(const struct census *c, const struct census *before, int to)
{
	struct sent s = {
		c->count, c->mounts - before->mounts, c->views - before->views, c->used - before->used, c->unreadable,
	};

	(void)(put(to, &s, sizeof(s)) && put(to, c->ns, s.count * sizeof(*c->ns)) &&
	       put(to, c->mount + before->mounts, s.mounts * sizeof(*c->mount)) &&
	       put(to, c->view + before->views, s.views * sizeof(*c->view)) && put(to, c->text + before->used, s.used));
}

static void merge_ns(struct census *c, const struct census_ns *theirs)
{
	struct census_ns *ns = census_find(c, theirs->inode);

	if (!ns) {
		census_insert(c, theirs);
		return;
	}
	ns->nprocs += theirs->nprocs;
	ns->found |= theirs->found;
	ns->id = ns->id ? ns->id : theirs->id;
	ns->owner = ns->owner ? ns->owner : theirs->owner;
	ns->parent = ns->parent ? ns->parent : theirs->parent;
	if (theirs->holder && (!ns->holder || theirs->holder < ns->holder))
		ns->holder = theirs->holder;
	if (theirs->pid ? !ns->pid || theirs->pid < ns->pid : !ns->has_user) {
		ns->pid = theirs->pid;
		ns->user = theirs->user;
		ns->has_user = theirs->has_user;
	}
}

/* A view that both have read is the lower process's. */
static bool lower(const struct census_view *view, size_t n, uint64_t key, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (view[i].key == key)
			return pid < view[i].pid;
	return true;
}

static int by_process(const void *a, const void *b)
{
	const struct census_mount *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->path < y->path ? -1 : x->path > y->path; /* texts of one process stand in the order in which they were read */
}

static void merge_mounts(struct census *c, const struct census *before, const struct census *came)
{
	size_t own = before->mounts, text = c->used;

	for (size_t i = own; i < c->mounts; i++)
		if (lower(came->view, came->views, c->mount[i].view, c->mount[i].pid))
			c->mount[own++] = c->mount[i];
	c->mounts = own;
	if (!census_grow(c, (void **)&c->mount, &c->mount_room, own + came->mounts, sizeof(*c->mount)) ||
	    !census_grow(c, (void **)&c->text, &c->text_room, c->used + came->used, 1))
		return;
	if (came->used)
		memcpy(c->text + c->used, came->text, came->used);
	c->used += came->used;
	for (size_t i = 0; i < came->mounts; i++) {
		struct census_mount m = came->mount[i];

		if (!lower(c->view + before->views, c->views - before->views, m.view, m.pid))
			continue;
		m.path += text;
		c->mount[c->mounts++] = m;
	}
	if (c->mounts > before->mounts)
		qsort(c->mount + before->mounts, c->mounts - before->mounts, sizeof(*c->mount), by_process);
	for (size_t i = 0; i < c->count; i++)
		c->ns[i].mount = 0;
	for (size_t i = 0; i < c->mounts; i++) {
		struct census_ns *ns = census_find(c, c->mount[i].inode);

		c->mount[i].before = ns ? ns->mount : 0;
		if (ns)
			ns->mount = i + 1;
	}
}

void census_merge(struct census *c, const struct census *before, const struct census *came)
{
	for (size_t i = 0; i < came->count; i++)
		merge_ns(c, came->ns + i);
	merge_mounts(c, before, came);
	c->unreadable += came->unreadable;
	c->failed |= came->failed;
}

bool census_receive(struct census *came, const struct census *before, int from)
{
	struct sent s;

	if (!get(from, &s, sizeof(s)) || !census_grow(came, (void **)&came->ns, &came->room, s.count, sizeof(*came->ns)) ||
	    !census_grow(came, (void **)&came->mount, &came->mount_room, s.mounts, sizeof(*came->mount)) ||
	    !census_grow(came, (void **)&came->view, &came->view_room, s.views, sizeof(*came->view)) ||
	    !census_grow(came, (void **)&came->text, &came->text_room, s.used, 1) ||
	    !get(from, came->ns, s.count * sizeof(*came->ns)) || !get(from, came->mount, s.mounts * sizeof(*came->mount)) ||
	    !get(from, came->view, s.views * sizeof(*came->view)) || !get(from, came->text, s.used))
		return false;
	came->count = s.count;
	came->mounts = s.mounts;
	came->views = s.views;
	came->used = s.used;
	came->unreadable = s.unreadable;
	for (size_t i = 0; i < s.mounts; i++)
		came->mount[i].path -= before->used;
	return true;
}

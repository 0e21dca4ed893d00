/* SPDX-License-Identifier: MIT */
/*
 * census.c - one walk over /proc that meets every namespace which processes, threads, open files and sockets hold.  A namespace is known by its
 * inode; what is known already costs a readlink and a look into a hash, and nothing is opened.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "namespace.h"

#define CENSUS "nslua.census"
#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227) /* linux/if_tun.h, 5.4 */
#endif
#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

enum how { PROCESS, CHILDREN, THREAD, FD, SOCKET, HOWS };
static const char *const how_names[HOWS] = { "process", "children", "thread", "fd", "socket" };

struct row {
	uint64_t inode;
	int type;     /* index in nslua_nstypes */
	unsigned int hows;
	unsigned int nprocs;
	pid_t first;  /* the lowest pid whose first thread is inside */
	pid_t pid, tid; /* where it was met first: opened by that */
	int fd;
	enum how how;
};

/* Open addressing; key 0 is free. */
struct set {
	uint64_t *keys;
	uint32_t *values;
	size_t n, size;
};

struct census {
	struct row *rows;
	size_t n, size;
	struct set inodes, sockets;
	unsigned int wanted; /* bit by type */
	int fds;
	dev_t nsfs;
	unsigned int unreadable;
	int nomem;
};

static int set_grow(struct set *s)
{
	struct set big = { .size = s->size ? s->size * 2 : 1024 };

	big.keys = calloc(big.size, sizeof(*big.keys));
	big.values = calloc(big.size, sizeof(*big.values));
	if (!big.keys || !big.values) {
		free(big.keys);
		free(big.values);
		return -1;
	}
	for (size_t i = 0; i < s->size; i++) {
		size_t at;

		if (!s->keys[i])
			continue;
		for (at = s->keys[i] * 0x9e3779b97f4a7c15u % big.size; big.keys[at]; at = (at + 1) % big.size)
			;
		big.keys[at] = s->keys[i];
		big.values[at] = s->values[i];
	}
	big.n = s->n;
	free(s->keys);
	free(s->values);
	*s = big;
	return 0;
}

/* The value of a key, made with `value` where it is new (*fresh).  NULL: no memory. */
static uint32_t *set_of(struct set *s, uint64_t key, uint32_t value, int *fresh)
{
	size_t at;

	if (s->n * 2 >= s->size && set_grow(s) < 0)
		return NULL;
	for (at = key * 0x9e3779b97f4a7c15u % s->size; s->keys[at] && s->keys[at] != key; at = (at + 1) % s->size)
		;
	*fresh = !s->keys[at];
	if (*fresh) {
		s->keys[at] = key;
		s->values[at] = value;
		s->n++;
	}
	return &s->values[at];
}

static struct row *meet(struct census *c, uint64_t inode, int type, enum how how, pid_t pid, pid_t tid, int fd)
{
	struct row *r;
	uint32_t *at;
	int fresh;

	if (!(c->wanted & 1U << type))
		return NULL;
	at = set_of(&c->inodes, inode, (uint32_t)c->n, &fresh);
	if (at && fresh && c->n == c->size) {
		size_t size = c->size ? c->size * 2 : 256;
		struct row *rows = realloc(c->rows, size * sizeof(*rows));

		at = rows ? at : NULL;
		c->rows = rows ? rows : c->rows;
		c->size = rows ? size : c->size;
	}
	if (!at) {
		c->nomem = 1;
		return NULL;
	}
	if (fresh)
		c->rows[c->n++] = (struct row){ .inode = inode, .type = type, .how = how, .pid = pid, .tid = tid, .fd = fd };
	r = &c->rows[*at];
	r->hows |= 1U << how;
	return r;
}

/* "net:[4026531833]": type and inode; 0 where it is none. */
static uint64_t parse(const char *text, int *type)
{
	const char *colon = strchr(text, ':');

	if (!colon || colon[1] != '[')
		return 0;
	for (int i = 0; nslua_nstypes[i].name; i++) {
		if (strlen(nslua_nstypes[i].proc) == (size_t)(colon - text) && !strncmp(nslua_nstypes[i].proc, text, (size_t)(colon - text))) {
			*type = i;
			return strtoull(colon + 2, NULL, 10);
		}
	}
	return 0;
}

static int gone(int err)
{
	return err == ENOENT || err == ESRCH;
}

/* The namespaces of a process or thread: `dir` is its directory in /proc.  -1: it cannot be read. */
static int links(struct census *c, int dir, pid_t pid, pid_t tid)
{
	static const char *const children[] = { "pid_for_children", "time_for_children" };
	char path[40], text[64];
	int type;

	for (int i = 0; nslua_nstypes[i].name; i++) {
		struct row *r;
		ssize_t n;

		if (!(c->wanted & 1U << i))
			continue;
		snprintf(path, sizeof(path), "ns/%s", nslua_nstypes[i].proc);
		n = readlinkat(dir, path, text, sizeof(text) - 1);
		if (n < 0 && errno == EINVAL)
			continue;
		if (n < 0 && gone(errno)) /* ended, or a type this kernel lacks */
			continue;
		if (n < 0)
			return -1;
		text[n] = 0;
		r = meet(c, parse(text, &type), i, tid ? THREAD : PROCESS, pid, tid, -1);
		if (r && !tid) {
			r->nprocs++;
			r->first = r->first ? r->first : pid;
		}
	}
	for (size_t i = 0; i < 2; i++) {
		ssize_t n;
		uint64_t inode;

		snprintf(path, sizeof(path), "ns/%s", children[i]);
		n = readlinkat(dir, path, text, sizeof(text) - 1);
		if (n <= 0)
			continue;
		text[n] = 0;
		inode = parse(text, &type);
		if (inode)
			meet(c, inode, type, CHILDREN, pid, tid, -1);
	}
	return 0;
}

static void threads(struct census *c, int dir, pid_t pid)
{
	struct stat st;
	struct dirent *e;
	DIR *d;
	int fd;

	/* A directory has as many links as it has directories below it, and two. */
	if (fstatat(dir, "task", &st, 0) < 0 || st.st_nlink <= 3)
		return;
	fd = openat(dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
		int task;

		if (tid <= 0 || tid == pid)
			continue;
		task = openat(fd, e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (task < 0)
			continue;
		links(c, task, pid, tid);
		close(task);
	}
	closedir(d);
}

/* The namespace of a socket or tun device: a copy of the fd is asked. */
static void ask_socket(struct census *c, int pidfd, pid_t pid, int number, unsigned long request)
{
	int copy = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0), net, type = 0;
	struct stat st;

	if (copy < 0)
		return;
	net = ioctl(copy, request);
	close(copy);
	if (net < 0)
		return;
	while (nslua_nstypes[type].flag != CLONE_NEWNET)
		type++;
	if (fstat(net, &st) == 0)
		meet(c, st.st_ino, type, SOCKET, pid, 0, number);
	close(net);
}

/* A path may be the mount that a namespace was opened by. */
static void ask_path(struct census *c, int dir, const char *name, pid_t pid)
{
	struct stat st;
	int fd, flag;

	if (fstatat(dir, name, &st, AT_NO_AUTOMOUNT) < 0 || st.st_dev != c->nsfs)
		return;
	fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	flag = fd < 0 ? -1 : nslua_nsfs_type(fd);
	if (fd >= 0)
		close(fd);
	for (int i = 0; flag > 0 && nslua_nstypes[i].name; i++)
		if (nslua_nstypes[i].flag == flag)
			meet(c, st.st_ino, i, FD, pid, 0, (int)strtol(name, NULL, 10));
}

static int files(struct census *c, int dir, pid_t pid)
{
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), pidfd = -1, type;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	char text[64];

	if (!d) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return gone(err) ? 0 : -1;
	}
	while ((e = readdir(d))) {
		ssize_t n;
		uint64_t inode;
		int fresh = 1;

		if (e->d_name[0] == '.')
			continue;
		n = readlinkat(fd, e->d_name, text, sizeof(text) - 1);
		if (n <= 0)
			continue;
		text[n] = 0;
		if (!strncmp(text, "socket:[", 8) || !strcmp(text, "/dev/net/tun")) {
			int tun = text[0] == '/';

			if (!tun && !set_of(&c->sockets, strtoull(text + 8, NULL, 10), 0, &fresh))
				c->nomem = 1;
			if (!fresh)
				continue;
			if (pidfd < 0)
				pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
			if (pidfd >= 0)
				ask_socket(c, pidfd, pid, (int)strtol(e->d_name, NULL, 10), tun ? TUNGETDEVNETNS : SIOCGSKNS);
		} else if (text[0] == '/') {
			if (strncmp(text, "/dev/", 5) != 0)
				ask_path(c, fd, e->d_name, pid);
		} else if ((inode = parse(text, &type))) {
			meet(c, inode, type, FD, pid, 0, (int)strtol(e->d_name, NULL, 10));
		}
	}
	if (pidfd >= 0)
		close(pidfd);
	closedir(d);
	return 0;
}

static int walk(struct census *c)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	struct stat st;

	if (!proc)
		return -1;
	if (stat("/proc/thread-self/ns/net", &st) == 0)
		c->nsfs = st.st_dev;
	while ((e = readdir(proc)) && !c->nomem) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		int dir, bad;

		if (pid <= 0)
			continue;
		dir = openat(dirfd(proc), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		bad = links(c, dir, pid, 0) < 0;
		if (!bad) {
			threads(c, dir, pid);
			bad = c->fds && files(c, dir, pid) < 0;
		}
		c->unreadable += (unsigned int)bad;
		close(dir);
	}
	closedir(proc);
	if (c->nomem) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

static int census_gc(lua_State *L)
{
	struct census *c = lua_touserdata(L, 1);

	free(c->rows);
	free(c->inodes.keys);
	free(c->inodes.values);
	free(c->sockets.keys);
	free(c->sockets.values);
	memset(c, 0, sizeof(*c));
	return 0;
}

static void field(lua_State *L, const char *key, lua_Integer n)
{
	lua_pushinteger(L, n);
	lua_setfield(L, -2, key);
}

/*
 * namespace.census(flags, fds) -> rows, unreadable.  flags: CLONE_NEW* of the types wanted; fds: look at open files too.
 * A row: inode, type, how (met first as "process" "children" "thread" "fd" "socket"), found (all of these, a list), pid, tid, fd (where it was
 * met first), nprocs, first (the lowest pid inside; nil: none).  unreadable: processes that could not be looked at.
 */
int nslua_census(lua_State *L)
{
	unsigned int flags = (unsigned int)luaL_checkinteger(L, 1);
	struct census *c;

	lua_settop(L, 2);
	c = lua_newuserdatauv(L, sizeof(*c), 0);
	memset(c, 0, sizeof(*c));
	if (luaL_newmetatable(L, CENSUS)) {
		lua_pushcfunction(L, census_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	for (int i = 0; nslua_nstypes[i].name; i++)
		if (flags & (unsigned int)nslua_nstypes[i].flag)
			c->wanted |= 1U << i;
	c->fds = lua_toboolean(L, 2);
	if (walk(c) < 0)
		return nslua_fail(L, "/proc");
	lua_createtable(L, (int)c->n, 0);
	for (size_t i = 0; i < c->n; i++) {
		const struct row *r = &c->rows[i];
		int n = 0;

		lua_createtable(L, 0, 8);
		nslua_pushu64(L, r->inode);
		lua_setfield(L, -2, "inode");
		lua_pushstring(L, nslua_nstypes[r->type].name);
		lua_setfield(L, -2, "type");
		lua_pushstring(L, how_names[r->how]);
		lua_setfield(L, -2, "how");
		lua_newtable(L);
		for (int h = 0; h < HOWS; h++) {
			if (r->hows & 1U << h) {
				lua_pushstring(L, how_names[h]);
				lua_rawseti(L, -2, ++n);
			}
		}
		lua_setfield(L, -2, "found");
		field(L, "pid", r->pid);
		field(L, "nprocs", (lua_Integer)r->nprocs);
		if (r->tid)
			field(L, "tid", r->tid);
		if (r->fd >= 0)
			field(L, "fd", r->fd);
		if (r->first)
			field(L, "first", r->first);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_pushinteger(L, (lua_Integer)c->unreadable);
	return 2;
}

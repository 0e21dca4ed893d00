/* SPDX-License-Identifier: MIT */
/*
 * cgroups.c - the cgroups of all processes at once, read by a copy of this process while the caller reads something else.  Where that does not
 * come to its end, the caller reads them itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "nslua.h"

#define WALK "nslua.cgroups"
#define MOST 16384    /* bytes of a text; what is longer is cut */
#define THREADS 4096  /* of the kernel that are passed over */
#define KTHREAD 0x200000ul /* PF_KTHREAD, linux/sched.h */

struct head {
	int pid; /* 0: there are no more */
	unsigned int len; /* of the text behind it */
};

struct walk {
	pid_t child; /* 0: there is none */
	pid_t maker; /* a fork has the walk, but not its child */
	int from;    /* what the child tells; -1 */
	DIR *proc;   /* /proc, opened by the caller */
	int threads[THREADS]; /* of the kernel, by number: they are in no container */
	size_t nthreads;
	int en;
	char *p; /* heads and texts */
	size_t n, size;
};

static bool room_for(struct walk *w, size_t more)
{
	size_t size = w->size ? w->size : 65536;
	char *p;

	if (w->size - w->n >= more)
		return true;
	while (size - w->n < more)
		size *= 2;
	p = realloc(w->p, size);
	if (!p)
		return false;
	w->p = p;
	w->size = size;
	return true;
}

static ssize_t contents(int dir, const char *path, char *to, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, to, size - 1);

	if (fd >= 0)
		close(fd);
	to[n < 0 ? 0 : n] = '\0';
	return n;
}

/*
 * Threads of the kernel, where process 2 is the one that makes them.  It is so in the first pid namespace alone; what it makes is told where
 * the kernel was built with CONFIG_PROC_CHILDREN.  proc_pid_stat(5), proc_tid_children(5)
 */
static void find_threads(struct walk *w)
{
	char buf[16384], *p;
	unsigned long flags;
	int at = dirfd(w->proc);

	w->nthreads = 0;
	if (contents(at, "2/stat", buf, sizeof(buf)) <= 0 || !(p = strrchr(buf, ')'))
	    || sscanf(p, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1 || !(flags & KTHREAD))
		return;
	w->threads[w->nthreads++] = 2;
	if (contents(at, "2/task/2/children", buf, sizeof(buf)) <= 0)
		return;
	for (p = buf; w->nthreads < THREADS;) {
		char *end;
		long pid = strtol(p, &end, 10);

		if (end == p || *end != ' ' || pid <= w->threads[w->nthreads - 1])
			return; /* cut, or numbers have begun anew: the rest is read as others are */
		w->threads[w->nthreads++] = (int)pid;
		p = end;
	}
}

/* Processes of /proc come by their numbers. `seen`: how many threads have been passed. */
static bool is_thread(const struct walk *w, long pid, size_t *seen)
{
	while (*seen < w->nthreads && w->threads[*seen] < pid)
		++*seen;
	return *seen < w->nthreads && w->threads[*seen] == pid;
}

/* The next text of /proc, behind its head in `at`, which has room for both; how many bytes that are, 0 at the end. */
static size_t next(const struct walk *w, size_t *seen, char *at)
{
	DIR *proc = w->proc;
	struct dirent *entry;

	while ((entry = readdir(proc))) {
		struct head h;
		char path[32], *end;
		long pid = strtol(entry->d_name, &end, 10);
		ssize_t len;
		int fd;

		if (pid <= 0 || *end || is_thread(w, pid, seen))
			continue;
		snprintf(path, sizeof(path), "%ld/cgroup", pid);
		fd = openat(dirfd(proc), path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* it has ended, or is not to be looked at */
		len = read(fd, at + sizeof(h), MOST); /* such a file comes in one piece */
		close(fd);
		if (len <= 0)
			continue;
		h = (struct head){ (int)pid, (unsigned int)len };
		memcpy(at, &h, sizeof(h));
		return sizeof(h) + (size_t)len;
	}
	return 0;
}

static void write_all(int to, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(to, p, n);

		if (done < 0)
			_exit(1);
		p += done;
		n -= (size_t)done;
	}
}

/* The child: no malloc, for another thread of the host may have held its lock. */
static void tell(void *arg, int to)
{
	struct walk *w = arg;
	char buf[8 * (sizeof(struct head) + MOST)];
	const struct head end = { 0, 0 };
	size_t n, held = 0, seen = 0;

	find_threads(w);
	while ((n = next(w, &seen, buf + held)) > 0) {
		held += n;
		if (sizeof(buf) - held < sizeof(struct head) + MOST) {
			write_all(to, buf, held);
			held = 0;
		}
	}
	memcpy(buf + held, &end, sizeof(end));
	write_all(to, buf, held + sizeof(end));
}

static void start(struct walk *w)
{
	pid_t pid = nslua_may_copy() ? nslua_copy(tell, w, dirfd(w->proc), &w->from) : -1;

	if (pid < 0) {
		w->from = -1;
		return;
	}
	w->child = pid;
	fcntl(w->from, F_SETPIPE_SZ, 1 << 20); /* it may go on to its end while we do something else */
}

/* Whether all came. */
static bool hear(struct walk *w)
{
	const struct head end = { 0, 0 };
	ssize_t n;

	nslua_copy_anywhere(w->child);
	for (;;) {
		if (!room_for(w, 65536)) {
			w->en = ENOMEM;
			return true;
		}
		n = read(w->from, w->p + w->n, w->size - w->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		w->n += (size_t)n;
	}
	if (w->n < sizeof(end) || memcmp(w->p + w->n - sizeof(end), &end, sizeof(end)) != 0)
		return false;
	w->n -= sizeof(end);
	return true;
}

static void leave(struct walk *w)
{
	if (w->from >= 0)
		close(w->from);
	if (w->child && w->maker == getpid())
		while (waitpid(w->child, NULL, __WALL) < 0 && errno == EINTR)
			;
	w->child = 0;
	w->from = -1;
	if (w->proc)
		closedir(w->proc);
	w->proc = NULL;
}

static void finish(struct walk *w)
{
	size_t n, seen = 0;

	if (!w->proc || (w->child && hear(w)))
		return leave(w);
	rewinddir(w->proc); /* the child had it too */
	find_threads(w);
	w->n = 0;
	while (room_for(w, sizeof(struct head) + MOST) && (n = next(w, &seen, w->p + w->n)) > 0)
		w->n += n;
	w->en = w->size - w->n < sizeof(struct head) + MOST ? ENOMEM : 0;
	leave(w);
}

static int walk_gc(lua_State *L)
{
	struct walk *w = luaL_checkudata(L, 1, WALK);

	leave(w);
	free(w->p);
	w->p = NULL;
	w->n = w->size = 0;
	return 0;
}

/* cgroups.walk() -> what reads /proc/PID/cgroup of all processes; or nil, message, errno. */
static int cgroups_walk(lua_State *L)
{
	struct walk *w = lua_newuserdatauv(L, sizeof(*w), 0);

	memset(w, 0, sizeof(*w));
	w->from = -1;
	w->maker = getpid();
	luaL_setmetatable(L, WALK);
	w->proc = opendir("/proc");
	if (!w->proc)
		return nslua_fail(L, "/proc");
	start(w);
	return 1;
}

/* walk:all() -> { pid, text, pid, text, ... } of those that may be looked at, when it is done; or nil, message, errno. */
static int walk_all(lua_State *L)
{
	struct walk *w = luaL_checkudata(L, 1, WALK);
	int at = 0;

	finish(w);
	if (w->en)
		return nslua_failen(L, "/proc", w->en);
	lua_newtable(L);
	for (size_t i = 0; i < w->n;) {
		struct head h;

		memcpy(&h, w->p + i, sizeof(h));
		lua_pushinteger(L, h.pid);
		lua_rawseti(L, -2, ++at);
		lua_pushlstring(L, w->p + i + sizeof(h), h.len);
		lua_rawseti(L, -2, ++at);
		i += sizeof(h) + h.len;
	}
	return 1;
}

int nslua_open_cgroups(lua_State *L)
{
	static const luaL_Reg functions[] = { { "walk", cgroups_walk }, { NULL, NULL } };
	static const luaL_Reg methods[] = { { "all", walk_all }, { NULL, NULL } };

	luaL_newmetatable(L, WALK);
	lua_pushcfunction(L, walk_gc);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* owners.c - which processes have which sockets open: a walk over /proc, by threads of its own where the caller has other work meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "owners.h"

#define SCAN "nslua.owners"
#define MANY 512 /* open files of one process, from which on two threads share them, by TURN */
#define TURN 64

struct process {
	int pid;
	char comm[16]; /* as it put it there: anything */
};

struct found {
	struct nslua_owner *list;
	size_t n, room;
	bool full; /* there is no memory for more */
};

/* A process with many open files: their numbers are gone through by whoever comes next, until so many as there are have been seen. */
struct crowd {
	int pid, dir;
	int count;
	atomic_int next, seen;
};

struct nslua_owners {
	pthread_t thread;
	bool running, aside;
	pid_t maker; /* a fork has the walk, but not its threads */
	int proc;    /* /proc, opened by the caller */
	int en;      /* what ended the walk early */
	int unseen;
	struct process *processes;
	size_t nprocesses, room;
	struct crowd crowd;
	struct found found, helped; /* once all is done, the first has everything, sorted by inode, pid, fd */
};

static void *grown(void *old, size_t n, size_t *room, size_t size)
{
	void *p;

	if (n < *room)
		return old;
	p = realloc(old, (*room ? *room * 2 : 64) * size);
	if (p)
		*room = *room ? *room * 2 : 64;
	return p;
}

static void add(struct found *f, uint64_t inode, int pid, int fd)
{
	struct nslua_owner *list = grown(f->list, f->n, &f->room, sizeof(*list));

	if (!list) {
		f->full = true;
		return;
	}
	f->list = list;
	list[f->n++] = (struct nslua_owner){ inode, 0, pid, fd };
}

/* One open file, whose link reads "socket:[4026531840]" if it is a socket.  false: there is no such file.  proc_pid_fd(5) */
static bool look_at(struct found *f, int dir, int pid, const char *name)
{
	char text[64];
	ssize_t len = readlinkat(dir, name, text, sizeof(text) - 1);

	if (len < 0)
		return errno != ENOENT;
	if (len < 9 || memcmp(text, "socket:[", 8) != 0)
		return true;
	text[len] = '\0';
	add(f, strtoull(text + 8, NULL, 10), pid, (int)strtol(name, NULL, 10));
	return true;
}

/* The numbers from `from` on; returns how many of them are there. */
static int look_at_numbers(struct found *f, int dir, int pid, int from, int n)
{
	int seen = 0;

	for (int fd = from; fd < from + n; fd++) {
		char name[16], *p = name + sizeof(name) - 1;

		*p = '\0';
		for (int v = fd; p == name + sizeof(name) - 1 || v; v /= 10)
			*--p = (char)('0' + v % 10);
		seen += look_at(f, dir, pid, p);
	}
	return seen;
}

static void look_at_crowd(struct crowd *c, struct found *f)
{
	while (!f->full && atomic_load(&c->seen) < c->count) {
		int from = atomic_fetch_add(&c->next, TURN);

		if (from >= 2 * c->count)
			break;
		atomic_fetch_add(&c->seen, look_at_numbers(f, c->dir, c->pid, from, TURN));
	}
}

static void *help(void *p)
{
	struct nslua_owners *s = p;

	look_at_crowd(&s->crowd, &s->helped);
	return NULL;
}

/*
 * By number, where the kernel tells how many there are (6.2): to ask for names takes a quarter more time.  false: numbers up to twice as many
 * are not all of them.
 */
static bool look_by_number(struct nslua_owners *s, int dir, int pid, int count)
{
	pthread_t helper;
	bool helped;

	if (!s->aside || count < MANY) {
		int seen = 0;

		for (int from = 0; from < 2 * count && seen < count; from += 4)
			seen += look_at_numbers(&s->found, dir, pid, from, 4);
		return seen >= count;
	}
	s->crowd.pid = pid;
	s->crowd.dir = dir;
	s->crowd.count = count;
	atomic_store(&s->crowd.next, 0);
	atomic_store(&s->crowd.seen, 0);
	helped = pthread_create(&helper, NULL, help, s) == 0; /* with the signals of this thread: none */
	look_at_crowd(&s->crowd, &s->found);
	if (helped)
		pthread_join(helper, NULL);
	return atomic_load(&s->crowd.seen) >= count;
}

static void read_comm(int proc, struct process *p)
{
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%d/comm", p->pid);
	strcpy(p->comm, "?");
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, p->comm, sizeof(p->comm));
	close(fd);
	if (n <= 0)
		strcpy(p->comm, "?");
	else
		p->comm[p->comm[n - 1] == '\n' || n == sizeof(p->comm) ? n - 1 : n] = '\0';
}

/* The sockets of one process. */
static void look(struct nslua_owners *s, int pid)
{
	const size_t before = s->found.n + s->helped.n;
	struct process *list;
	char path[32];
	struct stat st;
	int dir;

	snprintf(path, sizeof(path), "%d/fd", pid);
	dir = openat(s->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		s->unseen += errno == EACCES;
		return;
	}
	if (fstat(dir, &st) < 0 || st.st_size <= 0 || st.st_size > 1 << 24 || !look_by_number(s, dir, pid, (int)st.st_size)) {
		DIR *d = fdopendir(dir);
		struct dirent *entry;

		/* what was found by number is found again: the sorted list has it once */
		while (d && (entry = readdir(d)))
			if (entry->d_name[0] != '.')
				look_at(&s->found, dir, pid, entry->d_name);
		if (d)
			closedir(d);
		else
			close(dir);
	} else {
		close(dir);
	}
	if (s->found.n + s->helped.n == before)
		return;
	list = grown(s->processes, s->nprocesses, &s->room, sizeof(*list));
	if (!list) {
		s->en = ENOMEM;
		return;
	}
	s->processes = list;
	list[s->nprocesses].pid = pid;
	read_comm(s->proc, &list[s->nprocesses++]);
}

static int by_socket(const void *a, const void *b)
{
	const struct nslua_owner *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static int by_pid(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* All that was found in one list, each once, with the number of its process. */
static void sort(struct nslua_owners *s)
{
	struct found *f = &s->found;
	size_t n = 0;

	for (size_t i = 0; i < s->helped.n; i++)
		add(f, s->helped.list[i].inode, s->helped.list[i].pid, s->helped.list[i].fd);
	if (f->full || s->helped.full)
		s->en = ENOMEM;
	if (!f->n || s->en)
		return;
	qsort(f->list, f->n, sizeof(*f->list), by_socket);
	qsort(s->processes, s->nprocesses, sizeof(*s->processes), by_pid);
	for (size_t i = 0; i < f->n; i++) {
		const struct process key = { .pid = f->list[i].pid };
		const struct process *p;

		if (n && by_socket(&f->list[n - 1], &f->list[i]) == 0)
			continue;
		p = bsearch(&key, s->processes, s->nprocesses, sizeof(*p), by_pid);
		f->list[n] = f->list[i];
		f->list[n++].process = p ? (uint32_t)(p - s->processes) : 0;
	}
	f->n = n;
}

static void *walk(void *p)
{
	struct nslua_owners *s = p;
	struct dirent *entry;
	int copy = fcntl(s->proc, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		s->en = errno;
		if (copy >= 0)
			close(copy);
		return NULL;
	}
	while (!s->en && (entry = readdir(d))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (pid > 0 && !*end)
			look(s, (int)pid);
	}
	closedir(d);
	sort(s);
	return NULL;
}

static void wait_for(struct nslua_owners *s)
{
	if (s->running && s->maker == getpid())
		pthread_join(s->thread, NULL);
	s->running = false;
	if (s->proc >= 0)
		close(s->proc);
	s->proc = -1;
}

static int scan_gc(lua_State *L)
{
	struct nslua_owners *s = luaL_checkudata(L, 1, SCAN);

	wait_for(s);
	free(s->processes);
	free(s->found.list);
	free(s->helped.list);
	s->processes = NULL;
	s->found.list = s->helped.list = NULL;
	s->found.n = s->helped.n = s->nprocesses = 0;
	return 0;
}

/*
 * owners.scan([aside]) -> a walk over all processes; `aside`: it goes on in threads, until it is asked for something.  They take no signal and
 * touch nothing of Lua.
 */
static int owners_scan(lua_State *L)
{
	const bool aside = lua_toboolean(L, 1);
	struct nslua_owners *s = lua_newuserdatauv(L, sizeof(*s), 0);

	memset(s, 0, sizeof(*s));
	s->proc = -1;
	luaL_setmetatable(L, SCAN);
	s->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->proc < 0)
		return nslua_fail(L, "/proc");
	s->aside = aside;
	if (aside) {
		sigset_t all, old;

		s->maker = getpid();
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		s->running = pthread_create(&s->thread, NULL, walk, s) == 0;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (!s->running)
		walk(s); /* no thread is to be had: then without */
	return 1;
}

struct nslua_owners *nslua_owners_check(lua_State *L, int arg)
{
	struct nslua_owners *s = luaL_checkudata(L, arg, SCAN);

	wait_for(s);
	return s;
}

const struct nslua_owner *nslua_owners_of(const struct nslua_owners *s, uint64_t inode, size_t *count)
{
	size_t low = 0, high = s->found.n, end;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (s->found.list[mid].inode < inode)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < s->found.n && s->found.list[end].inode == inode; end++)
		;
	*count = end - low;
	return s->found.list + low;
}

/* scan:commands() -> { name, ... } of the processes that have sockets, how many may not be looked at; or nil, message, errno */
static int scan_commands(lua_State *L)
{
	struct nslua_owners *s = nslua_owners_check(L, 1);

	if (s->en)
		return nslua_failen(L, "/proc", s->en);
	lua_createtable(L, (int)s->nprocesses, 0);
	for (size_t i = 0; i < s->nprocesses; i++) {
		lua_pushstring(L, s->processes[i].comm);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_pushinteger(L, s->unseen);
	return 2;
}

/* scan:all() -> { inode, pid, fd, number of its command, inode, ... }, sorted by these. */
static int scan_all(lua_State *L)
{
	struct nslua_owners *s = nslua_owners_check(L, 1);
	int at = 0;

	lua_createtable(L, (int)s->found.n * 4, 0);
	for (size_t i = 0; i < s->found.n; i++) {
		lua_pushnumber(L, (lua_Number)s->found.list[i].inode);
		lua_rawseti(L, -2, ++at);
		lua_pushinteger(L, s->found.list[i].pid);
		lua_rawseti(L, -2, ++at);
		lua_pushinteger(L, s->found.list[i].fd);
		lua_rawseti(L, -2, ++at);
		lua_pushinteger(L, (lua_Integer)s->found.list[i].process + 1);
		lua_rawseti(L, -2, ++at);
	}
	return 1;
}

int nslua_open_owners(lua_State *L)
{
	static const luaL_Reg functions[] = { { "scan", owners_scan }, { NULL, NULL } };
	static const luaL_Reg methods[] = { { "commands", scan_commands }, { "all", scan_all }, { NULL, NULL } };

	luaL_newmetatable(L, SCAN);
	lua_pushcfunction(L, scan_gc);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

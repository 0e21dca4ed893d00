/* SPDX-License-Identifier: MIT */
/*
 * errand.c - a short-lived child goes where the script must not go itself (into a user namespace), does a list of steps there and leaves
 * what it opened in our fd table, which it shares.
 *
 * The child shares our memory too (vfork), so an errand costs the same with a large heap, and nothing of it can outlive a kill -9 but the
 * few system calls it still had to make.  Into a user namespace that is not of our making it goes with memory of its own instead, closed to
 * ptrace: whoever is privileged there would else read ours through it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "idmap.h"

#define ERRAND_STACK (256 * 1024) /* newuidmap's argv and a PATH search; only what is touched costs */

enum step_kind { STEP_JOIN, STEP_NEW, STEP_USER, STEP_SOCKET, STEP_OPEN, STEP_WRITE, STEP_HOSTNAME };
static const char *const step_names[] = { "join", "new", "user", "socket", "open", "write", "hostname", NULL };

struct maps {
	struct nslua_idmap uid, gid;
	int setgroups;
};

struct step {
	enum step_kind kind;
	int a, b, c; /* join: fd, type; new: type; socket: domain, type, protocol; open: flags; write: may be absent */
	const char *path; /* new: where the new one is opened; open, write */
	const char *text; /* write, hostname */
	size_t len;
	struct maps *maps;
	struct nslua_fd *result;
};

/* What a child leaves behind, in memory that both see in either way of going. */
struct outcome {
	int at; /* the step that failed */
	int en; /* 0: all done */
	char detail[400];
};

struct errand {
	struct step *steps;
	int common, from, to; /* does the first `common`, and those from `from` to before `to` */
	int private; /* memory of its own */
	struct outcome *out;
	int *fds; /* of each step, seen by both */
};

static int sleeper(void *p)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != *(pid_t *)p)
		_exit(0);
	for (;;)
		pause(); /* every signal but SIGKILL is blocked */
}

/* A new user namespace, made by a child of the child: its maps have to be written from outside. */
static int new_user(const struct maps *m, char *detail, size_t size)
{
	_Alignas(16) char stack[8192];
	char path[48];
	pid_t me = getpid();
	pid_t pid = clone(sleeper, stack + sizeof(stack), CLONE_VM | CLONE_FILES | CLONE_NEWUSER, &me);
	int fd = -1, en = 0;

	if (pid < 0) {
		en = errno;
		snprintf(detail, size, "user namespace");
		errno = en;
		return -1;
	}
	if (nslua_idmap_apply(pid, &m->uid, &m->gid, m->setgroups, detail, size) < 0) {
		en = errno;
	} else {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			en = errno;
			snprintf(detail, size, "%s", path);
		}
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	errno = en;
	return fd;
}

static const char *ns_path(int type)
{
	switch (type) {
	case CLONE_NEWNET: return "/proc/thread-self/ns/net";
	case CLONE_NEWNS: return "/proc/thread-self/ns/mnt";
	case CLONE_NEWUTS: return "/proc/thread-self/ns/uts";
	case CLONE_NEWIPC: return "/proc/thread-self/ns/ipc";
	case 0x02000000 /* CLONE_NEWCGROUP */: return "/proc/thread-self/ns/cgroup";
	default: return NULL;
	}
}

/* An fd, 0 where a step gives none, or -1. */
static int do_step(const struct step *s, char *detail, size_t size)
{
	ssize_t n;
	int fd, en;

	switch (s->kind) {
	case STEP_JOIN:
		snprintf(detail, size, "setns");
		return setns(s->a, s->b);
	case STEP_NEW:
		snprintf(detail, size, "unshare");
		if (unshare(s->a) < 0)
			return -1;
		snprintf(detail, size, "%s", s->path);
		return open(s->path, O_RDONLY | O_CLOEXEC);
	case STEP_USER:
		return new_user(s->maps, detail, size);
	case STEP_SOCKET:
		snprintf(detail, size, "socket");
		return socket(s->a, s->b | SOCK_CLOEXEC, s->c);
	case STEP_OPEN:
		snprintf(detail, size, "%s", s->path);
		return open(s->path, s->a | O_CLOEXEC | O_NONBLOCK);
	case STEP_WRITE:
		/* Written inside: some handlers of /proc/sys look at the writer's namespace. */
		snprintf(detail, size, "%s", s->path);
		fd = open(s->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return s->a && errno == ENOENT ? 0 : -1;
		n = write(fd, s->text, s->len);
		en = errno;
		close(fd);
		errno = n < 0 ? en : EIO;
		return n == (ssize_t)s->len ? 0 : -1;
	case STEP_HOSTNAME:
		snprintf(detail, size, "sethostname");
		return sethostname(s->text, s->len);
	}
	return 0;
}

static int errand_main(void *p)
{
	struct errand *e = p;

	if (e->private)
		prctl(PR_SET_DUMPABLE, 0);
	for (int i = e->common ? 0 : e->from; i < e->to; i = i + 1 == e->common ? e->from : i + 1) {
		int fd;

		e->out->at = i;
		fd = do_step(&e->steps[i], e->out->detail, sizeof(e->out->detail));
		if (fd < 0) {
			e->out->en = errno;
			_exit(1);
		}
		if (e->steps[i].result)
			e->fds[i] = fd;
	}
	e->out->en = 0;
	_exit(0);
}

/* Its pid, or -1.  No exit signal: nobody else's wait() or SIGCHLD handler sees it. */
static pid_t start(struct errand *e, char *stack)
{
	/* With our memory, it is waited for here: there is one errno for both. */
	pid_t pid = e->private ? clone(errand_main, stack + ERRAND_STACK, CLONE_FILES, e) :
				 nslua_vfork(errand_main, stack + ERRAND_STACK, CLONE_FILES, e, 0);

	if (pid < 0) {
		e->out->en = errno;
		snprintf(e->out->detail, sizeof(e->out->detail), "clone");
	}
	return pid;
}

static void finish(struct errand *e, pid_t pid)
{
	int status = 0;

	if (pid < 0)
		return;
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		snprintf(e->out->detail, sizeof(e->out->detail), "step %d: killed by signal %d", e->out->at + 1, WTERMSIG(status));
}

/* One child, or two at once: the second with memory of its own.  The outcome of the first that failed, or NULL. */
static struct outcome *go(struct errand *e, int n)
{
	/* Not on ours: Lua may run in a thread with little. */
	char *stack = mmap(NULL, ERRAND_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	struct outcome *failed = NULL;
	sigset_t all, old;
	pid_t pids[2];

	if (stack == MAP_FAILED) {
		e->out->en = errno;
		snprintf(e->out->detail, sizeof(e->out->detail), "mmap");
		return e->out;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = n; i-- > 0;)
		pids[i] = start(&e[i], stack);
	for (int i = n; i-- > 0;) {
		finish(&e[i], pids[i]);
		failed = e[i].out->en ? e[i].out : failed;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(stack, ERRAND_STACK);
	return failed;
}

static int field(lua_State *L, int i)
{
	int v;

	lua_rawgeti(L, -1, i);
	v = (int)luaL_checkinteger(L, -1);
	lua_pop(L, 1);
	return v;
}

static int fd_field(lua_State *L, int i)
{
	int fd;

	lua_rawgeti(L, -1, i);
	fd = nslua_checkfd(L, lua_gettop(L));
	lua_pop(L, 1);
	return fd;
}

/* A string of the step's table, which the caller's argument anchors. */
static const char *string_field(lua_State *L, int i, size_t *len)
{
	const char *s;

	lua_rawgeti(L, -1, i);
	s = luaL_checklstring(L, -1, len);
	lua_pop(L, 1);
	return s;
}

/* The step at the top of the stack; what it allocates goes into the table at `anchor`. */
static void read_step(lua_State *L, struct step *s, int anchor, int *results)
{
	lua_rawgeti(L, -1, 1);
	s->kind = (enum step_kind)luaL_checkoption(L, -1, NULL, step_names);
	lua_pop(L, 1);
	switch (s->kind) {
	case STEP_JOIN:
		s->a = fd_field(L, 2);
		s->b = field(L, 3);
		return;
	case STEP_NEW:
		s->a = field(L, 2);
		s->path = ns_path(s->a);
		luaL_argcheck(L, s->path, 1, "new: not a type that can be made here");
		break;
	case STEP_USER:
		s->maps = lua_newuserdatauv(L, sizeof(*s->maps), 0);
		lua_rawseti(L, anchor, (int)lua_rawlen(L, anchor) + 1);
		lua_rawgeti(L, -1, 2);
		nslua_idmap_check(L, -1, &s->maps->uid, &s->maps->gid, &s->maps->setgroups);
		lua_pop(L, 1);
		break;
	case STEP_SOCKET:
		s->a = field(L, 2);
		s->b = field(L, 3);
		s->c = field(L, 4);
		break;
	case STEP_OPEN:
		s->path = string_field(L, 2, NULL);
		lua_rawgeti(L, -1, 3);
		s->a = lua_isnil(L, -1) ? O_RDONLY : O_RDWR;
		lua_pop(L, 1);
		break;
	case STEP_WRITE:
		s->path = string_field(L, 2, NULL);
		s->text = string_field(L, 3, &s->len);
		lua_rawgeti(L, -1, 4);
		s->a = lua_toboolean(L, -1);
		lua_pop(L, 1);
		return;
	case STEP_HOSTNAME:
		s->text = string_field(L, 2, &s->len);
		return;
	}
	s->result = nslua_newfd(L);
	lua_rawseti(L, 3, ++*results);
}

/*
 * errand.run(steps, private [, common]) -> list of the fds its steps gave, in order; or nil, "what: reason", errno, the step's number.  Steps:
 * { "join", fd, type }, { "new", type }, { "user", maps }, { "socket", domain, type, protocol }, { "open", path [, "rw"] }, { "write", path, text [, whether what
 * is not there is passed over] }, { "hostname", text }.  With `common` two children share the work: each does so many steps at the begin, then half of the
 * others.
 */
static int errand_run(lua_State *L)
{
	struct errand e[2];
	struct outcome *out, *failed;
	size_t size;
	int results = 0, children, n;

	luaL_checktype(L, 1, LUA_TTABLE);
	n = (int)lua_rawlen(L, 1);
	children = lua_isnoneornil(L, 3) ? 1 : 2;
	memset(e, 0, sizeof(e));
	e[0].common = e[1].common = (int)luaL_optinteger(L, 3, 0);
	luaL_argcheck(L, e[0].common >= 0 && e[0].common <= n, 3, "more than there are steps");
	e[0].private = lua_toboolean(L, 2);
	e[1].private = 1;
	lua_settop(L, 2);
	lua_newtable(L); /* 3: results */
	lua_newtable(L); /* 4: anchor */
	e[0].steps = lua_newuserdatauv(L, sizeof(*e[0].steps) * (size_t)(n + 1), 0);
	memset(e[0].steps, 0, sizeof(*e[0].steps) * (size_t)(n + 1));
	for (int i = 0; i < n; i++) {
		lua_rawgeti(L, 1, i + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		read_step(L, &e[0].steps[i], 4, &results);
		lua_pop(L, 1);
	}
	size = sizeof(*out) * 2 + sizeof(int) * (size_t)n;
	/* No Lua between here and munmap. */
	out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (out == MAP_FAILED)
		return nslua_fail(L, "mmap");
	for (int i = 0; i < 2; i++) {
		e[i].steps = e[0].steps;
		e[i].out = &out[i];
		e[i].fds = (int *)&out[2];
		e[i].from = e[i].common + (n - e[i].common) / children * i;
		e[i].to = n;
		out[i].en = EINTR; /* what stands where the child was killed */
	}
	e[0].to = children == 1 ? n : e[1].from;
	for (int i = 0; i < n; i++)
		e[0].fds[i] = -1;
	failed = go(e, children);
	if (failed) {
		char detail[sizeof(failed->detail)];
		int en = failed->en, at = failed->at;

		memcpy(detail, failed->detail, sizeof(detail));
		for (int i = 0; i < n; i++)
			if (e[0].fds[i] >= 0)
				close(e[0].fds[i]);
		munmap(out, size);
		nslua_failen(L, detail, en);
		lua_pushinteger(L, at + 1);
		return 4;
	}
	for (int i = 0; i < n; i++)
		if (e[0].steps[i].result)
			e[0].steps[i].result->fd = e[0].fds[i];
	munmap(out, size);
	lua_settop(L, 3);
	return 1;
}

static const luaL_Reg errand_functions[] = {
	{ "run", errand_run }, { NULL, NULL },
};

int nslua_open_errand(lua_State *L)
{
	luaL_newlib(L, errand_functions);
	return 1;
}

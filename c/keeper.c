/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - the small process that is pid 1 of what must end with the script: a pid and a mount namespace of its own, and a user namespace
 * where the script has no rights itself.  It runs no Lua.  When the script is gone, however it went, the keeper exits, and the kernel kills
 * every process in its pid namespace.
 *
 * Two children of the script make it: the first, sharing memory (vfork), joins and unshares and clones the second by CLONE_PARENT, so that
 * the keeper is the script's own child and the script changes nothing of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "nslua.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define KEEPER "nslua.keeper"
#define MAKER_STACK (64 * 1024)
#define KEEPER_STACK (64 * 1024)
enum { NS_PID, NS_MOUNT, NS_USER, NS_COUNT };

/* The keeper's one message: how it came up.  With it come the fds of its namespaces. */
struct hello {
	int en; /* 0: up */
	int proc_en; /* 0: /proc shows the keeper's pid namespace; else why it could not be mounted */
	char step[64];
};

struct maker {
	int userfd;  /* to be joined first, or -1 */
	int sock;    /* the keeper's end */
	int hostfd;  /* pidfd of the script */
	int deathsig; /* the thread that makes it lives as long as the script */
	char *stack; /* for the keeper */
	pid_t pid;
	int pidfd;
	int en;
	const char *step;
};

struct keeper {
	pid_t pid;
	int pidfd, sock; /* -1: closed */
	int *mine; /* a page that the kernel clears in a forked child: there the keeper is somebody else's */
};

void nslua_close_except(unsigned int lo, unsigned int hi)
{
	struct rlimit r;

	if (lo > hi) {
		unsigned int t = lo;

		lo = hi;
		hi = t;
	}
	if ((lo == 0 || syscall(SYS_close_range, 0u, lo - 1, 0u) == 0) &&
	    (hi == lo + 1 || syscall(SYS_close_range, lo + 1, hi - 1, 0u) == 0) && syscall(SYS_close_range, hi + 1, ~0u, 0u) == 0)
		return;
	/* Before Linux 5.9, or a seccomp filter that does not know the call. */
	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur > 1048576)
		r.rlim_cur = 1048576;
	for (unsigned int fd = 0; fd < r.rlim_cur; fd++)
		if (fd != lo && fd != hi)
			close((int)fd);
}

static void say(int sock, const struct hello *h, const int *fds, int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * NS_COUNT)];
	} control;
	struct iovec iov = { (void *)(uintptr_t)h, sizeof(*h) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c = &control.align; /* the first, as CMSG_FIRSTHDR gives it */

		memset(&control, 0, sizeof(control));
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	sendmsg(sock, &m, MSG_NOSIGNAL);
}

static void stop(int sock, const char *step)
{
	struct hello h = { .en = errno };

	snprintf(h.step, sizeof(h.step), "%s", step);
	say(sock, &h, NULL, 0);
	_exit(1);
}

static int readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) > 0;
}

/* pid 1.  Every signal stays blocked; init ignores what has no handler anyway, and only SIGKILL from outside ends it. */
static int keeper_main(void *arg)
{
	struct maker *m = arg;
	struct sigaction reap = { .sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT };
	static const char *const names[NS_COUNT] = { "/proc/self/ns/pid", "/proc/self/ns/mnt", "/proc/self/ns/user" };
	int sock = m->sock, host = m->hostfd, fds[NS_COUNT];
	struct pollfd p[2] = { { host, POLLIN, 0 }, { sock, POLLIN, 0 } };
	struct hello h = { 0 };

	if (m->deathsig)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (readable(host))
		_exit(0);
	nslua_close_except((unsigned int)sock, (unsigned int)host);
	setsid(); /* ^C and ^Z of the script's terminal are not for us */
	sigaction(SIGCHLD, &reap, NULL); /* the kernel reaps */
	prctl(PR_SET_NAME, "nslua-keeper");
	prctl(PR_SET_DUMPABLE, 0); /* a copy of the script's memory is nothing for the programs that run here */
	if (chdir("/") < 0)
		stop(sock, "chdir /");
	if (unshare(CLONE_NEWNS) < 0)
		stop(sock, "unshare mount");
	/* Not private: what the machine unmounts later must not live on here. */
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		stop(sock, "make mounts slave");
	for (int i = 0; i < NS_COUNT; i++) {
		fds[i] = open(names[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			stop(sock, names[i]);
	}
	/* Over the old one, which stays if this fails: a masked /proc (containers) forbids a new one. */
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		h.proc_en = errno;
	say(sock, &h, fds, NS_COUNT);
	for (int i = 0; i < NS_COUNT; i++)
		close(fds[i]);
	/* The script says nothing more: the end of the socket is the end. */
	while (poll(p, 2, -1) <= 0)
		;
	_exit(0);
}

static int maker_main(void *arg)
{
	struct maker *m = arg;

	m->step = "join user";
	if (m->userfd >= 0 && setns(m->userfd, CLONE_NEWUSER) < 0)
		goto fail;
	m->step = "unshare pid";
	if (unshare(CLONE_NEWPID) < 0)
		goto fail;
	m->step = "clone";
	m->pid = clone(keeper_main, m->stack + KEEPER_STACK, CLONE_PARENT | CLONE_PIDFD, m, &m->pidfd);
	if (m->pid < 0)
		goto fail;
	m->en = 0;
	_exit(0);
fail:
	m->en = errno;
	_exit(1);
}

/* Clone the maker and wait for it; all signals are blocked. */
static int make(struct maker *m)
{
	char *stacks = mmap(NULL, MAKER_STACK + KEEPER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;

	m->step = "mmap";
	m->en = errno;
	if (stacks == MAP_FAILED)
		return -1;
	m->stack = stacks + MAKER_STACK;
	m->step = "clone";
	m->en = EINTR;
	/* No exit signal, and so none for the keeper: nobody else's wait() sees either. */
	pid = clone(maker_main, stacks + MAKER_STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES, m);
	if (pid < 0) {
		m->en = errno;
	} else {
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	munmap(stacks, MAKER_STACK + KEEPER_STACK);
	return m->en ? -1 : 0;
}

/* Receive hello and the fds; 0, or -1 and the reason in *h.  Its end alone is not waited for as EOF: another thread's fork may hold a copy. */
static int hear(int sock, int pidfd, struct hello *h, int *fds)
{
	struct pollfd p[2] = { { sock, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * NS_COUNT)];
	} control;
	struct iovec iov = { h, sizeof(*h) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n != (ssize_t)sizeof(*h)) {
		h->en = ECHILD;
		snprintf(h->step, sizeof(h->step), "it ended while starting");
		return -1;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	if (!h->en && fds[NS_COUNT - 1] < 0) {
		h->en = EMFILE; /* the kernel drops fds that do not fit */
		snprintf(h->step, sizeof(h->step), "receive namespaces");
	}
	return h->en ? -1 : 0;
}

static int is_mine(const struct keeper *k)
{
	return k->mine && *k->mine;
}

/* Wait for a keeper that was told to go, for a moment: its end waits for every process in it, and some may be the script's to reap. */
static int reap(int pidfd, int ms)
{
	struct pollfd p = { pidfd, POLLIN, 0 };
	siginfo_t info;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL);
	return 1;
}

static void forget(struct keeper *k)
{
	if (k->pidfd >= 0)
		close(k->pidfd);
	k->pidfd = -1;
	if (k->mine)
		munmap(k->mine, sizeof(*k->mine));
	k->mine = NULL;
}

/*
 * keeper:close() -> whether it is gone; false: it ends as soon as the script has waited for its own children there, and another close() reaps it.
 * In a forked child this only lets go.
 */
static int keeper_close(lua_State *L)
{
	struct keeper *k = luaL_checkudata(L, 1, KEEPER);
	int gone = 1;

	if (k->sock >= 0) {
		if (is_mine(k))
			shutdown(k->sock, SHUT_RDWR); /* reaches it also where a forked child holds a copy of this end */
		close(k->sock);
		k->sock = -1;
	}
	if (k->pidfd >= 0 && is_mine(k))
		gone = reap(k->pidfd, 20);
	if (gone)
		forget(k);
	lua_pushboolean(L, gone);
	return 1;
}

static int keeper_gc(lua_State *L)
{
	struct keeper *k = luaL_checkudata(L, 1, KEEPER);

	keeper_close(L);
	forget(k);
	return 0;
}

/* keeper:alive() -> whether it runs and is this process's own; never true in a forked child. */
static int keeper_alive(lua_State *L)
{
	struct keeper *k = luaL_checkudata(L, 1, KEEPER);

	lua_pushboolean(L, k->sock >= 0 && is_mine(k) && !readable(k->pidfd));
	return 1;
}

/* keeper:pid() -> its pid as the script sees it. */
static int keeper_pid(lua_State *L)
{
	struct keeper *k = luaL_checkudata(L, 1, KEEPER);

	lua_pushinteger(L, k->pid);
	return 1;
}

static int start(struct keeper *k, int userfd, struct hello *h, int *fds)
{
	struct maker m = { .userfd = userfd, .sock = -1, .hostfd = -1, .pidfd = -1 };
	int pair[2], rc = -1;

	k->mine = mmap(NULL, sizeof(*k->mine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k->mine == MAP_FAILED) {
		k->mine = NULL;
		snprintf(h->step, sizeof(h->step), "mmap");
		h->en = errno;
		return -1;
	}
	madvise(k->mine, sizeof(*k->mine), MADV_WIPEONFORK);
	*k->mine = 1;
	/* Opened before the fork: after it, our pid could already be another process. */
	m.hostfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (m.hostfd < 0) {
		snprintf(h->step, sizeof(h->step), "pidfd_open");
		h->en = errno;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(h->step, sizeof(h->step), "socketpair");
		h->en = errno;
		close(m.hostfd);
		return -1;
	}
	k->sock = pair[0];
	m.sock = pair[1];
	/* PDEATHSIG fires when the *thread* that forked ends. */
	m.deathsig = syscall(SYS_gettid) == getpid();
	if (make(&m) < 0) {
		snprintf(h->step, sizeof(h->step), "%s", m.step);
		h->en = m.en;
	} else {
		k->pid = m.pid;
		k->pidfd = m.pidfd;
		close(m.sock); /* so that its end reads as EOF */
		m.sock = -1;
		rc = hear(k->sock, k->pidfd, h, fds);
	}
	if (m.sock >= 0)
		close(m.sock);
	close(m.hostfd);
	return rc;
}

/*
 * keeper.start([userfd]) -> keeper, pid namespace, mount namespace, user namespace (fds), errno of mounting /proc (0: mounted);
 * or nil, "step: reason", errno.  It is made in the user namespace `userfd`, else in the caller's own.
 */
static int core_start(lua_State *L)
{
	int userfd = lua_isnoneornil(L, 1) ? -1 : nslua_checkfd(L, 1);
	struct keeper *k = lua_newuserdatauv(L, sizeof(*k), 0);
	struct nslua_fd *handles[NS_COUNT];
	int fds[NS_COUNT] = { -1, -1, -1 }, rc;
	struct hello h = { 0 };
	sigset_t all, old;

	k->pid = 0;
	k->pidfd = k->sock = -1;
	k->mine = NULL;
	luaL_setmetatable(L, KEEPER);
	for (int i = 0; i < NS_COUNT; i++)
		handles[i] = nslua_newfd(L);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = start(k, userfd, &h, fds);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	for (int i = 0; i < NS_COUNT; i++)
		handles[i]->fd = fds[i];
	if (rc < 0)
		return nslua_failen(L, h.step, h.en);
	lua_pushinteger(L, h.proc_en);
	return 2 + NS_COUNT;
}

static const luaL_Reg keeper_methods[] = {
	{ "close", keeper_close }, { "alive", keeper_alive }, { "pid", keeper_pid }, { NULL, NULL },
};
static const luaL_Reg keeper_meta[] = {
	{ "__gc", keeper_gc }, { NULL, NULL },
};
static const luaL_Reg keeper_functions[] = {
	{ "start", core_start }, { NULL, NULL },
};

int nslua_open_keeper(lua_State *L)
{
	nslua_newclass(L, KEEPER, keeper_methods, keeper_meta);
	luaL_newlib(L, keeper_functions);
	return 1;
}

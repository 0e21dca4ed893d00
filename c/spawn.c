/* SPDX-License-Identifier: MIT */
/* spawn.c - the caller's side of a plan: make the child, answer it, learn how it went. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "idmap.h"
#include "namespace.h"
#include "spawn.h"

#define STACK_SIZE (128 * 1024)

/*
 * A child that shares our memory costs no copy of the page tables (0.9 ms instead of 4.6 at 200 MB), but what it
 * does to its credentials makes us undumpable, and user, pid and time namespaces need a process of their own.
 */
static int may_share(const struct plan *p)
{
#if defined(__SANITIZE_ADDRESS__) /* its shadow of the child's stack would stay behind */
	(void)p;
	return 0;
#else
	return !p->fork && !p->init && p->uid < 0 && p->gid < 0 && p->ngroups < 0 && !p->keep_caps && !p->context && !p->npersist && !p->tell &&
	       !((p->unshare | p->joined) & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWTIME));
#endif
}

/* Until the child is the program, this thread sleeps.  Returns its pid, or -1 and errno. */
static pid_t start_sharing(struct plan *p, int *pidfd)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;
	int err;

	if (stack == MAP_FAILED)
		return -1;
	pid = clone(spawn_run, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, p, pidfd);
	err = errno;
	munmap(stack, STACK_SIZE);
	errno = err;
	return pid;
}

/* One message of the child; *fd gets what came along.  0: it is through (exec closed its end). */
static int hear(int from, struct report *r, int *fd)
{
	struct iovec v = { r, sizeof(*r) };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*r))
		return 0;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	r->step[SPAWN_STEP - 1] = 0;
	r->detail[SPAWN_DETAIL - 1] = 0;
	return 1;
}

static void reap(int pidfd)
{
	siginfo_t si;

	while (waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &si, WEXITED | __WALL) < 0 && errno == EINTR)
		;
}

static void look_inside(struct plan *p, pid_t pid)
{
	char path[64];
	struct stat st;

	for (int i = 0; nslua_nstypes[i].name; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, nslua_nstypes[i].proc);
		p->inside[i] = stat(path, &st) == 0 ? st.st_ino : 0;
	}
}

static void answer(int to, const struct report *r)
{
	while (send(to, r, sizeof(*r), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* Listen until the program runs or its child is gone.  REPORT_FAIL and REPORT_NOTE are left in p->report. */
static void attend(struct plan *p, int from, struct nslua_process *c, struct nslua_fd *gift)
{
	int named = !spawn_forks(p), asked = 0; /* c->pid is the program's (or its init's); it asks to be looked at */
	struct report r;
	int fd;

	while (hear(from, &r, &fd)) {
		switch (r.type) {
		case REPORT_PID:
			reap(c->fd);
			close(c->fd);
			c->fd = fd;
			c->pid = r.pid;
			fd = -1;
			named = 1;
			break;
		case REPORT_MAP: {
			struct report done = { .type = REPORT_MAP };

			if (nslua_idmap_apply(c->pid, p->uid_map, p->gid_map, p->setgroups, done.detail, sizeof(done.detail)) < 0)
				done.err = errno;
			answer(from, &done);
			break;
		}
		case REPORT_INSIDE:
			asked = 1;
			break;
		case REPORT_BOUND:
			if (r.pid >= 0 && r.pid < p->npersist)
				p->persist[r.pid].bound = 1;
			break;
		case REPORT_FD:
			gift->fd = fd;
			fd = -1;
			break;
		default:
			if (p->report->type != REPORT_FAIL)
				*p->report = r;
		}
		if (fd >= 0)
			close(fd);
		if (asked && named) { /* it may ask before its maker has told of it; with an init it is in the same namespaces */
			look_inside(p, c->pid);
			r.type = REPORT_INSIDE;
			answer(from, &r);
			asked = 0;
		}
	}
}

/* Handles are for errors that Lua raises; what is not needed any more goes at once. */
static void drop(struct nslua_fd *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
}

/* What comes from the keyboard now is the program's: pump.c looks at it, nslua_retake() ends that. */
static void hold_keyboard(struct nslua_process *c, sigset_t *mask)
{
	static const int keys[] = { SIGINT, SIGQUIT };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!sigismember(mask, keys[i])) {
			sigaddset(mask, keys[i]);
			sigaddset(&c->held, keys[i]);
		}
	}
}

/* What the child reports by, unless it is there already; *end gets the child's end. */
static int status_socket(struct nslua_fd *ours, struct nslua_fd *theirs, int *end)
{
	int pair[2];

	if (ours->fd < 0) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			return -1;
		ours->fd = pair[0];
		theirs->fd = pair[1];
	}
	*end = theirs->fd;
	return 0;
}

static int push_failure(lua_State *L, const char *step, int err, const char *detail)
{
	nslua_failen(L, step, err);
	lua_pushstring(L, step);
	lua_pushstring(L, detail);
	return 5;
}

/*
 * process.spawn(plan) -> process, note | nil, note_errno, fd, namespaces
 * The child runs its program when this returns.  On failure: nil, message, errno, step, detail.
 * With plan.fork the child returns false.  With plan.give_view, fd is the program's mount namespace.
 * With plan.tell, namespaces has the inodes by type.
 */
int nslua_spawn(lua_State *L)
{
	struct nslua_process *c;
	struct nslua_fd *parent, *ours, *theirs, *gift;
	struct plan *p;
	sigset_t all, old;
	int err = 0, pidfd = -1;
	pid_t pid;

	lua_settop(L, 1);
	p = nslua_readplan(L, 1);
	parent = nslua_newfd(L);
	ours = nslua_newfd(L);
	theirs = nslua_newfd(L);
	gift = nslua_newfd(L);
	c = nslua_newprocess(L);

	p->parent = getpid();
	parent->fd = (int)syscall(SYS_pidfd_open, p->parent, 0);
	if (parent->fd < 0)
		return push_failure(L, "pidfd", errno, "");
	p->parent_fd = parent->fd;
	p->deathsig = gettid() == p->parent;
	if (!may_share(p) || p->give_view) {
		if (status_socket(ours, theirs, may_share(p) ? &p->gift : &p->status) < 0) {
			err = errno;
			drop(parent);
			return push_failure(L, "status socket", err, "");
		}
	}
	if (p->fork)
		fflush(NULL); /* or what is buffered would be written twice */

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	p->mask = old;
	if (p->status < 0) {
		pid = start_sharing(p, &pidfd);
		/* Linux 6.1 shares no memory where the children's time namespace is another. */
		if (pid < 0 && errno == EINVAL && status_socket(ours, theirs, &p->status) == 0) {
			p->gift = -1;
			pid = spawn_fork(0, &pidfd);
		}
	} else if (p->fork) {
		pid = fork(); /* with glibc's handlers: Lua goes on in the child */
	} else {
		pid = spawn_fork(0, &pidfd);
	}
	if (pid < 0)
		err = errno;
	if (pid == 0) {
		drop(ours);
		spawn_run(p); /* returns for plan->fork only; its kept fds may have taken any number */
		parent->fd = -1;
		theirs->fd = p->status;
		drop(theirs);
		lua_pushboolean(L, 0);
		return 1;
	}
	/* Numbers for two more pidfds, of a forked child and of who goes on in its place: a child that nobody could wait for must not be. */
	drop(theirs);
	drop(parent);
	if (pid > 0) {
		if (p->fork)
			pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		c->fd = pidfd;
		c->pid = pid;
		c->group = p->group && !p->init;
		if (ours->fd >= 0)
			attend(p, ours->fd, c, gift);
	}
	drop(ours);
	if (pid > 0 && p->keyboard && p->report->type != REPORT_FAIL)
		hold_keyboard(c, &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	if (pid < 0)
		return push_failure(L, "fork", err, "");
	if (p->report->type == REPORT_FAIL) {
		nslua_reap(c, 0);
		close(c->fd);
		c->fd = -1;
	}
	if (p->report->type == REPORT_FAIL) {
		spawn_unbind(p);
		return push_failure(L, p->report->step, p->report->err, p->report->detail);
	}
	lua_pushvalue(L, lua_gettop(L));
	if (p->report->type == REPORT_NOTE) {
		lua_pushfstring(L, "%s%s%s", p->report->step, *p->report->detail ? ": " : "", p->report->detail);
		lua_pushinteger(L, p->report->err);
	} else {
		lua_pushnil(L);
		lua_pushnil(L);
	}
	if (gift->fd >= 0)
		lua_pushvalue(L, lua_gettop(L) - 4);
	else
		lua_pushnil(L);
	if (!p->tell)
		return 4;
	lua_createtable(L, 0, PLAN_TYPES);
	for (int i = 0; nslua_nstypes[i].name; i++) {
		if (p->inside[i]) {
			lua_pushinteger(L, (lua_Integer)p->inside[i]);
			lua_setfield(L, -2, nslua_nstypes[i].name);
		}
	}
	return 5;
}

/*
 * process.exec(plan): this process becomes the program; no return.  On failure: nil, message, errno, step, detail; by then the process may
 * have moved.  Threads other than this one end.
 */
int nslua_exec(lua_State *L)
{
	struct sigaction ign = { .sa_handler = SIG_IGN }, old[32];
	struct plan *p;
	jmp_buf back;

	lua_settop(L, 1);
	p = nslua_readplan(L, 1);
	p->parent = getpid();
	p->parent_fd = -1;
	p->back = &back;
	p->in_place = 1;
	pthread_sigmask(SIG_SETMASK, NULL, &p->mask);
	fflush(NULL);
	for (int sig = 1; sig < 32; sig++)
		if (p->ignored & 1L << sig)
			sigaction(sig, &ign, &old[sig]);
	if (setjmp(back) == 0)
		spawn_run(p);
	for (int sig = 1; sig < 32; sig++)
		if (p->ignored & 1L << sig)
			sigaction(sig, &old[sig], NULL);
	return push_failure(L, p->report->step, p->report->err, p->report->detail);
}

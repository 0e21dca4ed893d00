/* SPDX-License-Identifier: MIT */
/*
 * servant.c - how a servant is made: two children of the script make it.  The first, sharing memory (vfork), joins and unshares and clones the
 * second by CLONE_PARENT, so that the servant is the script's own child and the script changes nothing of its own.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "nslua.h"
#include "servant.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define MAKER_STACK (64 * 1024)
#define SERVANT_STACK (64 * 1024)

struct maker {
	const struct nslua_service *service;
	int sock;    /* the servant's end */
	int hostfd;  /* pidfd of the script */
	int deathsig; /* the thread that makes it lives as long as the script */
	char *stack; /* for the servant */
	pid_t pid;
	int pidfd;
	int en;
	const char *step;
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

static int readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) > 0;
}

/* Every signal stays blocked; an init ignores what has no handler anyway. */
static int servant_main(void *arg)
{
	struct maker *m = arg;
	struct sigaction reap = { .sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT };

	if (m->deathsig)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (readable(m->hostfd))
		_exit(0);
	nslua_close_except((unsigned int)m->sock, (unsigned int)m->hostfd);
	setsid(); /* ^C and ^Z of the script's terminal are not for us */
	sigaction(SIGCHLD, &reap, NULL); /* the kernel reaps */
	prctl(PR_SET_NAME, m->service->name);
	prctl(PR_SET_DUMPABLE, 0); /* a copy of the script's memory is nothing for the programs that run beside it */
	if (chdir("/") == 0)
		m->service->main(m->sock, m->hostfd);
	_exit(0);
}

static int maker_main(void *arg)
{
	struct maker *m = arg;
	const struct nslua_service *s = m->service;

	m->step = "join user";
	if (s->userfd >= 0 && setns(s->userfd, CLONE_NEWUSER) < 0)
		goto fail;
	m->step = "join pid";
	if (s->pidfd >= 0 && setns(s->pidfd, CLONE_NEWPID) < 0)
		goto fail;
	m->step = "unshare pid";
	if (s->new_pid && unshare(CLONE_NEWPID) < 0)
		goto fail;
	m->step = "clone";
	m->pid = clone(servant_main, m->stack + SERVANT_STACK, CLONE_PARENT | CLONE_PIDFD, m, &m->pidfd);
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
	char *stacks = mmap(NULL, MAKER_STACK + SERVANT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;

	m->step = "mmap";
	m->en = errno;
	if (stacks == MAP_FAILED)
		return -1;
	m->stack = stacks + MAKER_STACK;
	m->step = "clone";
	m->en = EINTR;
	/* No exit signal, and so none for the servant: nobody else's wait() sees either. */
	pid = nslua_vfork(maker_main, stacks + MAKER_STACK, CLONE_FILES, m, sizeof(struct maker));
	if (pid < 0) {
		m->en = errno;
	} else {
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	munmap(stacks, MAKER_STACK + SERVANT_STACK);
	return m->en ? -1 : 0;
}

void nslua_servant_init(struct nslua_servant *s)
{
	s->pid = s->kept = 0;
	s->pidfd = s->sock = -1;
	s->mine = NULL;
}

int nslua_servant_mine(const struct nslua_servant *s)
{
	return s->mine && *s->mine;
}

static int begin(struct nslua_servant *s, struct maker *m)
{
	int pair[2];

	m->step = "mmap";
	s->mine = mmap(NULL, sizeof(*s->mine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->mine == MAP_FAILED) {
		s->mine = NULL;
		return -1;
	}
	madvise(s->mine, sizeof(*s->mine), MADV_WIPEONFORK);
	*s->mine = 1;
	m->step = "pidfd_open";
	/* Opened before the fork: after it, our pid could already be another process. */
	m->hostfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (m->hostfd < 0)
		return -1;
	m->step = "socketpair";
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	s->sock = pair[0];
	m->sock = pair[1];
	/* PDEATHSIG fires when the *thread* that forked ends. */
	m->deathsig = syscall(SYS_gettid) == getpid();
	if (make(m) < 0) {
		errno = m->en;
		return -1;
	}
	s->pid = m->pid;
	s->pidfd = m->pidfd;
	return 0;
}

int nslua_servant_start(struct nslua_servant *s, const struct nslua_service *service, const char **step)
{
	struct maker m = { .service = service, .sock = -1, .hostfd = -1, .pidfd = -1 };
	sigset_t all, old;
	int rc, en;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = begin(s, &m);
	en = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (m.sock >= 0)
		close(m.sock); /* so that its end reads as EOF */
	if (m.hostfd >= 0)
		close(m.hostfd);
	*step = m.step;
	errno = en;
	return rc;
}

int nslua_servant_alive(const struct nslua_servant *s)
{
	return s->sock >= 0 && nslua_servant_mine(s) && !readable(s->pidfd);
}

/* Wait for a servant that was told to go, for a moment: a keeper's end waits for every process in it, and some may be the script's to reap. */
static int reap(int pidfd, int ms)
{
	struct pollfd p = { pidfd, POLLIN, 0 };
	siginfo_t info;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL);
	return 1;
}

void nslua_servant_forget(struct nslua_servant *s)
{
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->pidfd = -1;
	if (s->mine)
		munmap(s->mine, sizeof(*s->mine));
	s->mine = NULL;
}

int nslua_servant_close(struct nslua_servant *s)
{
	int gone = 1;

	if (s->sock >= 0) {
		if (nslua_servant_mine(s) && !s->kept)
			shutdown(s->sock, SHUT_RDWR); /* reaches it also where a forked child holds a copy of this end */
		close(s->sock);
		s->sock = -1;
	}
	if (s->pidfd >= 0 && nslua_servant_mine(s) && !s->kept)
		gone = reap(s->pidfd, 20);
	if (gone)
		nslua_servant_forget(s);
	return gone;
}

/* SPDX-License-Identifier: MIT */
/* pump.c - bytes between Lua and the pipes of a child, any number on all of them at once, until the child ends. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "spawn.h"

/* write(2) which gives EPIPE without SIGPIPE: the disposition is the host's, so the signal is blocked and eaten. */
static ssize_t write_quiet(int fd, const void *data, size_t size)
{
	sigset_t pipe_only, old, pending;
	struct timespec none = { 0, 0 };
	int had, en;
	ssize_t n;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	had = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	n = write(fd, data, size);
	en = errno;
	if (n < 0 && en == EPIPE && !had)
		sigtimedwait(&pipe_only, NULL, &none);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = en;
	return n;
}

/* process.write(fd, text [, from]) -> count: one write(2) to a pipe, EPIPE as a value. */
int nslua_write(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t len;
	const char *data = luaL_checklstring(L, 2, &len);
	lua_Integer from = luaL_optinteger(L, 3, 1) - 1;
	ssize_t n;

	luaL_argcheck(L, from >= 0 && (size_t)from <= len, 3, "out of range");
	n = write_quiet(fd, data + from, len - (size_t)from);
	if (n < 0)
		return nslua_fail(L, "write");
	lua_pushinteger(L, n);
	return 1;
}

#define CHUNK 65536

/* Push what one read(2) gives: text, false at the end, nil where nothing is there now. */
static void push_chunk(lua_State *L, int fd, char *buf, size_t want)
{
	ssize_t n = read(fd, buf, want);

	if (n > 0)
		lua_pushlstring(L, buf, (size_t)n);
	else if (n < 0 && (errno == EAGAIN || errno == EINTR))
		lua_pushnil(L);
	else /* the end; a pty whose other side is closed gives EIO */
		lua_pushboolean(L, 0);
}

/* Push what is in a pipe or pty now, all of it, without waiting for more: a grandchild may write for ever. */
static void push_rest(lua_State *L, int fd, char *buf)
{
	luaL_Buffer b;
	struct stat st;
	int left = 1 << 20, piped = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);

	if (piped && ioctl(fd, FIONREAD, &left) < 0)
		left = 0;
	luaL_buffinit(L, &b);
	while (left > 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (!piped && (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN)))
			break;
		n = read(fd, buf, left < CHUNK ? (size_t)left : CHUNK);
		if (n <= 0)
			break;
		luaL_addlstring(&b, buf, (size_t)n);
		left -= (int)n;
	}
	luaL_pushresult(&b);
}

static int optional_fd(lua_State *L, int arg)
{
	return lua_toboolean(L, arg) ? nslua_checkfd(L, arg) : -1;
}

#define OUTPUTS 3
#define STOPPED 100

static void nothing(int sig)
{
	(void)sig;
}

static volatile sig_atomic_t meant; /* for us: a signal that somebody sent, not the keyboard */

static void keyboard(int sig, siginfo_t *si, void *context)
{
	(void)context;
	if (si->si_code != SI_KERNEL)
		meant = sig;
}

static void own_keyboard(const struct nslua_process *c, sigset_t *during, struct sigaction *before)
{
	struct sigaction act = { .sa_sigaction = keyboard, .sa_flags = SA_SIGINFO };

	meant = 0;
	for (int sig = SIGINT; sig <= SIGQUIT; sig++) {
		if (sigismember(&c->held, sig)) {
			sigdelset(during, sig);
			sigaction(sig, &act, &before[sig]);
		}
	}
}

/* Handlers are as before, and the mask: a signal that was meant for us takes its course. */
static void give_back(const struct nslua_process *c, const struct sigaction *before)
{
	sigset_t one;

	for (int sig = SIGINT; sig <= SIGQUIT; sig++)
		if (sigismember(&c->held, sig))
			sigaction(sig, &before[sig], NULL);
	if (!meant)
		return;
	sigemptyset(&one);
	sigaddset(&one, meant);
	raise(meant);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
}

/*
 * ppoll(2) that is also ended by a stop of the child: a pidfd does not tell of it, SIGCHLD does.  It is blocked but
 * for the wait itself, so that none is missed between the look and the wait.  So are the signals of the keyboard.
 */
static int wait_stops(struct nslua_process *c, struct pollfd *p, nfds_t n, const struct timespec *ts)
{
	struct sigaction act = { .sa_handler = nothing }, before, keys[SIGQUIT + 1];
	sigset_t child, old, during;
	siginfo_t si;
	int rc, err;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &child, &old);
	during = old;
	sigdelset(&during, SIGCHLD);
	sigaction(SIGCHLD, NULL, &before);
	if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) /* a handler of the program's ends the wait as well */
		sigaction(SIGCHLD, &act, NULL);
	own_keyboard(c, &during, keys);
	si.si_pid = 0;
	if (waitid((idtype_t)3 /* P_PIDFD */, (id_t)c->fd, &si, WSTOPPED | WNOHANG) == 0 && si.si_pid)
		rc = STOPPED;
	else
		rc = ppoll(p, n, ts, &during);
	err = errno;
	sigaction(SIGCHLD, &before, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	give_back(c, keys);
	errno = err;
	return rc;
}

static struct timespec *time_left(const struct timespec *end, struct timespec *left)
{
	clock_gettime(CLOCK_MONOTONIC, left);
	left->tv_sec = end->tv_sec - left->tv_sec;
	left->tv_nsec = end->tv_nsec - left->tv_nsec;
	while (left->tv_nsec < 0) {
		left->tv_nsec += 1000000000;
		left->tv_sec--;
	}
	while (left->tv_nsec >= 1000000000) {
		left->tv_nsec -= 1000000000;
		left->tv_sec++;
	}
	if (left->tv_sec < 0)
		left->tv_sec = left->tv_nsec = 0;
	return left;
}

/* A program that ends closes its outputs one by one first: not worth a turn of Lua each. */
static int only_ends(struct pollfd *p)
{
	if (p[0].revents || p[1].revents)
		return 0;
	for (int i = 2; i < 2 + OUTPUTS; i++)
		if (p[i].revents & POLLIN)
			return 0;
	for (int i = 2; i < 2 + OUTPUTS; i++)
		if (p[i].revents)
			p[i].fd = -1;
	return 1;
}

/*
 * process.pump(child, stdin, text, from, stdout, stderr, result [, seconds [, stops]]) -> what, written, out, err, result
 * Waits once for whichever comes first: the end of the child, output, or room for input; with `stops` also its stop.
 * what: "more", "ended", "stopped", "timeout", or "interrupted" (a signal handler ran: Lua must get its turn).
 * written: bytes of text taken, or false where nobody reads any more.  out, err: text, false at the end, or nil.
 * "ended" comes with the output that was in the pipes at that moment; a grandchild may hold them open for ever.
 */
int nslua_pump(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);
	int in = optional_fd(L, 2), fds[OUTPUTS];
	size_t len = 0;
	const char *text = lua_isnoneornil(L, 3) ? NULL : luaL_checklstring(L, 3, &len);
	lua_Integer from = luaL_optinteger(L, 4, 1) - 1;
	double seconds = luaL_optnumber(L, 8, -1);
	struct pollfd p[2 + OUTPUTS];
	struct timespec ts, end, *left;
	char buf[CHUNK];
	int rc, ended;

	luaL_argcheck(L, c->fd >= 0, 1, "closed");
	luaL_argcheck(L, from >= 0 && (size_t)from <= len, 4, "out of range");
	p[0] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = in, .events = POLLOUT };
	for (int i = 0; i < OUTPUTS; i++) {
		fds[i] = optional_fd(L, 5 + i);
		p[2 + i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	}
	if (seconds >= 0 && seconds < 1e9) {
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += (time_t)seconds;
		end.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	} else {
		seconds = -1;
	}
	do {
		left = seconds < 0 ? NULL : time_left(&end, &ts);
		rc = lua_toboolean(L, 9) ? wait_stops(c, p, 2 + OUTPUTS, left) : ppoll(p, 2 + OUTPUTS, left, NULL);
	} while (rc > 0 && rc != STOPPED && only_ends(p));
	if (rc < 0 && errno != EINTR)
		return nslua_fail(L, "poll");
	if (rc <= 0 || rc == STOPPED) {
		lua_pushstring(L, rc == STOPPED ? "stopped" : rc ? "interrupted" : "timeout");
		return 1;
	}
	ended = p[0].revents != 0;
	lua_pushstring(L, ended ? "ended" : "more");
	if (p[1].revents && text) {
		ssize_t n = write_quiet(in, text + from, len - (size_t)from);

		if (n >= 0)
			lua_pushinteger(L, n);
		else if (errno == EAGAIN || errno == EINTR)
			lua_pushinteger(L, 0);
		else
			lua_pushboolean(L, 0);
	} else {
		lua_pushinteger(L, 0);
	}
	for (int i = 0; i < OUTPUTS; i++) {
		int ready = p[2 + i].revents;

		if (fds[i] >= 0 && p[2 + i].fd < 0) {
			lua_pushboolean(L, 0);
		} else if (fds[i] < 0 || (!ready && !ended)) {
			lua_pushnil(L);
		} else if (!ended) {
			push_chunk(L, fds[i], buf, sizeof(buf));
		} else {
			push_rest(L, fds[i], buf);
		}
	}
	return 2 + OUTPUTS;
}

/* SPDX-License-Identifier: MIT */
/* pty.c - pseudo-terminals, and who has the terminal. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "spawn.h"

/* Rows or columns: struct winsize has 16 bits for each. */
static unsigned short side(lua_State *L, int arg, lua_Integer absent)
{
	lua_Integer n = luaL_optinteger(L, arg, absent);

	luaL_argcheck(L, n >= 0 && n <= USHRT_MAX, arg, "0 to 65535 expected");
	return (unsigned short)n;
}

/* process.pty([rows, columns]) -> master, slave: both fd handles.  The slave is opened by the master, not by a path. */
int nslua_pty(lua_State *L)
{
	struct winsize w = { .ws_row = side(L, 1, 24), .ws_col = side(L, 2, 80) };
	struct nslua_fd *master = nslua_newfd(L), *slave = nslua_newfd(L);

	master->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master->fd < 0)
		return nslua_fail(L, "pty");
	if (grantpt(master->fd) < 0 || unlockpt(master->fd) < 0)
		return nslua_fail(L, "pty");
	slave->fd = ioctl(master->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave->fd < 0)
		return nslua_fail(L, "pty");
	ioctl(master->fd, TIOCSWINSZ, &w);
	return 2;
}

/* process.winsize(fd [, rows, columns]) -> rows, columns. */
int nslua_winsize(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	struct winsize w = { 0 };

	if (!lua_isnoneornil(L, 2)) {
		w.ws_row = side(L, 2, -1);
		w.ws_col = side(L, 3, -1);
		if (ioctl(fd, TIOCSWINSZ, &w) < 0)
			return nslua_fail(L, "TIOCSWINSZ");
	}
	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		return nslua_fail(L, "TIOCGWINSZ");
	lua_pushinteger(L, w.ws_row);
	lua_pushinteger(L, w.ws_col);
	return 2;
}

/*
 * process.foreground(fd [, group]) -> whether our process group has that terminal.
 * With a group (true: our own) it gets the terminal first; from the background that is allowed with SIGTTOU blocked.
 */
int nslua_foreground(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);

	if (lua_toboolean(L, 2)) {
		pid_t group = lua_isboolean(L, 2) ? getpgrp() : (pid_t)luaL_checkinteger(L, 2);
		sigset_t ttou, old;
		int rc, err;

		sigemptyset(&ttou);
		sigaddset(&ttou, SIGTTOU);
		pthread_sigmask(SIG_BLOCK, &ttou, &old);
		rc = tcsetpgrp(fd, group);
		err = errno;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (rc < 0)
			return nslua_failen(L, "tcsetpgrp", err);
	}
	lua_pushboolean(L, isatty(fd) && tcgetpgrp(fd) == getpgrp());
	return 1;
}

static int is_gone(pid_t group)
{
	return group > 0 && kill(-group, 0) < 0 && errno == ESRCH;
}

/* What the keyboard sent is dropped, and what somebody else sent takes its course. */
static void unhold(struct nslua_process *c)
{
	const struct timespec none = { 0, 0 };
	siginfo_t si;
	int sig;

	while ((sig = sigtimedwait(&c->held, &si, &none)) > 0 || errno == EINTR)
		if (sig > 0 && si.si_code != SI_KERNEL) {
			raise(sig);
			break;
		}
	pthread_sigmask(SIG_UNBLOCK, &c->held, NULL);
	sigemptyset(&c->held);
}

/*
 * process.retake(process [, fd]) -> true: the program has ended, and the keyboard is ours again.  The terminal too, where the program's group
 * still has it, or one that is gone: a shell in another pid namespace cannot give it back.  Somebody else may have it: the shell above.
 */
int nslua_retake(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);
	int fd = lua_isnoneornil(L, 2) ? -1 : nslua_checkfd(L, 2);
	pid_t group = fd < 0 ? -1 : tcgetpgrp(fd);

	if (group > 0 && group != getpgrp() && (group == c->pid || is_gone(group))) {
		sigset_t ttou, old;

		sigemptyset(&ttou);
		sigaddset(&ttou, SIGTTOU);
		pthread_sigmask(SIG_BLOCK, &ttou, &old);
		tcsetpgrp(fd, getpgrp());
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (sigismember(&c->held, SIGINT) || sigismember(&c->held, SIGQUIT))
		unhold(c);
	lua_pushboolean(L, 1);
	return 1;
}

/* process.stop(): stop this process until somebody continues it; a session leader has nobody who would. */
int nslua_stop(lua_State *L)
{
	if (getsid(0) != getpid())
		raise(SIGSTOP);
	lua_pushboolean(L, 1);
	return 1;
}

/* The program's session, group and terminal.  All signals are blocked, so SIGTTOU does not stop tcsetpgrp(3). */
void spawn_terminal(struct plan *p)
{
	if (p->pty >= 0) {
		if (setsid() < 0 || ioctl(p->pty, TIOCSCTTY, 0) < 0)
			spawn_die(p, "pty", errno, NULL);
		return;
	}
	if ((p->group || (p->init && !p->keyboard)) && setpgid(0, 0) < 0)
		spawn_die(p, "process group", errno, NULL);
	if (p->foreground >= 0 && tcsetpgrp(p->foreground, getpgrp()) < 0)
		spawn_die(p, "terminal", errno, NULL);
}

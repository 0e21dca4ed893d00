/* SPDX-License-Identifier: MIT */
/* process.c - a child of ours as a handle: its pidfd, its end, signals; and the pump between it and Lua. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "spawn.h"

#define P_PIDFD_ 3 /* linux/wait.h; glibc has it as an enum of sys/wait.h since 2.36 only */

struct nslua_process *nslua_newprocess(lua_State *L)
{
	struct nslua_process *c = lua_newuserdatauv(L, sizeof(*c), 0);

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->maker = getpid();
	sigemptyset(&c->held);
	luaL_setmetatable(L, NSLUA_PROCESS);
	return c;
}

/* The exit code of a process that somebody else reaped (Linux 6.15, PIDFD_GET_INFO with PIDFD_INFO_EXIT). */
static void ask_exit(struct nslua_process *c)
{
	struct {
		uint64_t mask, cgroupid;
		uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
		int32_t exit_code;
	} info = { .mask = 1 << 3 };

	if (ioctl(c->fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64), &info) < 0 || !(info.mask & (1 << 3)))
		return;
	c->code = WIFEXITED(info.exit_code) ? CLD_EXITED : CLD_KILLED;
	c->status = WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : WTERMSIG(info.exit_code);
}

/* 1: it has ended and is reaped; 0: it runs; -1 and errno.  Options: WNOHANG. */
int nslua_reap(struct nslua_process *c, int options)
{
	siginfo_t si;
	int rc;

	if (c->done)
		return 1;
	si.si_pid = 0;
	do /* who waits here has ended it: a signal must not leave a zombie */
		rc = waitid((idtype_t)P_PIDFD_, (id_t)c->fd, &si, WEXITED | __WALL | options);
	while (rc < 0 && errno == EINTR);
	if (rc == 0) {
		if (!si.si_pid)
			return 0;
		c->code = si.si_code;
		c->status = si.si_status;
		c->done = 1;
		return 1;
	}
	if (errno != ECHILD)
		return -1;
	/* The host ignores SIGCHLD or reaps what it does not know: the end is known by the pidfd alone. */
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	if (poll(&p, 1, options & WNOHANG ? 0 : -1) <= 0)
		return 0;
	c->code = 0;
	ask_exit(c);
	c->done = 1;
	return 1;
}

static struct nslua_process *self(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	luaL_argcheck(L, c->fd >= 0, 1, "attempt to use a closed process");
	return c;
}

static int process_pid(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	lua_pushinteger(L, c->pid);
	return 1;
}

static int process_fd(lua_State *L)
{
	lua_pushinteger(L, self(L)->fd);
	return 1;
}

static int push_end(lua_State *L, struct nslua_process *c)
{
	if (c->code == CLD_EXITED)
		lua_pushliteral(L, "exited");
	else if (c->code == CLD_KILLED || c->code == CLD_DUMPED)
		lua_pushliteral(L, "killed");
	else
		lua_pushliteral(L, "lost"); /* reaped by somebody else, on a kernel that does not tell */
	lua_pushinteger(L, c->status);
	return 2;
}

/* process:reap() -> false while it runs, else "exited", status | "killed", signal | "lost", 0. */
static int process_reap(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);
	int rc;

	if (!c->done)
		self(L);
	rc = nslua_reap(c, WNOHANG);
	if (rc < 0)
		return nslua_fail(L, "waitid");
	if (!rc) {
		lua_pushboolean(L, 0);
		return 1;
	}
	return push_end(L, c);
}

/* process:kill(signal [, group]) -> true, or false where it has ended.  By pidfd: never another process. */
static int process_kill(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);
	int sig = (int)luaL_checkinteger(L, 2);
	int rc;

	/* After the leader is reaped its number may be somebody else's; a forked copy of the script owns nothing. */
	if (c->done || c->fd < 0 || c->maker != getpid()) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (lua_toboolean(L, 3) && c->group)
		rc = kill(-c->pid, sig);
	else
		rc = (int)syscall(SYS_pidfd_send_signal, c->fd, sig, NULL, 0);
	if (rc < 0 && errno == ESRCH) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (rc < 0)
		return nslua_fail(L, "kill");
	lua_pushboolean(L, 1);
	return 1;
}

/* process:mine() -> whether this Lua process made it (a forked copy did not), and has not closed it. */
static int process_mine(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	lua_pushboolean(L, c->fd >= 0 && c->maker == getpid());
	return 1;
}

/* process:close() -> true.  Drops the pidfd, and the zombie where there is one; never signals. */
static int process_close(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	if (c->fd >= 0) {
		if (c->maker == getpid())
			nslua_reap(c, WNOHANG);
		close(c->fd);
		c->fd = -1;
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* process:keep(): from now on somebody looks after it. */
static int process_keep(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	c->kept = 1;
	return 0;
}

/* An error between the start of a process and process:keep() (a signal may raise one anywhere) must not leave it. */
static int process_gc(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	if (c->fd >= 0 && !c->kept && !c->done && c->maker == getpid()) {
		if (c->group)
			kill(-c->pid, SIGKILL);
		else
			syscall(SYS_pidfd_send_signal, c->fd, SIGKILL, NULL, 0);
		nslua_reap(c, 0);
	}
	return process_close(L);
}

static int process_tostring(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);

	lua_pushfstring(L, "process (%d)", (int)c->pid);
	return 1;
}

/* process.fileno(file) -> the number of a Lua file (flushed first), an fd handle or an integer that is open. */
static int core_fileno(lua_State *L)
{
	int fd;

	if (luaL_testudata(L, 1, LUA_FILEHANDLE)) {
#if LUA_VERSION_NUM >= 502
		luaL_Stream *s = lua_touserdata(L, 1);
		FILE *f = s->closef ? s->f : NULL;
#else
		FILE *f = *(FILE **)lua_touserdata(L, 1);
#endif

		luaL_argcheck(L, f, 1, "attempt to use a closed file");
		fflush(f);
		fd = fileno(f);
	} else {
		fd = nslua_checkfd(L, 1);
	}
	if (fcntl(fd, F_GETFD) < 0) {
		lua_pushfstring(L, "fd %d", fd);
		return nslua_fail(L, lua_tostring(L, -1));
	}
	lua_pushinteger(L, fd);
	return 1;
}

/* process.exit(status): leave a copy of the script (ns.fork) without its finalisers; what it printed is written. */
static int core_exit(lua_State *L)
{
	fflush(NULL);
	_exit((int)luaL_checkinteger(L, 1));
}

static void end_failed(void)
{
	fflush(NULL);
	_exit(EXIT_FAILURE);
}

/* process.fail(): when the program exits, its status is 1. */
static int core_fail(lua_State *L)
{
	static int known;

	(void)L;
	if (!known)
		known = atexit(end_failed) == 0;
	return 0;
}

static const luaL_Reg process_methods[] = {
	{ "pid", process_pid },   { "pollfd", process_fd }, { "reap", process_reap }, { "kill", process_kill },
	{ "mine", process_mine }, { "close", process_close }, { "keep", process_keep },
	{ NULL, NULL },
};
static const luaL_Reg process_meta[] = {
	{ "__gc", process_gc }, { "__tostring", process_tostring }, { NULL, NULL },
};
static const luaL_Reg process_functions[] = {
	{ "spawn", nslua_spawn }, { "exec", nslua_exec }, { "forward", nslua_forward }, { "write", nslua_write }, { "fileno", core_fileno }, { "pump", nslua_pump }, { "pty", nslua_pty }, { "winsize", nslua_winsize }, { "foreground", nslua_foreground },
	{ "retake", nslua_retake }, { "hold", nslua_defer },   { "release", nslua_undefer },
	{ "stop", nslua_stop }, { "exit", core_exit }, { "fail", core_fail }, { "detach", nslua_detach }, { NULL, NULL },
};

/* signal(7); the numbers are this architecture's. */
static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT }, { "ILL", SIGILL },     { "TRAP", SIGTRAP },
	{ "ABRT", SIGABRT }, { "BUS", SIGBUS },   { "FPE", SIGFPE },   { "KILL", SIGKILL },   { "USR1", SIGUSR1 },
	{ "SEGV", SIGSEGV }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },   { "TERM", SIGTERM },
	{ "CHLD", SIGCHLD }, { "CONT", SIGCONT }, { "STOP", SIGSTOP }, { "TSTP", SIGTSTP },   { "TTIN", SIGTTIN },
	{ "TTOU", SIGTTOU }, { "URG", SIGURG },   { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },   { "VTALRM", SIGVTALRM },
	{ "PROF", SIGPROF }, { "WINCH", SIGWINCH }, { "IO", SIGIO },   { "PWR", SIGPWR },     { "SYS", SIGSYS },
};

int nslua_open_process(lua_State *L)
{
	nslua_newclass(L, NSLUA_PROCESS, process_methods, process_meta);
	luaL_newlib(L, process_functions);
	lua_newtable(L);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		lua_pushinteger(L, signals[i].number);
		lua_setfield(L, -2, signals[i].name);
	}
	lua_setfield(L, -2, "signals");
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* forward.c - wait for a child and pass signals on to it meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "spawn.h"

static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };

static int in_mask(const char *status, const char *name, int sig)
{
	const char *line = strstr(status, name);

	return line && (strtoull(line + strlen(name), NULL, 16) >> (sig - 1) & 1);
}

/* The kernel drops what pid 1 of a pid namespace has no handler for, though to any other process it would be the end. */
static int dropped(pid_t pid, int sig)
{
	char path[48], status[4096];
	ssize_t n;
	int fd;

	if (sig == SIGWINCH || sig == SIGCONT)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, status, sizeof(status) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	status[n] = 0;
	return !in_mask(status, "\nSigIgn:", sig) && !in_mask(status, "\nSigCgt:", sig) && !in_mask(status, "\nSigBlk:", sig);
}

/*
 * process.forward(process, first, seconds) -> true when it has ended, false when the seconds are over; and the signal that it was killed in
 * the name of, where it was pid 1 of a namespace (`first`) and deaf to it.  The signals are blocked in this thread meanwhile.
 */
int nslua_forward(lua_State *L)
{
	struct nslua_process *c = luaL_checkudata(L, 1, NSLUA_PROCESS);
	int first = lua_toboolean(L, 2), as = 0, rc, en;
	double seconds = luaL_optnumber(L, 3, -1);
	struct pollfd f[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct timespec end, now;
	sigset_t set, old;

	luaL_argcheck(L, c->fd >= 0, 1, "the process is closed");
	clock_gettime(CLOCK_MONOTONIC, &end);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&set, forwarded[i]);
	f[0].fd = c->fd;
	f[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (f[1].fd < 0)
		return nslua_fail(L, "signalfd");
	pthread_sigmask(SIG_BLOCK, &set, &old);
	for (;;) {
		struct signalfd_siginfo si;
		int left = -1;

		if (seconds >= 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			left = (int)((seconds - (double)(now.tv_sec - end.tv_sec) - (double)(now.tv_nsec - end.tv_nsec) / 1e9) * 1000);
			left = left < 0 ? 0 : left;
		}
		rc = poll(f, 2, left);
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0 || f[0].revents)
			break;
		while (read(f[1].fd, &si, sizeof(si)) == sizeof(si)) {
			int sig = (int)si.ssi_signo;

			if (first && dropped(c->pid, sig)) {
				as = sig;
				sig = SIGKILL;
			} else if ((si.ssi_code == SI_KERNEL || sig == SIGCONT) && getpgid(c->pid) == getpgrp()) {
				continue; /* of the terminal, or its shell's to go on: the program in our group has got it as well */
			}
			syscall(SYS_pidfd_send_signal, c->fd, sig, NULL, 0);
		}
	}
	en = errno;
	close(f[1].fd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc < 0)
		return nslua_failen(L, "poll", en);
	lua_pushboolean(L, rc > 0);
	if (as)
		lua_pushinteger(L, as);
	else
		lua_pushnil(L);
	return 2;
}

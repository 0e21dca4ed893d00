/* SPDX-License-Identifier: MIT */
/* init.c - pid 1 of a new pid namespace: reaps, passes signals on to the program, ends with its status. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "spawn.h"

static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };

/* Every fd goes, or a pipe's reader would wait for pid 1 and the status socket never end. */
static void close_but(unsigned int keep)
{
	if ((keep == 0 || syscall(SYS_close_range, 0U, keep - 1, 0) == 0) &&
	    syscall(SYS_close_range, keep + 1, ~0U, 0) == 0)
		return;
	for (int fd = 0; fd < 65536; fd++)
		if (fd != (int)keep)
			close(fd);
}

void spawn_init(struct plan *p, pid_t child)
{
	struct pollfd wait[2] = { { .events = POLLIN }, { .events = POLLIN } };
	sigset_t wanted;

	close_but((unsigned int)p->parent_fd);
	prctl(PR_SET_NAME, "init");
	if (chdir("/") < 0) /* hold no directory of the caller */
		_exit(127);
	/* Everything is blocked, so nothing is lost between two waits, and no terminal stops pid 1. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&wanted, forwarded[i]);
	wait[0].fd = signalfd(-1, &wanted, SFD_CLOEXEC);
	wait[1].fd = p->parent_fd;
	if (wait[0].fd < 0)
		_exit(127);
	for (;;) {
		struct signalfd_siginfo si;
		int status;
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
			if (pid == child) /* the kernel ends everybody else with us */
				_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			_exit(127);
		if (wait[1].revents) /* the script is gone, whichever thread had started us */
			_exit(128 + SIGKILL);
		if (wait[0].revents && read(wait[0].fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo != SIGCHLD &&
		    /* what the terminal sends, and its shell to go on, the program in our group has got as well */
		    !(p->keyboard && (si.ssi_code == SI_KERNEL || si.ssi_signo == SIGCONT)))
			kill(child, (int)si.ssi_signo);
	}
}

/* SPDX-License-Identifier: MIT */
/* finish.c - how the host's process ends once the state is closed: stdout, exit status, signal. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "host.h"

_Noreturn void host_default_action(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(128 + sig); /* pid 1 of a pid namespace does not die of its own signals */
}

int host_stdout_is_broken(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

static int death; /* the signal to die of in the end, as a program did that this one stood for */

/* host.die_of(signal): when all is closed the program dies of that signal instead of exiting; no second core is written. */
int host_die_of(lua_State *L)
{
	death = (int)luaL_checkinteger(L, 1);
	return 0;
}

/* All is closed: exit, or die of the signal that came or that the program stood for. */
_Noreturn void host_end(int status)
{
	errno = EIO; /* what an earlier write failed with is not kept */
	if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE && !host_stdout_is_broken()) {
		fprintf(stderr, "nslua: stdout: %s\n", strerror(errno));
		status = status ? status : EXIT_FAILURE;
	}
	if (host_interrupt_pending())
		host_default_action(host_interrupt_pending());
	if (death) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		host_default_action(death);
	}
	exit(status);
}

/* SPDX-License-Identifier: MIT */
/* stdio.c - the fds of the program: 0, 1, 2 and those the plan names, nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/close_range.h>
#include "spawn.h"

static void die(struct plan *p)
{
	spawn_die(p, "stdio", errno, NULL);
}

static void close_between(unsigned int first, unsigned int last)
{
	if (first > last || syscall(SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	/* Before Linux 5.11, or a filter that does not know it. */
	for (unsigned int fd = first; fd <= last && fd < 65536; fd++)
		fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

/* Everything but the kept numbers closes on exec; not at once, for the status socket must tell of a failed exec. */
static void close_rest(struct plan *p)
{
	unsigned int from = 3;

	for (;;) {
		unsigned int next = ~0U; /* the smallest kept number that is not below `from` */

		for (int i = 0; i < p->nkeep; i++)
			if ((unsigned int)p->keep[i].as >= from && (unsigned int)p->keep[i].as < next)
				next = (unsigned int)p->keep[i].as;
		close_between(from, next - 1);
		if (next == ~0U)
			return;
		from = next + 1;
	}
}

/* Where a source could be overwritten by somebody's target, it moves above them all first. */
static int lift(struct plan *p, int fd, int above)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, above);

	if (up < 0)
		die(p);
	return up;
}

static void place(struct plan *p, int from, int to)
{
	if (from == to ? fcntl(to, F_SETFD, 0) < 0 : dup3(from, to, 0) < 0)
		die(p);
}

void spawn_stdio(struct plan *p)
{
	int above = 3, source[3], null = -1;

	for (int i = 0; i < p->nkeep; i++)
		if (p->keep[i].as >= above)
			above = p->keep[i].as + 1;
	if (p->status >= 0 && p->status < above) {
		int old = p->status;

		p->status = lift(p, old, above);
		close(old); /* one end only: the maker listens until it is closed */
	}
	for (int i = 0; i < 3; i++) {
		source[i] = p->pty >= 0 ? p->pty : p->stdio[i] == STDIO_FD ? p->stdio_fd[i] : i;
		/* The caller started with it closed, and some handle of ours may have the number now: such close on exec. */
		if (source[i] == i && fcntl(i, F_GETFD) != 0) {
			null = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (null < 0)
				die(p);
			source[i] = lift(p, null, above);
			close(null);
		} else if (source[i] != i && source[i] < above) {
			source[i] = lift(p, source[i], above);
		}
	}
	for (int i = 0; i < p->nkeep; i++)
		if (p->keep[i].fd != p->keep[i].as && p->keep[i].fd < above)
			p->keep[i].fd = lift(p, p->keep[i].fd, above);
	if (p->stdio[2] == STDIO_OUT && p->pty < 0)
		source[2] = source[1];
	for (int i = 0; i < 3; i++)
		place(p, source[i], i);
	for (int i = 0; i < p->nkeep; i++)
		place(p, p->keep[i].fd, p->keep[i].as);
	if (!p->fork && !p->inherit)
		close_rest(p);
}

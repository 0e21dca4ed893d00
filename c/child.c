/* SPDX-License-Identifier: MIT */
/*
 * child.c - what a new child does until it is the program: join, unshare, view, credentials, fds, exec.
 * On the vfork path the memory is still the caller's, and on the other it may be a copy made while other threads
 * held locks: system calls only, no malloc, no stdio, no return to Lua (but for ns.fork, which is single-threaded).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "spawn.h"

static void die(struct plan *p, const char *step)
{
	spawn_die(p, step, errno, NULL);
}

/* Handlers are the caller's code: to default before anything is unblocked.  Ignored stays ignored (nohup; `program &` of
 * a script), but for SIGCHLD, which breaks wait(2) in programs, and SIGPIPE, which hosts ignore for themselves. */
static void step_signals(const struct plan *p)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, ign = { .sa_handler = SIG_IGN }, now;

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		if (sig < 32 && sig != SIGPIPE && (p->ignored & 1L << sig)) {
			sigaction(sig, &ign, NULL);
			continue;
		}
		if (sigaction(sig, NULL, &now) < 0)
			continue;
		if (now.sa_handler == SIG_DFL)
			continue;
		if (now.sa_handler == SIG_IGN && sig != SIGCHLD && sig != SIGPIPE)
			continue;
		sigaction(sig, &dfl, NULL);
	}
}

/* End with the caller, also if it ended before this line.  fork and credentials clear it: called again after them. */
void spawn_parent_death(struct plan *p)
{
	struct pollfd f = { .fd = p->parent_fd, .events = POLLIN };

	if (p->in_place)
		return;
	if (p->deathsig)
		prctl(PR_SET_PDEATHSIG, p->death_signal);
	if (poll(&f, 1, 0) > 0)
		_exit(127);
}

/* The caller keeps the mount namespace that was made for the next program. */
static void give_view(struct plan *p)
{
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* it will be made again */
	spawn_say(p, REPORT_FD, "view", 0, NULL, 0, fd);
	close(fd);
}

/* Paths of cgroups are of the caller's view, and a new cgroup namespace has its root where the process is: first of all. */
static void step_cgroup(struct plan *p)
{
	for (int i = 0; i < p->ncgroup; i++) {
		if (write(p->cgroup[i], "0", 1) < 0)
			die(p, "cgroup");
		if (!p->in_place) /* the caller's own, else: they close on exec */
			close(p->cgroup[i]);
	}
}

/* A pid namespace can be bound once somebody is in it, who waits until that is done. */
static void bind_pid(struct plan *p, int go)
{
	spawn_ask(p, &p->binder, REPORT_BIND, CLONE_NEWPID, "persist");
	if (write(go, "", 1) < 0)
		die(p, "persist");
	spawn_dismiss(&p->binder);
}

static void await_go(struct plan *p, int go[2])
{
	char byte;

	close(p->binder.to);
	p->binder.pid = 0; /* not this process's to wait for */
	close(go[1]);
	if (read(go[0], &byte, 1) != 1)
		_exit(127); /* what was wrong has been said */
	close(go[0]);
}

/* Whether the program is not the maker's first child but one of that: the first in a pid or time namespace, or below an init. */
int spawn_forks(const struct plan *p)
{
	return !p->in_place && (((p->unshare | p->joined) & CLONE_NEWPID) || (p->unshare & CLONE_NEWTIME) || p->init);
}

/* A process of ours inside the pid (and time) namespace: our maker's own child, so that it can be waited for. */
static void step_fork(struct plan *p, int bind_later)
{
	int pidfd = -1, go[2];
	pid_t pid;

	if (!spawn_forks(p))
		return;
	if (bind_later && pipe2(go, O_CLOEXEC) < 0)
		die(p, "persist");
	pid = spawn_fork(CLONE_PARENT, &pidfd);
	if (pid < 0)
		die(p, "fork");
	if (pid) {
		spawn_say(p, REPORT_PID, "fork", 0, NULL, pid, pidfd);
		if (bind_later)
			bind_pid(p, go[1]);
		_exit(0);
	}
	if (bind_later)
		await_go(p, go);
	spawn_parent_death(p);
	if (!p->init)
		return;
	pid = spawn_fork(0, NULL);
	if (pid < 0)
		die(p, "fork");
	if (pid)
		spawn_init(p, pid);
}

/* The program may have ended before the caller could look. */
static void tell_inside(struct plan *p)
{
	struct report r;

	spawn_say(p, REPORT_INSIDE, "inside", 0, NULL, 0, -1);
	while (recv(p->status, &r, sizeof(r), 0) < 0 && errno == EINTR)
		;
}

static void step_exec(struct plan *p) __attribute__((noreturn));
static void step_exec(struct plan *p)
{
	int err = ENOENT;
	const char *detail = NULL;

	for (char **path = p->paths; *path; path++) {
		execve(*path, p->argv, p->envp);
		if (errno == ENOEXEC) { /* a script without #!: as execvp(3) does */
			p->argv[-1] = (char *)(uintptr_t)"/bin/sh";
			p->argv[0] = *path;
			execve("/bin/sh", p->argv - 1, p->envp);
			spawn_die(p, "exec", ENOEXEC, *path);
		}
		if (errno == EACCES) {
			/* Said if nothing better comes; but a folder of PATH that cannot be searched only hides what is not there. */
			if (!p->paths[1] || access(*path, F_OK) == 0) {
				err = EACCES;
				detail = *path;
			}
		} else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT) {
			err = errno;
			detail = *path;
			break;
		} else if (!p->paths[1]) {
			err = errno;
		}
	}
	for (char **path = p->paths; err == ENOENT && !detail && *path; path++)
		if (access(*path, F_OK) == 0) /* there, but what it starts with is not */
			detail = *path;
	spawn_die(p, "exec", err, detail);
}

/* The network namespace's /sys and /etc. */
static void step_view(struct plan *p)
{
	if (p->sys)
		spawn_sys(p);
	if (p->etc)
		spawn_etc(p);
	if (p->nfiles)
		spawn_files(p);
}

int spawn_run(void *plan)
{
	struct plan *p = plan;
	int moved = p->joined & CLONE_NEWNS, bind_later = 0;
	/* The /proc of a joined mount namespace knows this process once it is in the pid namespace joined with it. */
	int inside_view = moved && (p->joined & CLONE_NEWPID);

	if (!p->in_place) /* exec itself sets handlers to default, and what was ignored before us stays so */
		step_signals(p);
	spawn_parent_death(p);
	step_cgroup(p);
	spawn_take_trees(p);
	if (p->npersist)
		spawn_leave(p, &p->binder, "persist");
	spawn_join(p);
	spawn_unshare(p);
	if (p->npersist) {
		spawn_ask(p, &p->binder, REPORT_BIND, ~CLONE_NEWPID, "persist");
		for (int i = 0; i < p->npersist; i++)
			bind_later |= p->persist[i].type == CLONE_NEWPID;
		if (!bind_later)
			spawn_dismiss(&p->binder);
	}
	if (p->unshare & CLONE_NEWNS)
		spawn_propagation(p);
	if (!inside_view)
		step_view(p);
	if (p->give_view)
		give_view(p);
	if (p->hostname && sethostname(p->hostname, strlen(p->hostname)) < 0)
		die(p, "hostname");
	step_fork(p, bind_later);
	if (inside_view)
		step_view(p);
	spawn_mounts(p);
	spawn_proc(p);
	spawn_binfmt(p);
	spawn_root(p);
	spawn_cwd(p, moved);
	spawn_terminal(p);
	spawn_credentials(p);
	spawn_parent_death(p);
	if (p->tell)
		tell_inside(p);
	if (p->fork) { /* no exec closes it, and the plan may ask for its number */
		close(p->parent_fd);
		p->parent_fd = -1;
	}
	spawn_stdio(p);
	nslua_limits_restore();
	sigprocmask(SIG_SETMASK, &p->mask, NULL);
	if (p->fork)
		return 0;
	step_exec(p);
}

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
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/sched.h>
#include <unistd.h>
#include "idmap.h"
#include "spawn.h"

static void die(struct plan *p, const char *step)
{
	spawn_die(p, step, errno, NULL);
}

/* clone3(2) without a stack of its own, or clone(2) where a filter does not know it: returns twice. */
pid_t spawn_fork(unsigned long flags, int *pidfd)
{
	struct clone_args a = {
		.flags = flags | (pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* with CLONE_PARENT it is inherited */
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));

	if (pid < 0 && (errno == ENOSYS || errno == EPERM)) {
		flags |= SIGCHLD | (pidfd ? CLONE_PIDFD : 0);
#if defined(__s390__) || defined(__CRIS__)
		pid = (pid_t)syscall(SYS_clone, 0, flags, pidfd, 0, 0);
#else
		pid = (pid_t)syscall(SYS_clone, flags, 0, pidfd, 0, 0);
#endif
	}
	return pid;
}

/* Handlers are the caller's code: to default before anything is unblocked.  Ignored stays ignored (nohup), but for
 * SIGCHLD, which breaks wait(2) in programs, and SIGPIPE, which hosts ignore for themselves. */
static void step_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, now;

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
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

	if (p->deathsig)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&f, 1, 0) > 0)
		_exit(127);
}

static const struct {
	int type;
	const char *join, *unshare;
} names[] = {
	{ CLONE_NEWNET, "join net", "unshare net" },       { CLONE_NEWNS, "join mount", "unshare mount" },
	{ CLONE_NEWPID, "join pid", "unshare pid" },       { CLONE_NEWUTS, "join uts", "unshare uts" },
	{ CLONE_NEWIPC, "join ipc", "unshare ipc" },       { CLONE_NEWCGROUP, "join cgroup", "unshare cgroup" },
	{ CLONE_NEWTIME, "join time", "unshare time" },    { CLONE_NEWUSER, "join user", "unshare user" },
};

static const char *step_name(int type, int joining)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return joining ? names[i].join : names[i].unshare;
	return joining ? "join" : "unshare";
}

/* Raw: glibc would signal every thread of the caller to change along. */
static int set_groups(int n, const gid_t *list)
{
	return (int)syscall(SYS_setgroups, n, list);
}
static int set_gid(gid_t g)
{
	return (int)syscall(SYS_setresgid, g, g, g);
}
static int set_uid(uid_t u)
{
	return (int)syscall(SYS_setresuid, u, u, u);
}

/* In a user namespace just joined: its root, where it has one.  Else what is made next belongs to the overflow ids. */
static void become_root(struct plan *p)
{
	if (set_groups(0, NULL) < 0 && errno != EPERM) /* setgroups = deny */
		die(p, "join user: setgroups");
	if (set_gid(0) < 0 && errno != EINVAL)
		die(p, "join user: setgid");
	if (set_uid(0) < 0 && errno != EINVAL)
		die(p, "join user: setuid");
}

/*
 * Owners may be mixed: what our rights reach is joined before the user namespace, what they do not, after it.
 * The mount namespace is last, for paths.
 */
static void step_join(struct plan *p)
{
	int user = -1, done[PLAN_JOINS] = { 0 };

	for (int i = 0; i < p->njoin; i++)
		if (p->join[i].type == CLONE_NEWUSER)
			user = i;
	for (int pass = user >= 0 ? 1 : 2; pass <= 2; pass++) {
		for (int mount = 0; mount <= 1; mount++) {
			for (int i = 0; i < p->njoin; i++) {
				struct plan_join *j = &p->join[i];

				if (i == user || done[i] || (j->type == CLONE_NEWNS) != mount)
					continue;
				if (setns(j->fd, j->type) == 0)
					done[i] = 1;
				else if (pass == 2 || errno != EPERM)
					die(p, step_name(j->type, 1));
			}
		}
		if (pass == 1) {
			if (setns(p->join[user].fd, CLONE_NEWUSER) < 0)
				die(p, "join user");
			become_root(p);
		}
	}
}

/* The answer of whoever writes the maps, or the end of this child. */
static void await_maps(struct plan *p, int from)
{
	struct report answer;
	ssize_t n;

	do
		n = recv(from, &answer, sizeof(answer), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(answer))
		_exit(127); /* the writer is gone */
	if (answer.err)
		spawn_die(p, "map users", answer.err, answer.detail);
}

/*
 * In a user namespace that was joined, maps are written from inside of it: neither the caller (it is outside) nor
 * this process (it has moved on) may.  A copy stays behind for that.  *to is its socket.
 */
static pid_t leave_writer(struct plan *p, int *to)
{
	struct report r = { .type = REPORT_MAP };
	pid_t me = getpid(), writer;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die(p, "map users");
	writer = spawn_fork(0, NULL);
	if (writer < 0)
		die(p, "map users");
	if (writer) {
		close(pair[1]);
		*to = pair[0];
		return writer;
	}
	close(pair[0]);
	if (recv(pair[1], &r, sizeof(r), 0) == (ssize_t)sizeof(r)) {
		r.err = 0;
		if (nslua_idmap_apply(me, p->uid_map, p->gid_map, p->setgroups, r.detail, sizeof(r.detail)) < 0)
			r.err = errno;
		send(pair[1], &r, sizeof(r), MSG_NOSIGNAL);
	}
	_exit(0);
}

/* A new user namespace, alone and first, so that the rest is owned by it. */
static void step_user(struct plan *p)
{
	pid_t writer = 0;
	int to = -1;

	if (p->uid_map && (p->joined & CLONE_NEWUSER))
		writer = leave_writer(p, &to);
	if (unshare(CLONE_NEWUSER) < 0)
		die(p, "unshare user");
	if (p->uid_map)
		prctl(PR_SET_DUMPABLE, 1); /* else the files of /proc/PID belong to root */
	if (writer) {
		struct report go = { .type = REPORT_MAP };

		send(to, &go, sizeof(go), MSG_NOSIGNAL);
		await_maps(p, to);
		close(to);
		waitpid(writer, NULL, __WALL);
	} else if (p->uid_map) {
		spawn_say(p, REPORT_MAP, "map users", 0, NULL, 0, -1);
		await_maps(p, p->status);
	}
	if (p->become_gid >= 0 || p->become_uid >= 0)
		if (set_groups(0, NULL) < 0 && errno != EPERM)
			die(p, "map users: setgroups");
	if (p->become_gid >= 0 && set_gid((gid_t)p->become_gid) < 0)
		die(p, "map users: setgid");
	if (p->become_uid >= 0 && set_uid((uid_t)p->become_uid) < 0)
		die(p, "map users: setuid");
}

/* Offsets can be written until the first process is inside: now. */
static void step_time(struct plan *p)
{
	char line[128];
	int n = 0, fd;

	if (!p->noffset)
		return;
	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(p, "time");
	for (int i = 0; i < p->noffset; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%s %lld %ld\n", p->offset[i].clock, p->offset[i].sec,
			      p->offset[i].nsec);
	if (write(fd, line, (size_t)n) < 0)
		die(p, "time");
	close(fd);
}

static void step_unshare(struct plan *p)
{
	int rest = p->unshare & ~CLONE_NEWUSER;

	if (p->unshare & CLONE_NEWUSER)
		step_user(p);
	if (rest && unshare(rest) < 0) {
		int err = errno;

		/* One at a time, to name the one that is refused. */
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if ((rest & names[i].type) && unshare(names[i].type) < 0)
				spawn_die(p, names[i].unshare, errno, NULL);
		spawn_die(p, "unshare", err, NULL);
	}
	step_time(p);
}

/* Hand the mount namespace of this child to the caller, who keeps it as an fd, and go. */
static void give_mount(struct plan *p)
{
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(p, "mount namespace");
	spawn_say(p, REPORT_FD, "mount", 0, NULL, 0, fd);
	_exit(0);
}

/* A process of ours inside the pid (and time) namespace: our maker's own child, so that it can be waited for. */
static void step_fork(struct plan *p)
{
	int pidfd = -1;
	pid_t pid;

	if (!((p->unshare | p->joined) & CLONE_NEWPID) && !(p->unshare & CLONE_NEWTIME) && !p->init)
		return;
	pid = spawn_fork(CLONE_PARENT, &pidfd);
	if (pid < 0)
		die(p, "fork");
	if (pid) {
		spawn_say(p, REPORT_PID, "fork", 0, NULL, pid, pidfd);
		_exit(0);
	}
	spawn_parent_death(p);
	if (!p->init)
		return;
	pid = spawn_fork(0, NULL);
	if (pid < 0)
		die(p, "fork");
	if (pid)
		spawn_init(p, pid);
}

/* Groups go with ids: whoever asks for another uid or gid does not want to keep root's groups. */
static void step_credentials(struct plan *p)
{
	if (p->ngroups >= 0) {
		if (set_groups(p->ngroups, p->groups) < 0)
			die(p, "groups");
	} else if (p->uid >= 0 || p->gid >= 0) {
		if (set_groups(0, NULL) < 0 && errno != EPERM)
			die(p, "groups");
	}
	if (p->gid >= 0 && set_gid((gid_t)p->gid) < 0)
		die(p, "gid");
	if (p->uid >= 0 && set_uid((uid_t)p->uid) < 0)
		die(p, "uid");
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
		if (errno == ENOENT && access(*path, F_OK) == 0) { /* there, but what it starts with is not */
			err = ENOENT;
			detail = *path;
			break;
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
		}
	}
	spawn_die(p, "exec", err, detail);
}

/* The network namespace's /sys and /etc. */
static void step_view(struct plan *p)
{
	if (p->sys)
		spawn_sys(p);
	if (p->etc)
		spawn_etc(p);
}

int spawn_run(void *plan)
{
	struct plan *p = plan;
	int moved = p->joined & CLONE_NEWNS;
	/* The /proc of a joined mount namespace knows this process once it is in the pid namespace joined with it. */
	int inside_view = moved && (p->joined & CLONE_NEWPID);

	step_signals();
	spawn_parent_death(p);
	spawn_take_trees(p);
	step_join(p);
	step_unshare(p);
	if (p->unshare & CLONE_NEWNS)
		spawn_propagation(p);
	if (!inside_view)
		step_view(p);
	if (p->give_mount)
		give_mount(p);
	if (p->hostname && sethostname(p->hostname, strlen(p->hostname)) < 0)
		die(p, "hostname");
	step_fork(p);
	if (inside_view)
		step_view(p);
	spawn_mounts(p);
	spawn_proc(p);
	spawn_root(p);
	spawn_cwd(p, moved);
	spawn_terminal(p);
	step_credentials(p);
	spawn_parent_death(p);
	spawn_stdio(p);
	if (p->fork) {
		sigprocmask(SIG_SETMASK, &p->mask, NULL);
		return 0;
	}
	sigprocmask(SIG_SETMASK, &p->mask, NULL);
	step_exec(p);
}

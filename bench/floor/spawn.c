/* SPDX-License-Identifier: MIT */
/* spawn.c - a program started in a network namespace, with and without that namespace's own /sys. */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "floor.h"

extern char **environ;

#define MOUNTS 64
static char below_sys[MOUNTS][PATH_MAX]; /* what is mounted directly on /sys, read once */
static int below_count;

struct plan {
	int netns, mountns; /* -1: none */
	int own_sys;        /* make a mount namespace with this /sys */
};

static void wait_ok(const char *what, pid_t pid)
{
	int status;

	check("waitpid", waitpid(pid, &status, 0));
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "%s: status %d\n", what, status);
		exit(1);
	}
}

int64_t work_exec(int rounds, char **argv)
{
	posix_spawn_file_actions_t actions;
	int64_t start;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	start = now_ns();
	for (int i = 0; i < rounds; i++) {
		pid_t pid;

		if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ))
			die(argv[0]);
		wait_ok(argv[0], pid);
	}
	return now_ns() - start;
}

/* Direct children of the mount on /sys, by the parent column of mountinfo. */
static void read_below_sys(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], at[PATH_MAX];
	int id, parent, sys = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%d %d %*s %*s %4095s", &id, &parent, at) == 3) {
			if (!strcmp(at, "/sys"))
				sys = id;
			else if (parent == sys && below_count < MOUNTS)
				strcpy(below_sys[below_count++], at);
		}
	if (f)
		fclose(f);
}

/* A sysfs of this network namespace over the old one, and what was mounted below the old one moved onto it. */
static void mount_own_sys(void)
{
	int trees[MOUNTS];

	check("unshare", unshare(CLONE_NEWNS));
	check("slave", mount("", "/", NULL, MS_SLAVE | MS_REC, NULL));
	for (int i = 0; i < below_count; i++)
		trees[i] = check("open_tree", (int)syscall(SYS_open_tree, AT_FDCWD, below_sys[i],
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
	check("sysfs", mount("nslua", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	for (int i = 0; i < below_count; i++) {
		check("move_mount", (int)syscall(SYS_move_mount, trees[i], "", AT_FDCWD, below_sys[i], MOVE_MOUNT_F_EMPTY_PATH));
		close(trees[i]);
	}
}

static int child(void *data)
{
	static char *const argv[] = { (char *)"/bin/true", NULL };
	const struct plan *p = data;

	check("setns", setns(p->netns, CLONE_NEWNET));
	if (p->own_sys)
		mount_own_sys();
	else if (p->mountns >= 0)
		check("setns", setns(p->mountns, CLONE_NEWNS));
	execve(argv[0], argv, environ);
	_exit(127);
}

static void run(struct plan *p)
{
	static char stack[65536] __attribute__((aligned(16)));

	wait_ok("/bin/true", check("clone", clone(child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, p)));
}

int64_t work_run(int rounds, char **argv)
{
	struct plan p = { .netns = fresh_netns(), .mountns = -1 };
	int64_t start = now_ns();

	(void)argv;
	for (int i = 0; i < rounds; i++)
		run(&p);
	return now_ns() - start;
}

/* One mount namespace with its own /sys, made once by a helper and entered by every run. */
static int sys_mountns(int netns)
{
	int ready[2], fd;
	char path[64], byte;
	pid_t pid;

	check("pipe", pipe2(ready, O_CLOEXEC));
	pid = check("fork", fork());
	if (pid == 0) {
		check("setns", setns(netns, CLONE_NEWNET));
		mount_own_sys();
		check("write", (int)write(ready[1], "x", 1));
		pause();
		_exit(0);
	}
	check("read", (int)read(ready[0], &byte, 1));
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	fd = check(path, open(path, O_RDONLY | O_CLOEXEC));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return fd;
}

int64_t work_run_sys(int rounds, char **argv)
{
	struct plan p = { .netns = fresh_netns() };
	int64_t start;

	(void)argv;
	read_below_sys();
	start = now_ns();
	p.mountns = sys_mountns(p.netns);
	for (int i = 0; i < rounds; i++)
		run(&p);
	return now_ns() - start;
}

int64_t work_run_sys_fresh(int rounds, char **argv)
{
	struct plan p = { .mountns = -1, .own_sys = 1 };
	int64_t start = now_ns();

	(void)argv;
	read_below_sys();
	for (int i = 0; i < rounds; i++) {
		p.netns = fresh_netns();
		run(&p);
		close(p.netns);
	}
	return now_ns() - start;
}

/* SPDX-License-Identifier: MIT */
/* census.c - looking at every process, and a crowd of processes to look at. */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sockios.h>
#include "floor.h"

#define FILES 20   /* open files of each of the crowd */
#define SOCKETS 4  /* of these, and not shared */
#define OWN_UTS 8  /* each 8th has a uts namespace of its own */

static unsigned long checksum; /* what was read is used */

/* The fds of a process: the text of each link; each socket is asked for its network namespace. */
static void look_at_fds(int dir, pid_t pid)
{
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), pidfd = -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	char text[64];

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(fd, e->d_name, text, sizeof(text));
		struct stat st;
		int copy, net;

		if (n < 8 || strncmp(text, "socket:[", 8))
			continue;
		if (pidfd < 0)
			pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		copy = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
		net = copy < 0 ? -1 : ioctl(copy, SIOCGSKNS);
		if (net >= 0 && fstat(net, &st) == 0)
			checksum += st.st_ino;
		close(net);
		close(copy);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (d)
		closedir(d);
}

/* census ROUNDS [links]: the namespaces of every process, and unless "links" its open files. */
int64_t work_census(int rounds, char **argv)
{
	static const char *const words[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
	int fds = !argv[0] || strcmp(argv[0], "links");
	int64_t start = now_ns();

	for (int i = 0; i < rounds; i++) {
		DIR *proc = opendir("/proc");
		struct dirent *e;

		if (!proc)
			die("/proc");
		while ((e = readdir(proc))) {
			int dir, ns;

			if (e->d_name[0] < '1' || e->d_name[0] > '9')
				continue;
			dir = openat(dirfd(proc), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
			ns = openat(dir, "ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
			for (size_t w = 0; ns >= 0 && w < sizeof(words) / sizeof(words[0]); w++) {
				char text[64] = "";

				if (readlinkat(ns, words[w], text, sizeof(text) - 1) > 0)
					checksum += strtoul(strchr(text, '[') + 1, NULL, 10);
			}
			close(ns);
			if (fds)
				look_at_fds(dir, atoi(e->d_name));
			close(dir);
		}
		closedir(proc);
	}
	return now_ns() - start;
}

static void one_of_the_crowd(int number)
{
	int p[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (number % OWN_UTS == 0)
		check("unshare", unshare(CLONE_NEWUTS));
	for (int i = 0; i < SOCKETS; i++)
		check("socket", socket(AF_INET, SOCK_DGRAM, 0));
	for (int i = 0; i < 3; i++)
		check("pipe", pipe(p));
	for (int i = 3 + SOCKETS + 6; i < FILES; i++)
		check("open", i % 2 ? eventfd(0, 0) : open("/proc/self/exe", O_RDONLY));
	for (;;)
		pause();
}

/*
 * crowd COUNT: that many sleeping processes with 20 open files each, in a pid namespace: they end with this one.  Prints 0 when they are
 * there, and stays until its input ends.
 */
int64_t work_crowd(int rounds, char **argv)
{
	pid_t init;
	int ready[2], status;
	char c = 0;

	(void)argv;
	check("pipe", pipe2(ready, O_CLOEXEC));
	check("unshare", unshare(CLONE_NEWPID));
	init = check("fork", fork());
	if (!init) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 1; i < rounds; i++)
			if (!check("fork", fork())) {
				close(ready[0]);
				close(ready[1]);
				one_of_the_crowd(i);
			}
		check("write", (int)write(ready[1], &c, 1));
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		die("crowd");
	puts("0");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	kill(init, SIGKILL);
	waitpid(init, &status, 0); /* all of its namespace have ended then */
	exit(0);
}

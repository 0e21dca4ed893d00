/* SPDX-License-Identifier: MIT */
/* walk.c - what the census sees of a process in /proc: its namespaces, its threads, their open files.  proc(5) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <linux/major.h>
#include "census.h"

#define TUN_MINOR 200 /* linux/miscdevice.h, in the kernel only */

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* asm-generic/socket.h */
#endif

/* What is in /proc/PID/ns. */
static const struct {
	const char *word;
	int flag;
	enum census_how how;
} links[] = {
	{ "mnt", CLONE_NEWNS, BY_PROCESS },      { "cgroup", CLONE_NEWCGROUP, BY_PROCESS },
	{ "ipc", CLONE_NEWIPC, BY_PROCESS },     { "net", CLONE_NEWNET, BY_PROCESS },
	{ "pid", CLONE_NEWPID, BY_PROCESS },     { "time", CLONE_NEWTIME, BY_PROCESS },
	{ "user", CLONE_NEWUSER, BY_PROCESS },   { "uts", CLONE_NEWUTS, BY_PROCESS },
	{ "pid_for_children", CLONE_NEWPID, BY_CHILDREN }, { "time_for_children", CLONE_NEWTIME, BY_CHILDREN },
};

/* A process or a thread that is looked at. */
struct one {
	struct census *c;
	pid_t pid, tid; /* tid 0: the process, and its first thread */
	int above;      /* /proc or /proc/PID/task */
	const char *name;
	uid_t uid;
	int pidfd;      /* -1: not opened yet */
	bool unreadable;
};

/* The names in a directory, by getdents64(2): no allocation for each of thousands of directories. */
static int each(int dir, void (*visit)(void *arg, int dir, const char *name), void *arg)
{
	char buf[16384] __attribute__((aligned(8)));
	long n;

	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n;) {
			const struct dirent64 *e = (const struct dirent64 *)(const void *)(buf + at);

			if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
				visit(arg, dir, e->d_name);
			at += e->d_reclen;
		}
	return n < 0 ? -1 : 0;
}

static bool denied(int en)
{
	return en == EACCES || en == EPERM || en == ENOSYS;
}

static ssize_t link_text(int dir, const char *name, char *text, size_t room)
{
	ssize_t n = readlinkat(dir, name, text, room - 1);

	text[n < 0 ? 0 : n] = '\0';
	return n;
}

/* A namespace that a link shows; it is opened if it is new. */
static struct census_ns *found(struct one *o, const struct nslua_nstype *type, uint64_t inode, enum census_how how, int dir, const char *name)
{
	struct census *c = o->c;
	bool open_it;
	struct census_ns *ns = census_add(c, type, inode, how, o->pid, &open_it);

	if (open_it) {
		int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
		struct stat st;

		/* The process may have moved, or ended and given its number away. */
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == inode)
			census_know(c, inode, fd);
		else if (fd >= 0)
			close(fd);
		ns = census_find(c, inode);
	}
	return ns;
}

/* What is called so in the directory of a process or thread, which is not opened itself: that would be a tenth of the time. */
static int open_in(const struct one *o, const char *what, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "%s/%s", o->name, what);
	return openat(o->above, path, flags | O_DIRECTORY | O_CLOEXEC);
}

static void mounts_of(struct one *o, uint64_t mntns)
{
	struct statx root;
	uint64_t view;
	int dir;

	if (mntns == o->c->own_mntns)
		return;
	dir = open_in(o, ".", O_PATH);
	if (dir < 0)
		return;
	/* What is below another root is another view of the same mount namespace. */
	if (statx(dir, "root", AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &root) < 0)
		memset(&root, 0, sizeof(root));
	view = (mntns * UINT64_C(1000003) + makedev(root.stx_dev_major, root.stx_dev_minor)) * UINT64_C(1000003) + root.stx_ino;
	if (census_first(o->c, &o->c->seen_views, view))
		census_mountinfo(o->c, dir, mntns, view, o->pid);
	close(dir);
}

/* The namespaces in /proc/PID/ns; false where this process may not look. */
static bool namespaces(struct one *o)
{
	int ns = open_in(o, "ns", O_PATH);
	uint64_t pid = 0, time = 0;

	if (ns < 0) {
		o->unreadable |= denied(errno);
		return false;
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		const struct nslua_nstype *type;
		enum census_how how = o->tid && links[i].how == BY_PROCESS ? BY_THREAD : links[i].how;
		struct census_ns *row;
		char text[64];
		uint64_t inode;

		/* The mount namespace is asked of all: its mounts hold namespaces of any type. */
		if (!(o->c->wanted & links[i].flag) && links[i].flag != CLONE_NEWNS)
			continue;
		if (link_text(ns, links[i].word, text, sizeof(text)) < 0) {
			if (denied(errno)) {
				o->unreadable = true;
				break;
			}
			continue; /* a zombie has few */
		}
		inode = nslua_nsfs_inode(text, &type);
		if (how == BY_CHILDREN && (inode == pid || inode == time))
			continue; /* as it is for nearly all */
		pid = links[i].flag == CLONE_NEWPID ? inode : pid;
		time = links[i].flag == CLONE_NEWTIME ? inode : time;
		if (!inode)
			continue;
		row = found(o, type, inode, how, ns, links[i].word);
		if (row && how == BY_PROCESS) {
			row->nprocs++;
			if (!row->pid || o->pid < row->pid) {
				row->pid = o->pid;
				row->user = o->uid;
				row->has_user = true;
			}
		}
		if (links[i].flag == CLONE_NEWNS)
			mounts_of(o, inode);
	}
	close(ns);
	return !o->unreadable;
}

/* What a socket says of its network namespace without a namespace being opened, 5.14; 0: nothing. */
static uint64_t cookie_of(int socket)
{
	uint64_t cookie;
	socklen_t n = sizeof(cookie);

	return getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n) == 0 ? cookie : 0;
}

/* The network namespace of another process's socket. */
static void ask_socket(struct one *o, const char *name)
{
	struct census *c = o->c;
	int copy, net = -1;
	uint64_t cookie;
	struct stat st;
	bool open_it = false;

	if (o->pidfd < 0)
		o->pidfd = (int)syscall(SYS_pidfd_open, o->tid ? o->tid : o->pid, o->tid ? NSLUA_PIDFD_THREAD : 0);
	if (o->pidfd < 0)
		return; /* it has ended, or the kernel has no pidfds of threads */
	copy = (int)syscall(SYS_pidfd_getfd, o->pidfd, atoi(name), 0);
	if (copy < 0) {
		o->unreadable |= denied(errno);
		return;
	}
	cookie = cookie_of(copy);
	if (!census_has(&c->seen_cookies, cookie)) {
		net = ioctl(copy, SIOCGSKNS);
		/* It takes more rights than to know that it is this thread's own. */
		o->unreadable |= net < 0 && errno == EPERM && (!cookie || cookie != c->own_cookie);
	}
	close(copy);
	if (net < 0)
		return;
	census_first(c, &c->seen_cookies, cookie);
	if (fstat(net, &st) == 0)
		census_add(c, nslua_nstype(CLONE_NEWNET), st.st_ino, BY_SOCKET, o->pid, &open_it);
	if (open_it)
		census_know(c, st.st_ino, net);
	else
		close(net);
}

/* An fd of a namespace: its type is asked where it is not known yet. */
static void ask_fd(struct one *o, uint64_t inode, int dir, const char *name)
{
	const struct census_ns *ns = census_find(o->c, inode);
	const struct nslua_nstype *type = ns ? ns->type : NULL;

	if (!ns) {
		int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), flag = fd < 0 ? -1 : nslua_nsfs_type(fd);

		type = flag < 0 ? NULL : nslua_nstype(flag);
		if (fd >= 0)
			close(fd);
	}
	if (type)
		found(o, type, inode, BY_FD, dir, name);
}

static void open_file(void *arg, int dir, const char *name)
{
	struct one *o = arg;
	struct statx st;

	/*
	 * Cheaper than the text of the link, and true for a namespace that was opened by the name of a bind mount.  What is cached is
	 * enough: the server behind a file may never answer.
	 */
	if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &st) < 0)
		return;
	if (makedev(st.stx_dev_major, st.stx_dev_minor) == o->c->nsfs) {
		ask_fd(o, st.stx_ino, dir, name);
	} else if (o->c->sockets && S_ISSOCK(st.stx_mode)) {
		/* Several processes may share one: it is asked once. */
		if (census_first(o->c, &o->c->seen_sockets, st.stx_ino))
			ask_socket(o, name);
	} else if (o->c->sockets && S_ISCHR(st.stx_mode) && st.stx_rdev_major == MISC_MAJOR && st.stx_rdev_minor == TUN_MINOR) {
		ask_socket(o, name); /* it holds one as a socket does */
	}
}

static void files(struct one *o)
{
	int dir = open_in(o, "fd", O_RDONLY);

	if (dir < 0 || each(dir, open_file, o) < 0)
		o->unreadable |= denied(errno);
	if (dir >= 0)
		close(dir);
	if (o->pidfd >= 0)
		close(o->pidfd);
	o->pidfd = -1;
}

static void thread(void *arg, int task, const char *name)
{
	struct one *process = arg;
	struct one o = { .c = process->c, .pid = process->pid, .tid = atoi(name), .above = task, .name = name, .pidfd = -1 };

	if (o.tid == o.pid)
		return;
	/* Threads share their open files, unless they did unshare(CLONE_FILES), or the first one has ended. */
	if (namespaces(&o) && o.c->fds && syscall(SYS_kcmp, o.pid, o.tid, KCMP_FILES, 0, 0) > 0)
		files(&o);
	process->unreadable |= o.unreadable;
}

void census_process(struct census *c, int proc, pid_t pid)
{
	char name[16], path[32];
	struct one o = { .c = c, .pid = pid, .above = proc, .name = name, .pidfd = -1 };
	struct stat task;

	snprintf(name, sizeof(name), "%d", (int)pid);
	snprintf(path, sizeof(path), "%s/task", name);
	if (o.c->failed)
		return;
	if (fstatat(proc, path, &task, 0) < 0) {
		c->unreadable += denied(errno); /* hidepid=noaccess */
		return;
	}
	o.uid = task.st_uid;
	if (namespaces(&o)) {
		if (o.c->fds)
			files(&o);
		if (task.st_nlink > 3) { /* "." and ".." and one for each thread */
			int dir = open_in(&o, "task", O_RDONLY);

			if (dir >= 0) {
				each(dir, thread, &o);
				close(dir);
			}
		}
	}
	o.c->unreadable += o.unreadable;
}

/* The mounts of this thread, before others that share its view. */
static void own_mounts(struct census *c)
{
	struct stat st;
	int dir = open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	if (fstatat(dir, "ns/mnt", &st, 0) == 0) {
		c->nsfs = st.st_dev; /* one device for all namespaces */
		c->own_mntns = st.st_ino;
		census_mountinfo(c, dir, st.st_ino, 0, 0);
	}
	close(dir);
}

static uint64_t own_cookie(void)
{
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = s < 0 ? 0 : cookie_of(s);

	if (s >= 0)
		close(s);
	return cookie;
}

static void number(void *arg, int proc, const char *name)
{
	struct census *c = arg;

	(void)proc;
	if (census_grow(c, (void **)&c->pids, &c->pid_room, c->pid_count + 1, sizeof(*c->pids)))
		c->pids[c->pid_count++] = atoi(name);
}

/* This process itself, before it opens what a second process would see; it leaves the list. */
static void own_process(struct census *c, int proc)
{
	char text[16];
	pid_t self = link_text(proc, "self", text, sizeof(text)) < 0 ? 0 : atoi(text);

	for (size_t i = 0; self && i < c->pid_count; i++) {
		if (c->pids[i] != self)
			continue;
		census_process(c, proc, self);
		memmove(c->pids + i, c->pids + i + 1, (--c->pid_count - i) * sizeof(*c->pids));
		return;
	}
}

/* This process is not in a /proc of a pid namespace below its own: the device of namespaces is asked of any. */
static void nsfs_of_any(struct census *c, int proc)
{
	for (size_t i = 0; i < c->pid_count && !c->nsfs; i++) {
		char path[32];
		struct stat st;

		snprintf(path, sizeof(path), "%d/ns/mnt", (int)c->pids[i]);
		if (fstatat(proc, path, &st, 0) == 0)
			c->nsfs = st.st_dev;
	}
}

int census_walk(struct census *c)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc, en;
	struct statfs fs;

	if (proc < 0)
		return -1;
	if (fstatfs(proc, &fs) == 0 && fs.f_type != PROC_SUPER_MAGIC) {
		close(proc);
		errno = ENOENT; /* it is not mounted */
		return -1;
	}
	own_mounts(c);
	c->own_cookie = c->sockets ? own_cookie() : 0;
	rc = each(proc, number, c);
	en = errno;
	if (rc == 0) {
		nsfs_of_any(c, proc);
		own_process(c, proc);
		census_processes(c, proc);
		census_kernel(c);
	}
	close(proc);
	errno = en;
	return rc;
}

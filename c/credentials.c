/* SPDX-License-Identifier: MIT */
/* credentials.c - the ids, groups and capabilities of a new child.  See child.c for what may be called here. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "spawn.h"

static void die(struct plan *p, const char *step)
{
	spawn_die(p, step, errno, NULL);
}

/* Raw: glibc would signal every thread of the caller to change along. */
int spawn_set_groups(int n, const gid_t *list)
{
	return (int)syscall(SYS_setgroups, n, list);
}
int spawn_set_gid(gid_t g)
{
	return (int)syscall(SYS_setresgid, g, g, g);
}
int spawn_set_uid(uid_t u)
{
	return (int)syscall(SYS_setresuid, u, u, u);
}

/* What an exec would drop: permitted capabilities become ambient.  capabilities(7) */
static void keep_capabilities(struct plan *p)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		die(p, "keep_caps");
	for (int i = 0; i < 2; i++)
		d[i].effective = d[i].inheritable = d[i].permitted;
	if (syscall(SYS_capset, &h, d) < 0)
		die(p, "keep_caps");
	for (unsigned int cap = 0; cap < 64; cap++)
		if (d[cap / 32].permitted & (1U << cap % 32) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			die(p, "keep_caps");
}

/* For the exec to come.  LSMs: SELinux and AppArmor read it there. */
static void exec_context(struct plan *p)
{
	int fd = open("/proc/thread-self/attr/exec", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, p->context, strlen(p->context)) < 0)
		spawn_die(p, "context", errno, p->context);
	close(fd);
}

/* Groups go with ids: whoever asks for another uid or gid does not want to keep root's groups. */
void spawn_credentials(struct plan *p)
{
	if (p->keep_caps)
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (p->ngroups >= 0) {
		/* Where setgroups is denied, there may be none to drop. */
		if (spawn_set_groups(p->ngroups, p->groups) < 0 && (errno != EPERM || p->ngroups || getgroups(0, NULL)))
			die(p, "groups");
	} else if (p->ngroups != GROUPS_KEEP && (p->uid >= 0 || p->gid >= 0)) {
		if (spawn_set_groups(0, NULL) < 0 && errno != EPERM)
			die(p, "groups");
	}
	if (p->gid >= 0 && spawn_set_gid((gid_t)p->gid) < 0)
		die(p, "gid");
	if (p->uid >= 0 && spawn_set_uid((uid_t)p->uid) < 0)
		die(p, "uid");
	if (p->keep_caps)
		keep_capabilities(p);
	if (p->context)
		exec_context(p);
}

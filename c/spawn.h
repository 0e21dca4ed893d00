/* SPDX-License-Identifier: MIT */
/* spawn.h - one plan, read into one block before anything is forked, and who does which step of it. */
#ifndef NSLUA_SPAWN_H
#define NSLUA_SPAWN_H

#include <setjmp.h>
#include <stddef.h>
#include <sys/types.h>
#include <signal.h>
#include "nslua.h"

#define SPAWN_STEP 32
#define SPAWN_DETAIL 400

/* What a child tells its maker, as one SOCK_SEQPACKET message (or in shared memory on the vfork path). */
enum report_type {
	REPORT_NONE,
	REPORT_FAIL, /* the plan failed at `step`: the child is gone */
	REPORT_MAP,  /* in a new user namespace: write my id maps and answer */
	REPORT_BOUND, /* the file of persist[`pid`] carries its namespace now */
	REPORT_BIND, /* to the copy outside: bind my namespaces of the types in `pid` onto their files */
	REPORT_PID,  /* the program is another process: `pid`, and its pidfd comes along */
	REPORT_NOTE, /* something was left as it was; the program runs all the same */
	REPORT_FD,   /* what was asked for comes along */
	REPORT_INSIDE, /* all is made and joined: look at my namespaces and answer */
};
struct report {
	int type;
	int err;
	pid_t pid;
	char step[SPAWN_STEP];
	char detail[SPAWN_DETAIL];
};

struct plan_join {
	int fd;
	int type; /* CLONE_NEW* */
};
struct plan_mount {
	const char *bind; /* source, or NULL: a tmpfs */
	const char *to;
	const char *data; /* options of the tmpfs */
	int ro;
	int tree; /* in the child: the detached tree of `bind` */
};
struct plan_keep {
	int fd; /* ours */
	int as; /* the number the program sees */
};
struct plan_offset {
	const char *clock; /* "monotonic", "boottime" */
	long long sec;
	long nsec;
};

struct plan_persist {
	int type;         /* CLONE_NEW* */
	const char *word; /* in /proc/PID/ns */
	const char *path; /* what it is bound onto */
	int bound;        /* done: to be undone where the plan fails */
};

/* outside.c: a copy of the child that stays where the child was, for what can only be done from there. */
struct outside {
	pid_t pid; /* 0: none, or it has gone */
	int to;
};

#define GROUPS_KEEP -2

enum plan_stdio { STDIO_INHERIT, STDIO_FD, STDIO_OUT /* stderr goes where stdout goes */ };

#define PLAN_JOINS 16
#define PLAN_TYPES 8
#define PLAN_CGROUPS 32 /* hierarchies of cgroup v1, and v2 */
struct plan {
	/* the program */
	char **argv;  /* argv[-1] is spare, for /bin/sh before a script without #! */
	char **paths; /* candidates to execve, in order */
	char **envp;
	int fork; /* no program: come back to Lua in the child */
	int in_place; /* no child: this process becomes the program */
	long ignored; /* signals (1 << number) that the host handles, though it was told to ignore them */
	jmp_buf *back; /* where a step that fails goes then */

	/* namespaces */
	struct plan_join join[PLAN_JOINS];
	int njoin;
	int joined;  /* their types */
	int unshare; /* CLONE_NEW* */
	int setgroups;            /* -1 leave, 0 deny, 1 allow */
	struct nslua_idmap *uid_map, *gid_map;
	long become_uid, become_gid; /* ids to take on after the map, -1: keep */
	struct plan_offset offset[2];
	int noffset;
	int lo;                    /* up, in the new network namespace */
	unsigned long propagation; /* MS_* for "/" after unshare(mount), 0: leave */
	const char *hostname;
	long owner_uid, owner_gid; /* who makes the user namespace, -1: the caller */
	struct plan_persist persist[PLAN_TYPES];
	int cgroup[PLAN_CGROUPS]; /* cgroup.procs to enter by */
	int npersist, ncgroup;

	/* the view of the file system */
	struct plan_file {
		const char *name, *text;
		size_t len;
		int tree;
	} *files;        /* over those of /etc */
	int nfiles;
	const char *etc; /* "/etc/netns/NAME" to bind over /etc, or NULL */
	int sys;         /* mount a sysfs of the joined network namespace */
	int nmounts;
	struct plan_mount *mounts;
	const char *proc; /* where to mount a proc, or NULL */
	const char *binfmt;          /* where to mount the user namespace's binfmt_misc, or NULL */
	const char *binfmt_register; /* what to write to its file `register`, or NULL */
	const char *root; /* new root, or NULL */
	const char *cwd;  /* asked for: must work */
	int root_fd, cwd_fd; /* the same, opened by the caller, or -1 */
	char *here;       /* the caller's: tried after a join of a mount namespace */

	/* who */
	long uid, gid;
	gid_t *groups;
	int ngroups; /* -1: none with another uid or gid, GROUPS_KEEP: as they are */
	int keep_ids;  /* joining a user namespace does not make us its root */
	int keep_caps; /* permitted capabilities survive the exec */
	const char *context; /* label for the exec, or NULL */

	/* fds */
	enum plan_stdio stdio[3];
	int stdio_fd[3];
	struct plan_keep *keep;
	int nkeep;
	int inherit; /* and all that do not close on exec by themselves */
	int pty;  /* the slave: controlling terminal and fds 0 to 2 */
	int group;      /* a process group of its own */
	int keyboard;   /* in the caller's group, and what the keyboard sends (SIGINT, SIGQUIT) is the program's alone, as with system(3) */
	int foreground; /* and the terminal's foreground group: the fd of the terminal, or -1 */
	int init;       /* a reaper as pid 1 */
	int tell;       /* the caller wants to know the namespaces the program is in */
	int give_view;  /* hand out the mount namespace that was made (REPORT_FD) */

	/* set by spawn.c before the fork */
	struct outside binder, writer; /* of the child: for `persist`, for maps */
	pid_t parent;
	int parent_fd; /* pidfd of the caller */
	int deathsig;  /* PDEATHSIG can be trusted: the caller is the main thread */
	int death_signal; /* and what it is */
	sigset_t mask; /* the caller's */
	int status;    /* the child's end of the status socket, -1: report in place */
	int gift;      /* and of one for fds alone, -1: they go by the status socket */
	struct report *report;
	unsigned long long inside[PLAN_TYPES]; /* inodes, in the order of nslua_nstypes; 0: not seen */
};

/* plan.c: read the normalised table at `arg`; what it allocates is anchored in a table left on the stack. */
struct plan *nslua_readplan(lua_State *L, int arg);

/* child.c: every step up to the program.  spawn_run is for clone(2); it does not return unless plan->fork. */
int spawn_run(void *plan);
void spawn_parent_death(struct plan *p);
int spawn_forks(const struct plan *p);

/* clone.c. A process like this one; *pidfd gets its pidfd (or pass NULL).  Flags: CLONE_PARENT or 0. */
pid_t spawn_fork(unsigned long flags, int *pidfd);

/* report.c: what a child tells its maker. */
void spawn_die(struct plan *p, const char *step, int err, const char *detail) __attribute__((noreturn));
void spawn_say(struct plan *p, int type, const char *step, int err, const char *detail, pid_t pid, int fd);

/* outside.c */
void spawn_leave(struct plan *p, struct outside *o, const char *step);
void spawn_ask(struct plan *p, struct outside *o, int what, int types, const char *step);
void spawn_dismiss(struct outside *o);
void spawn_unbind(struct plan *p);

/* enter.c */
void spawn_join(struct plan *p);
void spawn_unshare(struct plan *p);

/* credentials.c: raw, for glibc would signal every thread of the caller to change along. */
int spawn_set_groups(int n, const gid_t *list);
int spawn_set_gid(gid_t g);
int spawn_set_uid(uid_t u);
void spawn_credentials(struct plan *p);

/* place.c: the view of the file system.  These end the child on failure. */
void spawn_take_trees(struct plan *p); /* in the caller's view, before any join */
void spawn_propagation(struct plan *p);
void spawn_mounts(struct plan *p);
void spawn_proc(struct plan *p);
void spawn_binfmt(struct plan *p);
void spawn_root(struct plan *p);
void spawn_cwd(struct plan *p, int moved);

void spawn_terminal(struct plan *p); /* pty.c */
void spawn_sys(struct plan *p); /* sysfs.c */
void spawn_etc(struct plan *p); /* etc.c */
void spawn_files(struct plan *p);
void spawn_stdio(struct plan *p); /* stdio.c: exactly the fds of the plan, everything else closes on exec */
void spawn_init(struct plan *p, pid_t child) __attribute__((noreturn)); /* init.c */

/* process.c: a child of ours as userdata. */
#define NSLUA_PROCESS "nslua.process"
struct nslua_process {
	int fd;       /* pidfd, -1: closed */
	pid_t pid;
	pid_t maker;  /* getpid() of the process that made it: others must not signal it */
	int group;    /* leads a process group */
	int kept;     /* somebody looks after it: collecting the handle does not end it */
	int done;     /* reaped: code and status hold */
	int code;     /* CLD_EXITED, CLD_KILLED, CLD_DUMPED, or 0 where somebody else reaped it */
	int status;
	sigset_t held; /* plan.keyboard: blocked in the caller since */
};
struct nslua_process *nslua_newprocess(lua_State *L);
int nslua_reap(struct nslua_process *c, int options);

int nslua_write(lua_State *L); /* pump.c */
int nslua_pump(lua_State *L);
int nslua_spawn(lua_State *L); /* spawn.c */
int nslua_exec(lua_State *L);
int nslua_forward(lua_State *L); /* forward.c */
int nslua_pty(lua_State *L); /* pty.c */
int nslua_winsize(lua_State *L);
int nslua_foreground(lua_State *L);
int nslua_retake(lua_State *L);
int nslua_stop(lua_State *L);
int nslua_detach(lua_State *L); /* detach.c */
int nslua_defer(lua_State *L); /* defer.c */
int nslua_undefer(lua_State *L);

#endif

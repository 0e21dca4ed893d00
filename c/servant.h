/* SPDX-License-Identifier: MIT */
/*
 * servant.h - a process of ours that runs C, no Lua, and ends with the script: the keeper (keeper.c), the wires (wireloop.c).  The script holds
 * one end of a socketpair; its end is the end of the servant.
 */
#ifndef NSLUA_SERVANT_H
#define NSLUA_SERVANT_H

#include <stddef.h>
#include <sys/types.h>

struct nslua_servant {
	pid_t pid;
	int pidfd, sock; /* -1: closed */
	int kept; /* it was told to outlive the script: close only lets go of it */
	int *mine; /* a page that the kernel clears in a forked child: there the servant is somebody else's */
};

/* What is to run, and where. */
struct nslua_service {
	int userfd, pidfd; /* namespaces to be joined before it is made, the first one first, or -1 */
	int new_pid;       /* it is pid 1 of a new pid namespace */
	const char *name;  /* of the process */
	/*
	 * Runs with every signal blocked, no fd open but these two, not dumpable, in "/"; a copy of the caller's memory, in which other threads may
	 * have held locks: no malloc, no stdio.  `host` is a pidfd of the script.
	 */
	void (*main)(int sock, int host);
};

void nslua_servant_init(struct nslua_servant *s);
/* 0, or -1 with errno and the step that failed.  What is in *s is to be closed in either case. */
int nslua_servant_start(struct nslua_servant *s, const struct nslua_service *service, const char **step);
/* Whether it runs and is this process's own; never in a forked child. */
int nslua_servant_alive(const struct nslua_servant *s);
/* Whether it is this process's own, running or not. */
int nslua_servant_mine(const struct nslua_servant *s);
/* Whether it is gone; 0: it ends as soon as it can, and another close reaps it.  In a forked child this only lets go. */
int nslua_servant_close(struct nslua_servant *s);
void nslua_servant_forget(struct nslua_servant *s);

#endif

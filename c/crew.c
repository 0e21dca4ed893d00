/* SPDX-License-Identifier: MIT */
/*
 * crew.c - the processes of a census, shared among threads: nearly all of the time goes by in the kernel, which has more than one processor.
 * The threads have ended when this returns: a process with one may do what one with several may not (unshare a user namespace).
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "census.h"

#define HELPERS 3  /* more are slower: they wait for each other in the kernel */
#define ENOUGH 256 /* processes for a thread to be worth its start */
#define AT_ONCE 16

struct crew {
	const struct census_list *list;
	pid_t self;
	atomic_size_t next;
};

struct member {
	struct crew *crew;
	struct census c;
	pthread_t thread;
	atomic_int tid;
};

static void work(struct crew *crew, struct census *c)
{
	size_t at, end;

	while ((at = atomic_fetch_add(&crew->next, AT_ONCE)) < crew->list->count) {
		end = at + AT_ONCE < crew->list->count ? at + AT_ONCE : crew->list->count;
		for (; at < end && !c->failed; at++)
			if (crew->list->pid[at] != crew->self)
				census_process(c, crew->list->proc, crew->list->pid[at]);
	}
}

static void *help(void *arg)
{
	struct member *m = arg;

	m->tid = (int)syscall(SYS_gettid);
	work(m->crew, &m->c);
	return NULL;
}

static int spare_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 0 : CPU_COUNT(&set) - 1;
}

void census_share(struct census_list *list)
{
	char text[16] = "";
	struct crew crew = { .list = list };
	struct member helper[HELPERS];
	int helpers = (int)(list->count / ENOUGH), spare = helpers ? spare_processors() : 0, started = 0;
	sigset_t all, before;

	/* Its own number in this /proc, which may be of another pid namespace: it is looked at when it has one thread again. */
	if (readlink("/proc/self", text, sizeof(text) - 1) > 0)
		crew.self = atoi(text);
	helpers = helpers < spare ? helpers : spare;
	helpers = helpers < HELPERS ? helpers : HELPERS;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's thread */
	for (; started < helpers; started++) {
		struct member *m = helper + started;

		memset(m, 0, sizeof(*m));
		m->crew = &crew;
		m->c.wanted = list->c->wanted;
		m->c.fds = list->c->fds;
		m->c.sockets = list->c->sockets;
		m->c.nsfs = list->c->nsfs;
		m->c.own_mntns = list->c->own_mntns;
		if (pthread_create(&m->thread, NULL, help, m) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(&crew, list->c);
	for (int i = 0; i < started; i++) {
		pthread_join(helper[i].thread, NULL);
		/* pthread_join(3) returns a moment before the kernel has forgotten the thread. */
		while (syscall(SYS_tgkill, getpid(), (pid_t)helper[i].tid, 0) == 0)
			sched_yield();
		census_merge(list->c, &helper[i].c);
		census_free(&helper[i].c);
	}
	if (crew.self)
		census_process(list->c, list->proc, crew.self);
}

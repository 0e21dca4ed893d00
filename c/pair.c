/* SPDX-License-Identifier: MIT */
/*
 * pair.c - two processes share the walk of /proc.  What the second, a copy of this one, finds comes back through a pipe, whole or not at all:
 * where it does not come, this process looks at the second's share itself.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "census.h"

#define PAIR_FROM 200 /* processes: a copy of this one costs as much as a few dozen */
#define BLOCK 16      /* are taken at once */

enum { FIRST = 1, SECOND };

/* Who looks at which block, in memory that both see. */
typedef _Atomic unsigned char owner;

/* Every block that nobody has taken. */
static void walk(struct census *c, int proc, owner *blocks, size_t n, unsigned char who)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char nobody = 0;
		size_t end = (i + 1) * BLOCK;

		if (!atomic_compare_exchange_strong(blocks + i, &nobody, who))
			continue;
		for (size_t k = i * BLOCK; k < end && k < c->pid_count; k++)
			census_process(c, proc, c->pids[k]);
	}
}

static bool one_cpu(void)
{
	cpu_set_t set;

	/* EINVAL: there are more than fit. */
	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) < 2;
}

struct share {
	struct census *c;
	int proc;
	owner *blocks;
	size_t n;
};

static void second(void *arg, int to)
{
	const struct share *s = arg;
	struct census *c = s->c, before = *c;

	c->unreadable = 0;
	for (size_t i = 0; i < c->count; i++)
		c->ns[i].nprocs = 0;
	walk(c, s->proc, s->blocks, s->n, SECOND);
	if (!c->failed)
		census_send(c, &before, to);
}

/* What the second did not tell is looked for again, apart, and comes in as what it tells does. */
static void again(struct census *c, const struct census *before, struct census *came, int proc, owner *blocks, size_t n)
{
	census_release(came);
	came->wanted = c->wanted;
	came->fds = c->fds;
	came->sockets = c->sockets;
	came->nsfs = c->nsfs;
	came->own_mntns = c->own_mntns;
	came->own_cookie = c->own_cookie;
	for (size_t i = 0; i < before->views; i++)
		census_first(came, &came->seen_views, c->view[i].key);
	for (size_t i = 0; i < n; i++) {
		size_t end = (i + 1) * BLOCK;

		for (size_t k = i * BLOCK; blocks[i] == SECOND && k < end && k < c->pid_count; k++)
			census_process(came, proc, c->pids[k]);
	}
}

void census_processes(struct census *c, int proc)
{
	size_t n = (c->pid_count + BLOCK - 1) / BLOCK;
	owner *blocks = MAP_FAILED;
	struct census before = *c, came = { 0 };
	pid_t pid;
	int from = -1;

	c->walkers = 1;
	if (c->pid_count > PAIR_FROM && !one_cpu() && nslua_may_copy())
		blocks = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (blocks == MAP_FAILED) {
		for (size_t i = 0; i < c->pid_count; i++)
			census_process(c, proc, c->pids[i]);
		return;
	}
	pid = nslua_copy(second, &(struct share){ c, proc, blocks, n }, proc, &from);
	walk(c, proc, blocks, n, FIRST);
	if (pid > 0) {
		nslua_copy_anywhere(pid);
		if (census_receive(&came, &before, from))
			c->walkers++;
		else
			again(c, &before, &came, proc, blocks, n);
		close(from);
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
		census_merge(c, &before, &came);
		census_release(&came);
	}
	munmap(blocks, n);
}

/* SPDX-License-Identifier: MIT */
/* main.c - floor WORK ROUNDS [ARGS]: do the work and print its nanoseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "floor.h"

static const struct {
	const char *name;
	work_fn fn;
} works[] = {
	{ "exec", work_exec },             /* any program: start it and wait for it */
	{ "netns-new", work_netns_new },
	{ "setns-pair", work_setns_pair },
	{ "run", work_run },
	{ "run-sys", work_run_sys },
	{ "run-sys-fresh", work_run_sys_fresh },
	{ "star", work_star },
	{ "lab", work_lab },
	{ "link-get", work_link_get },
	{ "routes-add", work_routes_add },
	{ "routes-list", work_routes_list },
	{ "map", work_map },
	{ "census", work_census },
	{ "crowd", work_crowd },           /* processes to look at, until its input ends */
	{ "settle", work_settle },         /* wait until the kernel has freed what earlier runs closed */
};

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void die(const char *what)
{
	perror(what);
	exit(1);
}

int check(const char *what, int result)
{
	if (result < 0)
		die(what);
	return result;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 0;

	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]) && rounds > 0; i++)
		if (!strcmp(argv[1], works[i].name)) {
			printf("%lld\n", (long long)works[i].fn(rounds, argv + 3));
			return 0;
		}
	fprintf(stderr, "usage: floor WORK ROUNDS [ARGS]\n");
	return 2;
}

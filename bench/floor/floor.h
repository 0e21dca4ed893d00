/* SPDX-License-Identifier: MIT */
/* floor.h - the C programs that nslua is measured against: what the kernel costs when nothing else does. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdint.h>
#include <sys/types.h>

struct nlmsghdr;
struct mnl_socket;

/* Each work runs `rounds` times and returns the nanoseconds of all of them; what is not the work is not timed. */
typedef int64_t (*work_fn)(int rounds, char **argv);

int64_t now_ns(void);
void die(const char *what) __attribute__((noreturn));
int check(const char *what, int result); /* result, or the end of the program */

/* namespace.c */
int home_netns(void);                    /* the namespace the program was started in */
int fresh_netns(void);                   /* unshare, open, setns back */
struct last {
	int near, far;
	struct mnl_socket *nl;
};
void last_open(struct last *last);
void last_close(struct last *last);      /* returns when everything closed before is gone */
int64_t work_netns_new(int rounds, char **argv);
int64_t work_setns_pair(int rounds, char **argv);
int64_t work_settle(int rounds, char **argv);

/* spawn.c */
int64_t work_exec(int rounds, char **argv);
int64_t work_run(int rounds, char **argv);
int64_t work_run_sys(int rounds, char **argv);
int64_t work_run_sys_fresh(int rounds, char **argv);

/* star.c */
int64_t work_star(int rounds, char **argv);

/* lab.c */
int64_t work_lab(int hosts, char **argv);

/* census.c */
int64_t work_census(int rounds, char **argv);
int64_t work_crowd(int rounds, char **argv);

/* map.c */
int64_t work_map(int rounds, char **argv);

/* route.c: rtnetlink through libmnl */
struct mnl_socket *route_socket(int netns);      /* opened inside that namespace */
struct nlmsghdr *request(char *at, uint16_t type, uint16_t flags);
int transact(struct mnl_socket *nl, struct nlmsghdr *nlh);                       /* one request, its ack */
int transact_batch(struct mnl_socket *nl, const char *bytes, size_t size, int count); /* `count` acks */
int64_t work_link_get(int rounds, char **argv);

/* routes.c */
int64_t work_routes_add(int rounds, char **argv);
int64_t work_routes_list(int rounds, char **argv);

#endif

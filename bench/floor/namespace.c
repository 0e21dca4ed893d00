/* SPDX-License-Identifier: MIT */
/* namespace.c - making, leaving and entering network namespaces. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <libmnl/libmnl.h>
#include "floor.h"

int home_netns(void)
{
	static int home = -1;

	if (home < 0)
		home = check("open", open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
	return home;
}

int fresh_netns(void)
{
	int home = home_netns(), fd;

	check("unshare", unshare(CLONE_NEWNET));
	fd = check("open", open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
	check("setns", setns(home, CLONE_NEWNET));
	return fd;
}

int64_t work_netns_new(int rounds, char **argv)
{
	int64_t start;

	(void)argv;
	home_netns();
	start = now_ns();
	for (int i = 0; i < rounds; i++)
		close(fresh_netns());
	return now_ns() - start;
}

int64_t work_setns_pair(int rounds, char **argv)
{
	int home = home_netns(), other = fresh_netns();
	int64_t start = now_ns();

	(void)argv;
	for (int i = 0; i < rounds; i++) {
		check("setns", setns(other, CLONE_NEWNET));
		check("setns", setns(home, CLONE_NEWNET));
	}
	return now_ns() - start;
}

/*
 * The kernel frees namespaces later, in the order in which they were closed: a veth whose far end is in the last one tells
 * when all of them are gone.
 */
void last_open(struct last *last)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlattr *info, *data, *peer;
	struct nlmsghdr *nlh;

	last->far = fresh_netns();
	last->near = fresh_netns();
	last->nl = route_socket(last->near);
	nlh = request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "last");
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)last->far);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	check("veth", transact(last->nl, nlh));
}

void last_close(struct last *last)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh;

	close(last->far);
	do {
		poll(NULL, 0, 1);
		nlh = request(buf, RTM_GETLINK, 0);
		mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
		mnl_attr_put_strz(nlh, IFLA_IFNAME, "last");
	} while (transact(last->nl, nlh) == 0);
	mnl_socket_close(last->nl);
	close(last->near);
}

int64_t work_settle(int rounds, char **argv)
{
	int64_t start = now_ns();
	struct last last;

	(void)argv;
	for (int i = 0; i < rounds; i++) {
		last_open(&last);
		last_close(&last);
	}
	poll(NULL, 0, 100); /* the near namespace of it goes too, and whoever makes one meanwhile waits */
	return now_ns() - start;
}

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
 * The kernel frees namespaces later, in the order in which they were closed: a veth whose far end goes with one that is
 * closed now tells when all earlier ones are gone.
 */
int64_t work_settle(int rounds, char **argv)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	int64_t start = now_ns();

	(void)argv;
	for (int i = 0; i < rounds; i++) {
		int far = fresh_netns(), near = fresh_netns();
		struct mnl_socket *nl = route_socket(near);
		struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
		struct ifinfomsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
		struct nlattr *info, *data, *peer;

		mnl_attr_put_strz(nlh, IFLA_IFNAME, "settle");
		info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_str(nlh, IFLA_INFO_KIND, "veth");
		data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
		peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
		mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
		mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)far);
		mnl_attr_nest_end(nlh, peer);
		mnl_attr_nest_end(nlh, data);
		mnl_attr_nest_end(nlh, info);
		check("veth", transact(nl, nlh));
		close(far);
		do {
			poll(NULL, 0, 2);
			nlh = request(buf, RTM_GETLINK, 0);
			mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
			mnl_attr_put_strz(nlh, IFLA_IFNAME, "settle");
		} while (transact(nl, nlh) == 0);
		mnl_socket_close(nl);
		close(near);
	}
	return now_ns() - start;
}

/* SPDX-License-Identifier: MIT */
/* route.c - rtnetlink requests, and one link looked up by name. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <libmnl/libmnl.h>
#include "floor.h"

static uint32_t sequence;

struct mnl_socket *route_socket(int netns)
{
	struct mnl_socket *nl;

	check("setns", setns(netns, CLONE_NEWNET));
	nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	check("setns", setns(home_netns(), CLONE_NEWNET));
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		die("netlink socket");
	return nl;
}

struct nlmsghdr *request(char *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_seq = ++sequence;
	return nlh;
}

/* Read until `count` acks have come; errno is that of the last failure. */
static int acks(struct mnl_socket *nl, int count)
{
	char buf[32768];
	int failed = 0;

	while (count > 0) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		int left = (int)n;

		if (n < 0)
			die("recv");
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			if (h->nlmsg_type == NLMSG_ERROR) {
				struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

				if (e->error)
					failed = -e->error;
				count--;
			}
	}
	errno = failed;
	return failed ? -1 : 0;
}

int transact(struct mnl_socket *nl, struct nlmsghdr *nlh)
{
	return transact_batch(nl, (const char *)nlh, nlh->nlmsg_len, 1);
}

int transact_batch(struct mnl_socket *nl, const char *bytes, size_t size, int count)
{
	if (mnl_socket_sendto(nl, bytes, size) < 0)
		die("send");
	return acks(nl, count);
}

static int index_of(struct mnl_socket *nl, const char *name)
{
	char buf[16384];
	struct nlmsghdr *nlh = request(buf, RTM_GETLINK, 0);
	struct ifinfomsg *head;
	ssize_t n;

	nlh->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		die("send");
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0 || nlh->nlmsg_type != RTM_NEWLINK)
		die("link get");
	head = mnl_nlmsg_get_payload((struct nlmsghdr *)buf);
	return head->ifi_index;
}

int64_t work_link_get(int rounds, char **argv)
{
	struct mnl_socket *nl = route_socket(fresh_netns());
	int64_t start = now_ns();

	(void)argv;
	for (int i = 0; i < rounds; i++)
		if (index_of(nl, "lo") != 1)
			die("lo");
	return now_ns() - start;
}

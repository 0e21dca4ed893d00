/* SPDX-License-Identifier: MIT */
/* star.c - ROUNDS stars of 64 hosts on a bridge: namespaces, veths born in place, addresses, up, default routes; and all of it gone. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <libmnl/libmnl.h>
#include "floor.h"

#define HOSTS 64
#define GROUP 7

static struct nlmsghdr *put_link(char *at, uint16_t type, uint16_t flags, int index, unsigned int up)
{
	struct nlmsghdr *nlh = request(at, type, flags);
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));

	head->ifi_index = index;
	head->ifi_flags = up;
	head->ifi_change = up;
	return nlh;
}

static size_t put_bridge(char *at)
{
	struct nlmsghdr *nlh = put_link(at, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 2, IFF_UP);
	struct nlattr *info;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, "br0");
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(nlh, info);
	return nlh->nlmsg_len;
}

/* A port of the bridge, and its peer eth0, index 2, inside the host's namespace. */
static size_t put_veth(char *at, int i, int netns)
{
	struct nlmsghdr *nlh = put_link(at, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *head;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "p%d", i);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MASTER, 2);
	mnl_attr_put_u32(nlh, IFLA_GROUP, GROUP);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
	head->ifi_index = 2;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return nlh->nlmsg_len;
}

static size_t put_group_up(char *at)
{
	struct nlmsghdr *nlh = put_link(at, RTM_NEWLINK, 0, 0, IFF_UP);

	mnl_attr_put_u32(nlh, IFLA_GROUP, GROUP);
	return nlh->nlmsg_len;
}

static size_t put_address(char *at, uint32_t address)
{
	struct nlmsghdr *nlh = request(at, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));

	head->ifa_family = AF_INET;
	head->ifa_prefixlen = 16;
	head->ifa_index = 2;
	mnl_attr_put_u32(nlh, IFA_LOCAL, htonl(address));
	mnl_attr_put_u32(nlh, IFA_ADDRESS, htonl(address));
	return nlh->nlmsg_len;
}

static size_t put_route(char *at, uint32_t gateway)
{
	struct nlmsghdr *nlh = request(at, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));

	head->rtm_family = AF_INET;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_BOOT;
	head->rtm_scope = RT_SCOPE_UNIVERSE;
	head->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_GATEWAY, htonl(gateway));
	return nlh->nlmsg_len;
}

static void build(int *netns, int *sw)
{
	const uint32_t net = 0x0a000000; /* 10.0.0.0/16 */
	struct mnl_socket *nl, *host[HOSTS];
	char buf[HOSTS * 256];
	size_t size;

	*sw = fresh_netns();
	nl = route_socket(*sw);
	for (int i = 0; i < HOSTS; i++) {
		netns[i] = fresh_netns();
		host[i] = route_socket(netns[i]);
	}
	size = put_bridge(buf);
	for (int i = 0; i < HOSTS; i++)
		size += put_veth(buf + size, i + 1, netns[i]);
	check("links", transact_batch(nl, buf, size, HOSTS + 1));
	for (int i = 0; i < HOSTS; i++) {
		size = put_link(buf, RTM_NEWLINK, 0, 2, IFF_UP)->nlmsg_len;
		size += put_address(buf + size, net + 1 + (uint32_t)i);
		size += put_route(buf + size, net + 254);
		check("host", transact_batch(host[i], buf, size, 3));
		mnl_socket_close(host[i]);
	}
	size = put_group_up(buf);
	check("ports", transact_batch(nl, buf, size, 1));
	mnl_socket_close(nl);
}

/* With a first argument "teardown", closing and the kernel's clean-up are timed too. */
int64_t work_star(int rounds, char **argv)
{
	int teardown = argv[0] && !strcmp(argv[0], "teardown");
	int netns[HOSTS], sw;
	int64_t total = 0;
	struct last last;

	home_netns();
	for (int r = 0; r < rounds; r++) {
		int64_t start = now_ns();

		build(netns, &sw);
		if (!teardown)
			total += now_ns() - start;
		last_open(&last);
		for (int i = 0; i < HOSTS; i++)
			close(netns[i]);
		close(sw);
		last_close(&last);
		if (teardown)
			total += now_ns() - start;
	}
	return total;
}

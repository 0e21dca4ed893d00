/* SPDX-License-Identifier: MIT */
/* lab.c - what ns.lab makes of a star: the same namespaces, settings, links and addresses, until all of it is up. */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <libmnl/libmnl.h>
#include "floor.h"

#define GROUP 1
#define MOST 1000
#define AT_ONCE 200 /* requests of a batch */

static void put_file(const char *path, const char *text)
{
	int fd = check(path, open(path, O_WRONLY | O_CLOEXEC));

	check(path, (int)write(fd, text, strlen(text)));
	close(fd);
}

/* Each file by itself, as a library does that knows nothing of the next one. */
static void set(int netns, const char *path, const char *text)
{
	check("setns", setns(netns, CLONE_NEWNET));
	put_file(path, text);
	check("setns", setns(home_netns(), CLONE_NEWNET));
}

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
	struct nlattr *info, *data;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, "sw");
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nlh, IFLA_BR_FORWARD_DELAY, 0);
	mnl_attr_put_u32(nlh, IFLA_BR_STP_STATE, 0);
	mnl_attr_put_u8(nlh, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return nlh->nlmsg_len;
}

static size_t put_veth(char *at, int i, int netns)
{
	uint8_t address[6] = { 2, 0, 0, (uint8_t)(i >> 8), (uint8_t)i, 2 };
	struct nlmsghdr *nlh = put_link(at, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0);
	struct nlattr *info, *data, *peer;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "h%d", i);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(address), address);
	mnl_attr_put_u32(nlh, IFLA_MASTER, 2);
	mnl_attr_put_u32(nlh, IFLA_GROUP, GROUP);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, 1);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	((struct ifinfomsg *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg)))->ifi_index = 2;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
	address[5] = 1;
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(address), address);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, 1);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return nlh->nlmsg_len;
}

static size_t put_address(char *at, uint8_t family, uint8_t length, const void *address, uint32_t flags)
{
	struct nlmsghdr *nlh = request(at, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
	size_t size = family == AF_INET ? 4 : 16;

	head->ifa_family = family;
	head->ifa_prefixlen = length;
	head->ifa_index = 2;
	mnl_attr_put(nlh, IFA_LOCAL, size, address);
	mnl_attr_put(nlh, IFA_ADDRESS, size, address);
	if (flags)
		mnl_attr_put_u32(nlh, IFA_FLAGS, flags);
	return nlh->nlmsg_len;
}

static int attribute(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == IFLA_OPERSTATE)
		*(int *)data = mnl_attr_get_u8(attr);
	return MNL_CB_OK;
}

/* Whether that link is up; who asks for one has the kernel look at its carrier. */
static int is_up(struct mnl_socket *nl, int index, const char *name)
{
	char buf[16384];
	struct nlmsghdr *nlh = put_link(buf, RTM_GETLINK, 0, index, 0);
	int state = 0;

	nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0 || mnl_socket_recvfrom(nl, buf, sizeof(buf)) < 0)
		die("link");
	mnl_attr_parse(nlh, sizeof(struct ifinfomsg), attribute, &state);
	return state == 6; /* IF_OPER_UP */
}

static int answers(int netns)
{
	static char text[4096];
	ssize_t n;
	int fd;

	check("setns", setns(netns, CLONE_NEWNET));
	fd = check("igmp6", open("/proc/thread-self/net/igmp6", O_RDONLY | O_CLOEXEC));
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	check("setns", setns(home_netns(), CLONE_NEWNET));
	text[n > 0 ? n : 0] = 0;
	return strstr(text, "ff0200000000000000000001ff00") != NULL;
}

/* All of them in passes: asking the first for its carrier sets work off in the background that is done by the time it is asked again. */
static void settle(struct mnl_socket *nl, struct mnl_socket **host, const int *netns, int hosts)
{
	static int done[MOST];

	for (int left = hosts; left;) {
		for (int i = 0; i < hosts; i++) {
			char name[IFNAMSIZ];

			snprintf(name, sizeof(name), "h%d", i + 1);
			if (done[i] || !is_up(nl, 0, name) || !is_up(host[i], 2, NULL) || !answers(netns[i]))
				continue;
			done[i] = 1;
			left--;
		}
		if (left)
			usleep(500);
	}
}

/* floor lab HOSTS: one star of so many. */
int64_t work_lab(int hosts, char **argv)
{
	static int netns[MOST];
	static struct mnl_socket *host[MOST];
	static char buf[AT_ONCE * 256];
	struct rlimit files;
	struct mnl_socket *nl;
	int64_t start, took;
	int sw;

	(void)argv;
	if (hosts > MOST)
		die("hosts");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	home_netns();
	start = now_ns();
	sw = fresh_netns();
	nl = route_socket(sw);
	for (int i = 0; i < hosts; i++) {
		netns[i] = fresh_netns();
		host[i] = route_socket(netns[i]);
	}
	for (int i = -1; i < hosts; i++) {
		int of = i < 0 ? sw : netns[i];

		set(of, "/proc/sys/net/ipv4/tcp_congestion_control", "reno\n");
		set(of, "/proc/sys/net/ipv6/conf/default/accept_dad", "0\n");
		set(of, "/proc/sys/net/ipv6/conf/default/router_solicitations", "0\n");
		if (i < 0)
			set(of, "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1\n");
	}
	check("bridge", transact_batch(nl, buf, put_bridge(buf), 1));
	for (int at = 0; at < hosts; at += AT_ONCE) {
		int n = hosts - at < AT_ONCE ? hosts - at : AT_ONCE;
		size_t size = 0;

		for (int i = at; i < at + n; i++)
			size += put_veth(buf + size, i + 1, netns[i]);
		check("links", transact_batch(nl, buf, size, n));
	}
	for (int i = 0; i < hosts; i++) {
		uint32_t v4 = htonl(0x0a010000 + (uint32_t)i + 1);
		uint8_t v6[16] = { 0xfd, 0, 0, 1, [14] = (uint8_t)((i + 1) >> 8), [15] = (uint8_t)(i + 1) };
		size_t size = put_link(buf, RTM_NEWLINK, 0, 1, IFF_UP)->nlmsg_len;

		size += put_address(buf + size, AF_INET, 16, &v4, 0);
		size += put_address(buf + size, AF_INET6, 64, v6, IFA_F_NODAD);
		size += put_link(buf + size, RTM_NEWLINK, 0, 2, IFF_UP)->nlmsg_len;
		check("host", transact_batch(host[i], buf, size, 4));
	}
	size_t size = put_link(buf, RTM_NEWLINK, 0, 1, IFF_UP)->nlmsg_len;
	struct nlmsghdr *up = put_link(buf + size, RTM_NEWLINK, 0, 0, IFF_UP);

	mnl_attr_put_u32(up, IFLA_GROUP, GROUP);
	check("ports", transact_batch(nl, buf, size + up->nlmsg_len, 2));
	settle(nl, host, netns, hosts);
	took = now_ns() - start;
	return took;
}

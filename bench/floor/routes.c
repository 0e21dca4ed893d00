/* SPDX-License-Identifier: MIT */
/* routes.c - many routes: added in batches, dumped and parsed. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <libmnl/libmnl.h>
#include "floor.h"

#define BATCH 200 /* requests in one datagram; the last is acknowledged, and errors are told in any case */

static void lo_up(struct mnl_socket *nl)
{
	char buf[256];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, 0);
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));

	head->ifi_index = 1;
	head->ifi_flags = head->ifi_change = 1; /* IFF_UP */
	check("lo", transact(nl, nlh));
}

/* 16.0.0.0/32 and those after it, all by lo. */
static size_t put_route(char *at, uint32_t n, int last)
{
	struct nlmsghdr *nlh = request(at, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));

	if (!last)
		nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	head->rtm_family = AF_INET;
	head->rtm_dst_len = 32;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_BOOT;
	head->rtm_scope = RT_SCOPE_LINK;
	head->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_DST, htonl(0x10000000 + n));
	mnl_attr_put_u32(nlh, RTA_OIF, 1);
	return nlh->nlmsg_len;
}

int64_t work_routes_add(int rounds, char **argv)
{
	static char buf[BATCH * 128];
	struct mnl_socket *nl = route_socket(fresh_netns());
	int64_t start;

	(void)argv;
	lo_up(nl);
	start = now_ns();
	for (int at = 0; at < rounds; at += BATCH) {
		int n = rounds - at < BATCH ? rounds - at : BATCH;
		size_t size = 0;

		for (int i = 0; i < n; i++)
			size += put_route(buf + size, (uint32_t)(at + i), i == n - 1);
		check("route", transact_batch(nl, buf, size, 1));
	}
	return now_ns() - start;
}

static int attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **table = data;

	if (mnl_attr_type_valid(attr, RTA_MAX) > 0)
		table[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

/* routes-list ROUNDS NAME: the IPv4 routes of that namespace, each parsed, two fields read. */
int64_t work_routes_list(int rounds, char **argv)
{
	static char buf[32768];
	char path[256];
	struct mnl_socket *nl;
	int64_t start;

	snprintf(path, sizeof(path), "/run/netns/%s", argv[0] ? argv[0] : "");
	nl = route_socket(check(path, open(path, O_RDONLY | O_CLOEXEC)));
	start = now_ns();
	for (int i = 0; i < rounds; i++) {
		struct nlmsghdr *nlh = request(buf, RTM_GETROUTE, NLM_F_DUMP);
		struct rtmsg *head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
		uint64_t sum = 0, count = 0;
		int done = 0;

		head->rtm_family = AF_INET;
		nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
		if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
			die("send");
		while (!done) {
			int left = (int)mnl_socket_recvfrom(nl, buf, sizeof(buf));

			if (left < 0)
				die("recv");
			for (struct nlmsghdr *h = (struct nlmsghdr *)buf; mnl_nlmsg_ok(h, left) && !done; h = mnl_nlmsg_next(h, &left)) {
				const struct nlattr *table[RTA_MAX + 1] = { NULL };

				if (h->nlmsg_type == NLMSG_DONE) {
					done = 1;
					break;
				}
				mnl_attr_parse(h, sizeof(struct rtmsg), attribute, table);
				if (table[RTA_DST])
					sum += mnl_attr_get_u32(table[RTA_DST]);
				if (table[RTA_OIF])
					sum += mnl_attr_get_u32(table[RTA_OIF]);
				count++;
			}
		}
		if (!count || !sum)
			die("no routes");
	}
	return now_ns() - start;
}

/* SPDX-License-Identifier: MIT */
/* map.c - the links and addresses of many network namespaces, dumped over one socket. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <libmnl/libmnl.h>
#include "floor.h"

#define MANY 4096

static uint64_t checksum; /* what was read is used */

static int attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **table = data;

	if (mnl_attr_get_type(attr) <= IFLA_MAX)
		table[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

/* Drain a dump; each message parsed, names and addresses read. */
static int drain(struct mnl_socket *nl, struct nlmsghdr *nlh, size_t head, int wanted)
{
	static char buf[65536];
	int count = 0;

	nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		die("send");
	for (;;) {
		int left = (int)mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (left < 0)
			die("recv");
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlattr *table[IFLA_MAX + 1] = { NULL };

			if (h->nlmsg_type == NLMSG_ERROR)
				die("dump");
			if (h->nlmsg_type == NLMSG_DONE)
				return count;
			mnl_attr_parse(h, (unsigned int)head, attribute, table);
			if (table[wanted])
				checksum += mnl_attr_get_payload_len(table[wanted]);
			count++;
		}
	}
}

/* map ROUNDS PID: all of the namespaces that a process has open. */
int64_t work_map(int rounds, char **argv)
{
	static char buf[8192], seen[MANY][32];
	struct mnl_socket *nl = route_socket(fresh_netns());
	struct dirent *e;
	char path[300];
	int64_t start = now_ns();
	int links = 0;

	for (int i = 0; i < rounds; i++) {
		int count = 0;
		DIR *dir;

		snprintf(path, sizeof(path), "/proc/%s/fd", argv[0] ? argv[0] : "self");
		dir = opendir(path);
		if (!dir)
			die(path);
		while ((e = readdir(dir)) && count < MANY) {
			char text[32] = "";
			int fd, known = 0;
			struct nlmsghdr *nlh;
			struct rtgenmsg *head;

			if (readlinkat(dirfd(dir), e->d_name, text, sizeof(text) - 1) < 5 || strncmp(text, "net:[", 5))
				continue;
			for (int k = 0; k < count && !known; k++)
				known = !strcmp(seen[k], text);
			if (known)
				continue;
			fd = check("open", openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC));
			nlh = request(buf, RTM_NEWNSID, 0);
			head = mnl_nlmsg_put_extra_header(nlh, sizeof(*head));
			head->rtgen_family = AF_UNSPEC;
			mnl_attr_put_u32(nlh, NETNSA_FD, (uint32_t)fd);
			mnl_attr_put_u32(nlh, NETNSA_NSID, (uint32_t)(i * MANY + count));
			if (!i)
				check("nsid", transact(nl, nlh));
			close(fd);
			strcpy(seen[count++], text);
		}
		closedir(dir);
		for (int k = 0; k < count; k++) {
			struct nlmsghdr *nlh = request(buf, RTM_GETLINK, NLM_F_DUMP);
			struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
			struct ifaddrmsg *address;

			link->ifi_family = AF_UNSPEC;
			mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
			mnl_attr_put_u32(nlh, IFLA_TARGET_NETNSID, (uint32_t)k);
			links += drain(nl, nlh, sizeof(*link), IFLA_IFNAME);
			nlh = request(buf, RTM_GETADDR, NLM_F_DUMP);
			address = mnl_nlmsg_put_extra_header(nlh, sizeof(*address));
			address->ifa_family = AF_UNSPEC;
			mnl_attr_put_u32(nlh, IFA_TARGET_NETNSID, (uint32_t)k);
			drain(nl, nlh, sizeof(*address), IFA_ADDRESS);
		}
	}
	if (!links || !checksum)
		die("no links");
	return now_ns() - start;
}

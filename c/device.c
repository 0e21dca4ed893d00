/* SPDX-License-Identifier: MIT */
/* device.c - the index of a link by its name: what routes and addresses ask for first, without all that is known of links. */
#include <errno.h>
#include <string.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include "netlink.h"

#define SKIP_STATS 8 /* RTEXT_FILTER_SKIP_STATS: counting takes longer than the rest */

struct question {
	struct nlmsghdr h;
	struct ifinfomsg head;
	struct nlattr mask_head;
	uint32_t mask;
	struct nlattr name_head;
	char name[IFNAMSIZ];
};

static int answer(lua_State *L, const struct nlmsghdr *h)
{
	struct ifinfomsg head;
	int error;

	if (h->nlmsg_type != NLMSG_ERROR && NLMSG_PAYLOAD(h, 0) >= sizeof(head)) {
		memcpy(&head, NLMSG_DATA(h), sizeof(head));
		lua_pushinteger(L, head.ifi_index);
		return 1;
	}
	error = nslua_netlink_error(h);
	if (error != ENODEV)
		return error ? nslua_netlink_fail(L, h) : nslua_failen(L, "netlink", EPROTO);
	lua_pushboolean(L, 0);
	return 1;
}

/* nl:index(name) -> index, or false where there is no such link; or nil, message, errno, extack.  The name has 1 to 15 bytes. */
int nslua_netlink_index(lua_State *L)
{
	struct nslua_netlink *s = nslua_netlink_use(L, 1, true);
	size_t n;
	const char *name = luaL_checklstring(L, 2, &n);
	struct question q = { .h.nlmsg_type = RTM_GETLINK, .h.nlmsg_flags = NLM_F_REQUEST, .h.nlmsg_pid = s->portid,
			      .mask_head = { sizeof(q.mask_head) + sizeof(q.mask), IFLA_EXT_MASK }, .mask = SKIP_STATS };
	struct iovec iov = { &q, 0 };

	luaL_argcheck(L, n > 0 && n < sizeof(q.name) && strlen(name) == n, 2, "1 to 15 bytes expected");
	q.h.nlmsg_seq = nslua_netlink_seq(s);
	memcpy(q.name, name, n);
	q.name_head.nla_len = (uint16_t)(sizeof(q.name_head) + n + 1);
	q.name_head.nla_type = IFLA_IFNAME;
	q.h.nlmsg_len = (uint32_t)(offsetof(struct question, name_head) + NLA_ALIGN(q.name_head.nla_len));
	iov.iov_len = q.h.nlmsg_len;
	if (nslua_netlink_send(L, s, &iov, 1) < 0)
		return nslua_fail(L, "netlink send");
	for (;;) {
		ssize_t got = nslua_netlink_recv(L, s, s->buffer, NL_BUFFER, -1);
		const uint8_t *p = s->buffer;
		size_t left = (size_t)(got > 0 ? got : 0);
		const struct nlmsghdr *h;

		if (got < 0)
			return nslua_fail(L, "netlink receive");
		while (nslua_netlink_next(&p, &left, &h))
			if (nslua_netlink_ours(s, h, q.h.nlmsg_seq) && h->nlmsg_type != NLMSG_NOOP)
				return answer(L, h);
	}
}

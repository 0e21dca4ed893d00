/* SPDX-License-Identifier: MIT */
/* extack.c - what the kernel says of a failed request: errno, text, the offending attribute, what its policy allows. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include "netlink.h"

/* linux/netlink.h of older headers lacks the later ones; the numbers are ABI. */
enum { ATTR_MSG = 1, ATTR_OFFS = 2, ATTR_POLICY = 4, ATTR_MISS_TYPE = 5, ATTR_MISS_NEST = 6 };
enum { POLICY_TYPE = 1, MIN_S = 2, MAX_S = 3, MIN_U = 4, MAX_U = 5, MIN_LENGTH = 6, MAX_LENGTH = 7, BITFIELD32 = 10, MASK = 12 };

int nslua_netlink_error(const struct nlmsghdr *h)
{
	int error = 0;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
		memcpy(&error, NLMSG_DATA(h), sizeof(error));
	if (error < -4095) /* MAX_ERRNO of the kernel */
		return EPROTO;
	return error < 0 ? -error : 0;
}

static uint64_t number(const struct nlattr *a)
{
	uint64_t v8 = 0;
	uint32_t v4;

	if (mnl_attr_get_payload_len(a) >= 8) {
		memcpy(&v8, mnl_attr_get_payload(a), 8);
		return v8;
	}
	if (mnl_attr_get_payload_len(a) < 4)
		return 0;
	memcpy(&v4, mnl_attr_get_payload(a), 4);
	return v4;
}

static void push_policy(lua_State *L, const struct nlattr *nest)
{
	static const char *const names[] = {
		[POLICY_TYPE] = "type", [MIN_S] = "min", [MAX_S] = "max", [MIN_U] = "min", [MAX_U] = "max",
		[MIN_LENGTH] = "min_length", [MAX_LENGTH] = "max_length", [BITFIELD32] = "mask", [MASK] = "mask",
	};
	const struct nlattr *a, *found[MASK + 1] = { NULL };
	char range[128] = "";

	lua_newtable(L);
	mnl_attr_for_each_nested(a, nest) {
		unsigned int type = mnl_attr_get_type(a);

		if (type > MASK || !names[type])
			continue;
		found[type] = a;
		if (type == MIN_S || type == MAX_S)
			lua_pushnumber(L, (lua_Number)(int64_t)number(a));
		else
			nslua_pushu64(L, number(a));
		lua_setfield(L, -2, names[type]);
	}
	if (found[MIN_U] && found[MAX_U])
		snprintf(range, sizeof(range), "%" PRIu64 " to %" PRIu64, number(found[MIN_U]), number(found[MAX_U]));
	else if (found[MIN_S] && found[MAX_S])
		snprintf(range, sizeof(range), "%" PRId64 " to %" PRId64, (int64_t)number(found[MIN_S]), (int64_t)number(found[MAX_S]));
	else if (found[MIN_LENGTH] && found[MAX_LENGTH] && number(found[MIN_LENGTH]) == number(found[MAX_LENGTH]))
		snprintf(range, sizeof(range), "%" PRIu64 " bytes", number(found[MAX_LENGTH]));
	else if (found[MIN_LENGTH] && found[MAX_LENGTH])
		snprintf(range, sizeof(range), "%" PRIu64 " to %" PRIu64 " bytes", number(found[MIN_LENGTH]), number(found[MAX_LENGTH]));
	else if (found[MAX_LENGTH])
		snprintf(range, sizeof(range), "at most %" PRIu64 " bytes", number(found[MAX_LENGTH]));
	else if (found[MIN_LENGTH])
		snprintf(range, sizeof(range), "at least %" PRIu64 " bytes", number(found[MIN_LENGTH]));
	else if (found[MASK] || found[BITFIELD32])
		snprintf(range, sizeof(range), "bits of 0x%" PRIx64, number(found[MASK] ? found[MASK] : found[BITFIELD32]));
	if (range[0]) {
		lua_pushstring(L, range);
		lua_setfield(L, -2, "range");
	}
}

/* Where the attributes start: in NLMSG_DONE after the int; in NLMSG_ERROR behind the request's header, or behind all of it. */
static size_t attributes(const struct nlmsghdr *h)
{
	struct nlmsgerr e;

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return 0;
	if (h->nlmsg_type == NLMSG_DONE)
		return sizeof(int);
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(e)))
		return 0;
	memcpy(&e, NLMSG_DATA(h), sizeof(e));
	if (h->nlmsg_flags & NLM_F_CAPPED)
		return sizeof(e);
	if (e.msg.nlmsg_len < sizeof(e.msg))
		return 0;
	return sizeof(e) + NLMSG_ALIGN(e.msg.nlmsg_len - sizeof(e.msg));
}

/*
 * { message=, offset=, policy = { type=, min=, max=, min_length=, max_length=, mask= }, range = "0 to 16777215", missing=, missing_nest= } or nil.
 * Offsets count from the payload of the request, as S:encode made it.
 */
void nslua_extack_push(lua_State *L, const struct nlmsghdr *h)
{
	size_t start = attributes(h);
	const void *first = (const char *)NLMSG_DATA(h) + start;
	const struct nlattr *attr;

	if (!start || NLMSG_LENGTH(start) > h->nlmsg_len) {
		lua_pushnil(L);
		return;
	}
	lua_newtable(L);
	/* to the message's last byte: mnl_attr_for_each goes on to its padding */
	mnl_attr_for_each_payload(first, NLMSG_PAYLOAD(h, start)) {
		switch (mnl_attr_get_type(attr)) {
		case ATTR_MSG:
			lua_pushlstring(L, mnl_attr_get_payload(attr), strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr)));
			lua_setfield(L, -2, "message");
			break;
		case ATTR_OFFS:
			lua_pushinteger(L, (lua_Integer)(uint32_t)number(attr) - NLMSG_HDRLEN);
			lua_setfield(L, -2, "offset");
			break;
		case ATTR_POLICY:
			push_policy(L, attr);
			lua_getfield(L, -1, "range");
			lua_setfield(L, -3, "range");
			lua_setfield(L, -2, "policy");
			break;
		case ATTR_MISS_TYPE:
			lua_pushinteger(L, (lua_Integer)(uint32_t)number(attr));
			lua_setfield(L, -2, "missing");
			break;
		case ATTR_MISS_NEST:
			lua_pushinteger(L, (lua_Integer)(uint32_t)number(attr) - NLMSG_HDRLEN);
			lua_setfield(L, -2, "missing_nest");
			break;
		}
	}
}

int nslua_netlink_fail(lua_State *L, const struct nlmsghdr *h)
{
	int n = nslua_failen(L, "netlink", nslua_netlink_error(h));

	nslua_extack_push(L, h);
	return n + 1;
}

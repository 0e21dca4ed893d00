/* SPDX-License-Identifier: MIT */
/*
 * netlink_faults.c - a recvmsg(2) and a sendmsg(2) for LD_PRELOAD that make the kernel's rare answers happen, for netlink_faults_spec.
 * NSLUA_FAULT is "name:count": the fault happens in the first `count` calls it applies to.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int fault(const char *name)
{
	static int left = -1;
	const char *set = getenv("NSLUA_FAULT");
	size_t n = strlen(name);

	if (!set || strncmp(set, name, n) || set[n] != ':')
		return 0;
	if (left < 0)
		left = atoi(set + n + 1);
	return left > 0 ? left-- : 0;
}

static struct nlmsghdr *last_of(void *buf, size_t n, int type)
{
	size_t at = 0;
	struct nlmsghdr *found = NULL;

	while (at + sizeof(struct nlmsghdr) <= n) {
		struct nlmsghdr *h = (void *)((char *)buf + at);

		if (h->nlmsg_len < sizeof(*h))
			break;
		if (h->nlmsg_type == type)
			found = h;
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
	return found;
}

/* Put an extack text behind the last message of a datagram, whose payload is `payload` bytes. */
static ssize_t add_text(struct nlmsghdr *h, size_t payload, void *buf, const char *text)
{
	struct nlattr *a = (void *)((char *)NLMSG_DATA(h) + payload);

	a->nla_len = (unsigned short)(NLA_HDRLEN + strlen(text) + 1);
	a->nla_type = NLMSGERR_ATTR_MSG;
	strcpy((char *)a + NLA_HDRLEN, text);
	h->nlmsg_flags |= NLM_F_ACK_TLVS;
	h->nlmsg_len = (unsigned int)(NLMSG_LENGTH(payload) + NLA_ALIGN(a->nla_len));
	return (char *)h - (char *)buf + h->nlmsg_len;
}

static int is_netlink(int fd)
{
	int domain = 0;
	socklen_t n = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_NETLINK;
}

/* A kernel that echoes nothing is one that was never asked to (of links: before Linux 6.2). */
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
	struct nlmsghdr *h = m->msg_iov[0].iov_base;

	if (is_netlink(fd) && (h->nlmsg_flags & NLM_F_ECHO) && fault("noecho"))
		h->nlmsg_flags &= (unsigned short)~NLM_F_ECHO;
	return real(fd, m, flags);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t (*real)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
	struct nlmsghdr *h;
	ssize_t n;
	void *buf;

	if (!is_netlink(fd))
		return real(fd, m, flags);
	if (fault("eintr")) {
		errno = EINTR;
		return -1;
	}
	if (fault("silent")) {
		errno = EAGAIN;
		return -1;
	}
	if (fault("nobufs")) {
		real(fd, m, flags); /* what was lost */
		errno = ENOBUFS;
		return -1;
	}
	n = real(fd, m, flags);
	if (n <= 0)
		return n;
	buf = m->msg_iov[0].iov_base;
	if ((h = last_of(buf, (size_t)n, NLMSG_DONE)) && fault("interrupted"))
		h->nlmsg_flags |= NLM_F_DUMP_INTR;
	if (h && fault("done")) {
		*(int *)NLMSG_DATA(h) = -EINVAL;
		return add_text(h, sizeof(int), buf, "done badly");
	}
	if (h && fault("vanished")) {
		*(int *)NLMSG_DATA(h) = -ENOENT;
		return n;
	}
	if ((h = last_of(buf, (size_t)n, NLMSG_ERROR)) && fault("warning")) {
		h->nlmsg_flags |= NLM_F_CAPPED;
		return add_text(h, sizeof(struct nlmsgerr), buf, "mind the gap");
	}
	if (h && fault("uncapped")) {
		/* as without NETLINK_CAP_ACK: the request's payload stands in front of the text */
		struct nlmsgerr *e = NLMSG_DATA(h);

		h->nlmsg_flags &= (unsigned short)~NLM_F_CAPPED;
		e->msg.nlmsg_len = NLMSG_LENGTH(6);
		memset(e + 1, 'x', 8);
		return add_text(h, sizeof(*e) + 8, buf, "behind it");
	}
	if (fault("truncated"))
		m->msg_flags |= MSG_TRUNC;
	if (fault("forged")) {
		/* a message of another process, that looks as the kernel's answer; the real one stays in the queue */
		((struct sockaddr_nl *)m->msg_name)->nl_pid = 4242;
		return n;
	}
	return n;
}

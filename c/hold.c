/* SPDX-License-Identifier: MIT */
/*
 * hold.c - a keeper at work: it waits for the end of the script and holds the namespaces of a lab.  Those it gives to whoever asks on the socket of the
 * lab's name and is the same user, or may claim to be (root).  No malloc, no stdio: servant.h says why.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "hold.h"

#define PEERS 32     /* conversations at the same time */
#define BACKLOG 64
#define MOST 1048576 /* fds: fs.nr_open, unless somebody raised it */
enum { HOST, SOCK, LISTENER, FIXED };

struct peer {
	int fd;        /* -1: free */
	int known;     /* it may ask */
	uint32_t turn; /* when it came */
};

struct holder {
	int kept;
	int *fds;
	uint32_t n, most, turn;
	struct pollfd p[FIXED + PEERS]; /* host, sock, listener, then those of the peers */
	struct peer peers[PEERS];
};

void nslua_hold_attach(struct msghdr *m, union nslua_hold_control *control, const int *fds, int n)
{
	struct cmsghdr *c = &control->align; /* the first, as CMSG_FIRSTHDR gives it */

	if (!n)
		return;
	memset(control, 0, sizeof(*control));
	m->msg_control = control->buf;
	m->msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
}

int nslua_hold_detach(struct msghdr *m, int *fds)
{
	int n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
	}
	return n;
}

/* The user that a message's credentials are of; -1: it has none. */
static uid_t sender(struct msghdr *m)
{
	struct ucred u = { .uid = (uid_t)-1 };

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&u, CMSG_DATA(c), sizeof(u));
	return u.uid;
}

static int answer(const struct holder *h, int fd, int en, const int *fds, int n)
{
	struct nslua_hold_answer a = { HOLD_MAGIC, en, h->n, (uint32_t)h->kept };
	union nslua_hold_control control;
	struct iovec iov = { &a, sizeof(a) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	nslua_hold_attach(&m, &control, fds, n);
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(a) ? 0 : -1;
}

static void drop(struct holder *h, int i)
{
	close(h->peers[i].fd);
	h->peers[i].fd = h->p[FIXED + i].fd = -1;
}

static void drop_script(struct holder *h)
{
	close(h->p[SOCK].fd);
	h->p[SOCK].fd = -1;
}

/* A place for one more: where all are taken, that of the oldest stranger, else of the oldest. */
static int place(struct holder *h)
{
	int best = 0;

	for (int i = 0; i < PEERS; i++) {
		const struct peer *a = &h->peers[i], *b = &h->peers[best];

		if (a->fd < 0)
			return i;
		if (a->known < b->known || (a->known == b->known && a->turn < b->turn))
			best = i;
	}
	drop(h, best);
	return best;
}

static void welcome(struct holder *h)
{
	int fd = accept4(h->p[LISTENER].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i;
	struct ucred u;
	socklen_t len = sizeof(u);
	int on = 1;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			poll(NULL, 0, 50); /* it stays readable: not in a circle */
		return;
	}
	i = place(h);
	h->peers[i] = (struct peer){ .fd = fd, .turn = h->turn++ };
	h->p[FIXED + i].fd = fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0)
		h->peers[i].known = u.uid == geteuid();
	/* Root of the machine has no id in a user namespace of somebody else: it says whom it stands for, and the kernel sees to it that it may. */
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

/* Everything in our pid namespace, then this process, which nothing can be left in without. */
static void end(void)
{
	kill(-1, SIGKILL);
	_exit(0);
}

static void give(const struct holder *h, int fd, uint32_t first)
{
	uint32_t n = first < h->n ? h->n - first : 0;

	answer(h, fd, 0, h->fds + (n ? first : 0), (int)(n < HOLD_FDS ? n : HOLD_FDS));
}

/* One request of another process; what is wrong ends the conversation. */
static void serve_peer(struct holder *h, int i)
{
	struct nslua_hold_request q;
	union nslua_hold_control control;
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct peer *peer = &h->peers[i];
	int fds[HOLD_FDS + 3];
	ssize_t n = recvmsg(peer->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n >= 0)
		for (int left = nslua_hold_detach(&m, fds); left > 0; left--)
			close(fds[left - 1]); /* nobody asked for these */
	if (n != (ssize_t)sizeof(q) || q.magic != HOLD_MAGIC) {
		drop(h, i);
		return;
	}
	peer->known |= sender(&m) == geteuid();
	if (!peer->known) {
		answer(h, peer->fd, EACCES, NULL, 0);
		drop(h, i);
	} else if (q.op == HOLD_GET) {
		give(h, peer->fd, q.first);
	} else if (q.op == HOLD_END) {
		answer(h, peer->fd, h->kept ? 0 : EBUSY, NULL, 0);
		if (h->kept)
			end();
	} else {
		answer(h, peer->fd, EINVAL, NULL, 0);
	}
}

static int take(struct holder *h, const int *fds, int n)
{
	if (h->n + (uint32_t)n > h->most)
		return EMFILE;
	memcpy(h->fds + h->n, fds, sizeof(int) * (size_t)n);
	h->n += (uint32_t)n;
	return 0;
}

static int tell(struct holder *h, int fd)
{
	if (!h->n)
		return ENOENT;
	close(h->fds[0]);
	h->fds[0] = fd;
	return 0;
}

static int serve(struct holder *h, int fd)
{
	int on = 1;

	if (h->p[LISTENER].fd >= 0)
		return EBUSY;
	/* Here, not in the script: the credentials of who listens are what others see. */
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 || listen(fd, BACKLOG) < 0)
		return errno;
	h->p[LISTENER].fd = fd;
	return 0;
}

/* The commit: from here on the script's end is not ours. */
static int keep(struct holder *h)
{
	if (prctl(PR_SET_PDEATHSIG, 0) < 0)
		return errno;
	h->kept = 1;
	close(h->p[HOST].fd);
	h->p[HOST].fd = -1;
	return 0;
}

/* One request of the script and its answer; 0: it is gone. */
static int serve_script(struct holder *h)
{
	struct nslua_hold_request q;
	union nslua_hold_control control;
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	int fds[HOLD_FDS + 3], count, en = EINVAL, sock = h->p[SOCK].fd;
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n != (ssize_t)sizeof(q) || q.magic != HOLD_MAGIC)
		return 0;
	count = nslua_hold_detach(&m, fds);
	if (m.msg_flags & MSG_CTRUNC) /* the kernel drops fds that do not fit */
		en = EMFILE;
	else if (q.op == HOLD_TAKE)
		en = take(h, fds, count);
	else if (q.op == HOLD_SERVE && count == 1)
		en = serve(h, fds[0]);
	else if (q.op == HOLD_KEEP)
		en = keep(h);
	else if (q.op == HOLD_TELL && count == 1)
		en = tell(h, fds[0]);
	for (int i = 0; en && i < count; i++)
		close(fds[i]);
	return answer(h, sock, en, NULL, 0) == 0;
}

static void prepare(struct holder *h, int sock, int host)
{
	struct rlimit r = { 1024, 1024 };

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	h->fds = mmap(NULL, MOST * sizeof(int), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	/* Some are for the conversations, and for what comes with them. */
	h->most = h->fds == MAP_FAILED || r.rlim_cur < 512 ? 0 : (uint32_t)(r.rlim_cur < MOST ? r.rlim_cur : MOST) - PEERS - HOLD_FDS - 16;
	for (int i = 0; i < FIXED + PEERS; i++)
		h->p[i] = (struct pollfd){ -1, POLLIN, 0 };
	for (int i = 0; i < PEERS; i++)
		h->peers[i].fd = -1;
	h->p[HOST].fd = host;
	h->p[SOCK].fd = sock;
}

void nslua_hold(int sock, int host)
{
	struct holder h = { 0 };

	prepare(&h, sock, host);
	for (;;) {
		if (poll(h.p, FIXED + PEERS, -1) <= 0)
			continue;
		if (h.p[HOST].revents && !h.kept)
			return;
		if (h.p[SOCK].fd >= 0 && h.p[SOCK].revents && !serve_script(&h)) {
			if (!h.kept)
				return;
			drop_script(&h);
		}
		for (int i = 0; i < PEERS; i++)
			if (h.peers[i].fd >= 0 && h.p[FIXED + i].revents)
				serve_peer(&h, i);
		if (h.p[LISTENER].fd >= 0 && h.p[LISTENER].revents)
			welcome(&h);
	}
}

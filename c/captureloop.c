/* SPDX-License-Identifier: MIT */
/*
 * captureloop.c - the process that writes packets into a file of pcapng: packet sockets of many namespaces, each with a ring that the kernel fills
 * (TPACKET_V3), so that a packet is copied once more at the most.  It is a servant: no malloc, no stdio.
 * https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html, packet(7)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "capture.h"
#include "captureblock.h"
#include "packet.h"

#define MOST 4096     /* interfaces */
#define RELEASES 512  /* blocks of rings that wait for a flush */
#define ENOUGH 131072 /* bytes: the rest may wait, but the kernel could fill the block meanwhile */
#define NOTES 65536
#define MARKS 64

struct source {
	int fd;
	int network;
	uint8_t *ring;
	uint32_t block_size, blocks, at; /* of the next block to look at */
	uint32_t held; /* blocks that are ours */
	struct tpacket_block_desc *block; /* being read; NULL: none */
	struct tpacket3_hdr *packet;
	uint32_t left; /* packets in it, with this */
	uint64_t seen; /* packets from the ring */
	uint64_t received, dropped; /* as the kernel counts */
	uint64_t packets, bytes;
};

/* A comment is for the first packet from that time on. */
struct mark {
	uint64_t from;
	size_t end; /* in the notes */
};

struct loop {
	int sock, host, epoll, event;
	struct nslua_capture_request output;
	struct nslua_captureout out;
	int opened, done;
	struct source *sources;
	uint32_t count;
	struct tpacket_block_desc *release[RELEASES];
	struct source *release_of[RELEASES];
	uint32_t releases;
	struct nslua_capture_counters total;
	uint64_t started;
	uint8_t *notes; /* comments, as options */
	size_t notes_used;
	struct mark marks[MARKS]; /* one for each */
	uint32_t marked;
	uint8_t *payload;
	int stopping; /* rounds of patience with a reader that takes nothing; 0: no end is asked for */
};

/* Write, and give the blocks back to the kernel. */
static void flush(struct loop *l)
{
	uint32_t gathered = l->out.gathered + l->out.early, lost = nslua_captureout_flush(&l->out);
	uint64_t one = 1;

	l->total.unwritten += lost + l->out.early_lost;
	l->out.early = l->out.early_lost = 0;
	for (uint32_t i = 0; i < l->releases; i++) {
		l->release_of[i]->held--;
		__atomic_store_n(&l->release[i]->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
	l->releases = 0;
	if ((gathered || l->out.failed) && l->event >= 0 && write(l->event, &one, sizeof(one)) < 0)
		l->event = -1;
	if (l->out.failed)
		l->done = 1;
}

static struct tpacket_block_desc *block_at(const struct source *s, uint32_t after)
{
	return (struct tpacket_block_desc *)(void *)(s->ring + (size_t)((s->at + after) % s->blocks) * s->block_size);
}

static int is_full(const struct source *s, uint32_t after)
{
	return __atomic_load_n(&block_at(s, after)->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The block of a ring that is read next, where the kernel has filled it. */
static int open_block(struct source *s)
{
	if (s->block)
		return 1;
	if (s->held == s->blocks || !is_full(s, 0))
		return 0;
	s->block = block_at(s, 0);
	s->at = (s->at + 1) % s->blocks;
	s->held++;
	s->left = s->block->hdr.bh1.num_pkts;
	s->packet = (struct tpacket3_hdr *)(void *)((uint8_t *)s->block + s->block->hdr.bh1.offset_to_first_pkt);
	return 1;
}

static void close_block(struct loop *l, struct source *s)
{
	if (l->releases == RELEASES)
		flush(l);
	l->release[l->releases] = s->block;
	l->release_of[l->releases++] = s;
	s->block = NULL;
	if (l->out.total >= ENOUGH)
		flush(l);
}

static void forget_comments(struct loop *l, uint32_t marks)
{
	size_t size = l->marks[marks - 1].end;

	memmove(l->notes, l->notes + size, l->notes_used - size);
	l->notes_used -= size;
	for (uint32_t i = marks; i < l->marked; i++)
		l->marks[i - marks] = (struct mark){ l->marks[i].from, l->marks[i].end - size };
	l->marked -= marks;
}

static void emit(struct loop *l, struct source *s)
{
	struct nslua_captureblock b;
	uint32_t marks = 0;

	nslua_captureblock_read(s->packet, s->network, l->output.snaplen, &b);
	while (marks < l->marked && l->marks[marks].from <= b.when)
		marks++;
	if (marks)
		nslua_captureblock_notes(&b, l->notes, l->marks[marks - 1].end);
	if (nslua_captureout_over(&l->out, b.total)) {
		flush(l);
		if (!l->out.failed)
			nslua_captureout_next(&l->out);
	}
	if (nslua_captureout_full(&l->out, b.notes_len + CAPTUREOUT_SMALL + 256, 6))
		flush(l);
	nslua_captureblock_put(&l->out, (uint32_t)(s - l->sources), &b);
	if (marks)
		forget_comments(l, marks);
	s->packets++;
	s->bytes += b.original;
	l->total.packets++;
	l->total.bytes += b.original;
	l->out.packets++;
	l->out.gathered++;
	if (l->output.count && l->total.packets >= l->output.count)
		l->done = 1;
}

static void advance(struct loop *l, struct source *s)
{
	s->seen++;
	if (--s->left)
		s->packet = (struct tpacket3_hdr *)(void *)((uint8_t *)s->packet + s->packet->tp_next_offset);
	else
		close_block(l, s);
}

/* Whether a ring fills up: the block in the middle of what is free is full. */
static int is_pressed(const struct loop *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		const struct source *s = &l->sources[i];
		uint32_t free = s->blocks - s->held;

		if (s->block && (!free || is_full(s, free / 2)))
			return 1;
	}
	return 0;
}

/* The source with the oldest packet, and the time of the next one of another. */
static struct source *oldest(struct loop *l, uint64_t *other)
{
	struct source *first = NULL;
	uint64_t least = UINT64_MAX;

	*other = UINT64_MAX;
	for (uint32_t i = 0; i < l->count; i++) {
		struct source *s = &l->sources[i];
		uint64_t when;

		while (open_block(s) && !s->left)
			close_block(l, s);
		if (!s->block)
			continue;
		when = nslua_captureblock_time(s->packet);
		if (!first || when < least) {
			*other = least;
			least = when;
			first = s;
		} else if (when < *other) {
			*other = when;
		}
	}
	return first;
}

/*
 * Write what the rings have, the oldest first.  Rings are given to us one after the other: what is younger than `until` waits for the others,
 * unless a ring fills up.  Whether something waits.
 */
static int take(struct loop *l, uint64_t until)
{
	struct source *s;
	uint64_t other;

	while (!l->done && (s = oldest(l, &other)) != NULL) {
		const struct tpacket_block_desc *b = s->block;

		if (nslua_captureblock_time(s->packet) > until && !is_pressed(l)) {
			flush(l);
			return 1;
		}
		do {
			emit(l, s);
			advance(l, s);
		} while (!l->done && s->block == b && nslua_captureblock_time(s->packet) <= other && nslua_captureblock_time(s->packet) <= until);
	}
	flush(l);
	return 0;
}

static void count_drops(struct source *s)
{
	struct tpacket_stats_v3 st;
	socklen_t size = sizeof(st);

	if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &size) < 0)
		return;
	s->received += st.tp_packets; /* with those that were dropped */
	s->dropped += st.tp_drops;
}

static void count_all(struct loop *l)
{
	l->total.dropped = 0;
	for (uint32_t i = 0; i < l->count; i++) {
		count_drops(&l->sources[i]);
		l->total.dropped += l->sources[i].dropped;
	}
}

/* Packets of a source that are there, read or not. */
static uint64_t there(const struct source *s)
{
	uint64_t n = s->seen + (s->block ? s->left : 0);

	for (uint32_t k = 0; k < s->blocks - s->held && is_full(s, k); k++)
		n += block_at(s, k)->hdr.bh1.num_pkts;
	return n;
}

/* Take all that was received until now.  The kernel gives a block that is not full after its time (PACKET_RX_RING's), which is waited for. */
static void drain(struct loop *l)
{
	const struct timespec moment = { 0, 1000000 };
	uint64_t end = nslua_realtime() + 2000000000u;
	int missing;

	count_all(l);
	do {
		missing = 0;
		for (uint32_t i = 0; i < l->count && !missing; i++)
			missing = there(&l->sources[i]) < l->sources[i].received - l->sources[i].dropped;
		if (missing)
			nanosleep(&moment, NULL);
	} while (missing && nslua_realtime() < end);
	take(l, UINT64_MAX);
}

/* What was counted at each interface, and comments that found no packet. */
static void put_statistics(struct loop *l)
{
	struct nslua_capture_statistics t = { .started = l->started, .now = nslua_realtime() };

	for (uint32_t i = 0; i < l->count && !l->out.failed; i++) {
		t.received = l->sources[i].received;
		t.dropped = l->sources[i].dropped;
		t.notes = l->notes;
		t.notes_len = i == 0 ? l->notes_used : 0;
		if (nslua_captureout_full(&l->out, nslua_captureblock_statistics_size(&t), 1))
			flush(l);
		nslua_captureblock_statistics(&l->out, i, &t);
	}
	flush(l);
}

static void stop(struct loop *l)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { 1, &none };
	int ended = l->done;

	if (!l->opened)
		return;
	for (uint32_t i = 0; i < l->count; i++)
		setsockopt(l->sources[i].fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	if (!ended)
		drain(l);
	else
		count_all(l);
	put_statistics(l);
	nslua_captureout_close(&l->out);
	for (uint32_t i = 0; i < l->count; i++) {
		close(l->sources[i].fd);
		l->sources[i].fd = -1;
	}
	l->opened = 0;
	l->done = 1;
}

static int add(struct loop *l, const struct nslua_capture_request *q, int fd, size_t len, const char **step)
{
	struct source *s = &l->sources[l->count];
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)q->ifindex };
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u32 = l->count }; /* blocks that are held stay readable */

	int en;

	*step = "write";
	errno = l->out.failed ? l->out.failed : EBADF;
	if (!l->opened)
		return -1;
	*step = "too many interfaces";
	errno = ENFILE;
	if (l->count == MOST)
		return -1;
	*step = "memory of the ring";
	s->ring = mmap(NULL, (size_t)q->block_size * q->blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->ring == MAP_FAILED)
		return -1;
	s->fd = fd;
	s->network = (int)q->network;
	s->block_size = q->block_size;
	s->blocks = q->blocks;
	*step = "epoll";
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		goto fail;
	*step = "bind";
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		goto fail;
	*step = "pcapng";
	errno = l->out.failed ? l->out.failed : ENOSPC;
	if (nslua_captureout_head(&l->out, l->payload, len) < 0)
		goto fail;
	l->count++;
	return 0;
fail:
	en = errno;
	munmap(s->ring, (size_t)q->block_size * q->blocks);
	errno = en;
	return -1;
}

static int comment(struct loop *l, const struct nslua_capture_request *q, size_t len)
{
	size_t padding = (4 - len % 4) % 4, whole = 4 + len + padding;
	uint16_t head[2] = { 1, (uint16_t)len };

	errno = ENOSPC;
	if (len > 65535 || l->notes_used + whole > NOTES || l->marked == MARKS)
		return -1;
	memcpy(l->notes + l->notes_used, head, sizeof(head));
	memcpy(l->notes + l->notes_used + 4, l->payload, len);
	memset(l->notes + l->notes_used + 4 + len, 0, padding);
	l->notes_used += whole;
	l->marks[l->marked++] = (struct mark){ q->now, l->notes_used };
	return 0;
}

/* Whether to go on waiting for a reader who takes nothing. */
static int stalled(void *arg)
{
	struct loop *l = arg;
	struct pollfd p[2] = { { l->host, POLLIN, 0 }, { l->sock, POLLIN, 0 } };
	struct nslua_capture_request q;

	poll(p, 2, 0);
	if (p[0].revents)
		return 0;
	if (p[1].revents) {
		ssize_t n = recv(l->sock, &q, sizeof(q), MSG_PEEK | MSG_DONTWAIT);

		if (n <= 0 || q.op == CAPTURE_STOP)
			l->stopping++;
	}
	return l->stopping < 10; /* a second */
}

static int open_output(struct loop *l, const struct nslua_capture_request *q, const int *fds, const char **step)
{
	*step = "output";
	errno = EBUSY;
	if (l->opened)
		return -1;
	l->output = *q;
	l->event = fds[1];
	l->out.stalled = stalled;
	l->out.arg = l;
	if (nslua_captureout_open(&l->out, &l->output, fds[0]) < 0)
		return -1;
	l->opened = 1;
	l->started = nslua_realtime();
	return 0;
}

static int serve(struct loop *l, const struct nslua_capture_request *q, const int *fds, size_t len, struct nslua_capture_answer *a, const char **step)
{
	int rc = 0;

	switch (q->op) {
	case CAPTURE_OUTPUT:
		return open_output(l, q, fds, step);
	case CAPTURE_ADD:
		rc = add(l, q, fds[0], len, step);
		flush(l); /* who reads live learns of it */
		break;
	case CAPTURE_BLOCK:
		*step = "pcapng";
		errno = l->out.failed ? l->out.failed : ENOSPC;
		rc = l->opened ? nslua_captureout_head(&l->out, l->payload, len) : -1;
		flush(l);
		break;
	case CAPTURE_COMMENT:
		*step = "comment";
		return comment(l, q, len);
	case CAPTURE_SYNC:
		if (l->opened && !l->done)
			drain(l);
		break;
	case CAPTURE_STOP:
		stop(l);
		break;
	case CAPTURE_INTERFACE:
		*step = "interface";
		errno = ENOENT;
		if (q->number >= l->count)
			return -1;
		if (l->opened)
			count_drops(&l->sources[q->number]);
		a->counters = (struct nslua_capture_counters){ l->sources[q->number].packets, l->sources[q->number].bytes,
			l->sources[q->number].dropped, 0 };
		return 0;
	case CAPTURE_COUNTERS:
		break;
	}
	if (l->opened)
		count_all(l);
	a->counters = l->total;
	a->failed = l->out.failed;
	a->done = l->done;
	a->files = l->out.made;
	a->interfaces = l->count;
	return rc;
}

/* The fds of a message; how many. */
static int rights(struct msghdr *m, int *fds)
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

/* One request and its answer; 0: the script is gone. */
static int converse(struct loop *l)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct nslua_capture_request q;
	struct nslua_capture_answer a = { 0 };
	struct iovec iov[2] = { { &q, sizeof(q) }, { l->payload, NSLUA_CAPTURE_PAYLOAD } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	const char *step = "receive sockets";
	ssize_t n = recvmsg(l->sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fds[2] = { -1, -1 }, count;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n < (ssize_t)sizeof(q))
		return 0;
	count = rights(&m, fds);
	if (count < (q.op == CAPTURE_OUTPUT ? 2 : q.op == CAPTURE_ADD ? 1 : 0)) { /* the kernel drops fds that do not fit */
		a.en = EMFILE;
		if (count)
			close(fds[0]);
	} else if (serve(l, &q, fds, (size_t)n - sizeof(q), &a, &step) < 0) {
		a.en = errno;
		for (int i = 0; i < count; i++)
			close(fds[i]);
	}
	for (size_t i = 0; a.en && step[i] && i + 1 < sizeof(a.step); i++)
		a.step[i] = step[i];
	return send(l->sock, &a, sizeof(a), MSG_NOSIGNAL) == (ssize_t)sizeof(a);
}

static int watch(const struct loop *l, int fd, uint32_t what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e);
}

#define SOCK (MOST + 1)
#define HOST (MOST + 2)

static int prepare(struct loop *l)
{
	size_t sources = MOST * sizeof(struct source);
	struct rlimit r;
	uint8_t *p;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	p = mmap(NULL, sources + NOTES + NSLUA_CAPTURE_PAYLOAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p == MAP_FAILED || l->epoll < 0)
		return -1;
	l->sources = (struct source *)(void *)p;
	l->notes = p + sources;
	l->payload = l->notes + NOTES;
	return watch(l, l->sock, SOCK) < 0 || watch(l, l->host, HOST) < 0 ? -1 : 0;
}

/* A link that goes down or away says so once. */
static void clear_error(const struct source *s)
{
	int error;
	socklen_t size = sizeof(error);

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

void nslua_captureloop(int sock, int host)
{
	struct loop l = { .sock = sock, .host = host, .event = -1 };
	struct epoll_event events[64];

	if (prepare(&l) < 0)
		return; /* the script finds that it has ended */
	for (;;) {
		uint64_t hold = l.count > 1 ? (uint64_t)l.output.hold * 1000000u : 0;
		int waits = 0, n, asked = 0;

		if (l.opened && !l.done)
			waits = take(&l, hold ? nslua_realtime() - hold : UINT64_MAX);
		if (l.done && l.opened) {
			stop(&l);
			flush(&l); /* says that it has ended */
		}
		n = epoll_wait(l.epoll, events, sizeof(events) / sizeof(events[0]), waits ? (int)(l.output.hold / 4 + 1) : -1);
		for (int i = 0; i < n; i++) {
			uint32_t what = events[i].data.u32;

			if (what == HOST)
				return;
			if (what == SOCK)
				asked = 1;
			else if (events[i].events & EPOLLERR)
				clear_error(&l.sources[what]);
		}
		if (asked && !converse(&l)) {
			stop(&l);
			return;
		}
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * wireloop.c - the process that carries frames between TAP devices or packet sockets: one thread, one epoll, one queue of what is on its way.  It is a servant: no
 * malloc, no stdio.  The devices live as long as their fds here, and so end with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include "frame.h"
#include "wire.h"
#include "wiredevice.h"
#include "wirequeue.h"
#include "wirestep.h"

#define TURN 64    /* frames that one device gives before the next one's turn */
#define RING 16384 /* at the most so many frames wait in a device when its impairment changes */

struct direction {
	struct wire *wire;
	int in, out; /* fds */
	int packet;  /* `in` is a packet socket, not a TAP device */
	struct nslua_impair impair;
	struct nslua_wire_counters count;
};

struct wire {
	struct wire *next;
	uint32_t id;
	int up;
	int silent; /* a step says so: nothing gets through, and the carrier stays */
	struct direction way[2]; /* from the first end, from the second */
};

struct loop {
	int epoll, timer, sock;
	int host; /* -1: the script is told to be outlived */
	uint64_t armed; /* what the timer is set to; 0: not */
	struct wire *wires;
	struct nslua_steps steps;
	struct nslua_wirequeue queue;
	struct nslua_frames frames;
	uint8_t *buf, *spare;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Give a frame to the other end.  A device that is down takes none (EIO). */
static void give(struct direction *d, const uint8_t *data, size_t len)
{
	if (write(d->out, data, len) == (ssize_t)len) {
		d->count.sent++;
		d->count.bytes += len - NSLUA_VNET;
	} else {
		d->count.down++;
	}
}

static void give_due(struct loop *l, uint64_t now)
{
	while (l->queue.n && l->queue.heap[0].due <= now) {
		struct nslua_waiting w = nslua_wirequeue_take(&l->queue);
		struct direction *d = w.owner;

		d->count.queued--;
		d->count.queued_bytes -= w.frame->len - NSLUA_VNET;
		give(d, w.frame->data, w.frame->len);
		nslua_frames_put(&l->frames, w.frame);
	}
}

static int is_full(const struct direction *d, size_t size)
{
	const struct nslua_impairment *s = &d->impair.set;

	return d->count.queued >= s->limit || (s->limit_bytes && d->count.queued_bytes + size > s->limit_bytes);
}

/* Let a frame wait until it is due. */
static void put(struct loop *l, struct direction *d, const uint8_t *data, size_t len, uint64_t due, uint64_t ready)
{
	struct nslua_frame *f = nslua_frames_get(&l->frames, data, len);

	if (!f || nslua_wirequeue_add(&l->queue, due, ready, f, d) < 0) {
		if (f)
			nslua_frames_put(&l->frames, f);
		d->count.limited++;
		return;
	}
	d->count.queued++;
	d->count.queued_bytes += len - NSLUA_VNET;
}

static void carry(struct loop *l, struct direction *d, const uint8_t *data, size_t len, uint64_t now)
{
	const struct nslua_impairment *s = &d->impair.set;
	size_t size = len - NSLUA_VNET;
	struct nslua_fate fate;
	uint64_t due;

	d->count.taken++;
	if (!d->wire->up || d->wire->silent) {
		d->count.down++;
		return;
	}
	nslua_impair_draw(&d->impair, s->each_packet || s->jitter ? nslua_frame_flow(data + NSLUA_VNET, size) : 0, &fate);
	d->count.lost += (uint64_t)fate.lost;
	d->count.duplicated += (uint64_t)fate.duplicated;
	for (int i = 0; i < fate.copies; i++) {
		if (is_full(d, size)) {
			d->count.limited++;
			continue;
		}
		due = nslua_impair_due(&d->impair, size, fate.copy[i].delay, fate.copy[i].first, now);
		if (fate.copy[i].first)
			d->count.reordered++;
		if (fate.copy[i].corrupt) {
			d->count.corrupted++;
			memcpy(l->spare, data, len); /* another copy may follow */
			nslua_frame_corrupt(l->spare, len, fate.copy[i].bit);
		}
		if (due > now || (d->count.queued && !fate.copy[i].first))
			put(l, d, fate.copy[i].corrupt ? l->spare : data, len, due, now + fate.copy[i].delay);
		else
			give(d, fate.copy[i].corrupt ? l->spare : data, len);
	}
}

/* Take what a device has, `most` frames at the most; whether there may be more. */
static int take(struct loop *l, struct direction *d, int most)
{
	for (int i = 0; i < most; i++) {
		ssize_t n = nslua_wiredevice_get(d->in, d->packet, l->buf);

		if (n < 0)
			return 0;
		if (n > (ssize_t)(NSLUA_VNET + 14))
			carry(l, d, l->buf, (size_t)n, clock_ns());
	}
	return 1;
}

static int offload(const struct direction *d, int each_packet)
{
	return d->packet ? 0 : nslua_wiredevice_offload(d->in, each_packet);
}

static int carrier(const struct direction *d, int up)
{
	return d->packet ? 0 : nslua_wiredevice_carrier(d->in, up);
}

/* What a packet socket could not hold was dropped before it came here: told once by the kernel. */
static void count_drops(struct direction *d)
{
	struct tpacket_stats s;
	socklen_t size = sizeof(s);

	if (!d->packet || getsockopt(d->in, SOL_PACKET, PACKET_STATISTICS, &s, &size) < 0)
		return;
	d->count.taken += s.tp_drops;
	d->count.limited += s.tp_drops;
}

static int watch(const struct loop *l, int fd, void *what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e);
}

static struct wire *find(const struct loop *l, uint32_t id)
{
	struct wire *w = l->wires;

	while (w && w->id != id)
		w = w->next;
	return w;
}

struct fall {
	struct loop *loop;
	struct direction *way;
};

static void drop(void *arg, struct nslua_frame *f)
{
	struct fall *fall = arg;

	fall->way->count.down++;
	nslua_frames_put(&fall->loop->frames, f);
}

static void purge(struct loop *l, struct direction *d)
{
	struct fall fall = { l, d };

	nslua_wirequeue_purge(&l->queue, d, drop, &fall);
	d->impair.free_at = 0;
	d->count.queued = d->count.queued_bytes = 0;
}

static void unlink_wire(struct loop *l, const struct wire *w)
{
	struct wire **p = &l->wires;

	while (*p && *p != w)
		p = &(*p)->next;
	if (*p)
		*p = w->next;
}

/* The devices go with their fds. */
static void drop_wire(struct loop *l, struct wire *w)
{
	unlink_wire(l, w);
	nslua_steps_forget(&l->steps, w);
	for (int i = 0; i < 2; i++) {
		purge(l, &w->way[i]);
		close(w->way[i].in);
	}
	munmap(w, sizeof(*w));
}

static int add_wire(struct loop *l, const struct nslua_wire_request *q, const int *fds, const char **step)
{
	struct wire *w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int en;

	*step = "mmap";
	if (w == MAP_FAILED) {
		en = errno;
		close(fds[0]);
		close(fds[1]);
		errno = en;
		return -1;
	}
	w->id = q->id;
	w->up = 1;
	w->next = l->wires;
	l->wires = w;
	for (int i = 0; i < 2; i++) {
		w->way[i].wire = w;
		w->way[i].in = fds[i];
		w->way[i].out = fds[!i];
		nslua_impair_set(&w->way[i].impair, &q->set[i]);
	}
	for (int i = 0; i < 2; i++) {
		int flags = fcntl(fds[i], F_GETFL), domain = 0;
		socklen_t size = sizeof(domain);

		w->way[i].packet = getsockopt(fds[i], SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0;

		*step = "O_NONBLOCK";
		if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK) < 0)
			goto fail;
		*step = "TUNSETOFFLOAD";
		if (offload(&w->way[i], q->set[i].each_packet) < 0)
			goto fail;
		*step = "epoll";
		if (watch(l, fds[i], &w->way[i]) < 0)
			goto fail;
	}
	return 0;
fail:
	en = errno;
	drop_wire(l, w);
	errno = en;
	return -1;
}

struct retiming {
	uint64_t now, free_at;
	double old, rate;
};

/* When a frame that waits is sent at another rate, behind those before it; one that is being sent keeps what it has behind it. */
static uint64_t retimed(void *arg, const struct nslua_waiting *w)
{
	struct retiming *r = arg;
	uint64_t due = w->ready > r->free_at ? w->ready : r->free_at;
	double ns = r->old > 0 ? (double)(w->frame->len - NSLUA_VNET) * 8e9 / r->old : 0; /* at the old rate */

	if (w->due <= r->now)
		return w->due;
	if ((double)(w->due - r->now) < ns) {
		ns = (double)(w->due - r->now);
		due = r->now;
	}
	if (r->rate > 0)
		due += (uint64_t)(r->old > 0 ? ns * r->old / r->rate : (double)(w->frame->len - NSLUA_VNET) * 8e9 / r->rate);
	return r->free_at = due > r->now ? due : r->now;
}

/* What was sent before the change is impaired as before it, but that it waits for the rate there is. */
static int change(struct loop *l, struct direction *d, const struct nslua_impairment *words, const char **step)
{
	struct nslua_impairment set = d->impair.set;

	nslua_impairment_merge(&set, words);
	*step = "TUNSETOFFLOAD";
	if (set.each_packet != d->impair.set.each_packet && offload(d, set.each_packet) < 0)
		return -1;
	take(l, d, RING);
	if (set.rate < d->impair.set.rate || set.rate > d->impair.set.rate) {
		struct retiming r = { clock_ns(), 0, d->impair.set.rate, set.rate };

		nslua_wirequeue_retime(&l->queue, d, retimed, &r);
		d->impair.free_at = r.free_at;
	}
	nslua_impair_set(&d->impair, &set);
	return 0;
}

static int set_up(struct loop *l, struct wire *w, int up, const char **step)
{
	*step = "TUNSETCARRIER";
	for (int i = 0; i < 2; i++) {
		if (up)
			take(l, &w->way[i], RING); /* what was sent to a wire that was down */
		if (carrier(&w->way[i], up) < 0)
			return -1;
		if (!up)
			purge(l, &w->way[i]);
	}
	w->up = up;
	return 0;
}

static void silence(struct loop *l, struct wire *w, int silent)
{
	for (int i = 0; i < 2; i++) {
		if (silent)
			purge(l, &w->way[i]);
		else if (w->silent)
			take(l, &w->way[i], RING); /* what was sent meanwhile */
	}
	w->silent = silent;
}

/* What a step silenced would stay so for ever. */
static void unschedule(struct loop *l, struct wire *w)
{
	nslua_steps_forget(&l->steps, w);
	silence(l, w, 0);
}

/* Do what is due.  What fails is a device that was deleted: its frames are counted as `down`. */
static void run_steps(struct loop *l, uint64_t now)
{
	struct nslua_step *step;
	const char *what;

	while ((step = nslua_steps_due(&l->steps, now))) {
		struct wire *w = step->owner;

		for (int i = 0; i < 2; i++)
			if (step->given[i])
				change(l, &w->way[i], &step->set[i], &what);
		if (step->plug)
			silence(l, w, !step->up);
		nslua_steps_done(&l->steps, step);
	}
}

static int schedule(struct loop *l, struct wire *w, const struct nslua_wire_request *q, const char **what)
{
	const struct nslua_step step = { .owner = w, .due = q->due, .every = q->every, .times = q->times, .plug = q->plug, .up = q->up,
		.given = { q->given[0], q->given[1] }, .set = { q->set[0], q->set[1] } };

	*what = "mmap";
	return nslua_steps_add(&l->steps, &step);
}

/* From here on it ends with its pid namespace, whose keeper is told of it next (hold.c). */
static int keep(struct loop *l, const char **step)
{
	*step = "keep";
	if (prctl(PR_SET_PDEATHSIG, 0) < 0 || (l->host >= 0 && epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->host, NULL) < 0))
		return -1;
	if (l->host >= 0)
		close(l->host);
	l->host = -1;
	return 0;
}

static int serve(struct loop *l, const struct nslua_wire_request *q, const int *fds, struct nslua_wire_answer *a, const char **step)
{
	struct wire *w;

	*step = "no such wire";
	errno = ENOENT;
	if (q->op == WIRE_ADD)
		return add_wire(l, q, fds, step);
	if (q->op == WIRE_KEEP)
		return keep(l, step);
	w = find(l, q->id);
	if (!w)
		return -1;
	switch (q->op) {
	case WIRE_CHANGE:
		for (int i = 0; i < 2; i++)
			if (q->given[i] && change(l, &w->way[i], &q->set[i], step) < 0)
				return -1;
		return 0;
	case WIRE_CARRIER:
		return set_up(l, w, q->up, step);
	case WIRE_AT:
		return schedule(l, w, q, step);
	case WIRE_UNSCHEDULE:
		unschedule(l, w);
		return 0;
	case WIRE_REMOVE:
		drop_wire(l, w);
		return 0;
	case WIRE_COUNTERS:
		give_due(l, clock_ns());
		for (int i = 0; i < 2; i++)
			count_drops(&w->way[i]);
		a->counters[0] = w->way[0].count;
		a->counters[1] = w->way[1].count;
		return 0;
	case WIRE_ADD:
	case WIRE_KEEP:
		break;
	}
	return -1;
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
	struct nslua_wire_request q;
	struct nslua_wire_answer a = { 0 };
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	const char *step = "receive devices";
	ssize_t n = recvmsg(l->sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fds[2] = { -1, -1 }, count;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n != (ssize_t)sizeof(q))
		return 0;
	a.seq = q.seq;
	count = rights(&m, fds);
	if (q.op == WIRE_ADD && count < 2) { /* the kernel drops fds that do not fit */
		a.en = EMFILE;
		if (count)
			close(fds[0]);
	} else if (serve(l, &q, fds, &a, &step) < 0) {
		a.en = errno;
	}
	for (size_t i = 0; a.en && step[i] && i + 1 < sizeof(a.step); i++)
		a.step[i] = step[i];
	return send(l->sock, &a, sizeof(a), MSG_NOSIGNAL) == (ssize_t)sizeof(a);
}

static void arm(struct loop *l)
{
	uint64_t due = l->queue.n ? l->queue.heap[0].due : 0;
	struct itimerspec t;

	if (l->steps.first && (!due || l->steps.first->due < due))
		due = l->steps.first->due ? l->steps.first->due : 1; /* 0 would be never */
	t = (struct itimerspec){ .it_value = { (time_t)(due / 1000000000u), (long)(due % 1000000000u) } };

	if (due == l->armed)
		return;
	l->armed = due;
	timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void rang(struct loop *l)
{
	uint64_t times;

	if (read(l->timer, &times, sizeof(times)) == (ssize_t)sizeof(times))
		l->armed = 0;
}

static void serve_device(struct loop *l, struct direction *d, uint32_t events)
{
	take(l, d, TURN);
	if (!d->packet && (events & EPOLLERR)) /* the device was deleted: nothing comes any more */
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, d->in, NULL);
}

static int prepare(struct loop *l)
{
	struct rlimit r;

	/* Two fds a wire. */
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	l->buf = mmap(NULL, 2 * NSLUA_FRAME_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	l->spare = l->buf + NSLUA_FRAME_MAX;
	if (l->epoll < 0 || l->timer < 0 || l->buf == MAP_FAILED)
		return -1;
	return watch(l, l->sock, &l->sock) < 0 || watch(l, l->timer, &l->timer) < 0 || watch(l, l->host, l) < 0 ? -1 : 0;
}

void nslua_wireloop(int sock, int host)
{
	struct loop l = { .sock = sock, .host = host };
	struct epoll_event events[64];

	if (prepare(&l) < 0)
		return; /* the script finds that it has ended */
	for (;;) {
		int n, asked = 0;

		run_steps(&l, clock_ns());
		give_due(&l, clock_ns());
		arm(&l);
		n = epoll_wait(l.epoll, events, sizeof(events) / sizeof(events[0]), -1);
		for (int i = 0; i < n; i++) {
			void *what = events[i].data.ptr;

			if (what == &l)
				return;
			else if (what == &l.sock)
				asked = 1; /* last: it may remove what other events are of */
			else if (what == &l.timer)
				rang(&l);
			else
				serve_device(&l, what, events[i].events);
		}
		if (asked && !converse(&l)) {
			if (l.host >= 0)
				return;
			epoll_ctl(l.epoll, EPOLL_CTL_DEL, l.sock, NULL);
			close(l.sock);
		}
	}
}

/* SPDX-License-Identifier: MIT */
/* captureout.c - the file of a capture: batches of bytes and the files of a ring.  Runs in a servant: no malloc, no stdio. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "captureout.h"

#define HEAD (16 << 20) /* descriptions of interfaces, names: address space, no memory until it is used */

static int open_next(struct nslua_captureout *o)
{
	char name[256 + 64 + 16], digits[16];
	size_t n = strlen(o->before), d = 0;
	uint32_t number = o->number;

	memcpy(name, o->before, n);
	do
		digits[d++] = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	while (d > 0)
		name[n++] = digits[--d];
	memcpy(name + n, o->after, strlen(o->after) + 1);
	o->fd = openat(o->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (o->fd < 0)
		return -1;
	o->made++;
	return 0;
}

int nslua_captureout_open(struct nslua_captureout *o, const struct nslua_capture_request *q, int fd)
{
	struct stat st;

	o->fd = o->folder = -1;
	o->memory = q->memory;
	o->file_bytes = q->file_bytes;
	o->file_packets = q->file_packets;
	o->files = q->files;
	o->before = q->before;
	o->after = q->after;
	o->head_size = HEAD;
	o->buffer = mmap(NULL, CAPTUREOUT_BUFFER + HEAD + CAPTUREOUT_PARTS * sizeof(struct iovec), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->buffer == MAP_FAILED)
		return -1;
	o->head = o->buffer + CAPTUREOUT_BUFFER;
	o->parts = (struct iovec *)(void *)(o->head + HEAD);
	if (q->files) {
		o->folder = fd;
		return open_next(o);
	}
	o->fd = fd;
	o->made = 1;
	if (fstat(fd, &st) < 0)
		return -1;
	o->kind = S_ISSOCK(st.st_mode) ? OUT_SOCKET : S_ISREG(st.st_mode) ? OUT_FILE : OUT_PIPE;
	return 0;
}

uint8_t *nslua_captureout_room(struct nslua_captureout *o, size_t len)
{
	uint8_t *at = o->buffer + o->used;
	struct iovec *next = o->parts + o->count;

	if (o->count && (uint8_t *)next[-1].iov_base + next[-1].iov_len == at) {
		next[-1].iov_len += len;
	} else {
		next->iov_base = at;
		next->iov_len = len;
		o->count++;
	}
	o->used += len;
	o->total += len;
	return at;
}

void nslua_captureout_point(struct nslua_captureout *o, const void *data, size_t len)
{
	if (len < CAPTUREOUT_SMALL) {
		memcpy(nslua_captureout_room(o, len), data, len);
		return;
	}
	o->parts[o->count++] = (struct iovec){ (void *)(uintptr_t)data, len };
	o->total += len;
}

int nslua_captureout_full(const struct nslua_captureout *o, size_t more, int parts)
{
	return o->used + more > CAPTUREOUT_BUFFER || o->count + parts > CAPTUREOUT_PARTS;
}

int nslua_captureout_head(struct nslua_captureout *o, const void *data, size_t len)
{
	if (o->head_used + len > o->head_size)
		return -1;
	memcpy(o->head + o->head_used, data, len);
	o->head_used += len;
	if (nslua_captureout_full(o, len, 1)) {
		o->early += o->gathered;
		o->early_lost += nslua_captureout_flush(o);
	}
	memcpy(nslua_captureout_room(o, len), data, len);
	return 0;
}

/* Wait until the reader takes more; 0: it does not, or is gone. */
static int wait_writable(const struct nslua_captureout *o)
{
	struct pollfd p = { o->fd, POLLOUT, 0 };

	while (poll(&p, 1, 100) <= 0)
		if (!o->stalled(o->arg))
			return 0;
	return 1;
}

/* A pipe takes PIPE_BUF bytes at once where poll says so: the process never sleeps in a write. */
static ssize_t put(const struct nslua_captureout *o, struct iovec *parts, int count)
{
	size_t len = parts->iov_len < PIPE_BUF ? parts->iov_len : PIPE_BUF;
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = (size_t)count };

	if (o->kind == OUT_FILE)
		return writev(o->fd, parts, count);
	if (!wait_writable(o)) {
		errno = EPIPE;
		return -1;
	}
	return o->kind == OUT_PIPE ? write(o->fd, parts->iov_base, len) : sendmsg(o->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int write_parts(const struct nslua_captureout *o)
{
	struct iovec *p = o->parts;
	int count = o->count;

	while (count) {
		ssize_t n = put(o, p, count);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -1;
		while (count && (size_t)n >= p->iov_len) {
			n -= (ssize_t)p->iov_len;
			p++;
			count--;
		}
		if (count) {
			p->iov_base = (uint8_t *)p->iov_base + n;
			p->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* What the reader has read is punched out of the file, and takes no memory any more. */
static int has_room(const struct nslua_captureout *o)
{
	struct stat st;

	return !o->memory || (fstat(o->fd, &st) == 0 && (uint64_t)st.st_blocks * 512 + o->total <= o->memory);
}

uint32_t nslua_captureout_flush(struct nslua_captureout *o)
{
	uint32_t lost = 0;

	if (o->count && (o->failed || (o->gathered && !has_room(o)))) {
		lost = o->gathered;
	} else if (o->count && write_parts(o) < 0) {
		o->failed = errno;
		lost = o->gathered;
	} else {
		o->written += o->total;
	}
	o->count = 0;
	o->used = o->total = 0;
	o->gathered = 0;
	return lost;
}

int nslua_captureout_over(const struct nslua_captureout *o, size_t more)
{
	if (!o->files || !o->packets)
		return 0;
	return (o->file_bytes && o->written + o->total + more > o->file_bytes) || (o->file_packets && o->packets >= o->file_packets);
}

void nslua_captureout_next(struct nslua_captureout *o)
{
	if (close(o->fd) < 0 && !o->failed)
		o->failed = errno;
	o->fd = -1;
	o->number = (o->number + 1) % (uint32_t)o->files;
	o->written = o->packets = 0;
	if (open_next(o) < 0) {
		o->failed = errno;
		return;
	}
	/* It may be larger than the buffer. */
	o->parts[0] = (struct iovec){ o->head, o->head_used };
	o->count = 1;
	o->total = o->head_used;
	nslua_captureout_flush(o);
}

void nslua_captureout_close(struct nslua_captureout *o)
{
	if (o->fd >= 0 && close(o->fd) < 0 && !o->failed)
		o->failed = errno;
	o->fd = -1;
}

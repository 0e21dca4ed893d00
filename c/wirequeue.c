/* SPDX-License-Identifier: MIT */
/* wirequeue.c - a binary heap, in memory of mmap(2). */
#include <sys/mman.h>
#include "wirequeue.h"

static int before(const struct nslua_waiting *a, const struct nslua_waiting *b)
{
	return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static int grow(struct nslua_wirequeue *q)
{
	size_t room = q->room ? q->room * 2 : 4096;
	void *p;

	if (q->heap)
		p = mremap(q->heap, q->room * sizeof(*q->heap), room * sizeof(*q->heap), MREMAP_MAYMOVE);
	else
		p = mmap(NULL, room * sizeof(*q->heap), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -1;
	q->heap = p;
	q->room = room;
	return 0;
}

static void rise(struct nslua_wirequeue *q, size_t i)
{
	struct nslua_waiting w = q->heap[i];

	while (i && before(&w, &q->heap[(i - 1) / 2])) {
		q->heap[i] = q->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	q->heap[i] = w;
}

static void sink(struct nslua_wirequeue *q, size_t i)
{
	struct nslua_waiting w = q->heap[i];
	size_t child;

	while ((child = 2 * i + 1) < q->n) {
		if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!before(&q->heap[child], &w))
			break;
		q->heap[i] = q->heap[child];
		i = child;
	}
	q->heap[i] = w;
}

static void order(struct nslua_wirequeue *q)
{
	for (size_t i = q->n / 2; i-- > 0;)
		sink(q, i);
}

int nslua_wirequeue_add(struct nslua_wirequeue *q, uint64_t due, uint64_t ready, struct nslua_frame *frame, void *owner)
{
	if (q->n == q->room && grow(q) < 0)
		return -1;
	q->heap[q->n] = (struct nslua_waiting){ due, q->number++, ready, frame, owner };
	rise(q, q->n++);
	return 0;
}

struct nslua_waiting nslua_wirequeue_take(struct nslua_wirequeue *q)
{
	struct nslua_waiting first = q->heap[0];

	q->heap[0] = q->heap[--q->n];
	if (q->n)
		sink(q, 0);
	return first;
}

void nslua_wirequeue_purge(struct nslua_wirequeue *q, const void *owner, void (*drop)(void *arg, struct nslua_frame *frame), void *arg)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n; i++) {
		if (q->heap[i].owner == owner)
			drop(arg, q->heap[i].frame);
		else
			q->heap[n++] = q->heap[i];
	}
	q->n = n;
	order(q);
}

void nslua_wirequeue_retime(struct nslua_wirequeue *q, const void *owner, uint64_t (*due)(void *arg, const struct nslua_waiting *w), void *arg)
{
	struct nslua_wirequeue mine = { 0 };
	size_t n = 0, count;

	for (size_t i = 0; i < q->n; i++) {
		struct nslua_waiting w = q->heap[i];

		if (w.owner == owner)
			continue;
		q->heap[i] = q->heap[n];
		q->heap[n++] = w;
	}
	mine.heap = q->heap + n; /* behind the others', a heap of its own */
	mine.n = count = q->n - n;
	q->n = n;
	order(q);
	order(&mine);
	while (mine.n) { /* sorted, the first one last */
		struct nslua_waiting w = nslua_wirequeue_take(&mine);

		mine.heap[mine.n] = w;
	}
	for (size_t i = count; i-- > 0;)
		mine.heap[i].due = due(arg, &mine.heap[i]);
	for (size_t i = 0; i < count; i++)
		rise(q, q->n++);
}

/* SPDX-License-Identifier: MIT */
/*
 * arena.c - the memory of the host's Lua.  What is small comes from free lists, one for each size, cut from large pieces: Lua tells the size of
 * what it frees, so nothing has a header.
 *
 * The first piece lies in the program itself.  The build fills it (nslua --save-heap, then objcopy): a state with the libraries open and the
 * files loaded that nearly every run needs, which is there as soon as the kernel has mapped the program.  For that the program lies at a fixed
 * address, and nothing in the piece may point out of the program: not to libc, not to what malloc gave.  Where the build did not fill it, or the
 * environment asks for other files, a state is made in it as usual.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "host.h"

#define STEP 16            /* the alignment that malloc keeps, too */
#define SMALL 512          /* larger is malloc's */
#define ROOM (1024 * 1024) /* of the piece in the program */
#define PIECE (64 * 1024)
#define FEW (1024 * 1024)      /* in pieces of that size; a script that keeps more has pages of the next size, where the kernel gives them: */
#define HUGE (2 * 1024 * 1024) /* a page fault for each 4 KiB costs more than what is put there */

#if defined(__SANITIZE_ADDRESS__)
static const size_t small = 0; /* the sanitizer looks at malloc's memory only */
#else
static const size_t small = SMALL;
#endif

struct cell {
	struct cell *next;
};

static struct heap {
	lua_State *state; /* that the build left here */
	struct cell *free[SMALL / STEP + 1];
	char *piece, *end;
	_Alignas(STEP) char room[ROOM];
} heap __attribute__((section(".nslua_heap"))) = { .end = NULL };

static int saving; /* all that is allocated lies in heap.room */

static int within(const void *p)
{
	return (uintptr_t)p - (uintptr_t)heap.room < sizeof(heap.room);
}

/* Memory of that size that begins at a multiple of it; or NULL. */
static char *huge(void)
{
	char *p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = (HUGE - (uintptr_t)p % HUGE) % HUGE;
	if (before)
		munmap(p, before);
	munmap(p + before + HUGE, HUGE - before);
	madvise(p + before, HUGE, MADV_HUGEPAGE);
	return p + before;
}

/* The next piece. */
static char *more(size_t *size)
{
	static size_t all;
	char *p = NULL;

	if (!heap.piece) {
		*size = sizeof(heap.room);
		return heap.room;
	}
	if (saving)
		return NULL;
	*size = HUGE;
	if (all >= FEW)
		p = huge();
	if (!p) {
		*size = PIECE;
		p = malloc(PIECE);
	}
	if (p)
		all += *size;
	return p;
}

static void *cut(size_t size)
{
	if ((size_t)(heap.end - heap.piece) < size) {
		size_t n;
		char *p = more(&n);

		if (!p)
			return NULL;
		/* What is left of the last piece is too small for this, but not for others. */
		for (; heap.piece && heap.end - heap.piece >= STEP; heap.piece += STEP) {
			struct cell *c = (struct cell *)(void *)heap.piece;

			c->next = heap.free[1];
			heap.free[1] = c;
		}
		heap.end = p + n;
		heap.piece = p;
	}
	heap.piece += size;
	return heap.piece - size;
}

static size_t steps(size_t size)
{
	return (size + STEP - 1) / STEP;
}

static void *take(size_t size)
{
	struct cell *c;

	if (size > small)
		return saving ? cut(steps(size) * STEP) : malloc(size);
	c = heap.free[steps(size)];
	if (!c)
		return cut(steps(size) * STEP);
	heap.free[steps(size)] = c->next;
	return c;
}

static void give(void *p, size_t size)
{
	struct cell *c = p;

	if (size <= small) {
		c->next = heap.free[steps(size)];
		heap.free[steps(size)] = c;
	} else if (!within(p)) {
		free(p);
	}
}

/* lua_Alloc */
static void *allocate(void *ud, void *p, size_t old, size_t size)
{
	void *q;

	(void)ud;
	if (!p)
		return size ? take(size) : NULL;
	if (!size) {
		give(p, old);
		return NULL;
	}
	if (old > small && size > small && !within(p) && !saving)
		return realloc(p, size);
	if (old <= small && size <= small && steps(old) == steps(size))
		return p;
	q = take(size);
	if (q) {
		memcpy(q, p, old < size ? old : size);
		give(p, old);
	}
	return q;
}

lua_State *nslua_lua_newstate(lua_Alloc alloc, void *ud); /* Lua's own: see the Makefile */

/* The first state is the host's; others, of C modules, may live in other threads and have what they ask for. */
LUA_API lua_State *lua_newstate(lua_Alloc alloc, void *ud)
{
	static int made;

	return made++ ? nslua_lua_newstate(alloc, ud) : nslua_lua_newstate(allocate, NULL);
}

lua_State *host_saved_state(void)
{
	return heap.state;
}

int host_begin_saving(void)
{
	saving = small > 0;
	return saving ? 0 : -1;
}

int host_save_state(lua_State *L, const char *path)
{
	FILE *f = fopen(path, "wb");
	int failed;

	if (!f)
		return -1;
	heap.state = L;
	/* New things beside each other, not in the gaps between the old: fewer pages are written to. */
	memset(heap.free, 0, sizeof(heap.free));
	failed = fwrite(&heap, sizeof(heap), 1, f) != 1;
	return fclose(f) != 0 || failed ? -1 : 0;
}

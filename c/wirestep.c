/* SPDX-License-Identifier: MIT */
/* wirestep.c - a list, in memory of mmap(2): most come in their order. */
#include <sys/mman.h>
#include "wirestep.h"

#define ROOM (256 * 1024) /* bytes that are had at once */

static void put(struct nslua_steps *s, struct nslua_step *step)
{
	struct nslua_step **p = &s->first;

	if (s->first && s->last->due <= step->due)
		p = &s->last->next;
	while (*p && (*p)->due <= step->due)
		p = &(*p)->next;
	step->next = *p;
	*p = step;
	if (!step->next)
		s->last = step;
}

static void let_go(struct nslua_steps *s, struct nslua_step *step)
{
	step->next = s->free;
	s->free = step;
}

int nslua_steps_add(struct nslua_steps *s, const struct nslua_step *step)
{
	struct nslua_step *made;

	if (!s->free) {
		made = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (made == MAP_FAILED)
			return -1;
		for (size_t i = 0; i < ROOM / sizeof(*made); i++)
			let_go(s, &made[i]);
	}
	made = s->free;
	s->free = made->next;
	*made = *step;
	put(s, made);
	return 0;
}

void nslua_steps_forget(struct nslua_steps *s, const void *owner)
{
	struct nslua_step **p = &s->first;

	s->last = NULL;
	while (*p) {
		struct nslua_step *step = *p;

		if (step->owner != owner) {
			s->last = step;
			p = &step->next;
			continue;
		}
		*p = step->next;
		let_go(s, step);
	}
}

/* Of those that were missed only the last is done, in its turn: another step may have come in between. */
static int catch_up(struct nslua_step *step, uint64_t now)
{
	uint64_t missed = step->every ? (now - step->due) / step->every : 0;

	if (step->times && missed >= step->times)
		missed = step->times - 1;
	step->due += step->every * missed;
	step->times -= step->times ? (uint32_t)missed : 0;
	return missed > 0;
}

struct nslua_step *nslua_steps_due(struct nslua_steps *s, uint64_t now)
{
	struct nslua_step *step;

	while ((step = s->first) && step->due <= now) {
		s->first = step->next;
		if (!catch_up(step, now))
			return step;
		put(s, step);
	}
	return NULL;
}

void nslua_steps_done(struct nslua_steps *s, struct nslua_step *step)
{
	if (!step->every || step->times == 1) {
		let_go(s, step);
		return;
	}
	step->times -= step->times ? 1 : 0;
	step->due += step->every;
	put(s, step);
}

/* SPDX-License-Identifier: MIT */
/* wirestep.h - what is to be changed of wires, and when: the first is due first, those of the same time in the order they were told. */
#ifndef NSLUA_WIRESTEP_H
#define NSLUA_WIRESTEP_H

#include "impair.h"

struct nslua_step {
	struct nslua_step *next;
	void *owner;
	uint64_t due, every; /* nanoseconds of CLOCK_MONOTONIC; 0: once */
	uint32_t times;      /* still to come; 0: on and on */
	int plug, up;        /* `up` is meant */
	int given[2];
	struct nslua_impairment set[2];
};

struct nslua_steps {
	struct nslua_step *first, *last, *free;
};

int nslua_steps_add(struct nslua_steps *s, const struct nslua_step *step); /* -1: no memory */
void nslua_steps_forget(struct nslua_steps *s, const void *owner);
/* The next one that is due, or NULL; it is out until it is done, and comes again where it is to. */
struct nslua_step *nslua_steps_due(struct nslua_steps *s, uint64_t now);
void nslua_steps_done(struct nslua_steps *s, struct nslua_step *step);

#endif

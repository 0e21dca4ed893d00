/* SPDX-License-Identifier: MIT */
/*
 * impair.h - what becomes of a frame on an impaired link: decided from numbers alone, no I/O.  Words and meanings are those of tc-netem(8) but
 * for two: what is decided hangs on the seed, the flow and the count of the frame in its flow, so that frames of others (ARP, ND) move nothing;
 * and a correlation of c repeats the last draw with the chance c, which leaves the rates as they are said.
 */
#ifndef NSLUA_IMPAIR_H
#define NSLUA_IMPAIR_H

#include <stddef.h>
#include <stdint.h>

/* One direction.  Chances are from 0 to 1, times in nanoseconds. */
struct nslua_impairment {
	uint32_t given;        /* of a change: the words that it has, by their places in nslua_impairment_words */
	uint64_t seed, stream; /* what is drawn hangs on both */
	uint64_t delay, jitter;
	double correlation; /* of the jitter */
	uint32_t distribution; /* of the jitter: JITTER_... */
	double loss, loss_correlation;
	int bursts; /* the loss is that of Gilbert and Elliott */
	double to_bad, to_good, loss_bad, loss_good;
	double duplicate, duplicate_correlation;
	double corrupt, corrupt_correlation;
	double reorder, reorder_correlation;
	uint32_t gap;         /* at the most one of so many frames is reordered */
	double rate;          /* bits a second; 0: any */
	uint32_t limit;       /* frames on their way */
	uint64_t limit_bytes; /* 0: any */
	int each_packet;      /* no frame is more than one packet on the wire */
};

enum { JITTER_UNIFORM, JITTER_NORMAL, JITTER_PARETO, JITTER_PARETONORMAL };

enum nslua_word_type { WORD_U64, WORD_TIME, WORD_REAL, WORD_U32, WORD_FLAG };

struct nslua_word {
	const char *name;
	enum nslua_word_type type;
	size_t offset; /* in struct nslua_impairment */
	double most;
};

extern const struct nslua_word nslua_impairment_words[];
extern const size_t nslua_impairment_word_count;

enum { DRAW_LOSS, DRAW_DUPLICATE, DRAW_CORRUPT, DRAW_REORDER, DRAW_JITTER, DRAW_KINDS };

#define NSLUA_FLOW_SETS 64
#define NSLUA_FLOW_WAYS 4

struct nslua_flow {
	uint64_t key;
	uint64_t used; /* 0: free */
	uint64_t n;    /* frames so far */
	uint32_t since; /* the last reordered one */
	int bad;        /* state of the burst model */
	double last[DRAW_KINDS];
};

/* The state of a direction.  Of more flows than fit the one that was idle longest starts anew. */
struct nslua_impair {
	struct nslua_impairment set;
	uint64_t base;
	uint64_t free_at; /* the link is busy until then */
	uint64_t stamp;
	struct nslua_flow flows[NSLUA_FLOW_SETS][NSLUA_FLOW_WAYS];
};

struct nslua_fate {
	int lost, duplicated;
	int copies; /* 0 to 2 */
	struct {
		uint64_t delay;
		int first; /* sent at once, before what waits */
		int corrupt;
		uint64_t bit; /* to be flipped, modulo the bits there are */
	} copy[2];
};

uint64_t nslua_mix64(uint64_t x);
/* Put the words that are given over those that are there. */
void nslua_impairment_merge(struct nslua_impairment *to, const struct nslua_impairment *words);
/* Set it up, or change it: counts of flows go on where seed and stream are as before. */
void nslua_impair_set(struct nslua_impair *d, const struct nslua_impairment *set);
void nslua_impair_draw(struct nslua_impair *d, uint64_t flow, struct nslua_fate *fate);
/* When a frame of that size, with the delay that was drawn, is at the other end. */
uint64_t nslua_impair_due(struct nslua_impair *d, size_t size, uint64_t delay, int first, uint64_t now);

#endif

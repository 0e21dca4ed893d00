/* SPDX-License-Identifier: MIT */
/* impair.c - the draws: splitmix64's finalizer over a counter, so that any frame's numbers can be had without those before it. */
#include <string.h>
#include "impair.h"

#define NS_MAX 9e18 /* 285 years */

#define WORD(word, type, most) { #word, type, offsetof(struct nslua_impairment, word), most }
#define CHANCE(word) WORD(word, WORD_REAL, 1)

const struct nslua_word nslua_impairment_words[] = {
	WORD(seed, WORD_U64, 0), WORD(stream, WORD_U64, 0), WORD(delay, WORD_TIME, NS_MAX), WORD(jitter, WORD_TIME, NS_MAX), CHANCE(correlation),
	WORD(distribution, WORD_U32, JITTER_PARETONORMAL), CHANCE(loss), CHANCE(loss_correlation), WORD(bursts, WORD_FLAG, 1), CHANCE(to_bad),
	CHANCE(to_good), CHANCE(loss_bad), CHANCE(loss_good), CHANCE(duplicate), CHANCE(duplicate_correlation), CHANCE(corrupt),
	CHANCE(corrupt_correlation), CHANCE(reorder), CHANCE(reorder_correlation), WORD(gap, WORD_U32, UINT32_MAX), WORD(rate, WORD_REAL, 1e15),
	WORD(limit, WORD_U32, UINT32_MAX), WORD(limit_bytes, WORD_TIME, NS_MAX), WORD(each_packet, WORD_FLAG, 1),
};
const size_t nslua_impairment_word_count = sizeof(nslua_impairment_words) / sizeof(nslua_impairment_words[0]);

static size_t size_of(enum nslua_word_type type)
{
	return type == WORD_FLAG ? sizeof(int) : type == WORD_U32 ? sizeof(uint32_t) : type == WORD_REAL ? sizeof(double) : sizeof(uint64_t);
}

void nslua_impairment_merge(struct nslua_impairment *to, const struct nslua_impairment *words)
{
	for (size_t i = 0; i < nslua_impairment_word_count; i++) {
		const struct nslua_word *word = &nslua_impairment_words[i];

		if (words->given & UINT32_C(1) << i)
			memcpy((char *)to + word->offset, (const char *)words + word->offset, size_of(word->type));
	}
}

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection whose outputs for consecutive inputs look random. */
uint64_t nslua_mix64(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void nslua_impair_set(struct nslua_impair *d, const struct nslua_impairment *set)
{
	uint64_t base = nslua_mix64(nslua_mix64(set->seed) ^ set->stream);

	if (base != d->base) {
		memset(d->flows, 0, sizeof(d->flows));
		d->stamp = 0;
	}
	d->base = base;
	d->set = *set;
}

static struct nslua_flow *flow_of(struct nslua_impair *d, uint64_t key)
{
	struct nslua_flow *set = d->flows[key % NSLUA_FLOW_SETS], *oldest = set;

	for (int i = 0; i < NSLUA_FLOW_WAYS; i++) {
		if (set[i].used && set[i].key == key) {
			set[i].used = ++d->stamp;
			return &set[i];
		}
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->key = key;
	oldest->used = ++d->stamp;
	return oldest;
}

/* Numbers of one frame: each use has its own index, so that one chance more or less does not change what the others draw. */
struct dice {
	uint64_t base;
	struct nslua_flow *flow;
};

static uint64_t bits(const struct dice *dice, unsigned int index)
{
	return nslua_mix64(dice->base + index);
}

/* From 0 to below 1. */
static double uniform(const struct dice *dice, unsigned int index)
{
	return (double)(bits(dice, index) >> 11) * 0x1p-53;
}

enum { INDEX_DRAW = 0, INDEX_REPEAT = 8, INDEX_COPY = 16, INDEX_BIT = 32, INDEX_STATE = 40 };

/* The frame's number of a kind, or, with the chance of the correlation, the one before it again. */
static double draw(const struct dice *dice, unsigned int kind, unsigned int copy, double correlation)
{
	double *last = &dice->flow->last[kind];
	unsigned int index = kind + copy * INDEX_COPY;

	if (dice->flow->n > 1 && correlation > 0 && uniform(dice, INDEX_REPEAT + index) < correlation)
		return *last;
	return *last = uniform(dice, INDEX_DRAW + index);
}

static int happens(const struct dice *dice, unsigned int kind, unsigned int copy, double chance, double correlation)
{
	return chance > 0 && draw(dice, kind, copy, correlation) < chance;
}

static int is_lost(const struct nslua_impairment *s, const struct dice *dice)
{
	struct nslua_flow *f = dice->flow;
	double chance;

	if (!s->bursts)
		return happens(dice, DRAW_LOSS, 0, s->loss, s->loss_correlation);
	chance = f->bad ? s->loss_bad : s->loss_good;
	if (uniform(dice, INDEX_STATE) < (f->bad ? s->to_good : s->to_bad))
		f->bad = !f->bad;
	return happens(dice, DRAW_LOSS, 0, chance, 0);
}

#define PARTS 4096 /* as many as tc(8)'s tables have */

/* The quantiles of the normal distribution at the middles of equal parts: its density added up from the middle on, by ratios that need no exp(). */
static double normal(double u)
{
	static double table[PARTS];
	const double h = 1.0 / 4096, shrink = 1 - h * h + h * h * h * h / 2; /* exp(-h * h) */
	double x = 0, sum = 0.5, density = 0.3989422804014327, ratio = shrink;

	for (int i = PARTS / 2; i < PARTS && table[PARTS - 1] <= 0; i++) {
		for (; sum < (i + 0.5) / PARTS; x += h) {
			sum += density * h;
			density *= ratio;
			ratio *= shrink;
		}
		table[PARTS - 1 - i] = -x;
		table[i] = x;
	}
	return table[(int)(u * PARTS)];
}

/* Of shape 3, shifted to mean 0, scaled by 4/3 and cut off at 4, as tc(8)'s table is. */
static double pareto(double u)
{
	double rest = 1 - u, root = 4.5;

	if (rest * 91.125 <= 1) /* 4.5 cubed */
		return 4;
	for (int i = 0; i < 16; i++) /* Newton's, from above: the cube root of 1/rest */
		root -= (root - 1 / (rest * root * root)) / 3;
	return (root - 1.5) * 4 / 3;
}

/* From a uniform number below 1, so that what a correlation repeats is the same again. */
static double spread(uint32_t distribution, double u)
{
	switch (distribution) {
	case JITTER_NORMAL:
		return normal(u);
	case JITTER_PARETO:
		return pareto(u);
	case JITTER_PARETONORMAL: /* as tc(8)'s: of the quantiles, not of two numbers */
		return 0.25 * normal(u) + 0.75 * pareto(u);
	}
	return 2 * u - 1;
}

static uint64_t delay_of(const struct nslua_impairment *s, const struct dice *dice, unsigned int copy)
{
	double ns;

	if (!s->jitter)
		return s->delay;
	ns = (double)s->delay + spread(s->distribution, draw(dice, DRAW_JITTER, copy, s->correlation)) * (double)s->jitter;
	return ns > 0 ? (uint64_t)ns : 0;
}

void nslua_impair_draw(struct nslua_impair *d, uint64_t flow, struct nslua_fate *fate)
{
	const struct nslua_impairment *s = &d->set;
	struct dice dice;

	fate->lost = fate->duplicated = 0;
	fate->copies = 1;
	if (!s->each_packet && !s->jitter) { /* nothing is drawn */
		fate->copy[0].delay = s->delay;
		fate->copy[0].first = fate->copy[0].corrupt = 0;
		return;
	}
	dice.flow = flow_of(d, flow);
	dice.flow->n++;
	dice.base = nslua_mix64(nslua_mix64(d->base ^ flow) + dice.flow->n);
	fate->lost = is_lost(s, &dice);
	fate->duplicated = happens(&dice, DRAW_DUPLICATE, 0, s->duplicate, s->duplicate_correlation);
	fate->copies += fate->duplicated - fate->lost; /* of two one is lost, as in netem */
	for (int i = 0; i < fate->copies; i++) {
		unsigned int copy = (unsigned int)i;

		fate->copy[i].corrupt = happens(&dice, DRAW_CORRUPT, copy, s->corrupt, s->corrupt_correlation);
		fate->copy[i].bit = bits(&dice, INDEX_BIT + copy);
		fate->copy[i].delay = delay_of(s, &dice, copy);
		dice.flow->since++;
		fate->copy[i].first = s->reorder > 0 && dice.flow->since >= s->gap && happens(&dice, DRAW_REORDER, copy, s->reorder, s->reorder_correlation);
		if (fate->copy[i].first)
			dice.flow->since = 0;
	}
}

uint64_t nslua_impair_due(struct nslua_impair *d, size_t size, uint64_t delay, int first, uint64_t now)
{
	uint64_t due = now + delay;

	if (first)
		return now;
	if (d->set.rate > 0) {
		if (due < d->free_at)
			due = d->free_at;
		due += (uint64_t)((double)size * 8e9 / d->set.rate);
		d->free_at = due;
	}
	return due;
}

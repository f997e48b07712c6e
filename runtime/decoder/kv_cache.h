/* kv_cache.h - which pages of keys and values belong to which sequence. No model, no memory of it:
 * a page is a number, and every layer has a sa2_kv_cache_view (kernels/ops.h) with that many pages.
 *
 * A page is in one state: used (in the block table of one or more sequences), cached (in none, but
 * its content is registered and may be found again) or free. Cached pages are taken, the one longest
 * unused first, when free ones run out.
 *
 * Sharing: a fork has all pages of its parent; whoever first writes into a shared page gets a copy,
 * which sa2_kv_grow() reports. Full pages whose keys and values are written can be registered under
 * a chained hash (XXH3, 128 bits) of everything up to their end: token ids, audio, salt. Token ids are
 * compared as well, so a hit is a hit.
 *
 * Memory is planned in create; nothing is allocated later. Threads: one owner.
 */
#ifndef SA2_RUNTIME_DECODER_KV_CACHE_H
#define SA2_RUNTIME_DECODER_KV_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/arena.h"
#include "kernels/ops.h"

typedef struct sa2_kv_cache sa2_kv_cache;

typedef struct sa2_kv_cache_options {
    int n_pages;       /* >= 1 */
    int page_size;     /* positions: a multiple of 16 */
    int max_sequences; /* open at once, forks included */
    int max_positions; /* of one sequence */
} sa2_kv_cache_options;

/* 128 bits that stand for some content. */
typedef struct sa2_kv_hash {
    uint64_t low, high;
} sa2_kv_hash;

/* One open sequence. Callers read it; only this module writes. */
typedef struct sa2_kv_sequence {
    int32_t *pages; /* block table [max_positions / page_size, rounded up], the first n_pages set */
    int n_pages;
    int n_positions;  /* that have room: the next one to append is this one */
    int n_matched;    /* positions that sa2_kv_match() found, already written */
    int n_hashed;     /* pages whose chained hash is known ... */
    sa2_kv_hash hash; /* ... and the last one's */
} sa2_kv_sequence;

sa2_kv_hash sa2_kv_hash_bytes(const void *data, size_t n);

/* Positions [first, first + n) hold rows of a clip instead of embeddings of their ids. */
typedef struct sa2_kv_audio {
    int first, n;
    sa2_kv_hash hash; /* of all that the rows follow from: the clip's samples */
} sa2_kv_audio;

/* What a sequence says, position by position. */
typedef struct sa2_kv_content {
    const int32_t *ids; /* [n] */
    int n;
    const sa2_kv_audio *audio; /* [n_audio], rising, not overlapping */
    int n_audio;
    uint64_t salt; /* sequences with different salts share nothing */
} sa2_kv_content;

typedef struct sa2_kv_stats {
    int n_pages, n_used, n_cached, n_free; /* the last three sum to the first */
    int n_sequences;
    int64_t n_matched_pages, n_evicted_pages, n_copied_pages; /* since create */
} sa2_kv_stats;

/* Host bytes of the bookkeeping. */
size_t sa2_kv_cache_bytes(const sa2_kv_cache_options *options);

/* In `arena` (the cache's), which outlives it; there is no destroy.
 * Errors: SA2_ERR_ARG names the option; SA2_ERR_NOMEM the arena has no room. */
sa2_status sa2_kv_cache_create(sa2_kv_cache **cache, const sa2_kv_cache_options *options,
                               sa2_arena *arena, sa2_error *err);

/* An empty sequence. NULL when max_sequences are open. */
sa2_kv_sequence *sa2_kv_open(sa2_kv_cache *cache);

/* Gives its pages back: registered ones stay findable until they are needed. */
void sa2_kv_close(sa2_kv_cache *cache, sa2_kv_sequence *sequence);

/* For an empty sequence: takes the longest run of registered full pages that begins `content`, but
 * leaves at least one position of it to compute. Returns the positions found, a multiple of page_size. */
int sa2_kv_match(sa2_kv_cache *cache, sa2_kv_sequence *sequence, const sa2_kv_content *content);

/* Pages that sa2_kv_grow() would take, a copy included; and those that could be taken now. */
int sa2_kv_pages_needed(const sa2_kv_cache *cache, const sa2_kv_sequence *sequence, int n);
int sa2_kv_pages_available(const sa2_kv_cache *cache);

/* Room for n >= 0 more positions. A partly filled last page that others share is replaced by a new
 * one, and *copy says what to copy (from < 0: nothing): copies are done in the order in which
 * they were reported, before anything is stored after them.
 * Errors: SA2_ERR_NOMEM not enough pages, SA2_ERR_LIMIT more than max_positions; nothing changed. */
sa2_status sa2_kv_grow(sa2_kv_cache *cache, sa2_kv_sequence *sequence, int n, sa2_page_copy *copy,
                       sa2_error *err);

/* A sequence with the same pages and positions, all of which are written. NULL when max_sequences are
 * open. */
sa2_kv_sequence *sa2_kv_fork(sa2_kv_cache *cache, const sa2_kv_sequence *parent);

/* Makes the full pages within the first n_written positions findable. Their keys and values are
 * written, for `content`, which has at least n_written positions and begins as in earlier calls. */
void sa2_kv_register(sa2_kv_cache *cache, sa2_kv_sequence *sequence, const sa2_kv_content *content,
                     int n_written);

sa2_kv_stats sa2_kv_cache_stats(const sa2_kv_cache *cache);

/* Counts everything again: every page in one state, references as in the open block tables, lists and
 * hash table whole. Errors: SA2_ERR_ARG and what does not hold. For tests: pages times block tables. */
sa2_status sa2_kv_cache_check(const sa2_kv_cache *cache, sa2_error *err);

#endif

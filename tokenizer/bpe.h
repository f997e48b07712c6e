/* bpe.h - byte-pair encoding of one pre-token.
 *
 * Maths: Sennrich et al. 2016, section 3.2, over bytes: of all neighbouring pairs the one with the
 * lowest rank merges, the leftmost first, until no pair merges.
 */
#ifndef SA2_TOKENIZER_BPE_H
#define SA2_TOKENIZER_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer/growing.h"
#include "tokenizer/tokenizer.h"

enum { SA2_BPE_MAX_BYTES = 1 << 30 };

/* Where a merge works; grows to the longest pre-token so far. Zero-initialise it. */
typedef struct sa2_bpe_work {
    struct sa2_bpe_symbol *symbols; /* [room], one for each byte at the start */
    uint64_t *heap;                 /* [2 * room]: pairs that may merge, rank << 32 | symbol */
    size_t n_heap;
    size_t room;
} sa2_bpe_work;

void sa2_bpe_work_free(sa2_bpe_work *work);

/* Appends the ids of bytes [n], at most SA2_BPE_MAX_BYTES. Time O(n log n).
 * False when there is no memory. */
bool sa2_bpe_merge(sa2_bpe_work *work, const sa2_tokenizer *tokenizer, const char *bytes, size_t n,
                   sa2_ids *ids);

#endif

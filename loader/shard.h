/* shard.h - which slice of which tensor of the decoder a rank takes, when several share its work.
 *
 * Heads, feed-forward columns and vocabulary rows are split (Shoeybi et al. 2019, "Megatron-LM", section 3): a rank has
 * whole groups of query heads with their key-value head, so keys and values are nowhere twice. The products before
 * the split halves lose rows, those behind them columns; norms are whole everywhere, the embedding is rank 0's.
 */
#ifndef SA2_LOADER_SHARD_H
#define SA2_LOADER_SHARD_H

#include <stdbool.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "loader/model_config.h"

/* Feed-forward columns and vocabulary rows are dealt in units, so that a slice is whole blocks of every order of
 * matrices. */
enum { SA2_MAX_RANKS = 64, SA2_SHARD_UNIT = 32 };

/* [first, first + n) of `whole`. */
typedef struct sa2_slice {
    int64_t first, n, whole;
} sa2_slice;

/* What one rank has of the decoder. Zeroed: everything, as one rank alone has it. */
typedef struct sa2_shard {
    int rank, size; /* size 0 or 1: there is no other */
    int head_dim;
    sa2_slice heads, kv_heads, ffn, vocab;
} sa2_shard;

/* Rank `rank` of `size`. The first ranks have one unit of feed-forward and vocabulary more where they do not divide.
 * Errors: SA2_ERR_UNSUPPORTED size does not divide the key-value heads, or there are more ranks than units. */
sa2_status sa2_shard_make(sa2_shard *shard, const sa2_decoder_config *config, int rank, int size,
                          sa2_error *err);

/* The decoder as that rank computes it: fewer heads, a narrower feed-forward. vocab stays whole. */
sa2_decoder_config sa2_shard_config(const sa2_shard *shard, const sa2_decoder_config *config);

/* Rows of lm_head. */
int64_t sa2_shard_vocab(const sa2_shard *shard, const sa2_decoder_config *config);

/* Rows (axis 0) or columns (axis 1) of a checkpoint's tensor that the rank has. */
typedef struct sa2_tensor_slice {
    int axis;
    sa2_slice slice;
} sa2_tensor_slice;

/* False: the whole tensor. */
bool sa2_shard_find(const sa2_shard *shard, const char *tensor, sa2_tensor_slice *out);

/* The part of x, a tensor as the checkpoint has it, that the rank has. */
sa2_tensor sa2_shard_view(const sa2_shard *shard, const char *name, sa2_tensor x);

#endif

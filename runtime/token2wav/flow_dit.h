/* flow_dit.h - the velocity of the flow at one timestep: a diffusion transformer with convolutions.
 *
 * Maths: DiT with adaLN-Zero (Peebles & Xie 2023, section 3.2), norms on queries and keys, and a causal
 * convolution between attention and MLP; DiT in cosyvoice2/flow/decoder_dit.py of stepfun-ai/Step-Audio2,
 * golden cases in tests/golden/token2wav/.
 *
 *   [x | mu | speaker | cond] [T, 4 mel] -> hidden [T, width] -> blocks -> velocity [T, mel]
 *
 * There are no positions: attention is full over a sequence and what is kept of its past, and only the
 * convolutions know an order. The timesteps are fixed when the weights are loaded: what they do to a block
 * is a table with a row for each, so that sequences at different steps share a forward.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_DIT_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_DIT_H

#include "loader/flow_yaml.h"
#include "runtime/token2wav/flow_kept.h"
#include "runtime/token2wav/flow_room.h"
#include "runtime/token2wav/flow_time.h"
#include "runtime/weights.h"

/* The parts of a row of `modulation`, each [width], in the order of the checkpoint. */
typedef enum sa2_flow_modulation {
    SA2_FLOW_ATTN_SHIFT = 0,
    SA2_FLOW_ATTN_SCALE,
    SA2_FLOW_ATTN_GATE,
    SA2_FLOW_MLP_SHIFT,
    SA2_FLOW_MLP_SCALE,
    SA2_FLOW_MLP_GATE,
    SA2_FLOW_CONV_SHIFT,
    SA2_FLOW_CONV_SCALE,
    SA2_FLOW_CONV_GATE,
    SA2_FLOW_MODULATIONS,
} sa2_flow_modulation;

typedef struct sa2_flow_dit_block {
    sa2_tensor modulation; /* f32 [steps, 9 width] */
    sa2_matrix qkv;        /* [3 width, width] */
    sa2_tensor qkv_bias;
    sa2_tensor q_norm_weight, q_norm_bias, k_norm_weight, k_norm_bias; /* [head_dim] */
    sa2_matrix proj;                                                   /* [width, width] */
    sa2_tensor proj_bias;
    sa2_matrix conv1, conv2; /* [width, 3 width] */
    sa2_tensor conv1_bias, conv_norm_weight, conv_norm_bias, conv2_bias;
    sa2_matrix up; /* [ffn, width] */
    sa2_tensor up_bias;
    sa2_matrix down; /* [width, ffn] */
    sa2_tensor down_bias;
} sa2_flow_dit_block;

typedef struct sa2_flow_dit {
    sa2_flow_config config;
    sa2_dtype dtype; /* of matrices, and of what goes into the products of the blocks */
    int n_steps;
    sa2_tensor time; /* f32 [steps, width]: the embedded timesteps */
    sa2_matrix in;   /* [width, 4 mel] */
    sa2_tensor in_bias;
    sa2_flow_dit_block *blocks;
    sa2_tensor final_modulation; /* f32 [steps, 2 width]: shift, scale */
    sa2_matrix out;              /* [mel, width] */
    sa2_tensor out_bias;
} sa2_flow_dit;

/* Fills *dit, or only measures (weights.h), for the timesteps t [n_steps]. The dtype is w's; tables are f32. */
void sa2_flow_dit_load(sa2_flow_dit *dit, const sa2_flow_config *config, const double *t,
                       int n_steps, sa2_weights *w);

/* ---- what is kept of sequences ---- */

/* A place is one sequence at one step: a stream has 2 * steps of them, for each step the conditional
 * and the unconditional one. */
typedef struct sa2_flow_dit_cache {
    int places;
    int rows;      /* of keys and values in each */
    sa2_tensor kv; /* [blocks * places * rows, 2 width] keys, after their norm | values */
    sa2_tensor
        conv; /* f32 [blocks * 2 * (places + 1), 2 width]: the two rows before a chunk, for both
                        convolutions of a block; in each group the last is 0 */
} sa2_flow_dit_cache;

size_t sa2_flow_dit_cache_bytes(const sa2_flow_config *config, sa2_dtype dtype, int places,
                                int rows);

/* In an arena of the backend, which it leaves with the caller. Errors: SA2_ERR_NOMEM; SA2_ERR_LIMIT too many rows. */
sa2_status sa2_flow_dit_cache_init(sa2_stream *s, sa2_flow_dit_cache *cache,
                                   const sa2_flow_dit *dit, int places, int rows, sa2_arena *arena,
                                   sa2_error *err);

/* What the convolutions need of places [from, from + n) goes to places [to, to + n). */
void sa2_flow_dit_cache_copy_conv(sa2_stream *s, const sa2_flow_dit *dit,
                                  const sa2_flow_dit_cache *to_cache, int to,
                                  const sa2_flow_dit_cache *from_cache, int from, int n);

/* ---- forward ---- */

typedef struct sa2_flow_dit_sequence {
    int rows; /* frames of this chunk */
    int step;
    /* The rest only with a cache. */
    int place;
    bool fresh;                       /* nothing came before: the convolutions begin with zeros */
    bool last;                        /* nothing comes after: nothing is kept */
    const sa2_flow_kept *kept;        /* what it sees besides itself: of its place, and of */
    const sa2_flow_dit_cache *prompt; /* the voice prompt, shared; NULL when kept->prompt is 0 */
    int prompt_place;
} sa2_flow_dit_sequence;

/* Where to keep intermediate values of a block for a check; absent tensors are not kept. f32 [rows, width]: what
 * attention, convolution and MLP give before their gates. */
typedef struct sa2_flow_dit_stages {
    sa2_tensor attention, conv, mlp;
} sa2_flow_dit_stages;

/* For sequences of `rows` frames in all. */
sa2_flow_room_bytes sa2_flow_dit_room_bytes(const sa2_flow_config *config, sa2_dtype dtype,
                                            int64_t rows, int n_sequences);

/* velocity [sum rows, mel] f32 from in [sum rows, 4 mel] f32, each sequence as if it were alone. Keys, values and last rows
 * of the new frames are kept in the cache; without one (NULL) every sequence is whole. `kept` is not advanced.
 * Errors: SA2_ERR_ARG a step or place that is not there; SA2_ERR_NOMEM. Those of the ops stay in the stream. */
sa2_status sa2_flow_dit_forward(sa2_stream *s, const sa2_flow_dit *dit,
                                const sa2_flow_dit_cache *cache, const sa2_flow_room *room,
                                sa2_tensor velocity, sa2_tensor in,
                                const sa2_flow_dit_sequence *sequences, int n_sequences,
                                sa2_error *err);

/* One block on hidden [rows, width] f32 of one whole sequence, in place. For checks. */
sa2_status sa2_flow_dit_block_forward(sa2_stream *s, const sa2_flow_dit *dit, int block,
                                      const sa2_flow_room *room, sa2_tensor hidden, int step,
                                      const sa2_flow_dit_stages *stages, sa2_error *err);

#endif

/* flow.h - speech tokens and a voice to log-mel: encoder, then ten Euler steps of the DiT.
 *
 * Maths: conditional flow matching (Lipman et al. 2023) with classifier-free guidance (Ho & Salimans 2022) as in
 * CosyVoice 2 (Du et al. 2024): from noise x at t = 0, dx/dt = (1 + g) v(x | mu, speaker, cond) - g v(x | 0, 0, 0);
 * token2wav.py and cosyvoice2/flow/ of stepfun-ai/Step-Audio2, golden cases in tests/golden/token2wav/.
 *
 * Two functions of the model, whose results differ:
 *   whole   prompt and tokens at once, attention in both directions
 *   stream  chunk by chunk after a voice that was prepared once; a chunk sees the past and itself
 * A voice is read only: any number of streams shares it.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_H

#include "runtime/token2wav/flow_dit.h"
#include "runtime/token2wav/flow_encoder.h"

enum {
    SA2_FLOW_TAIL = 100,      /* frames at the far end of what a stream keeps (flow_kept.h) */
    SA2_FLOW_NOISE_TRACK = 1, /* of sa2_normal() */
};

/* Decided when the weights are loaded. */
typedef struct sa2_flow_options {
    int max_tokens;      /* of a sequence or a stream, its voice prompt included */
    int n_steps;         /* 0: SA2_FLOW_STEPS */
    uint64_t noise_seed; /* of the noise that every sequence begins with */
} sa2_flow_options;

typedef struct sa2_flow {
    sa2_flow_config config;
    int max_tokens, n_steps;
    double tau[SA2_FLOW_MAX_STEPS + 1];
    sa2_flow_encoder encoder;
    sa2_flow_dit dit;
    sa2_matrix speaker; /* [mel, speaker], f32 */
    sa2_tensor speaker_bias;
    sa2_tensor
        noise; /* f32 [frames, mel], standard normal: row f of a whole sequence begins as row f */
} sa2_flow;

/* Fills *flow, or only measures (weights.h). w's dtype is that of the products: F32, or BF16 for
 * matrices and for what goes into them inside the layers; sums, norms and Euler steps are f32 in any case.
 * The noise is sa2_normal() of the seed, track SA2_FLOW_NOISE_TRACK, row by row. */
void sa2_flow_load(sa2_flow *flow, const sa2_flow_config *config, const sa2_flow_options *options,
                   sa2_weights *w);

/* Other noise for the first rows: [n, mel] in host memory. Errors: SA2_ERR_LIMIT more rows than there are. */
sa2_status sa2_flow_set_noise(sa2_stream *s, sa2_flow *flow, const float *noise, int64_t n,
                              sa2_error *err);

/* ---- voices ---- */

/* What is known of a voice, in host memory. */
typedef struct sa2_flow_prompt {
    const int32_t *tokens;
    int n_tokens;
    const float *mel;     /* [up_stride * n_tokens, mel] */
    const float *speaker; /* [speaker], of any length but 0 */
} sa2_flow_prompt;

/* A voice as streams begin with it. Its memory is the caller's arena's. */
typedef struct sa2_flow_voice {
    int n_tokens, frames;
    sa2_flow_encoder_cache encoder; /* one slot */
    sa2_flow_dit_cache dit;         /* two places for each step */
    sa2_tensor speaker;             /* f32 [1, mel] */
} sa2_flow_voice;

size_t sa2_flow_voice_bytes(const sa2_flow *flow, int n_tokens);

/* Computes a voice, in the room of one sequence of n_tokens. `arena` belongs to the backend.
 * Errors: SA2_ERR_ARG too few tokens to look ahead with, a token that is not in the vocabulary;
 * SA2_ERR_LIMIT; SA2_ERR_NOMEM; those of the ops. After one the arena is as before. */
sa2_status sa2_flow_voice_init(sa2_stream *s, const sa2_flow *flow, sa2_flow_voice *voice,
                               const sa2_flow_prompt *prompt, sa2_arena *arena,
                               const sa2_flow_room *room, sa2_error *err);

/* ---- streams ---- */

/* What is kept of streams that run side by side, each in a slot. */
typedef struct sa2_flow_cache {
    int slots;
    int prompt_frames; /* the longest voice prompt */
    sa2_flow_encoder_cache encoder;
    sa2_flow_dit_cache dit;
} sa2_flow_cache;

size_t sa2_flow_cache_bytes(const sa2_flow *flow, int slots, int prompt_tokens);
sa2_status sa2_flow_cache_init(sa2_stream *s, const sa2_flow *flow, sa2_flow_cache *cache,
                               int slots, int prompt_tokens, sa2_arena *arena, sa2_error *err);

typedef struct sa2_flow_stream {
    const sa2_flow_voice *voice; /* borrowed; NULL: not started */
    int slot;
    int n_tokens; /* so far, the prompt's included */
    sa2_flow_kept kept;
} sa2_flow_stream;

/* A new stream in `slot`; one that was there is forgotten. Nothing is to be done when it ends.
 * Errors: SA2_ERR_ARG no such slot; SA2_ERR_LIMIT a voice that is longer than planned. */
sa2_status sa2_flow_stream_start(sa2_stream *s, const sa2_flow *flow, const sa2_flow_cache *cache,
                                 sa2_flow_stream *stream, int slot, const sa2_flow_voice *voice,
                                 sa2_error *err);

typedef struct sa2_flow_chunk {
    sa2_flow_stream *stream; /* one chunk each */
    const int32_t *tokens;   /* host [n + lookahead]; [n] of the last chunk */
    int n;                   /* to turn into mel: 2 at least unless it is the last */
    bool last;               /* the stream is over afterwards */
} sa2_flow_chunk;

/* ---- solutions ---- */

/* Mel under way: begun, then stepped until it is done, so that other work can run between Euler steps.
 * Its room stays taken until then. The fields are flow_solve.c's. */
typedef struct sa2_flow_solution {
    const sa2_flow *flow; /* NULL: nothing is under way */
    const sa2_flow_dit_cache *cache;
    sa2_flow_room room;
    sa2_flow_taking taking;
    int step;      /* that comes next */
    int n;         /* sequences */
    int64_t rows;  /* of all; the same once more without conditions */
    sa2_tensor mu; /* f32 [rows, mel] */
    sa2_tensor in; /* f32 [2 rows, 4 mel]: x | mu | speaker | cond, with and without conditions */
    sa2_tensor velocity;              /* f32 [2 rows, mel] */
    sa2_tensor direction;             /* f32 [rows, mel] */
    sa2_tensor x;                     /* f32 [rows, mel]: from noise to mel */
    sa2_tensor mel;                   /* the caller's: the last rows of x */
    sa2_row_list zeros;               /* [rows]: row 0 of a table, for each row */
    float *blank;                     /* host [2 rows, 4 mel] zeros */
    sa2_flow_encoder_chunk *chunks;   /* host [n] */
    sa2_flow_dit_sequence *sequences; /* host [2 n] */
    sa2_flow_stream **streams;        /* host [n]; NULL of a whole sequence */
} sa2_flow_solution;

/* Encodes chunks of n_chunks streams and begins with their mel [sum up_stride * n, mel] f32, each what it
 * would be alone, to the bit. `mel`, the cache and the voices stay in use.
 * Errors, before anything is changed: those of sa2_flow_encoder_forward(); SA2_ERR_ARG a stream that is
 * not started, over or there twice; SA2_ERR_NOMEM room that is too small. Those of the ops stay in `s`. */
sa2_status sa2_flow_begin(sa2_stream *s, const sa2_flow *flow, const sa2_flow_cache *cache,
                          const sa2_flow_room *room, sa2_flow_solution *solution, sa2_tensor mel,
                          const sa2_flow_chunk *chunks, int n_chunks, sa2_error *err);

/* The same for mel [up_stride * n, mel] of one whole sequence: tokens [n] (host) in the voice of the prompt.
 * Negative tokens count as 0, as the reference has it. */
sa2_status sa2_flow_begin_whole(sa2_stream *s, const sa2_flow *flow, const sa2_flow_room *room,
                                sa2_flow_solution *solution, sa2_tensor mel,
                                const sa2_flow_prompt *prompt, const int32_t *tokens, int n,
                                sa2_error *err);

/* One Euler step. After the last one `mel` is there, the streams have advanced, and nothing is under way. */
sa2_status sa2_flow_step(sa2_stream *s, sa2_flow_solution *solution, sa2_error *err);

/* Gives up what is under way, if anything: its streams are lost. */
void sa2_flow_abandon(sa2_flow_solution *solution);

/* All steps. */
sa2_status sa2_flow_solve(sa2_stream *s, sa2_flow_solution *solution, sa2_error *err);

/* For chunks of `tokens` tokens in all, or for one whole sequence or voice of so many, prompt included. */
sa2_flow_room_bytes sa2_flow_solution_room(const sa2_flow *flow, int64_t tokens, int n_chunks);

/* y [1, mel] f32: the speaker vector (host) of length 1, projected. For checks. */
sa2_status sa2_flow_speaker(sa2_stream *s, const sa2_flow *flow, const sa2_flow_room *room,
                            sa2_tensor y, const float *speaker, sa2_error *err);

#endif

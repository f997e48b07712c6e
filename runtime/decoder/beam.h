/* beam.h - beam search as bookkeeping: rows of logits in, which beam goes on with which token out.
 *
 * The engine owns model and cache: after each step it makes beam i a copy-on-write fork of beam
 * next[i].parent, appends next[i].token and computes the logits of the new beams.
 *
 * Rules: SA2_BEAM_HF is generate(num_beams) of transformers 4.49;
 * SA2_BEAM_FORK is use_beam_search of stepfun-ai/vllm. Equal scores: the lower beam, then the
 * lower id goes first.
 */
#ifndef SA2_RUNTIME_DECODER_BEAM_H
#define SA2_RUNTIME_DECODER_BEAM_H

#include "runtime/decoder/sampler.h"

enum { SA2_BEAM_MAX = 64 }; /* beams */

typedef enum sa2_beam_rule { SA2_BEAM_HF = 0, SA2_BEAM_FORK } sa2_beam_rule;

typedef struct sa2_beam_params {
    sa2_beam_rule rule;
    int beams;                /* 1 to SA2_BEAM_MAX */
    float length_penalty;     /* finite: scores are divided by length^length_penalty */
    bool early_stopping;      /* done when `beams` sequences are finished; rule HF */
    int max_tokens;           /* generated at most, >= 1 */
    int min_tokens;           /* end tokens are masked until these are there; rule HF */
    float repetition_penalty; /* > 0, 1: off; on log-probabilities, rule HF */
    sa2_token_list eos;       /* at most 64 */
    int n_tokens;             /* rows of logits that are tokens */
} sa2_beam_params;

typedef struct sa2_beam_next {
    int parent; /* beam of the step before that this one goes on from */
    int32_t token;
} sa2_beam_next;

/* A finished sequence. tokens are the search's, valid while it is; an end token is the last one. */
typedef struct sa2_beam_result {
    const int32_t *tokens;
    int n;
    float score;
    bool ended; /* by an end token, else by max_tokens */
} sa2_beam_result;

typedef struct sa2_beam sa2_beam;

/* Errors: SA2_ERR_ARG, every mistake in one report. */
sa2_status sa2_beam_check(const sa2_beam_params *params, sa2_error *err);

size_t sa2_beam_bytes(const sa2_beam_params *params);

/* A search over `params` (checked), in the request's arena; params and eos list are copied.
 * `prompt` is read for repetition_penalty and its length. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_beam_create(sa2_beam **beam, const sa2_beam_params *params, const int32_t *prompt,
                           int n_prompt, sa2_arena *arena, sa2_error *err);

/* Rows that the next step wants: 1 at first (the prompt's last), then `beams`. */
int sa2_beam_rows(const sa2_beam *beam);

/* One step. logits[i] [n_tokens] is the row of beam i, i < sa2_beam_rows(). Without `*done` the
 * search goes on with next [beams]; with it, `next` is unset and the results are final.
 * Errors: as sa2_sampler_next(); the search then stays as it was. */
sa2_status sa2_beam_step(sa2_beam *beam, const float *const *logits, sa2_sampler_work *work,
                         sa2_beam_next *next, bool *done, sa2_error *err);

/* The sequences found, best first; at least one, at most `beams`. Only after done. */
int sa2_beam_results(const sa2_beam *beam, sa2_beam_result results[SA2_BEAM_MAX]);

#endif

/* sampling_params.h - how a request wants its tokens chosen, with defaults and ranges.
 *
 * Names and ranges are those of vLLM's SamplingParams; what mode `hf` changes is what generate()
 * of transformers 4.49 does differently.
 */
#ifndef SA2_RUNTIME_DECODER_SAMPLING_PARAMS_H
#define SA2_RUNTIME_DECODER_SAMPLING_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/status.h"

enum {
    SA2_SAMPLING_MAX_LOGPROBS = 20,       /* of the most likely tokens */
    SA2_SAMPLING_MAX_BAD_WORD_TOKENS = 64 /* of one bad word */
};

typedef enum sa2_sampling_mode {
    SA2_SAMPLING_VLLM = 0, /* temperature, min-p, top-k, top-p; cold temperatures raised to 0.01 */
    SA2_SAMPLING_HF,       /* temperature, top-k (50 unless said), top-p, min-p */
} sa2_sampling_mode;

typedef struct sa2_logit_bias {
    int32_t id;
    float bias; /* added to the logit */
} sa2_logit_bias;

typedef struct sa2_token_list {
    const int32_t *ids;
    int n;
} sa2_token_list;

/* Start from sa2_sampling_defaults(). Lists belong to the caller and outlive every use. */
typedef struct sa2_sampling_params {
    sa2_sampling_mode mode;
    float temperature;        /* >= 0. 0 is greedy (HF: do_sample false); vLLM: so is < 1e-5 */
    int top_k;                /* -1 or 0: off */
    float top_p;              /* (0, 1], 1: off */
    float min_p;              /* [0, 1], 0: off */
    float repetition_penalty; /* > 0, 1: off; over prompt and generated tokens */
    float frequency_penalty;  /* [-2, 2], 0: off; over generated tokens */
    float presence_penalty;   /* [-2, 2], 0: off; over generated tokens */
    const sa2_logit_bias *logit_bias; /* each in [-100, 100]; one entry an id */
    int n_logit_bias;
    sa2_token_list allowed;          /* nothing else is sampled; n = 0: everything */
    const sa2_token_list *bad_words; /* token sequences that are never completed */
    int n_bad_words;
    sa2_token_list stop; /* ids that end the request; masked until min_tokens are there */
    int min_tokens;      /* >= 0 */
    int64_t seed;        /* negative: the caller draws one for sa2_sampler_init() */
    int n_logprobs;      /* most likely tokens to report, -1: no log-probabilities at all */
    bool round_to_bf16;  /* choose among logits as a model in bf16 gives them */
} sa2_sampling_params;

/* temperature 1, top_p 1, no penalties, seed -1, n_logprobs -1, top_k off (hf: 50). */
sa2_sampling_params sa2_sampling_defaults(sa2_sampling_mode mode);

/* Every mistake in one report, a line each: field, range, found. Ids must lie in [0, n_tokens).
 * Errors: SA2_ERR_ARG. */
sa2_status sa2_sampling_check(const sa2_sampling_params *params, int n_tokens, sa2_error *err);

/* Whether tokens are the most likely ones: seed and choice then make no difference. */
bool sa2_sampling_is_greedy(const sa2_sampling_params *params);

#endif

/* request_check.h - whether the fields of a request make sense, all mistakes in one report.
 */
#ifndef SA2_RUNTIME_SERVING_REQUEST_CHECK_H
#define SA2_RUNTIME_SERVING_REQUEST_CHECK_H

#include "runtime/decoder/beam.h"
#include "runtime/engine.h"

typedef struct sa2_request_limits {
    int n_tokens, max_num_seqs;
    bool has_tokenizer, has_speech;
} sa2_request_limits;

/* Everything but prompt, sounds and lengths that depend on it. Errors: SA2_ERR_ARG, a line for each field: name,
 * range, found; SA2_ERR_UNSUPPORTED what needs a tokenizer, or speech. */
sa2_status sa2_request_check(const sa2_request *request, const sa2_request_limits *limits,
                             sa2_error *err);

/* The beam search that a request asks for; max_tokens and eos are still to be set. */
sa2_beam_params sa2_request_beam(const sa2_request *request, int n_tokens);

#endif

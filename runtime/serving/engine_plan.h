/* engine_plan.h - the numbers of an engine: options with their defaults filled in, and all memory it will use.
 *
 * Known before a weight is read, so that a plan that does not fit is refused at once.
 */
#ifndef SA2_RUNTIME_SERVING_ENGINE_PLAN_H
#define SA2_RUNTIME_SERVING_ENGINE_PLAN_H

#include "runtime/serving/generate.h"
#include "runtime/serving/voices.h"

typedef struct sa2_engine_plan {
    sa2_dtype activations, kv_dtype;
    int max_model_len, max_num_seqs, max_rows;
    int page_size, n_pages;
    int max_queued;
    sa2_quant_options quant;
    sa2_decoder_config decoder; /* whole */

    /* Bytes. */
    size_t weights;
    size_t pages;   /* keys and values */
    size_t device;  /* tensors of a step, rows of sound */
    size_t work;    /* activations */
    size_t scratch; /* of single ops */
    size_t
        streams; /* what each stream of the device has for itself: the step's, and that of speech */
    size_t host; /* tables, logits, samplers, messages of ranks */
    size_t requests; /* sounds, ids and texts of all requests together */
    size_t speech;   /* token2wav and its voices */
    size_t sum;
} sa2_engine_plan;

/* Of this rank. `model` needs its configuration, shard and n_token_rows only; token2wav NULL: no speech. Errors: SA2_ERR_ARG options that make no sense, a line each. */
sa2_status sa2_engine_plan_make(sa2_engine_plan *plan, const sa2_engine_options *options,
                                const sa2_model *model, const sa2_token2wav *token2wav,
                                sa2_backend *backend, sa2_error *err);

/* One line for each item and the sum, through options->log. */
void sa2_engine_plan_print(const sa2_engine_plan *plan, const sa2_engine_options *options);

/* Errors: SA2_ERR_NOMEM, with every item, the sum and what the machine has. */
sa2_status sa2_engine_plan_check(const sa2_engine_plan *plan, size_t physical_bytes,
                                 sa2_error *err);

/* What token2wav is opened with. */
sa2_status sa2_engine_plan_token2wav(sa2_token2wav_options *speech,
                                     const sa2_engine_options *options, sa2_error *err);
int sa2_engine_plan_voices(const sa2_engine_options *options);

/* What is opened before there is a plan: the device, and this rank's share of the model. */
sa2_backend_options sa2_engine_plan_device(const sa2_engine_options *options);
sa2_model_options sa2_engine_plan_model(const sa2_engine_options *options);

/* The options of the parts that a plan stands for. */
sa2_kv_cache_options sa2_engine_plan_cache(const sa2_engine_plan *plan);
sa2_scheduler_options sa2_engine_plan_scheduler(const sa2_engine_plan *plan,
                                                const sa2_engine_options *options);
sa2_step_options sa2_engine_plan_step(const sa2_engine_plan *plan,
                                      const sa2_engine_options *options, const sa2_model *model);
sa2_clip_cache_options sa2_engine_plan_clips(const sa2_engine_plan *plan,
                                             const sa2_engine_options *options,
                                             const sa2_model *model);
sa2_generator_options sa2_engine_plan_generator(const sa2_engine_plan *plan,
                                                const sa2_engine_options *options,
                                                const sa2_model *model);

#endif

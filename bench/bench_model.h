/* bench_model.h - a model for benches: the shape of a preset, or a folder; its weights mean nothing.
 */
#ifndef SA2_BENCH_BENCH_MODEL_H
#define SA2_BENCH_BENCH_MODEL_H

#include "runtime/model.h"
#include "tools/options.h"

typedef struct sa2_bench_model_options {
    const char *folder; /* of a checkpoint; NULL: made from the preset */
    const char *preset; /* "mini" */
    int layers;         /* of the decoder, 0: all; only with a preset */
    int blocks;         /* of the encoder, 0: all; only with a preset */
    int parts;          /* of model.h */
    sa2_quant_options quant;
    int rank, n_ranks; /* of model.h */
} sa2_bench_model_options;

/* Judges layers, blocks and preset before anything is measured. False after a complaint. */
bool sa2_bench_model_ready(const sa2_bench_model_options *options, const sa2_usage_text *usage);

/* Of the decoder's matrices, each read once: what a step reads but for norms, biases and a row of the table. */
double sa2_bench_model_step_bytes(const sa2_model *model);

/* With a tokenizer. Progress of what takes long goes to stderr. The caller closes *model. */
sa2_status sa2_bench_model_open(sa2_model *model, sa2_backend *backend,
                                const sa2_bench_model_options *options, sa2_error *err);

#endif

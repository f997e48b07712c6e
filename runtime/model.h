/* model.h - everything that a release folder or native file holds for understanding: sizes, weights, tokenizer.
 *
 * Read once, then never changed: any number of engines and threads may look at it.
 */
#ifndef SA2_RUNTIME_MODEL_H
#define SA2_RUNTIME_MODEL_H

#include "kernels/backend.h"
#include "loader/model_config.h"
#include "loader/pack_writer.h"
#include "runtime/decoder/decoder.h"
#include "runtime/encoder/adaptor.h"
#include "runtime/encoder/audio_encoder.h"
#include "tokenizer/special.h"
#include "tokenizer/tokenizer.h"

typedef struct sa2_model {
    sa2_model_config config;
    sa2_audio_encoder encoder;
    sa2_adaptor adaptor;
    sa2_decoder decoder;
    sa2_shard shard;  /* what this rank has of the decoder; the config above is the whole one */
    int n_token_rows; /* ids below it are tokens; the rows of the matrices above it are not */

    sa2_tokenizer *tokenizer; /* NULL: opened without one */
    sa2_special special;

    sa2_backend *backend; /* borrowed */
    sa2_arena arena;      /* the weights */
    sa2_arena host;       /* and where each layer's are */
    sa2_pack *pack;       /* or the native file that they lie in; NULL */
    size_t weight_bytes;  /* in both arenas, and in the native file where it is used as it lies */
} sa2_model;

enum { SA2_MODEL_HEARING = 1, SA2_MODEL_DECODER = 2 }; /* encoder and adaptor; decoder */

typedef struct sa2_model_options {
    int parts;               /* what is needed of the above; 0: everything */
    int rank, n_ranks;       /* which share of the decoder, of how many; 0 ranks: the whole */
    sa2_quant_options quant; /* of the decoder */

    /* Sizes are known, no weight is read yet: the last chance to refuse. `model` has its configuration,
     * n_token_rows and weight_bytes. NULL: nobody asks. */
    sa2_status (*measured)(void *context, const sa2_model *model, sa2_error *err);
    void (*progress)(void *context, const char *what, size_t done, size_t total);
    void *context;
} sa2_model_options;

/* From a release folder or a native file. `model` is filled, or empty again after a failure. The report names every
 * mistake of the folder: config.json, shards, missing, extra and mis-shaped tensors, NaN, tokenizer files.
 * The backend must outlive the model. options may be NULL. */
sa2_status sa2_model_open(sa2_model *model, sa2_backend *backend, const char *path,
                          const sa2_model_options *options, sa2_error *err);

/* From a map of tensors (synthetic weights, tests), without tokenizer; n_token_rows is then given. The
 * map is read during the call only; a native file stays open as long as the model.
 * Errors: SA2_ERR_UNSUPPORTED a device that has no such matrices, a native file that is rounded to others,
 * more ranks than loader/shard.h can deal for. */
sa2_status sa2_model_from_map(sa2_model *model, sa2_backend *backend,
                              const sa2_model_config *config, sa2_tensor_map *map, int n_token_rows,
                              const sa2_model_options *options, sa2_error *err);

void sa2_model_close(sa2_model *model);

/* Writes the weights of a map, which is that of a release, to a native file for the backend's ops.
 * Errors: those of the map and of the writer. */
sa2_status sa2_model_pack(sa2_pack_writer *writer, sa2_backend *backend,
                          const sa2_model_config *config, sa2_tensor_map *map,
                          sa2_quant_options quant, sa2_error *err);

#endif

/* model_config.h - config.json of a checkpoint: the dimensions of every part of the language model.
 *
 * Two forms are published and both are read: nested (text_config, audio_encoder_config; Step-Audio 2)
 * and flat (the decoder's keys at the top level; Step-Audio R1.1). No dimension has a default: the
 * default arguments of the public configuration class are not those of any release.
 */
#ifndef SA2_LOADER_MODEL_CONFIG_H
#define SA2_LOADER_MODEL_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "loader/tensor_map.h"

typedef struct sa2_decoder_config {
    int hidden;
    int layers;
    int heads;
    int kv_heads;
    int head_dim; /* hidden / heads unless the file says otherwise */
    int ffn;
    int vocab; /* rows of the embedding; the last ones may be no tokens */
    int max_positions;
    float rms_norm_eps;
    float rope_theta;
} sa2_decoder_config;

typedef struct sa2_encoder_config {
    int mel_bins;
    int context; /* rows of the position table */
    int width;
    int heads;
    int blocks;
    int ffn; /* 0 until known from the tensors */
} sa2_encoder_config;

typedef struct sa2_adaptor_config {
    int kernel;
    int stride;
    int inner; /* 0 until known from the tensors */
} sa2_adaptor_config;

typedef struct sa2_model_config {
    sa2_decoder_config decoder;
    sa2_encoder_config encoder;
    sa2_adaptor_config adaptor;
    int eos_id; /* -1: not given; the first of a list */
    int pad_id; /* -1: not given */
} sa2_model_config;

/* Errors, all of one file in one report, each naming the key:
 * SA2_ERR_FORMAT missing, of another type, not positive, heads that do not divide, groups that are
 * not the KV heads; SA2_ERR_LIMIT above limits.h; SA2_ERR_UNSUPPORTED sliding window on, RoPE
 * scaling, tied embeddings, another activation. */
sa2_status sa2_model_config_read(sa2_model_config *config, const char *path, sa2_error *err);

/* The same from text in memory; `origin` stands for the path. */
sa2_status sa2_model_config_parse(sa2_model_config *config, const char *text, size_t bytes,
                                  const char *origin, sa2_error *err);

/* Fills encoder.ffn and adaptor.inner, which config.json does not have, from the shapes of
 * encoder.blocks.0.mlp.0.weight and adapter.linear1.weight. */
sa2_status sa2_model_config_complete(sa2_model_config *config, const sa2_tensor_map *map,
                                     sa2_error *err);

/* The text of a config.json with the keys of the release, malloc'ed. NULL when memory ran out. */
char *sa2_model_config_json(const sa2_model_config *config);

#endif

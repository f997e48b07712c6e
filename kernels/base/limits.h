/* limits.h - how much of anything from outside sa2 takes, in one table.
 *
 * A refusal names the thing, the limit and what was found. `sa2 doctor --limits` prints the table.
 */
#ifndef SA2_KERNELS_BASE_LIMITS_H
#define SA2_KERNELS_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Requests. */
enum {
    SA2_LIMIT_SOUND_SECONDS = 30 * 60,    /* counted while decoding: headers lie */
    SA2_LIMIT_VOICE_SECONDS = 10 * 60,    /* of a recording that speech is to sound like */
    SA2_LIMIT_SOUND_PIPE_BYTES = 1 << 30, /* of a sound file that comes through a pipe */
    SA2_LIMIT_SOUND_CHANNELS = 64,
    SA2_LIMIT_SOUND_RATE_LEAST_HZ = 1000,
    SA2_LIMIT_SOUND_RATE_HZ = 768000,
    SA2_LIMIT_TEXT_BYTES_PER_POSITION = 16, /* of the model's positions */
    SA2_LIMIT_MESSAGES = 256,
    SA2_LIMIT_REQUEST_BYTES = 64 << 20,
    SA2_LIMIT_JSON_DEPTH = 128,
};

/* Model files. */
enum {
    SA2_LIMIT_SAFETENSORS_HEADER_BYTES = 100 << 20,
    SA2_LIMIT_TENSORS = 200000, /* of one model, over all its files */
    SA2_LIMIT_TENSOR_NAME_BYTES = 511,
    SA2_LIMIT_SHARDS = 10000,
    SA2_LIMIT_CONFIG_BYTES = 16 << 20,     /* config.json, flow.yaml */
    SA2_LIMIT_TOKENIZER_BYTES = 256 << 20, /* any one tokenizer file */
    SA2_LIMIT_VOCAB = 4 << 20,             /* entries, merges, added tokens: each */
    SA2_LIMIT_ZIP_ENTRIES = 250000,
    SA2_LIMIT_ZIP_NAME_BYTES = 1024,
    SA2_LIMIT_PICKLE_BYTES = 64 << 20,
    SA2_LIMIT_PICKLE_STACK = 1 << 16, /* values */
    SA2_LIMIT_PICKLE_MARKS = 64,      /* tuples and dicts that are open at one time */
    SA2_LIMIT_PICKLE_MEMO = 1 << 21,  /* entries; also the largest index + 1 */
    SA2_LIMIT_PICKLE_ITEMS = 1 << 22, /* of all tuples together */
    SA2_LIMIT_PICKLE_PAIRS = 1 << 20, /* of all dicts together */
    SA2_LIMIT_ONNX_NODES = 1 << 20,
    SA2_LIMIT_ONNX_EDGES = 1 << 23, /* inputs and outputs of all nodes */
    SA2_LIMIT_YAML_DEPTH = 16,
};

/* Dimensions in config.json: above these a number is a mistake, and products of two fit an int64_t. */
enum {
    SA2_LIMIT_WIDTH = 1 << 18, /* hidden, ffn, encoder width */
    SA2_LIMIT_LAYERS = 1024,
    SA2_LIMIT_HEADS = 1024,
    SA2_LIMIT_HEAD_DIM = 1024,
    SA2_LIMIT_POSITIONS = 1 << 24,
    SA2_LIMIT_MEL_BINS = 1024,
    SA2_LIMIT_KERNEL = 64,
};

typedef struct sa2_limit {
    const char *name; /* "sound", "request" */
    int64_t value;
    const char *unit; /* "s", "bytes", "" */
} sa2_limit;

/* Every limit above, in that order. */
const sa2_limit *sa2_limits(size_t *n);

#endif

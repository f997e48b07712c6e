/* checkpoint_writer.h - writes the release folder of a preset with synthetic weights.
 *
 * The files are those of a release: config.json, safetensors shards with their index, the six
 * tokenizer files, and token2wav/ with flow.yaml, two PyTorch and two ONNX files. Weights of the
 * language model are made piece by piece, those of token2wav tensor by tensor, so memory stays
 * within twice the largest tensor of token2wav whatever the preset.
 */
#ifndef SA2_LOADER_CHECKPOINT_WRITER_H
#define SA2_LOADER_CHECKPOINT_WRITER_H

#include <stdint.h>

#include "kernels/base/status.h"
#include "loader/preset.h"

typedef struct sa2_checkpoint_options {
    uint64_t seed;
    const char *tokenizer; /* folder whose tokenizer files are copied, or NULL: made by rule */
    int64_t shard_bytes;   /* a shard is closed before it grows beyond; 0: 5,000,000,000 */
    int n_threads;         /* that make values of the language model; 0: 1 */
    /* After each piece, with the bytes of values that are written and that there will be; or NULL. */
    void (*progress)(void *context, int64_t done_bytes, int64_t total_bytes);
    void *context;
} sa2_checkpoint_options;

/* Writes `folder`, which must not exist or be empty; nothing is left of it after a failure.
 * Errors: SA2_ERR_ARG not empty; SA2_ERR_IO with the file (disk full, no permission). */
sa2_status sa2_checkpoint_write(const char *folder, const sa2_preset *preset,
                                const sa2_checkpoint_options *options, sa2_error *err);

#endif

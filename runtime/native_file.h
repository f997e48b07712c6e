/* native_file.h - a release folder to a native file (loader/pack.h), and back.
 *
 * The file holds the weights in the order of bytes that the backend's ops read, fused as the model's parts want
 * them, so that it is used as it is mapped; configuration and tokenizer as they are; and the checksums of the
 * files that it was made of. Where the folder has token2wav/, so does the file.
 */
#ifndef SA2_RUNTIME_NATIVE_FILE_H
#define SA2_RUNTIME_NATIVE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "runtime/quant.h"

typedef struct sa2_native_options {
    int n_threads;           /* 0: 1 */
    sa2_quant_options quant; /* for sa2_native_write(): of the decoder */
    /* Asked after each piece of a few MB; done == total at the end. False gives up. NULL: nobody asks. */
    bool (*go_on)(void *context, int64_t done, int64_t total);
    void *context;
} sa2_native_options;

/* Writes `path` for the backend's ops, whole or not at all: it gets its name once it has been read back. Besides the
 * maps of the files no more than the largest weight is in memory.
 * Errors: SA2_ERR_FORMAT all that is wrong with the folder, NaN and infinity among weights included; SA2_ERR_IO with
 * the path (disk full, no permission); SA2_ERR_CANCELLED; SA2_ERR_NOMEM. */
sa2_status sa2_native_write(const char *folder, const char *path, sa2_backend *backend,
                            const sa2_native_options *options, sa2_error *err);

/* Writes a folder that loads as the release did, every tensor bit by bit in safetensors files: what was rounded when the
 * native file was made stays rounded. The file is checked whole before.
 * Errors: those of sa2_pack_open() and sa2_pack_check_all(); SA2_ERR_ARG the folder is not empty; SA2_ERR_IO;
 * SA2_ERR_CANCELLED; SA2_ERR_NOMEM. */
sa2_status sa2_native_unpack(const char *path, const char *folder,
                             const sa2_native_options *options, sa2_error *err);

#endif

/* model_files.h - a release folder or a native file read and judged as a whole, before any weight is taken from it.
 */
#ifndef SA2_RUNTIME_MODEL_FILES_H
#define SA2_RUNTIME_MODEL_FILES_H

#include "loader/model_config.h"
#include "loader/tensor_map.h"
#include "runtime/vocabulary.h"

typedef struct sa2_model_files {
    sa2_model_config config; /* complete */
    sa2_tensor_map *map;     /* the language model's tensors, all that are expected and no other */
    sa2_vocabulary vocabulary;
} sa2_model_files;

/* Fills *files, empty again after a failure. One report names everything: keys of config.json, missing or cut
 * shards, missing, extra and mis-shaped tensors, mistakes of the tokenizer files, ids without a row. When anything is
 * wrong with a folder its values are read too, and NaN among them reported; else that is left to loading. Of a native
 * file's blocks only configuration and tokenizer are checked. */
sa2_status sa2_model_files_open(sa2_model_files *files, const char *path, sa2_error *err);
void sa2_model_files_close(sa2_model_files *files); /* zeroed is fine */

#endif

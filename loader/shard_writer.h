/* shard_writer.h - the safetensors files of a release: shards and the index that names them.
 */
#ifndef SA2_LOADER_SHARD_WRITER_H
#define SA2_LOADER_SHARD_WRITER_H

#include <stdbool.h>

#include "loader/tensor_list.h"
#include "loader/tensor_map.h"

typedef struct sa2_shard_options {
    int64_t shard_bytes; /* a shard is closed before it grows beyond; 0: 5,000,000,000 */
    int n_threads;       /* that make values; 0: 1 */
    /* After each piece, with its bytes; false gives up (SA2_ERR_CANCELLED). NULL: nobody asks. */
    bool (*go_on)(void *context, int64_t bytes);
    void *context;
} sa2_shard_options;

/* model-00001-of-N.safetensors and model.safetensors.index.json in a folder: the list's tensors with their values in
 * the map. Errors: SA2_ERR_IO; SA2_ERR_NOMEM; those of the map. */
sa2_status sa2_shards_write(const char *folder, const sa2_tensor_list *list,
                            const sa2_tensor_map *map, const sa2_shard_options *options,
                            sa2_error *err);

/* One file, without an index. */
sa2_status sa2_shard_write(const char *path, const sa2_tensor_list *list, const sa2_tensor_map *map,
                           const sa2_shard_options *options, sa2_error *err);

#endif

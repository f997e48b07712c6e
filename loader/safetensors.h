/* safetensors.h - weights in the safetensors format, one file or an index of shards.
 *
 * A file is the length of a JSON header (8 bytes, little-endian), the header
 * {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {"key": "string"}}, and the bytes of
 * the tensors without holes. Format: github.com/huggingface/safetensors.
 *
 * F32, BF16, I32 and U8 are mapped without copying where they are aligned; I64 and BOOL become I32 and U8
 * on demand, an I64 outside 32 bits being refused. Other dtypes are refused by name. A scalar has shape [1].
 */
#ifndef SA2_LOADER_SAFETENSORS_H
#define SA2_LOADER_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"
#include "loader/tensor_map.h"

/* Opens `path`: a .safetensors file; an index (.json) with its shards beside it; or a folder with
 * model.safetensors.index.json or model.safetensors. The caller owns *map.
 * All mistakes of a file, and of all shards of an index, are in one report: missing or cut shards,
 * overlapping, missing or surplus bytes, names twice, names in the index but not in the shard or
 * in a shard but not in the index, unknown dtypes. No values are read. */
sa2_status sa2_safetensors_open(sa2_tensor_map **map, const char *path, sa2_error *err);

/* The same, but a failure leaves what was right in *map, for the sake of a report that goes on; NULL when there is
 * nothing. */
sa2_status sa2_safetensors_open_partly(sa2_tensor_map **map, const char *path, sa2_error *err);

/* The same as sa2_safetensors_open() from one file's bytes in memory that outlive the map; `origin` stands for the path. */
sa2_status sa2_safetensors_parse(sa2_tensor_map **map, const void *bytes, size_t n,
                                 const char *origin, sa2_error *err);

/* Adds the tensors of one file, `mapped` when the memory is a mapped file. After a failure the map holds those that were right.
 * Errors: lines added to the report, as above. */
sa2_status sa2_safetensors_add(sa2_tensor_map *map, const void *bytes, size_t n, bool mapped,
                               const char *origin, sa2_error *err);

#endif

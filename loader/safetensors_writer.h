/* safetensors_writer.h - writes a safetensors file in pieces of any size, so that memory stays bounded.
 */
#ifndef SA2_LOADER_SAFETENSORS_WRITER_H
#define SA2_LOADER_SAFETENSORS_WRITER_H

#include <stddef.h>

#include "kernels/base/status.h"
#include "loader/tensor_list.h"

typedef struct sa2_safetensors_writer sa2_safetensors_writer;

typedef struct sa2_metadata {
    const char *key, *value;
} sa2_metadata;

/* Starts `path`.partial with the header of all tensors of the list, whose names must differ. */
sa2_status sa2_safetensors_writer_create(sa2_safetensors_writer **writer, const char *path,
                                         const sa2_tensor_list *list, const sa2_metadata *metadata,
                                         int n_metadata, sa2_error *err);

/* The next bytes of the tensors' values, in the order of the list. */
sa2_status sa2_safetensors_writer_append(sa2_safetensors_writer *writer, const void *data,
                                         size_t bytes, sa2_error *err);

/* All bytes must have come; the file gets its name. */
sa2_status sa2_safetensors_writer_finish(sa2_safetensors_writer *writer, sa2_error *err);

/* Removes an unfinished file. NULL is fine. */
void sa2_safetensors_writer_destroy(sa2_safetensors_writer *writer);

#endif

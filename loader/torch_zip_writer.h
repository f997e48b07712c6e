/* torch_zip_writer.h - a PyTorch checkpoint that torch.load(path, weights_only=True) takes.
 *
 * The dict is an OrderedDict of dense tensors on the CPU, each with a storage of its own, in pickle
 * protocol 2; the archive has the entries that torch.save() writes. Checked with torch 2.5.1.
 */
#ifndef SA2_LOADER_TORCH_ZIP_WRITER_H
#define SA2_LOADER_TORCH_ZIP_WRITER_H

#include "kernels/base/status.h"
#include "loader/tensor_map.h"
#include "loader/write_progress.h"

/* Writes all tensors of the map, f32 or bf16, in its order; values are read in pieces of a few MB.
 * The folder inside the archive is called as the file without its ending.
 * Errors: SA2_ERR_IO with the path; SA2_ERR_LIMIT more than 4 GiB; SA2_ERR_UNSUPPORTED another dtype;
 * those of the map's makers. Nothing is left of the file then. */
sa2_status sa2_torch_zip_write(const char *path, const sa2_tensor_map *map,
                               sa2_write_progress progress, sa2_error *err);

#endif

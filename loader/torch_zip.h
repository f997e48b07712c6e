/* torch_zip.h - a PyTorch checkpoint (torch.save of a state dict) as a map of tensors.
 *
 * The archive holds <root>/data.pkl, which says what the tensors are (pickle.h), and one file
 * <root>/data/<key> for each storage, little-endian. Nothing in it is executed.
 *
 * f32, bf16, i32 and u8 are taken where they lie when they are dense and aligned. Others are made on
 * demand: strided ones, half and double as f32, long as i32 (a value outside 32 bits is refused).
 * A scalar has shape [1].
 */
#ifndef SA2_LOADER_TORCH_ZIP_H
#define SA2_LOADER_TORCH_ZIP_H

#include <stddef.h>

#include "kernels/base/status.h"
#include "loader/tensor_map.h"

/* Opens the file at `path`. The caller owns *map.
 *   prefix  taken off the names that begin with it ("generator."), or NULL
 * Errors, with the path: those of mapped_file.h, zip_directory.h and pickle.h; SA2_ERR_FORMAT no or
 * several data.pkl, big-endian, a storage that is missing or whose size is not that of its elements,
 * a name twice. */
sa2_status sa2_torch_zip_open(sa2_tensor_map **map, const char *path, const char *prefix,
                              sa2_error *err);

/* The same from bytes in memory that outlive the map; `origin` stands for the path. */
sa2_status sa2_torch_zip_parse(sa2_tensor_map **map, const void *bytes, size_t n,
                               const char *origin, const char *prefix, sa2_error *err);

#endif

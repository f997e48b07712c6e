/* synthetic.h - weights whose values follow from the names of the tensors.
 *
 * For element i (row-major in the canonical shape) of tensor `name` in file role `role`:
 *   base  = FNV-1a-64(role "/" name) XOR seed
 *   u     = the top 24 bits of SplitMix64's output i + 1 from base, in [0, 1) (Steele, Lea, Flood 2014)
 *   value = centre + amplitude * (2 u - 1), formed in double, rounded to f32, then to the stored dtype
 * with centre and amplitude by name and shape (the table in synthetic.c). Any program that follows
 * the rule writes the same bytes, so a golden case names a preset and a seed and carries no weights.
 */
#ifndef SA2_LOADER_SYNTHETIC_H
#define SA2_LOADER_SYNTHETIC_H

#include <stdint.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "loader/preset.h"
#include "loader/tensor_list.h"
#include "loader/tensor_map.h"

/* Elements [first, first + count) of the tensor `name` of a file role ("model", "flow", "hift",
 * "campplus", "speech_tokenizer"). `shape` gives the canonical shape and the dtype written: f32 or bf16,
 * bf16 rounded from the f32. Reentrant. */
void sa2_synthetic_fill(void *out, const char *role, const char *name, const sa2_tensor *shape,
                        uint64_t seed, int64_t first, int64_t count);

/* A map of all tensors of a list, whose values are made on demand. The caller owns *map. */
sa2_status sa2_synthetic_map_of(sa2_tensor_map **map, const sa2_tensor_list *list, const char *role,
                                const char *origin, uint64_t seed, sa2_error *err);

/* The language model of a preset (role "model"). */
sa2_status sa2_synthetic_map(sa2_tensor_map **map, const sa2_preset *preset, uint64_t seed,
                             sa2_error *err);

#endif

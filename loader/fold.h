/* fold.h - weight norm and batch norm as what they are at inference: one weight, one scale and shift.
 */
#ifndef SA2_LOADER_FOLD_H
#define SA2_LOADER_FOLD_H

#include "kernels/base/status.h"
#include "loader/tensor_map.h"

/* Weight norm: W[i, ...] = v[i, ...] * g[i] / |v[i, ...]| (Salimans & Kingma 2016, eq. 2, one g for
 * each index of axis 0, which is the input channel of a transposed convolution).
 * For every pair in the map adds X.weight, made on demand, and marks the pair as used:
 *   X.parametrizations.weight.original0 (g), .original1 (v); or X.weight_g, X.weight_v
 *   v  [n, ...] f32;  g  n elements, [n, 1, ...]
 * The norm is a sum in double in the order of the elements; the product is rounded once. A v of zeros
 * gives NaN, which sa2_tensor_map_expect() refuses.
 * Errors: SA2_ERR_FORMAT a g without v or the other way round, a g of another size, an X.weight that
 * is there already, another dtype; SA2_ERR_NOMEM. All mistakes in one report. */
sa2_status sa2_fold_weight_norm(sa2_tensor_map *map, sa2_error *err);

/* Batch norm with running statistics: y = x * scale + shift,
 *   scale = weight / sqrt(running_var + eps),  shift = bias - running_mean * scale
 * (Ioffe & Szegedy 2015, algorithm 2). For every X.running_mean in the map adds X.scale and X.shift
 * [n], made on demand in double and rounded once, and marks the inputs as used. Without X.weight and
 * X.bias they are 1 and 0.
 * Errors: as above, for X.running_var and the sizes. */
sa2_status sa2_fold_batch_norm(sa2_tensor_map *map, double eps, sa2_error *err);

#endif

/* cuda_ops.cuh - the ops of the CUDA backend; contracts in kernels/ops.h.
 */
#ifndef SA2_KERNELS_CUDA_CUDA_OPS_CUH
#define SA2_KERNELS_CUDA_CUDA_OPS_CUH

#include "kernels/cuda/cuda.cuh"

namespace sa2_cuda
{
extern const sa2_ops ops;
extern const sa2_layout layout_f32, layout_bf16;

size_t matrix_bytes(sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_status matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src,
                        sa2_error *err);
sa2_status matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up,
                               sa2_error *err);
sa2_status matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride,
                                  sa2_error *err);
sa2_status linear(sa2_stream *s, const sa2_linear_args *a, sa2_error *err);

sa2_status rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps,
                    sa2_error *err);
sa2_status layer_norm(sa2_stream *s, const sa2_layer_norm_args *a, sa2_error *err);
sa2_status rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta, sa2_error *err);

sa2_status embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids, sa2_error *err);
sa2_status scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor rows, sa2_error *err);
sa2_status copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x, sa2_tensor from,
                     sa2_error *err);

sa2_status copy(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_error *err);
sa2_status add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b, sa2_error *err);
sa2_status mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z,
               sa2_error *err);
sa2_status activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation,
                    float slope, sa2_tensor alpha, sa2_error *err);
sa2_status affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale, sa2_tensor shift,
                  sa2_activation activation, sa2_error *err);
} // namespace sa2_cuda

#endif

/* cuda_ops.cuh - the ops of the CUDA backend; contracts in kernels/ops.h.
 */
#ifndef SA2_KERNELS_CUDA_CUDA_OPS_CUH
#define SA2_KERNELS_CUDA_CUDA_OPS_CUH

#include "kernels/cuda/cuda.cuh"

namespace sa2_cuda
{
extern const sa2_ops ops;
extern const sa2_layout layout_f32, layout_bf16, layout_i8, layout_i4, layout_e4m3;

sa2_status probe(sa2_stream *s, sa2_probe what, void *memory, size_t bytes, double *work,
                 sa2_error *err);

size_t matrix_bytes(sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_status matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src,
                        sa2_error *err);
sa2_status matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up,
                               sa2_error *err);
sa2_status matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride,
                                  sa2_error *err);
sa2_status linear(sa2_stream *s, const sa2_linear_args *a, sa2_error *err);

sa2_status conv1d(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err);
sa2_status conv_transpose1d(sa2_stream *s, const sa2_conv_transpose1d_args *a, sa2_error *err);
sa2_status conv2d(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err);
sa2_status depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                            sa2_rows sequences, int pad_left, sa2_error *err);

sa2_status attention(sa2_stream *s, const sa2_attention_args *a, sa2_error *err);
sa2_status kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k, sa2_tensor v,
                    const sa2_paged_rows *where, sa2_error *err);
sa2_status kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache, const sa2_page_copy *copies,
                   int n, sa2_error *err);
sa2_status attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q,
                           const sa2_kv_cache_view *cache, const sa2_paged_rows *where, float scale,
                           sa2_error *err);

sa2_status mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int kernel,
                     sa2_error *err);
sa2_status segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                           int segment, sa2_partial_rule partial, sa2_error *err);
sa2_status mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                          sa2_error *err);

sa2_status sample(sa2_stream *s, const sa2_sample_args *a, sa2_error *err);
sa2_status sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results, const int32_t *from,
                       sa2_error *err);
sa2_status spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps,
                    sa2_error *err);
sa2_status log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor, sa2_error *err);
sa2_status clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float range, float shift,
                          float scale, sa2_error *err);
sa2_status reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int before,
                       int after, sa2_error *err);
sa2_status polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most, sa2_error *err);
sa2_status overlap_add(sa2_stream *s, const sa2_overlap_add_args *a, sa2_error *err);
sa2_status harmonics(sa2_stream *s, const sa2_harmonics_args *a, sa2_error *err);
sa2_status normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first,
                  sa2_error *err);
sa2_status cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z, sa2_error *err);

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

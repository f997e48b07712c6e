/* cpu_ops.h - the ops of the CPU backend; contracts in kernels/ops.h.
 */
#ifndef SA2_KERNELS_CPU_CPU_OPS_H
#define SA2_KERNELS_CPU_CPU_OPS_H

#include "kernels/cpu/cpu_backend.h"

sa2_status sa2_cpu_kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache,
                           const sa2_page_copy *copies, int n, sa2_error *err);
sa2_status sa2_cpu_depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                                    sa2_rows sequences, int pad_left, sa2_error *err);
sa2_status sa2_cpu_rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps,
                            sa2_error *err);
sa2_status sa2_cpu_layer_norm(sa2_stream *s, const sa2_layer_norm_args *a, sa2_error *err);
sa2_status sa2_cpu_rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta,
                        sa2_error *err);
sa2_status sa2_cpu_attention(sa2_stream *s, const sa2_attention_args *a, sa2_error *err);
sa2_status sa2_cpu_kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k,
                            sa2_tensor v, const sa2_paged_rows *where, sa2_error *err);
sa2_status sa2_cpu_attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q,
                                   const sa2_kv_cache_view *cache, const sa2_paged_rows *where,
                                   float scale, sa2_error *err);
sa2_status sa2_cpu_embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids,
                             sa2_error *err);
sa2_status sa2_cpu_scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor rows,
                                sa2_error *err);
sa2_status sa2_cpu_copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x,
                             sa2_tensor from, sa2_error *err);
sa2_status sa2_cpu_copy(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_error *err);
sa2_status sa2_cpu_add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b, sa2_error *err);
sa2_status sa2_cpu_mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z,
                       sa2_error *err);
sa2_status sa2_cpu_activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation,
                            float slope, sa2_tensor alpha, sa2_error *err);
sa2_status sa2_cpu_affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale,
                          sa2_tensor shift, sa2_activation activation, sa2_error *err);
sa2_status sa2_cpu_mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                             int kernel, sa2_error *err);
sa2_status sa2_cpu_segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                                   int segment, sa2_partial_rule partial, sa2_error *err);
sa2_status sa2_cpu_mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                                  sa2_error *err);
sa2_status sa2_cpu_sample(sa2_stream *s, const sa2_sample_args *a, sa2_error *err);
sa2_status sa2_cpu_sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results,
                               const int32_t *from, sa2_error *err);
sa2_status sa2_cpu_spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps,
                            sa2_error *err);
sa2_status sa2_cpu_log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor,
                             sa2_error *err);
sa2_status sa2_cpu_clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float range,
                                  float shift, float scale, sa2_error *err);
sa2_status sa2_cpu_reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                               int before, int after, sa2_error *err);
sa2_status sa2_cpu_polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most, sa2_error *err);
sa2_status sa2_cpu_overlap_add(sa2_stream *s, const sa2_overlap_add_args *a, sa2_error *err);
sa2_status sa2_cpu_harmonics(sa2_stream *s, const sa2_harmonics_args *a, sa2_error *err);
sa2_status sa2_cpu_normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first,
                          sa2_error *err);
sa2_status sa2_cpu_cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z,
                              sa2_error *err);

size_t sa2_cpu_matrix_bytes(sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_status sa2_cpu_matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src,
                                sa2_error *err);
sa2_status sa2_cpu_matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up,
                                       sa2_error *err);
sa2_status sa2_cpu_matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride,
                                          sa2_error *err);
sa2_status sa2_cpu_linear(sa2_stream *s, const sa2_linear_args *a, sa2_error *err);
sa2_status sa2_cpu_conv1d(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err);
sa2_status sa2_cpu_conv_transpose1d(sa2_stream *s, const sa2_conv_transpose1d_args *a,
                                    sa2_error *err);
sa2_status sa2_cpu_conv2d(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err);

#endif

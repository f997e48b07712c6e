/* cpu_ops.c - the CPU backend's entry for every op of ops.h. */
#include "kernels/cpu/cpu_ops.h"

#include "kernels/cpu/matrix.h"
#include "kernels/cpu/matrix_e4m3.h"
#include "kernels/cpu/matrix_i4.h"
#include "kernels/cpu/matrix_i8.h"

const sa2_ops sa2_cpu_ops = {
    .missing = "sample ",

    .kv_copy = sa2_cpu_kv_copy,
    .depthwise_memory = sa2_cpu_depthwise_memory,
    .rms_norm = sa2_cpu_rms_norm,
    .layer_norm = sa2_cpu_layer_norm,
    .rope = sa2_cpu_rope,
    .attention = sa2_cpu_attention,
    .kv_store = sa2_cpu_kv_store,
    .attention_paged = sa2_cpu_attention_paged,
    .embedding = sa2_cpu_embedding,
    .scatter_rows = sa2_cpu_scatter_rows,
    .copy_rows = sa2_cpu_copy_rows,
    .copy = sa2_cpu_copy,
    .add = sa2_cpu_add,
    .mix = sa2_cpu_mix,
    .activate = sa2_cpu_activate,
    .affine = sa2_cpu_affine,
    .mean_pool = sa2_cpu_mean_pool,
    .segment_context = sa2_cpu_segment_context,
    .mean_deviation = sa2_cpu_mean_deviation,
    .sample = sa2_cpu_sample,
    .sampled_ids = sa2_cpu_sampled_ids,
    .spectrum = sa2_cpu_spectrum,
    .log_floor = sa2_cpu_log_floor,
    .clamp_to_range = sa2_cpu_clamp_to_range,
    .reflect_pad = sa2_cpu_reflect_pad,
    .polar = sa2_cpu_polar,
    .overlap_add = sa2_cpu_overlap_add,
    .harmonics = sa2_cpu_harmonics,
    .normal = sa2_cpu_normal,
    .cross_fade = sa2_cpu_cross_fade,
    .matrix_layouts = {[SA2_F32] = &sa2_cpu_layout_f32,
                       [SA2_BF16] = &sa2_cpu_layout_bf16,
                       [SA2_I8] = &sa2_cpu_layout_i8,
                       [SA2_I4] = &sa2_cpu_layout_i4,
                       [SA2_E4M3] = &sa2_cpu_layout_e4m3},
    .matrix_bytes = sa2_cpu_matrix_bytes,
    .matrix_write = sa2_cpu_matrix_write,
    .matrix_write_swiglu = sa2_cpu_matrix_write_swiglu,
    .matrix_write_transpose = sa2_cpu_matrix_write_transpose,
    .linear = sa2_cpu_linear,
    .conv1d = sa2_cpu_conv1d,
    .conv_transpose1d = sa2_cpu_conv_transpose1d,
    .conv2d = sa2_cpu_conv2d,
};

/* cuda_ops.cu - the CUDA backend's entry for every op of ops.h, and the refusal of those that it does not have. */
#include "kernels/cuda/cuda_ops.cuh"

namespace sa2_cuda
{
#define SA2_CUDA_MISSING(X)                                                                        \
    X(conv1d)                                                                                      \
    X(conv_transpose1d)                                                                            \
    X(conv2d)                                                                                      \
    X(depthwise_memory)                                                                            \
    X(attention)                                                                                   \
    X(kv_store)                                                                                    \
    X(kv_copy)                                                                                     \
    X(attention_paged)                                                                             \
    X(mean_pool)                                                                                   \
    X(segment_context)                                                                             \
    X(mean_deviation)                                                                              \
    X(spectrum)                                                                                    \
    X(log_floor)                                                                                   \
    X(clamp_to_range)                                                                              \
    X(reflect_pad)                                                                                 \
    X(polar)                                                                                       \
    X(overlap_add)                                                                                 \
    X(harmonics)                                                                                   \
    X(normal)                                                                                      \
    X(cross_fade)

/* The last parameter of every op is the error. */
static sa2_status refuse(const char *op, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s: the cuda device does not have this op yet", op);
}

template <typename First, typename... Rest>
static sa2_status refuse(const char *op, First, Rest... rest)
{
    return refuse(op, rest...);
}

#define REFUSAL(op)                                                                                \
    template <typename... P> static sa2_status op##_is_missing(P... p)                             \
    {                                                                                              \
        return refuse(#op, p...);                                                                  \
    }
SA2_CUDA_MISSING(REFUSAL)

#define NAME(op) #op " "

static size_t no_page_bytes(const sa2_kv_cache_view *)
{
    return 0;
}

const sa2_ops ops = {
    .missing = SA2_CUDA_MISSING(NAME) "kv_page_bytes ",
    .matrix_layouts = {&layout_f32, &layout_bf16},
    .matrix_bytes = matrix_bytes,
    .matrix_write = matrix_write,
    .matrix_write_swiglu = matrix_write_swiglu,
    .matrix_write_transpose = matrix_write_transpose,
    .linear = linear,
    .conv1d = conv1d_is_missing,
    .conv_transpose1d = conv_transpose1d_is_missing,
    .conv2d = conv2d_is_missing,
    .depthwise_memory = depthwise_memory_is_missing,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .rope = rope,
    .attention = attention_is_missing,
    .kv_page_bytes = no_page_bytes,
    .kv_store = kv_store_is_missing,
    .kv_copy = kv_copy_is_missing,
    .attention_paged = attention_paged_is_missing,
    .embedding = embedding,
    .scatter_rows = scatter_rows,
    .copy_rows = copy_rows,
    .copy = copy,
    .add = add,
    .mix = mix,
    .activate = activate,
    .affine = affine,
    .mean_pool = mean_pool_is_missing,
    .segment_context = segment_context_is_missing,
    .mean_deviation = mean_deviation_is_missing,
    .spectrum = spectrum_is_missing,
    .log_floor = log_floor_is_missing,
    .clamp_to_range = clamp_to_range_is_missing,
    .reflect_pad = reflect_pad_is_missing,
    .polar = polar_is_missing,
    .overlap_add = overlap_add_is_missing,
    .harmonics = harmonics_is_missing,
    .normal = normal_is_missing,
    .cross_fade = cross_fade_is_missing,
};
} // namespace sa2_cuda

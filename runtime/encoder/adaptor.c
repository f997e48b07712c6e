#include "runtime/encoder/adaptor.h"

#include "runtime/work.h"

enum { PAD = 1 };

void sa2_adaptor_load(sa2_adaptor *adaptor, const sa2_model_config *config, sa2_weights *w)
{
    int64_t width = config->encoder.width, inner = config->adaptor.inner;
    int64_t hidden = config->decoder.hidden;
    sa2_adaptor a = {.config = config->adaptor,
                     .width = config->encoder.width,
                     .hidden = config->decoder.hidden};
    a.conv = sa2_weights_conv1d(w, width, width, config->adaptor.kernel, "adapter.conv.weight");
    a.conv_bias = sa2_weights_vector(w, width, "adapter.conv.bias");
    a.linear1 = sa2_weights_matrix(w, inner, width, "adapter.linear1.weight");
    a.linear1_bias = sa2_weights_vector(w, inner, "adapter.linear1.bias");
    a.linear2 = sa2_weights_matrix(w, hidden, inner, "adapter.linear2.weight");
    a.linear2_bias = sa2_weights_vector(w, hidden, "adapter.linear2.bias");
    *adaptor = a;
}

int64_t sa2_adaptor_rows(const sa2_adaptor_config *config, int64_t pooled)
{
    int64_t room = pooled + 2 * PAD - config->kernel;
    return pooled < 1 || room < 0 ? 0 : room / config->stride + 1;
}

typedef struct activations {
    sa2_tensor x;     /* [P, width], in the dtype of activations */
    sa2_tensor conv;  /* [rows, width] */
    sa2_tensor inner; /* [rows, inner] */
} activations;

static activations take_activations(sa2_work *work, int64_t width, int64_t inner, sa2_dtype dtype,
                                    int64_t pooled, int64_t rows)
{
    return (activations){
        .x = sa2_work_take(work, dtype, pooled, width),
        .conv = sa2_work_take(work, dtype, rows, width),
        .inner = sa2_work_take(work, dtype, rows, inner),
    };
}

size_t sa2_adaptor_work_bytes(const sa2_model_config *config, sa2_dtype dtype, int64_t pooled,
                              int n_clips)
{
    sa2_work work = {0};
    take_activations(&work, config->encoder.width, config->adaptor.inner, dtype, pooled,
                     pooled / config->adaptor.stride + n_clips);
    return work.bytes;
}

size_t sa2_adaptor_scratch_bytes(const sa2_model_config *config, sa2_dtype dtype, int64_t pooled,
                                 int n_clips)
{
    return sa2_conv1d_scratch_bytes(dtype, pooled, config->encoder.width, n_clips, PAD, PAD);
}

sa2_status sa2_adaptor_forward(sa2_stream *s, const sa2_adaptor *adaptor, sa2_dtype dtype,
                               sa2_arena *arena, sa2_tensor out, sa2_tensor x, sa2_rows clips,
                               sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, adaptor->width, adaptor->config.inner, dtype,
                                     x.shape[0], out.shape[0]);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "adaptor: %zu bytes of work memory needed, %zu left",
                        work.bytes, arena->bytes - mark);
    }
    sa2_copy(s, a.x, x);
    sa2_conv1d(s, (sa2_conv1d_args){.y = a.conv,
                                    .x = a.x,
                                    .sequences = clips,
                                    .w = &adaptor->conv,
                                    .bias = adaptor->conv_bias,
                                    .kernel = adaptor->config.kernel,
                                    .stride = adaptor->config.stride,
                                    .dilation = 1,
                                    .pad_left = PAD,
                                    .pad_right = PAD,
                                    .activation = SA2_ACT_GELU});
    sa2_linear(s, (sa2_linear_args){.y = a.inner,
                                    .x = a.conv,
                                    .w = &adaptor->linear1,
                                    .bias = adaptor->linear1_bias,
                                    .activation = SA2_ACT_RELU});
    sa2_linear(s,
               (sa2_linear_args){
                   .y = out, .x = a.inner, .w = &adaptor->linear2, .bias = adaptor->linear2_bias});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

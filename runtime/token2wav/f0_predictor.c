#include "runtime/token2wav/f0_predictor.h"

#include "runtime/work.h"

enum { PAD = SA2_F0_KERNEL / 2 };

void sa2_f0_predictor_load(sa2_f0_predictor *predictor, const sa2_vocoder_dims *dims,
                           sa2_weights *w)
{
    int64_t channels = dims->f0_channels;
    sa2_f0_predictor p = {.mel = dims->mel, .channels = dims->f0_channels};
    for (int i = 0; i < SA2_F0_LAYERS; i++) { /* every other module is an activation */
        p.convs[i] = sa2_weights_conv1d(w, channels, i == 0 ? dims->mel : channels, SA2_F0_KERNEL,
                                        "f0_predictor.condnet.%d.weight", 2 * i);
        p.biases[i] = sa2_weights_vector(w, channels, "f0_predictor.condnet.%d.bias", 2 * i);
    }
    p.classifier = sa2_weights_matrix(w, 1, channels, "f0_predictor.classifier.weight");
    p.classifier_bias = sa2_weights_vector(w, 1, "f0_predictor.classifier.bias");
    sa2_weights_release(w);
    *predictor = p;
}

/* Two, in turn the input and the output of a convolution. */
static void take_hidden(sa2_work *work, int64_t frames, int64_t channels, sa2_tensor hidden[2])
{
    for (int i = 0; i < 2; i++)
        hidden[i] = sa2_work_take(work, SA2_F32, frames, channels);
}

size_t sa2_f0_predictor_work_bytes(const sa2_vocoder_dims *dims, int64_t frames)
{
    sa2_work work = {0};
    sa2_tensor hidden[2];
    take_hidden(&work, frames, dims->f0_channels, hidden);
    return work.bytes;
}

size_t sa2_f0_predictor_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n)
{
    int64_t widest = dims->mel > dims->f0_channels ? dims->mel : dims->f0_channels;
    return sa2_conv1d_scratch_bytes(SA2_F32, frames, widest, n, PAD, PAD);
}

sa2_status sa2_f0_predictor_forward(sa2_stream *s, const sa2_f0_predictor *p, sa2_arena *arena,
                                    sa2_tensor f0, sa2_tensor mel, sa2_rows frames, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_tensor hidden[2], x = mel;
    take_hidden(&work, mel.shape[0], p->channels, hidden);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "f0 predictor: %zu bytes of work memory needed, %zu left", work.bytes,
                        arena->bytes - mark);
    }
    for (int i = 0; i < SA2_F0_LAYERS; i++) {
        sa2_conv1d(s, (sa2_conv1d_args){.y = hidden[i % 2],
                                        .x = x,
                                        .sequences = frames,
                                        .w = &p->convs[i],
                                        .bias = p->biases[i],
                                        .kernel = SA2_F0_KERNEL,
                                        .stride = 1,
                                        .dilation = 1,
                                        .pad_left = PAD,
                                        .pad_right = PAD,
                                        .activation = SA2_ACT_ELU});
        x = hidden[i % 2];
    }
    sa2_linear(s, (sa2_linear_args){.y = f0,
                                    .x = x,
                                    .w = &p->classifier,
                                    .bias = p->classifier_bias,
                                    .activation = SA2_ACT_ABS});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

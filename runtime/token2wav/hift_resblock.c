#include "runtime/token2wav/hift_resblock.h"

static const int dilations[SA2_VOCODER_DILATIONS] = {1, 3, 5};

void sa2_hift_resblock_load(sa2_hift_resblock *block, int channels, int kernel, const char *list,
                            int index, sa2_weights *w)
{
    sa2_hift_resblock b = {.channels = channels, .kernel = kernel};
    int64_t n = channels;
    for (int i = 0; i < SA2_VOCODER_DILATIONS; i++) {
        b.pairs[i].conv1 =
            sa2_weights_conv1d(w, n, n, kernel, "%s.%d.convs1.%d.weight", list, index, i);
        b.pairs[i].bias1 = sa2_weights_vector(w, n, "%s.%d.convs1.%d.bias", list, index, i);
        b.pairs[i].conv2 =
            sa2_weights_conv1d(w, n, n, kernel, "%s.%d.convs2.%d.weight", list, index, i);
        b.pairs[i].bias2 = sa2_weights_vector(w, n, "%s.%d.convs2.%d.bias", list, index, i);
        b.pairs[i].alpha1 = sa2_weights_vector(w, n, "%s.%d.activations1.%d.alpha", list, index, i);
        b.pairs[i].alpha2 = sa2_weights_vector(w, n, "%s.%d.activations2.%d.alpha", list, index, i);
    }
    sa2_weights_release(w);
    *block = b;
}

static int padding(int kernel, int dilation)
{
    return dilation * (kernel - 1) / 2;
}

size_t sa2_hift_resblock_scratch_bytes(int channels, int kernel, int64_t rows, int n)
{
    int widest = padding(kernel, dilations[SA2_VOCODER_DILATIONS - 1]);
    return sa2_conv1d_scratch_bytes(SA2_F32, rows, channels, n, widest, widest);
}

void sa2_hift_resblock_forward(sa2_stream *s, const sa2_hift_resblock *b, sa2_tensor x,
                               sa2_tensor between, sa2_rows sounds)
{
    for (int i = 0; i < SA2_VOCODER_DILATIONS; i++) {
        sa2_conv1d_args conv = {.y = between,
                                .x = x,
                                .sequences = sounds,
                                .w = &b->pairs[i].conv1,
                                .bias = b->pairs[i].bias1,
                                .kernel = b->kernel,
                                .stride = 1,
                                .dilation = dilations[i],
                                .pad_left = padding(b->kernel, dilations[i]),
                                .pad_right = padding(b->kernel, dilations[i]),
                                .input = SA2_ACT_SNAKE,
                                .input_alpha = b->pairs[i].alpha1};
        sa2_conv1d(s, conv);
        conv.y = x;
        conv.x = between;
        conv.w = &b->pairs[i].conv2;
        conv.bias = b->pairs[i].bias2;
        conv.input_alpha = b->pairs[i].alpha2;
        conv.dilation = 1;
        conv.pad_left = conv.pad_right = padding(b->kernel, 1);
        conv.accumulate = true;
        sa2_conv1d(s, conv);
    }
}

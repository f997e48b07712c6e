#include "loader/token2wav_tensors.h"

#include <stdarg.h>
#include <stdio.h>

/* Adds tensors under a prefix until the first failure, so that what follows reads as tables. */
typedef struct list_writer {
    sa2_tensor_list *list;
    char prefix[96];
    sa2_status status;
    sa2_error *err;
} list_writer;

static void set_prefix(list_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void set_prefix(list_writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->prefix, sizeof w->prefix, format, args);
    va_end(args);
}

static void add(list_writer *w, const char *name, const char *end, int ndim, const int64_t *shape)
{
    if (w->status == SA2_OK)
        w->status = sa2_tensor_list_add(w->list, SA2_F32, ndim, shape, w->err, "%s%s%s", w->prefix,
                                        name, end);
}

static void vector(list_writer *w, const char *name, int64_t n)
{
    add(w, name, "", 1, (int64_t[]){n});
}

static void matrix(list_writer *w, const char *name, int64_t out, int64_t in)
{
    add(w, name, "", 2, (int64_t[]){out, in});
}

static void kernel_1d(list_writer *w, const char *name, int64_t out, int64_t in, int64_t k)
{
    add(w, name, "", 3, (int64_t[]){out, in, k});
}

/* name.weight and name.bias of a linear layer, a convolution, a norm. */
static void linear(list_writer *w, const char *name, int64_t out, int64_t in)
{
    add(w, name, ".weight", 2, (int64_t[]){out, in});
    add(w, name, ".bias", 1, (int64_t[]){out});
}

static void conv_1d(list_writer *w, const char *name, int64_t out, int64_t in, int64_t k)
{
    add(w, name, ".weight", 3, (int64_t[]){out, in, k});
    add(w, name, ".bias", 1, (int64_t[]){out});
}

static void conv_2d(list_writer *w, const char *name, int64_t out, int64_t in, int64_t k)
{
    add(w, name, ".weight", 4, (int64_t[]){out, in, k, k});
    add(w, name, ".bias", 1, (int64_t[]){out});
}

static void norm(list_writer *w, const char *name, int64_t n)
{
    add(w, name, ".weight", 1, (int64_t[]){n});
    add(w, name, ".bias", 1, (int64_t[]){n});
}

/* ---- flow ---- */

enum {
    LOOKAHEAD_KERNEL = 3, /* of the second convolution; the first is lookahead + 1 */
    DIT_KERNEL = 3,
    DIT_TIME_INPUTS = 256, /* cosines and sines of the timestep */
    DIT_MODULATIONS = 9,   /* shift, scale and gate of attention, MLP and convolution */
};

static void add_flow_encoder_layer(list_writer *w, const sa2_flow_config *c)
{
    int64_t width = c->width, head_dim = c->width / c->heads;
    linear(w, "self_attn.linear_q", width, width);
    linear(w, "self_attn.linear_k", width, width);
    linear(w, "self_attn.linear_v", width, width);
    linear(w, "self_attn.linear_out", width, width);
    matrix(w, "self_attn.linear_pos.weight", width, width);
    matrix(w, "self_attn.pos_bias_u", c->heads, head_dim);
    matrix(w, "self_attn.pos_bias_v", c->heads, head_dim);
    linear(w, "feed_forward.w_1", c->ffn, width);
    linear(w, "feed_forward.w_2", width, c->ffn);
    norm(w, "norm_mha", width);
    norm(w, "norm_ff", width);
}

static void add_flow_encoder(list_writer *w, const sa2_flow_config *c)
{
    int64_t width = c->width;
    set_prefix(w, "encoder.");
    linear(w, "embed.out.0", width, width);
    norm(w, "embed.out.1", width);
    conv_1d(w, "pre_lookahead_layer.conv1", width, width, (int64_t)c->lookahead + 1);
    conv_1d(w, "pre_lookahead_layer.conv2", width, width, LOOKAHEAD_KERNEL);
    conv_1d(w, "up_layer.conv", width, width, 2 * (int64_t)c->up_stride + 1);
    linear(w, "up_embed.out.0", width, width);
    norm(w, "up_embed.out.1", width);
    norm(w, "after_norm", width);
    for (int i = 0; i < c->layers; i++) {
        set_prefix(w, "encoder.encoders.%d.", i);
        add_flow_encoder_layer(w, c);
    }
    for (int i = 0; i < c->up_layers; i++) {
        set_prefix(w, "encoder.up_encoders.%d.", i);
        add_flow_encoder_layer(w, c);
    }
}

static void add_dit(list_writer *w, const sa2_flow_config *c)
{
    int64_t width = c->dit_width;
    set_prefix(w, "decoder.estimator.");
    linear(w, "t_embedder.mlp.0", width, DIT_TIME_INPUTS);
    linear(w, "t_embedder.mlp.2", width, width);
    linear(w, "in_proj", width, c->dit_in);
    for (int i = 0; i < c->dit_blocks; i++) {
        set_prefix(w, "decoder.estimator.blocks.%d.", i);
        linear(w, "attn.to_q", width, width);
        linear(w, "attn.to_k", width, width);
        linear(w, "attn.to_v", width, width);
        norm(w, "attn.q_norm", c->dit_head_dim);
        norm(w, "attn.k_norm", c->dit_head_dim);
        linear(w, "attn.proj", width, width);
        linear(w, "mlp.fc1", c->dit_ffn, width);
        linear(w, "mlp.fc2", width, c->dit_ffn);
        conv_1d(w, "conv.block.1", width, width, DIT_KERNEL);
        norm(w, "conv.block.3", width);
        conv_1d(w, "conv.block.6", width, width, DIT_KERNEL);
        linear(w, "adaLN_modulation.1", DIT_MODULATIONS * width, width);
    }
    set_prefix(w, "decoder.estimator.final_layer.");
    linear(w, "adaLN_modulation.1", 2 * width, width);
    linear(w, "linear", c->mel, width);
}

sa2_status sa2_flow_tensors(sa2_tensor_list *list, const sa2_flow_config *config, sa2_error *err)
{
    list_writer w = {.list = list, .err = err};
    matrix(&w, "input_embedding.weight", config->vocab, config->width);
    linear(&w, "spk_embed_affine_layer", config->mel, config->speaker);
    add_flow_encoder(&w, config);
    set_prefix(&w, "%s", "");
    linear(&w, "encoder_proj", config->mel, config->width);
    add_dit(&w, config);
    return w.status;
}

/* ---- vocoder ---- */

/* A convolution under weight norm: g [d0, 1, 1] and v [d0, d1, k]. The bias has the output channels,
 * d0 unless the convolution is transposed. */
static void normed_conv(list_writer *w, const char *name, int64_t d0, int64_t d1, int64_t k,
                        int64_t out)
{
    add(w, name, ".bias", 1, (int64_t[]){out});
    add(w, name, ".parametrizations.weight.original0", 3, (int64_t[]){d0, 1, 1});
    add(w, name, ".parametrizations.weight.original1", 3, (int64_t[]){d0, d1, k});
}

static void add_resblock(list_writer *w, const char *list, int index, int64_t channels, int kernel)
{
    char name[32];
    set_prefix(w, "%s.%d.", list, index);
    for (int half = 1; half <= 2; half++) {
        for (int i = 0; i < SA2_VOCODER_DILATIONS; i++) {
            snprintf(name, sizeof name, "convs%d.%d", half, i);
            normed_conv(w, name, channels, channels, kernel, channels);
        }
        for (int i = 0; i < SA2_VOCODER_DILATIONS; i++) {
            snprintf(name, sizeof name, "activations%d.%d.alpha", half, i);
            vector(w, name, channels);
        }
    }
}

sa2_status sa2_vocoder_tensors(sa2_tensor_list *list, const sa2_vocoder_dims *dims, sa2_error *err)
{
    enum {
        SPECTRUM = SA2_VOCODER_N_FFT + 2
    }; /* real and imaginary parts, or magnitude and phase */
    list_writer w = {.list = list, .err = err};
    char name[32];
    for (int i = 0; i < SA2_F0_LAYERS; i++) {
        snprintf(name, sizeof name, "f0_predictor.condnet.%d", 2 * i);
        normed_conv(&w, name, dims->f0_channels, i == 0 ? dims->mel : dims->f0_channels,
                    SA2_F0_KERNEL, dims->f0_channels);
    }
    linear(&w, "f0_predictor.classifier", 1, dims->f0_channels);
    linear(&w, "m_source.l_linear", 1, SA2_VOCODER_HARMONICS);
    normed_conv(&w, "conv_pre", dims->channels, dims->mel, SA2_VOCODER_EDGE_KERNEL, dims->channels);
    int64_t channels = dims->channels;
    for (int i = 0; i < SA2_VOCODER_STAGES; i++, channels /= 2) {
        snprintf(name, sizeof name, "ups.%d", i);
        normed_conv(&w, name, channels, channels / 2, sa2_vocoder_up_kernels[i], channels / 2);
    }
    channels = dims->channels;
    for (int i = 0; i < SA2_VOCODER_STAGES; i++) {
        channels /= 2;
        snprintf(name, sizeof name, "source_downs.%d", i);
        conv_1d(&w, name, channels, SPECTRUM, sa2_vocoder_source_down_kernel(i));
        add_resblock(&w, "source_resblocks", i, channels, sa2_vocoder_source_kernels[i]);
        for (int j = 0; j < SA2_VOCODER_RESBLOCKS; j++)
            add_resblock(&w, "resblocks", SA2_VOCODER_RESBLOCKS * i + j, channels,
                         sa2_vocoder_resblock_kernels[j]);
        set_prefix(&w, "%s", "");
    }
    normed_conv(&w, "conv_post", SPECTRUM, channels, SA2_VOCODER_EDGE_KERNEL, SPECTRUM);
    return w.status;
}

/* ---- speech tokenizer ---- */

enum { SPEECH_KERNEL = 3 };

sa2_status sa2_speech_tokenizer_tensors(sa2_tensor_list *list,
                                        const sa2_speech_tokenizer_dims *dims, sa2_error *err)
{
    list_writer w = {.list = list, .err = err};
    int64_t width = dims->width;
    set_prefix(&w, "encoder.");
    conv_1d(&w, "conv1", width, dims->mel, SPEECH_KERNEL);
    conv_1d(&w, "conv2", width, width, SPEECH_KERNEL);
    for (int i = 0; i < dims->blocks; i++) {
        set_prefix(&w, "encoder.blocks.%d.", i);
        norm(&w, "attn_ln", width);
        linear(&w, "attn.query", width, width);
        matrix(&w, "attn.key.weight", width, width); /* keys have no bias */
        linear(&w, "attn.value", width, width);
        linear(&w, "attn.out", width, width);
        kernel_1d(&w, "attn.fsmn_block.weight", width, 1, dims->memory);
        norm(&w, "mlp_ln", width);
        linear(&w, "mlp.0", dims->ffn, width);
        linear(&w, "mlp.2", width, dims->ffn);
    }
    set_prefix(&w, "quantizer._codebook.");
    linear(&w, "project_down", dims->digits, width);
    return w.status;
}

/* ---- speaker model ---- */

enum {
    HEAD_KERNEL = 3,
    TDNN_KERNEL = 5,
    DENSE_KERNEL = 3,
};

static void batch_norm(list_writer *w, const char *name, int64_t n)
{
    norm(w, name, n);
    add(w, name, ".running_mean", 1, (int64_t[]){n});
    add(w, name, ".running_var", 1, (int64_t[]){n});
}

/* The convolutions have a bias because the exporter folded their batch norms into them. */
static void add_speaker_head(list_writer *w, const sa2_speaker_dims *d)
{
    int64_t channels = d->head_channels;
    set_prefix(w, "head.");
    conv_2d(w, "conv1", channels, 1, HEAD_KERNEL);
    for (int layer = 1; layer <= 2; layer++) {
        for (int block = 0; block < 2; block++) {
            set_prefix(w, "head.layer%d.%d.", layer, block);
            conv_2d(w, "conv1", channels, channels, HEAD_KERNEL);
            conv_2d(w, "conv2", channels, channels, HEAD_KERNEL);
            if (block == 0)
                conv_2d(w, "shortcut.0", channels, channels, 1);
        }
    }
    set_prefix(w, "head.");
    conv_2d(w, "conv2", channels, channels, HEAD_KERNEL);
}

static void add_dense_layer(list_writer *w, const sa2_speaker_dims *d, int64_t channels)
{
    batch_norm(w, "nonlinear1.batchnorm", channels);
    conv_1d(w, "linear1", d->bottleneck, channels, 1);
    kernel_1d(w, "cam_layer.linear_local.weight", d->growth, d->bottleneck, DENSE_KERNEL);
    conv_1d(w, "cam_layer.linear1", d->gate, d->bottleneck, 1);
    conv_1d(w, "cam_layer.linear2", d->growth, d->gate, 1);
}

sa2_status sa2_speaker_tensors(sa2_tensor_list *list, const sa2_speaker_dims *dims, sa2_error *err)
{
    list_writer w = {.list = list, .err = err};
    add_speaker_head(&w, dims);
    set_prefix(&w, "xvector.");
    int64_t channels = dims->initial;
    conv_1d(&w, "tdnn.linear", channels,
            (int64_t)dims->head_channels * dims->mel / SA2_SPEAKER_HEAD_REDUCTION, TDNN_KERNEL);
    for (int b = 1; b <= SA2_SPEAKER_BLOCKS; b++) {
        for (int i = 1; i <= dims->layers[b - 1]; i++, channels += dims->growth) {
            set_prefix(&w, "xvector.block%d.tdnnd%d.", b, i);
            add_dense_layer(&w, dims, channels);
        }
        set_prefix(&w, "xvector.transit%d.", b);
        batch_norm(&w, "nonlinear.batchnorm", channels);
        if (b < SA2_SPEAKER_BLOCKS)
            kernel_1d(&w, "linear.weight", channels / 2, channels, 1);
        else
            conv_1d(&w, "linear", channels / 2, channels, 1);
        channels /= 2;
    }
    set_prefix(&w, "xvector.dense.");
    kernel_1d(&w, "linear.weight", dims->embedding, 2 * channels, 1); /* mean and deviation */
    vector(&w, "nonlinear.batchnorm.running_mean", dims->embedding);
    vector(&w, "nonlinear.batchnorm.running_var", dims->embedding);
    return w.status;
}

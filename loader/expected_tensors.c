#include "loader/expected_tensors.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* Adds tensors under a prefix until the first failure, so that what follows reads as tables. */
typedef struct list_writer {
    sa2_tensor_list *list;
    char prefix[64];
    sa2_status status;
    sa2_error *err;
} list_writer;

static void add(list_writer *w, const char *name, int ndim, const int64_t *shape)
{
    if (w->status == SA2_OK)
        w->status =
            sa2_tensor_list_add(w->list, SA2_BF16, ndim, shape, w->err, "%s%s", w->prefix, name);
}

static void vector(list_writer *w, const char *name, int64_t n)
{
    add(w, name, 1, (int64_t[]){n});
}

static void matrix(list_writer *w, const char *name, int64_t out, int64_t in)
{
    add(w, name, 2, (int64_t[]){out, in});
}

static void convolution(list_writer *w, const char *name, int64_t out, int64_t in, int64_t kernel)
{
    add(w, name, 3, (int64_t[]){out, in, kernel});
}

static void set_prefix(list_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void set_prefix(list_writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->prefix, sizeof w->prefix, format, args);
    va_end(args);
}

static void add_decoder(list_writer *w, const sa2_decoder_config *d)
{
    int64_t q = (int64_t)d->heads * d->head_dim;
    int64_t kv = (int64_t)d->kv_heads * d->head_dim;
    set_prefix(w, "model.");
    matrix(w, "embed_tokens.weight", d->vocab, d->hidden);
    for (int i = 0; i < d->layers; i++) {
        set_prefix(w, "model.layers.%d.", i);
        vector(w, "input_layernorm.weight", d->hidden);
        matrix(w, "self_attn.q_proj.weight", q, d->hidden);
        vector(w, "self_attn.q_proj.bias", q);
        matrix(w, "self_attn.k_proj.weight", kv, d->hidden);
        vector(w, "self_attn.k_proj.bias", kv);
        matrix(w, "self_attn.v_proj.weight", kv, d->hidden);
        vector(w, "self_attn.v_proj.bias", kv);
        matrix(w, "self_attn.o_proj.weight", d->hidden, q);
        vector(w, "post_attention_layernorm.weight", d->hidden);
        matrix(w, "mlp.gate_proj.weight", d->ffn, d->hidden);
        matrix(w, "mlp.up_proj.weight", d->ffn, d->hidden);
        matrix(w, "mlp.down_proj.weight", d->hidden, d->ffn);
    }
    set_prefix(w, "model.");
    vector(w, "norm.weight", d->hidden);
    set_prefix(w, "lm_head.");
    matrix(w, "weight", d->vocab, d->hidden);
}

static void add_encoder(list_writer *w, const sa2_encoder_config *e)
{
    enum { KERNEL = 3 }; /* of both convolutions, in every release */
    set_prefix(w, "encoder.");
    convolution(w, "conv1.weight", e->width, e->mel_bins, KERNEL);
    vector(w, "conv1.bias", e->width);
    convolution(w, "conv2.weight", e->width, e->width, KERNEL);
    vector(w, "conv2.bias", e->width);
    matrix(w, "positional_embedding.weight", e->context, e->width);
    for (int i = 0; i < e->blocks; i++) {
        set_prefix(w, "encoder.blocks.%d.", i);
        vector(w, "attn_ln.weight", e->width);
        vector(w, "attn_ln.bias", e->width);
        matrix(w, "attn.query.weight", e->width, e->width);
        vector(w, "attn.query.bias", e->width);
        matrix(w, "attn.key.weight", e->width, e->width); /* keys have no bias */
        matrix(w, "attn.value.weight", e->width, e->width);
        vector(w, "attn.value.bias", e->width);
        matrix(w, "attn.out.weight", e->width, e->width);
        vector(w, "attn.out.bias", e->width);
        vector(w, "mlp_ln.weight", e->width);
        vector(w, "mlp_ln.bias", e->width);
        matrix(w, "mlp.0.weight", e->ffn, e->width);
        vector(w, "mlp.0.bias", e->ffn);
        matrix(w, "mlp.2.weight", e->width, e->ffn);
        vector(w, "mlp.2.bias", e->width);
    }
    set_prefix(w, "encoder.");
    vector(w, "after_norm.weight", e->width);
    vector(w, "after_norm.bias", e->width);
}

static void add_adaptor(list_writer *w, const sa2_model_config *config)
{
    const sa2_adaptor_config *a = &config->adaptor;
    set_prefix(w, "adapter.");
    convolution(w, "conv.weight", config->encoder.width, config->encoder.width, a->kernel);
    vector(w, "conv.bias", config->encoder.width);
    matrix(w, "linear1.weight", a->inner, config->encoder.width);
    vector(w, "linear1.bias", a->inner);
    matrix(w, "linear2.weight", config->decoder.hidden, a->inner);
    vector(w, "linear2.bias", config->decoder.hidden);
}

sa2_status sa2_expected_tensors(sa2_tensor_list *list, const sa2_model_config *config,
                                sa2_error *err)
{
    assert(config->encoder.ffn > 0 && config->adaptor.inner > 0);
    list_writer w = {.list = list, .err = err};
    add_decoder(&w, &config->decoder);
    add_encoder(&w, &config->encoder);
    add_adaptor(&w, config);
    return w.status;
}

#include "loader/flow_yaml.h"

#include <stdio.h>
#include <string.h>

#include "loader/partial_file.h"

/* The keys and classes of the release's file; values in the order of the arguments below. Seven digits say
 * of a float what was meant: 0.7, not 0.699999988. */
static const char form[] =
    "flow: !new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec\n"
    "  input_size: %d\n"
    "  output_size: %d\n"
    "  spk_embed_dim: %d\n"
    "  output_type: \"mel\"\n"
    "  vocab_size: %d\n"
    "  encoder: !new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2\n"
    "    input_size: %d\n"
    "    output_size: %d\n"
    "    input_layer: \"linear\"\n"
    "    pre_lookahead_len: %d\n"
    "    num_blocks: %d\n"
    "    num_up_blocks: %d\n"
    "    up_stride: %d\n"
    "    up_scale_factor: %d\n"
    "    attention_heads: %d\n"
    "    pos_enc_layer_type: \"rel_pos_espnet\"\n"
    "    selfattention_layer_type: \"rel_selfattn\"\n"
    "    key_bias: true\n"
    "    linear_units: %d\n"
    "    dropout_rate: 0.1\n"
    "    positional_dropout_rate: 0.1\n"
    "    attention_dropout_rate: 0.1\n"
    "    normalize_before: true\n"
    "  decoder: !new:cosyvoice2.flow.flow_matching.CausalConditionalCFM\n"
    "    inference_cfg_rate: %.7g\n"
    "    estimator: !new:cosyvoice2.flow.decoder_dit.DiT\n"
    "      in_channels: %d\n"
    "      out_channels: %d\n"
    "      mlp_ratio: %.17g\n"
    "      depth: %d\n"
    "      num_heads: %d\n"
    "      head_dim: %d\n"
    "      hidden_size: %d\n";

sa2_status sa2_flow_yaml_write(const sa2_flow_config *c, const char *path, sa2_error *err)
{
    char text[sizeof form + 512];
    int n = snprintf(text, sizeof text, form, c->width, c->mel, c->speaker, c->vocab, c->width,
                     c->width, c->lookahead, c->layers, c->up_layers, c->up_stride, c->up_stride,
                     c->heads, c->ffn, (double)c->guidance, c->dit_in, c->mel,
                     (double)c->dit_ffn / c->dit_width, c->dit_blocks, c->dit_heads,
                     c->dit_head_dim, c->dit_width);
    sa2_partial_file file = {0};
    sa2_status st = sa2_partial_file_create(&file, path, err);
    if (st == SA2_OK)
        st = sa2_partial_file_append(&file, text, (size_t)n, err);
    if (st == SA2_OK)
        st = sa2_partial_file_finish(&file, err);
    sa2_partial_file_destroy(&file);
    return st;
}

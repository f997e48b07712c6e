/* The keys and their order are those of the release's config.json. */
#include <jansson.h>

#include "loader/model_config.h"

static json_t *text_config(const sa2_model_config *c)
{
    const sa2_decoder_config *d = &c->decoder;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:i, s:i, s:f, s:i, s:n, s:s}",
                     "hidden_size", d->hidden, "intermediate_size", d->ffn, "num_attention_heads",
                     d->heads, "num_attention_groups", d->kv_heads, "num_key_value_heads",
                     d->kv_heads, "num_hidden_layers", d->layers, "max_seq_len", d->max_positions,
                     "vocab_size", d->vocab, "rms_norm_eps", (double)d->rms_norm_eps,
                     "eos_token_id", c->eos_id, "pad_token_id", c->pad_id, "rope_theta",
                     (double)d->rope_theta, "max_position_embeddings", d->max_positions,
                     "rope_scaling", "torch_dtype", "bfloat16");
}

static json_t *audio_encoder_config(const sa2_model_config *c)
{
    const sa2_encoder_config *e = &c->encoder;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "n_mels", e->mel_bins,
                     "n_audio_ctx", e->context, "n_audio_state", e->width, "n_audio_head", e->heads,
                     "n_audio_layer", e->blocks, "n_codebook_size", 4096, "llm_dim",
                     c->decoder.hidden, "kernel_size", c->adaptor.kernel, "adapter_stride",
                     c->adaptor.stride);
}

char *sa2_model_config_json(const sa2_model_config *config)
{
    /* An f32 has 7 digits that are always right: 1e-06 and not 9.99999997e-07. */
    enum { FORMAT = JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(7) };
    json_t *root = json_pack(
        "{s:[s], s:{s:s, s:s}, s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:i, s:i, s:b, s:s, s:s}",
        "architectures", "StepAudio2ForCausalLM", "auto_map", "AutoConfig",
        "configuration_step_audio_2.StepAudio2Config", "AutoModelForCausalLM",
        "modeling_step_audio_2.StepAudio2ForCausalLM", "model_type", "step_audio_2", "bos_token_id",
        config->eos_id, "pad_token_id", config->pad_id, "eos_token_id", config->eos_id,
        "vocab_size", config->decoder.vocab, "text_config", text_config(config),
        "audio_encoder_config", audio_encoder_config(config), "max_window_layers",
        config->decoder.layers, "sliding_window", 2048, "use_sliding_window", 0, "torch_dtype",
        "bfloat16", "transformers_version", "4.49.0");
    char *text = root != NULL ? json_dumps(root, FORMAT) : NULL;
    json_decref(root);
    return text;
}

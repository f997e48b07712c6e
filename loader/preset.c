#include "loader/preset.h"

#include <string.h>

static const sa2_preset presets[] = {
    {
        .name = "tiny",
        .config =
            {
                .decoder = {.hidden = 512,
                            .layers = 3,
                            .heads = 8,
                            .kv_heads = 4,
                            .head_dim = 64,
                            .ffn = 1408,
                            .vocab = 7680,
                            .max_positions = 4096,
                            .rms_norm_eps = 1e-6f,
                            .rope_theta = 1e6f},
                .encoder = {.mel_bins = 128,
                            .context = 1500,
                            .width = 128,
                            .heads = 2,
                            .blocks = 2,
                            .ffn = 512},
                .adaptor = {.kernel = 3, .stride = 2, .inner = 256},
                .eos_id = 1000,
                .pad_id = 1000,
            },
        .vocab_entries = 1000,
        .token2wav = {.flow_width = 128,
                      .flow_heads = 2,
                      .flow_ffn = 256,
                      .flow_layers = 2,
                      .flow_up_layers = 1,
                      .dit_width = 128,
                      .dit_heads = 2,
                      .dit_ffn = 512,
                      .dit_blocks = 3,
                      .vocoder_channels = 64,
                      .f0_channels = 64,
                      .speech_width = 128,
                      .speech_heads = 2,
                      .speech_ffn = 512,
                      .speech_blocks = 2,
                      .speaker_growth = 8,
                      .speaker_bottleneck = 32,
                      .speaker_initial = 32,
                      .speaker_gate = 16},
    },
    {
        .name = "mini",
        .config =
            {
                .decoder = {.hidden = 3584,
                            .layers = 28,
                            .heads = 28,
                            .kv_heads = 4,
                            .head_dim = 128,
                            .ffn = 18944,
                            .vocab = 158720,
                            .max_positions = 16384,
                            .rms_norm_eps = 1e-6f,
                            .rope_theta = 1e6f},
                .encoder = {.mel_bins = 128,
                            .context = 1500,
                            .width = 1280,
                            .heads = 20,
                            .blocks = 32,
                            .ffn = 5120},
                .adaptor = {.kernel = 3, .stride = 2, .inner = 2048},
                .eos_id = 151643,
                .pad_id = 151643,
            },
        .vocab_entries = 151643,
        .token2wav = {.flow_width = 512,
                      .flow_heads = 8,
                      .flow_ffn = 2048,
                      .flow_layers = 6,
                      .flow_up_layers = 4,
                      .dit_width = 512,
                      .dit_heads = 8,
                      .dit_ffn = 2048,
                      .dit_blocks = 16,
                      .vocoder_channels = 512,
                      .f0_channels = 512,
                      .speech_width = 1280,
                      .speech_heads = 20,
                      .speech_ffn = 5120,
                      .speech_blocks = 6,
                      .speaker_growth = 32,
                      .speaker_bottleneck = 128,
                      .speaker_initial = 128,
                      .speaker_gate = 64},
    },
};

sa2_status sa2_preset_find(sa2_preset *preset, const char *name, sa2_error *err)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            *preset = presets[i];
            return SA2_OK;
        }
    }
    return sa2_fail(err, SA2_ERR_ARG, "preset %s: tiny or mini expected", name);
}

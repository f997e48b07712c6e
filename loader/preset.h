/* preset.h - the dimensions of the synthetic checkpoints: `tiny` for tests, `mini` as the release.
 *
 * A preset is a plain struct: a bench that wants two layers of `mini` copies it and says so.
 */
#ifndef SA2_LOADER_PRESET_H
#define SA2_LOADER_PRESET_H

#include "loader/model_config.h"

/* Of token2wav/; what is not here has the release's value in every preset. */
typedef struct sa2_token2wav_preset {
    int flow_width, flow_heads, flow_ffn, flow_layers, flow_up_layers;
    int dit_width, dit_heads, dit_ffn, dit_blocks;
    int vocoder_channels, f0_channels;
    int speech_width, speech_heads, speech_ffn, speech_blocks; /* speech tokenizer */
    int speaker_growth, speaker_bottleneck, speaker_initial, speaker_gate;
} sa2_token2wav_preset;

/* Behind the byte-level entries: 22 of Qwen2.5, 31 of StepFun, <audio_0> to <audio_6561>. */
enum { SA2_PRESET_ADDED_TOKENS = 22 + 31 + 6562 };

typedef struct sa2_preset {
    const char *name;
    sa2_model_config config; /* complete */
    int vocab_entries;       /* byte-level BPE entries; the added tokens follow */
    sa2_token2wav_preset token2wav;
} sa2_preset;

/* "tiny" or "mini". Errors: SA2_ERR_ARG with the names there are. */
sa2_status sa2_preset_find(sa2_preset *preset, const char *name, sa2_error *err);

#endif

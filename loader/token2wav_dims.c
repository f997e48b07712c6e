#include "loader/token2wav_tensors.h"

#include <stdio.h>

#include "kernels/base/limits.h"

/* ---- of a preset ---- */

/* What every release has, and every preset. */
enum {
    MEL = 80,
    SPEAKER = 192,
    SPEECH_VOCAB = 6561, /* 3^8 */
    SPEECH_MEL = 128,
    SPEECH_DIGITS = 8,
    SPEECH_MEMORY = 31,
    LOOKAHEAD = 3,
    UP_STRIDE = 2,
    SPEAKER_HEAD_CHANNELS = 32,
};

sa2_token2wav_dims sa2_token2wav_preset_dims(const sa2_token2wav_preset *preset)
{
    return (sa2_token2wav_dims){
        .flow = {.width = preset->flow_width,
                 .mel = MEL,
                 .speaker = SPEAKER,
                 .vocab = SPEECH_VOCAB,
                 .lookahead = LOOKAHEAD,
                 .layers = preset->flow_layers,
                 .up_layers = preset->flow_up_layers,
                 .up_stride = UP_STRIDE,
                 .heads = preset->flow_heads,
                 .ffn = preset->flow_ffn,
                 .guidance = 0.7f,
                 .dit_in = 4 * MEL,
                 .dit_width = preset->dit_width,
                 .dit_heads = preset->dit_heads,
                 .dit_head_dim = preset->dit_width / preset->dit_heads,
                 .dit_ffn = preset->dit_ffn,
                 .dit_blocks = preset->dit_blocks},
        .vocoder = {.mel = MEL,
                    .channels = preset->vocoder_channels,
                    .f0_channels = preset->f0_channels},
        .speaker = {.mel = MEL,
                    .head_channels = SPEAKER_HEAD_CHANNELS,
                    .initial = preset->speaker_initial,
                    .growth = preset->speaker_growth,
                    .bottleneck = preset->speaker_bottleneck,
                    .gate = preset->speaker_gate,
                    .layers = {12, 24, 16},
                    .embedding = SPEAKER},
        .speech_tokenizer = {.mel = SPEECH_MEL,
                             .width = preset->speech_width,
                             .ffn = preset->speech_ffn,
                             .blocks = preset->speech_blocks,
                             .digits = SPEECH_DIGITS,
                             .memory = SPEECH_MEMORY},
    };
}

/* ---- of a file ---- */

/* One dimension of a tensor that decides, when it can be a dimension at all. */
static sa2_status find_dim(const sa2_tensor_map *map, const char *name, int ndim, int axis,
                           int *dim, sa2_error *err)
{
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, name);
    if (entry == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s is missing", name);
    if (entry->tensor.ndim != ndim)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s in %s has %d dimensions, %d expected", name,
                             entry->origin, entry->tensor.ndim, ndim);
    int64_t found = entry->tensor.shape[axis];
    if (found < 1 || found > SA2_LIMIT_WIDTH)
        return sa2_fail_also(err, SA2_ERR_LIMIT, "%s in %s: dimension %d is %lld, 1 to %d expected",
                             name, entry->origin, axis, (long long)found, SA2_LIMIT_WIDTH);
    *dim = (int)found;
    return SA2_OK;
}

/* The first failure of several. */
static sa2_status first_of(sa2_status a, sa2_status b)
{
    return a != SA2_OK ? a : b;
}

/* How many of the names that format makes from `first` up are there. */
static int count_names(const sa2_tensor_map *map, const char *before, int first, const char *after)
{
    int n = 0;
    char name[96];
    do {
        snprintf(name, sizeof name, "%s%d%s", before, first + n, after);
    } while (n < SA2_LIMIT_LAYERS && sa2_tensor_map_find(map, name) != NULL && ++n);
    return n;
}

sa2_status sa2_vocoder_dims_find(sa2_vocoder_dims *dims, const sa2_tensor_map *map, sa2_error *err)
{
    /* The direction of weight norm, under its newer name or its older one. */
    bool older = sa2_tensor_map_find(map, "conv_pre.weight_v") != NULL;
    const char *pre = older ? "conv_pre.weight_v" : "conv_pre.parametrizations.weight.original1";
    const char *f0 = older ? "f0_predictor.condnet.0.weight_v"
                           : "f0_predictor.condnet.0.parametrizations.weight.original1";
    sa2_vocoder_dims found = {0};
    sa2_status st = find_dim(map, pre, 3, 0, &found.channels, err);
    st = first_of(st, find_dim(map, pre, 3, 1, &found.mel, err));
    st = first_of(st, find_dim(map, f0, 3, 0, &found.f0_channels, err));
    if (st == SA2_OK && found.channels % (1 << SA2_VOCODER_STAGES) != 0)
        st = sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %d channels cannot be halved %d times", pre,
                           found.channels, SA2_VOCODER_STAGES);
    if (st == SA2_OK)
        *dims = found;
    return st;
}

sa2_status sa2_speech_tokenizer_dims_find(sa2_speech_tokenizer_dims *dims,
                                          const sa2_tensor_map *map, sa2_error *err)
{
    sa2_speech_tokenizer_dims found = {0};
    sa2_status st = find_dim(map, "encoder.conv1.weight", 3, 0, &found.width, err);
    st = first_of(st, find_dim(map, "encoder.conv1.weight", 3, 1, &found.mel, err));
    st = first_of(st, find_dim(map, "encoder.blocks.0.mlp.0.weight", 2, 0, &found.ffn, err));
    st = first_of(
        st, find_dim(map, "encoder.blocks.0.attn.fsmn_block.weight", 3, 2, &found.memory, err));
    st = first_of(
        st, find_dim(map, "quantizer._codebook.project_down.weight", 2, 0, &found.digits, err));
    found.blocks = count_names(map, "encoder.blocks.", 0, ".attn.query.weight");
    if (st == SA2_OK && found.width % SA2_SPEECH_TOKENIZER_HEAD_DIM != 0)
        st = sa2_fail_also(err, SA2_ERR_FORMAT,
                           "encoder.conv1.weight: width %d is no multiple of heads of %d",
                           found.width, SA2_SPEECH_TOKENIZER_HEAD_DIM);
    if (st == SA2_OK && found.memory % 2 == 0)
        st =
            sa2_fail_also(err, SA2_ERR_FORMAT,
                          "encoder.blocks.0.attn.fsmn_block.weight: kernel %d, an odd one expected",
                          found.memory);
    if (st == SA2_OK)
        *dims = found;
    return st;
}

sa2_status sa2_speaker_dims_find(sa2_speaker_dims *dims, const sa2_tensor_map *map, sa2_error *err)
{
    static const char local[] = "xvector.block1.tdnnd1.cam_layer.linear_local.weight";
    static const char gate[] = "xvector.block1.tdnnd1.cam_layer.linear1.weight";
    sa2_speaker_dims found = {0};
    int flat = 0;
    sa2_status st = find_dim(map, "head.conv1.weight", 4, 0, &found.head_channels, err);
    st = first_of(st, find_dim(map, "xvector.tdnn.linear.weight", 3, 0, &found.initial, err));
    st = first_of(st, find_dim(map, "xvector.tdnn.linear.weight", 3, 1, &flat, err));
    st = first_of(st, find_dim(map, local, 3, 0, &found.growth, err));
    st = first_of(st, find_dim(map, local, 3, 1, &found.bottleneck, err));
    st = first_of(st, find_dim(map, gate, 3, 0, &found.gate, err));
    st = first_of(st, find_dim(map, "xvector.dense.linear.weight", 3, 0, &found.embedding, err));
    for (int b = 0; b < SA2_SPEAKER_BLOCKS; b++) {
        char before[48];
        snprintf(before, sizeof before, "xvector.block%d.tdnnd", b + 1);
        found.layers[b] = count_names(map, before, 1, ".linear1.weight");
    }
    if (st == SA2_OK && flat % found.head_channels != 0)
        st = sa2_fail_also(err, SA2_ERR_FORMAT,
                           "xvector.tdnn.linear.weight: %d inputs are no multiple of %d channels",
                           flat, found.head_channels);
    if (st != SA2_OK)
        return st;
    found.mel = flat / found.head_channels * SA2_SPEAKER_HEAD_REDUCTION;
    *dims = found;
    return SA2_OK;
}

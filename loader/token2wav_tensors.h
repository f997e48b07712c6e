/* token2wav_tensors.h - every tensor of token2wav/: names and shapes, from the dimensions of a part.
 *
 * Names and shapes: the files of stepfun-ai/Step-Audio-2-mini, with 605 tensors in flow.pt, 328 in
 * hift.pt, 617 in campplus.onnx and 102 in speech_tokenizer_v2_25hz.onnx; names of the ONNX files are
 * those of the PyTorch modules (onnx_names.h). All are f32, and a matrix is [out, in].
 */
#ifndef SA2_LOADER_TOKEN2WAV_TENSORS_H
#define SA2_LOADER_TOKEN2WAV_TENSORS_H

#include "loader/flow_yaml.h"
#include "loader/preset.h"
#include "loader/tensor_list.h"
#include "loader/tensor_map.h"

/* hift.pt. The strides of its upsampling are not in the file; like the kernels they are the release's. */
enum {
    SA2_VOCODER_STAGES = 3,
    SA2_VOCODER_RESBLOCKS = 3,   /* of each stage, side by side */
    SA2_VOCODER_DILATIONS = 3,   /* of each resblock */
    SA2_VOCODER_EDGE_KERNEL = 7, /* of the first and the last convolution */
    SA2_VOCODER_HARMONICS = 9,   /* the fundamental and 8 above it */
    SA2_VOCODER_N_FFT = 16,
    SA2_VOCODER_HOP = 4,
    SA2_F0_LAYERS = 5,
    SA2_F0_KERNEL = 3,
};

static const int sa2_vocoder_up_strides[SA2_VOCODER_STAGES] = {8, 5, 3};
static const int sa2_vocoder_up_kernels[SA2_VOCODER_STAGES] = {16, 11, 7};
static const int sa2_vocoder_resblock_kernels[SA2_VOCODER_RESBLOCKS] = {3, 7, 11};
static const int sa2_vocoder_source_kernels[SA2_VOCODER_STAGES] = {7, 7, 11};

/* From the rate of the source's spectrum to that of a stage: the stride of source_downs.<stage>, whose
 * kernel is twice that, or 1 where there is no step. */
static inline int sa2_vocoder_source_stride(int stage)
{
    int stride = 1;
    for (int i = stage + 1; i < SA2_VOCODER_STAGES; i++)
        stride *= sa2_vocoder_up_strides[i];
    return stride;
}

static inline int sa2_vocoder_source_down_kernel(int stage)
{
    int stride = sa2_vocoder_source_stride(stage);
    return stride > 1 ? 2 * stride : 1;
}

typedef struct sa2_vocoder_dims {
    int mel;
    int channels; /* before the first upsampling; halved by each */
    int f0_channels;
} sa2_vocoder_dims;

/* campplus.onnx: D-TDNN with three dense blocks behind a 2-d convolutional head. */
enum {
    SA2_SPEAKER_BLOCKS = 3,
    SA2_SPEAKER_HEAD_REDUCTION = 8, /* of the mel bins: three strides of 2 */
};

typedef struct sa2_speaker_dims {
    int mel;           /* bins of the filter bank */
    int head_channels; /* of the 2-d convolutions */
    int initial;       /* channels before the first dense block */
    int growth;        /* channels that a dense layer appends */
    int bottleneck;    /* channels inside a dense layer */
    int gate;          /* inner width of a dense layer's gate */
    int layers[SA2_SPEAKER_BLOCKS];
    int embedding; /* size of the voice vector */
} sa2_speaker_dims;

/* speech_tokenizer_v2_25hz.onnx. The size of a head is 64 in every release and not in the file. */
enum { SA2_SPEECH_TOKENIZER_HEAD_DIM = 64 };

typedef struct sa2_speech_tokenizer_dims {
    int mel;
    int width; /* a multiple of SA2_SPEECH_TOKENIZER_HEAD_DIM */
    int ffn;
    int blocks;
    int digits; /* of a token in base 3 */
    int memory; /* kernel of the memory block beside attention */
} sa2_speech_tokenizer_dims;

typedef struct sa2_token2wav_dims {
    sa2_flow_config flow;
    sa2_vocoder_dims vocoder;
    sa2_speaker_dims speaker;
    sa2_speech_tokenizer_dims speech_tokenizer;
} sa2_token2wav_dims;

sa2_token2wav_dims sa2_token2wav_preset_dims(const sa2_token2wav_preset *preset);

/* Each adds the tensors of one file. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_flow_tensors(sa2_tensor_list *list, const sa2_flow_config *config, sa2_error *err);
sa2_status sa2_vocoder_tensors(sa2_tensor_list *list, const sa2_vocoder_dims *dims, sa2_error *err);
sa2_status sa2_speaker_tensors(sa2_tensor_list *list, const sa2_speaker_dims *dims, sa2_error *err);
sa2_status sa2_speech_tokenizer_tensors(sa2_tensor_list *list,
                                        const sa2_speech_tokenizer_dims *dims, sa2_error *err);

/* Each takes the dimensions of a part from the shapes in its map, which sa2_tensor_map_check()
 * with the part's list then judges as a whole.
 * Errors: SA2_ERR_FORMAT a tensor that decides is missing or has another number of dimensions;
 * SA2_ERR_LIMIT above limits.h. */
sa2_status sa2_vocoder_dims_find(sa2_vocoder_dims *dims, const sa2_tensor_map *map, sa2_error *err);
sa2_status sa2_speaker_dims_find(sa2_speaker_dims *dims, const sa2_tensor_map *map, sa2_error *err);
sa2_status sa2_speech_tokenizer_dims_find(sa2_speech_tokenizer_dims *dims,
                                          const sa2_tensor_map *map, sa2_error *err);

#endif

#include "kernels/base/limits.h"

static const sa2_limit limits[] = {
    {"length of a sound", SA2_LIMIT_SOUND_SECONDS, "s"},
    {"length of a voice recording", SA2_LIMIT_VOICE_SECONDS, "s"},
    {"sound file through a pipe", SA2_LIMIT_SOUND_PIPE_BYTES, "bytes"},
    {"channels of a sound", SA2_LIMIT_SOUND_CHANNELS, ""},
    {"least sample rate of a sound", SA2_LIMIT_SOUND_RATE_LEAST_HZ, "Hz"},
    {"sample rate of a sound", SA2_LIMIT_SOUND_RATE_HZ, "Hz"},
    {"text for each position of the model", SA2_LIMIT_TEXT_BYTES_PER_POSITION, "bytes"},
    {"messages in a request", SA2_LIMIT_MESSAGES, ""},
    {"size of a request", SA2_LIMIT_REQUEST_BYTES, "bytes"},
    {"depth of JSON", SA2_LIMIT_JSON_DEPTH, ""},
    {"header of a safetensors file", SA2_LIMIT_SAFETENSORS_HEADER_BYTES, "bytes"},
    {"tensors of a model", SA2_LIMIT_TENSORS, ""},
    {"name of a tensor", SA2_LIMIT_TENSOR_NAME_BYTES, "bytes"},
    {"shards of a model", SA2_LIMIT_SHARDS, ""},
    {"size of a configuration file", SA2_LIMIT_CONFIG_BYTES, "bytes"},
    {"size of a tokenizer file", SA2_LIMIT_TOKENIZER_BYTES, "bytes"},
    {"entries of a vocabulary", SA2_LIMIT_VOCAB, ""},
    {"entries of a zip archive", SA2_LIMIT_ZIP_ENTRIES, ""},
    {"name in a zip archive", SA2_LIMIT_ZIP_NAME_BYTES, "bytes"},
    {"size of a pickle", SA2_LIMIT_PICKLE_BYTES, "bytes"},
    {"stack of a pickle", SA2_LIMIT_PICKLE_STACK, "values"},
    {"depth of a pickle", SA2_LIMIT_PICKLE_MARKS, ""},
    {"memo of a pickle", SA2_LIMIT_PICKLE_MEMO, "values"},
    {"values in tuples of a pickle", SA2_LIMIT_PICKLE_ITEMS, ""},
    {"items in dicts of a pickle", SA2_LIMIT_PICKLE_PAIRS, ""},
    {"nodes of an ONNX graph", SA2_LIMIT_ONNX_NODES, ""},
    {"inputs and outputs of an ONNX graph", SA2_LIMIT_ONNX_EDGES, ""},
    {"depth of YAML", SA2_LIMIT_YAML_DEPTH, ""},
    {"width of a layer", SA2_LIMIT_WIDTH, ""},
    {"layers", SA2_LIMIT_LAYERS, ""},
    {"heads", SA2_LIMIT_HEADS, ""},
    {"size of a head", SA2_LIMIT_HEAD_DIM, ""},
    {"positions of a model", SA2_LIMIT_POSITIONS, ""},
    {"mel bands", SA2_LIMIT_MEL_BINS, ""},
    {"size of a convolution kernel", SA2_LIMIT_KERNEL, ""},
};

const sa2_limit *sa2_limits(size_t *n)
{
    *n = sizeof limits / sizeof limits[0];
    return limits;
}

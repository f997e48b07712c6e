#include "tools/check_token2wav.h"

#include <stdio.h>

#include "loader/onnx_names.h"
#include "loader/token2wav_tensors.h"
#include "loader/torch_zip.h"

static sa2_status open_file(sa2_tensor_map **map, const char *folder, sa2_token2wav_file file,
                            sa2_error *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/token2wav/%s", folder, sa2_token2wav_file_name(file));
    if (n < 0 || n >= (int)sizeof path)
        return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", folder);
    switch (file) {
    case SA2_SPEAKER_FILE:
        return sa2_onnx_map_open(map, SA2_ONNX_SPEAKER, path, err);
    case SA2_SPEECH_TOKENIZER_FILE:
        return sa2_onnx_map_open(map, SA2_ONNX_SPEECH_TOKENIZER, path, err);
    default:
        return sa2_torch_zip_open(map, path, file == SA2_VOCODER_FILE ? "generator." : NULL, err);
    }
}

sa2_status sa2_check_token2wav_map(sa2_tensor_map **map, const sa2_check_run *run,
                                   sa2_token2wav_file file, sa2_error *err)
{
    const char *name = sa2_golden_text(run->golden, "preset");
    sa2_preset preset;
    int64_t seed;
    if (run->context->model != NULL)
        return open_file(map, run->context->model, file, err);
    if (name == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no preset, and no model was given",
                        sa2_golden_origin(run->golden));
    sa2_status st = sa2_preset_find(&preset, name, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "seed", INT64_MIN, INT64_MAX, &seed, err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(map, file, &preset, (uint64_t)seed, err);
    if (st == SA2_OK)
        sa2_tensor_map_set_threads(*map, sa2_backend_threads(run->context->backend));
    return st;
}

sa2_status sa2_check_flow_config(sa2_flow_config *config, const sa2_check_run *run, sa2_error *err)
{
    const char *folder = run->context->model;
    if (folder != NULL) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/token2wav/flow.yaml", folder);
        if (n < 0 || n >= (int)sizeof path)
            return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", folder);
        return sa2_flow_yaml_read(config, path, err);
    }
    sa2_preset preset;
    const char *name = sa2_golden_text(run->golden, "preset");
    sa2_status st = name != NULL
                        ? sa2_preset_find(&preset, name, err)
                        : sa2_fail(err, SA2_ERR_FORMAT, "%s: no preset, and no model was given",
                                   sa2_golden_origin(run->golden));
    if (st == SA2_OK)
        *config = sa2_token2wav_preset_dims(&preset.token2wav).flow;
    return st;
}

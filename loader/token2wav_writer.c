#include "loader/token2wav_writer.h"

#include <inttypes.h>
#include <stdio.h>

#include "loader/onnx_writer.h"
#include "loader/partial_file.h"
#include "loader/synthetic.h"
#include "loader/token2wav_tensors.h"
#include "loader/torch_zip_writer.h"

static const struct {
    const char *name, *role;
} files[SA2_TOKEN2WAV_FILES] = {
    [SA2_FLOW_FILE] = {"flow.pt", "flow"},
    [SA2_VOCODER_FILE] = {"hift.pt", "hift"},
    [SA2_SPEAKER_FILE] = {"campplus.onnx", "campplus"},
    [SA2_SPEECH_TOKENIZER_FILE] = {"speech_tokenizer_v2_25hz.onnx", "speech_tokenizer"},
};

const char *sa2_token2wav_file_name(sa2_token2wav_file file)
{
    return files[file].name;
}

static sa2_status list_tensors(sa2_tensor_list *list, sa2_token2wav_file file,
                               const sa2_preset *preset, sa2_error *err)
{
    sa2_token2wav_dims dims = sa2_token2wav_preset_dims(&preset->token2wav);
    switch (file) {
    case SA2_FLOW_FILE:
        return sa2_flow_tensors(list, &dims.flow, err);
    case SA2_VOCODER_FILE:
        return sa2_vocoder_tensors(list, &dims.vocoder, err);
    case SA2_SPEAKER_FILE:
        return sa2_speaker_tensors(list, &dims.speaker, err);
    case SA2_SPEECH_TOKENIZER_FILE:
        return sa2_speech_tokenizer_tensors(list, &dims.speech_tokenizer, err);
    case SA2_TOKEN2WAV_FILES:
        break;
    }
    return sa2_fail(err, SA2_ERR_ARG, "file %d of token2wav, 0 to %d expected", (int)file,
                    SA2_TOKEN2WAV_FILES - 1);
}

sa2_status sa2_token2wav_synthetic_map(sa2_tensor_map **map, sa2_token2wav_file file,
                                       const sa2_preset *preset, uint64_t seed, sa2_error *err)
{
    char origin[128];
    snprintf(origin, sizeof origin, "%s of preset %s, seed %" PRIu64, files[file].name,
             preset->name, seed);
    sa2_tensor_list list = {0};
    sa2_status st = list_tensors(&list, file, preset, err);
    if (st == SA2_OK)
        st = sa2_synthetic_map_of(map, &list, files[file].role, origin, seed, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

sa2_status sa2_token2wav_bytes(uint64_t *bytes, const sa2_preset *preset, sa2_error *err)
{
    uint64_t sum = 0;
    for (int file = 0; file < SA2_TOKEN2WAV_FILES; file++) {
        sa2_tensor_list list = {0};
        sa2_status st = list_tensors(&list, (sa2_token2wav_file)file, preset, err);
        sum += sa2_tensor_list_bytes(&list);
        sa2_tensor_list_destroy(&list);
        if (st != SA2_OK)
            return st;
    }
    *bytes = sum;
    return SA2_OK;
}

static sa2_status join_path(char path[SA2_PATH_BYTES], const char *folder, const char *name,
                            sa2_error *err)
{
    int n = snprintf(path, SA2_PATH_BYTES, "%s/%s", folder, name);
    if (n > 0 && n < SA2_PATH_BYTES)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", folder);
}

static sa2_status write_file(const char *folder, sa2_token2wav_file file, const sa2_preset *preset,
                             uint64_t seed, sa2_write_progress progress, sa2_error *err)
{
    char path[SA2_PATH_BYTES];
    sa2_tensor_map *map = NULL;
    sa2_status st = join_path(path, folder, files[file].name, err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&map, file, preset, seed, err);
    if (st != SA2_OK)
        return st;
    if (file == SA2_FLOW_FILE || file == SA2_VOCODER_FILE)
        st = sa2_torch_zip_write(path, map, progress, err);
    else
        st = sa2_onnx_write(path,
                            file == SA2_SPEAKER_FILE ? SA2_ONNX_SPEAKER : SA2_ONNX_SPEECH_TOKENIZER,
                            map, progress, err);
    sa2_tensor_map_destroy(map);
    return st;
}

sa2_status sa2_token2wav_write(const char *folder, const sa2_preset *preset, uint64_t seed,
                               sa2_write_progress progress, sa2_error *err)
{
    char path[SA2_PATH_BYTES];
    sa2_token2wav_dims dims = sa2_token2wav_preset_dims(&preset->token2wav);
    sa2_status st = join_path(path, folder, "flow.yaml", err);
    if (st == SA2_OK)
        st = sa2_flow_yaml_write(&dims.flow, path, err);
    for (int file = 0; file < SA2_TOKEN2WAV_FILES && st == SA2_OK; file++)
        st = write_file(folder, (sa2_token2wav_file)file, preset, seed, progress, err);
    return st;
}

#include "loader/token2wav_reader.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader/onnx_names.h"
#include "loader/safetensors.h"
#include "loader/torch_zip.h"

enum { PATH_BYTES = 4096 };

void sa2_token2wav_safetensors_name(char *name, size_t bytes, sa2_token2wav_file file)
{
    const char *release = sa2_token2wav_file_name(file);
    const char *dot = strrchr(release, '.');
    snprintf(name, bytes, "%.*s.safetensors", (int)(dot - release), release);
}

sa2_status sa2_token2wav_find(char *path, size_t bytes, const char *folder, sa2_token2wav_file file,
                              sa2_error *err)
{
    const char *release = sa2_token2wav_file_name(file);
    char other[64];
    sa2_token2wav_safetensors_name(other, sizeof other, file);
    if (strlen(folder) + sizeof other + 1 > bytes)
        return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", folder);
    snprintf(path, bytes, "%s/%s", folder, release);
    if (access(path, F_OK) == 0)
        return SA2_OK;
    snprintf(path, bytes, "%s/%s", folder, other);
    if (access(path, F_OK) != 0) /* then what the release has is missing */
        snprintf(path, bytes, "%s/%s", folder, release);
    return SA2_OK;
}

sa2_status sa2_token2wav_map_open(sa2_tensor_map **map, const char *folder, sa2_token2wav_file file,
                                  sa2_error *err)
{
    char path[PATH_BYTES];
    sa2_status st = sa2_token2wav_find(path, sizeof path, folder, file, err);
    if (st != SA2_OK)
        return st;
    if (strcmp(strrchr(path, '.'), ".safetensors") == 0)
        return sa2_safetensors_open(map, path, err);
    switch (file) {
    case SA2_FLOW_FILE:
        return sa2_torch_zip_open(map, path, NULL, err);
    case SA2_VOCODER_FILE:
        return sa2_torch_zip_open(map, path, "generator.", err);
    case SA2_SPEAKER_FILE:
        return sa2_onnx_map_open(map, SA2_ONNX_SPEAKER, path, err);
    case SA2_SPEECH_TOKENIZER_FILE:
        return sa2_onnx_map_open(map, SA2_ONNX_SPEECH_TOKENIZER, path, err);
    case SA2_TOKEN2WAV_FILES:
        break;
    }
    return sa2_fail(err, SA2_ERR_ARG, "token2wav: no file %d", (int)file);
}
